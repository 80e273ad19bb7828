"""From a script to what it puts out: a PSRP pool with one pipeline, by pypsrp over our own connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pypsrp.complex_objects import Command, PSInvocationState, RunspacePoolState
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.serializer import Serializer
from pypsrp.wsman import SelectorSet, WSMan

from fleet.errors import RemoteError
from fleet.transport.winrm.connection import HttpConnection
from fleet.transport.winrm.frames import Target
from fleet.transport.winrm.trouble import TIMED_OUT, talking

IDLE_S = 180
"""After so long without a word the host ends a shell whose visitor died."""
FUNCTION = "Invoke-FleetVisit"
_CONFIGURATION = "Microsoft.PowerShell"
_LONG_CHARS = 4096


class _Serializer(Serializer):
    """pypsrp's, which escapes a script character by character: once a run instead of once a host."""

    def _serialize_string(self, value: str | None) -> str | None:
        return _escaped(value) if value and len(value) > _LONG_CHARS else super()._serialize_string(value)


@lru_cache(maxsize=4)
def _escaped(value: str) -> str | None:
    return Serializer()._serialize_string(value)


class _Command(Command):
    """pypsrp's, which it copies to the last leaf, twice for each pipeline: a quarter and more of a visit's
    CPU. It does so for pipelines of several statements; ours has one."""

    def __deepcopy__(self, _: dict[int, Any]) -> _Command:
        return self


class _Carrier:
    """Stands where pypsrp has its HTTP client: no redirects, no retries, no proxies of the environment."""

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        self.endpoint = connection.endpoint

    def send(self, message: bytes, **_: object) -> bytes:
        """One message, once, whatever patience pypsrp would have."""
        return self.connection.post(message)

    def close(self) -> None:
        """The connection is closed by who opened it."""


class Shell:
    """A runspace pool on the host. ``may_exist``: the host may have it and has not been seen to delete it."""

    def __init__(self, connection: HttpConnection, target: Target) -> None:
        self.may_exist = False
        self._target = target
        self._carrier = _Carrier(connection)
        # What it would connect with is replaced before it does.
        self._wsman = WSMan(target.address)
        self._wsman.transport = self._carrier  # type: ignore[assignment]
        name = target.configuration_name or _CONFIGURATION
        self._pool = RunspacePool(self._wsman, configuration_name=name, no_profile=True, idle_timeout=IDLE_S)
        self._pool._serializer = self._pool._fragmenter.serializer = _Serializer()

    def open(self) -> None:
        """Have the host make it. Raises HostError."""
        pool = self._pool
        self.may_exist = True
        with talking(self._target):
            try:
                pool.open()
            except WSManFaultError as error:
                self.may_exist = pool.shell.opened
                if error.code != TIMED_OUT or not self.may_exist:
                    raise
            while pool.state == RunspacePoolState.NEGOTIATION_SENT:
                self._poll(pool._receive)
        if pool.state != RunspacePoolState.OPENED:
            raise RemoteError(f"{self._target.address} opened no PowerShell session")

    def run(
        self,
        script: str,
        arguments: tuple[str, ...],
        put_out: Callable[[str], None],
        put_error: Callable[[str], None],
    ) -> None:
        """Run the script, or a session configuration's function, and hand on what it says as it comes."""
        pipeline = PowerShell(self._pool)
        is_script = not self._target.configuration_name
        pipeline.commands.append(
            _Command(
                script if is_script else FUNCTION,
                protocol_version=self._pool.protocol_version or "",
                is_script=is_script,
                use_local_scope=True if is_script else None,
            )
        )
        for argument in arguments:
            pipeline.add_argument(argument)
        with talking(self._target):
            pipeline.begin_invoke(remote_stream_options=0)
        while pipeline.state == PSInvocationState.RUNNING:
            with talking(self._target):
                self._poll(pipeline.poll_invoke)
            said, pipeline.output = pipeline.output, []
            if said:
                put_out("".join(f"{text}\n" for text in said))
            errors, pipeline.streams.error = pipeline.streams.error, []
            if errors:
                put_error("".join(f"{_words(error)}\n" for error in errors))

    def delete(self, connection: HttpConnection) -> None:
        """Have the host end it and all that runs in it."""
        self._carrier.connection = connection
        selectors = SelectorSet()
        selectors.add_option("ShellId", self._pool.id)
        with talking(self._target):
            self._wsman.delete(self._pool.shell.resource_uri, selector_set=selectors)
        self.may_exist = False

    def _poll(self, receive: Callable[[], object]) -> None:
        try:
            receive()
        except WSManFaultError as error:
            # Nothing to say within the operation's time: ask again.
            if error.code != TIMED_OUT:
                raise


def _words(error: Any) -> str:
    """One line. The id names the trouble in every language: CommandNotFoundException, ..."""
    message = " ".join(str(error).split()) or error.details_message or error.message or ""
    return f"{message} ({error.fq_error})" if error.fq_error and error.fq_error not in message else message
