"""Turns one host's WS-Management requests into its shells and commands ([MS-WSMV] 3.1.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from fleet.lab.winrm import soap
from fleet.lab.winrm.cmd import CmdShell
from fleet.lab.winrm.psrp import PsrpShell
from fleet.lab.winrm.shells import Shell
from fleet.lab.winrm.soap import SHELL, Action, Envelope
from fleet.lab.winrm.words import TIMED_OUT_POLLS, Reply, Request, Respond, WinrmCounters, WinrmFault

POWERSHELL = "http://schemas.microsoft.com/powershell/"
DEFAULT_CONFIGURATION = "Microsoft.PowerShell"
_CMD = f"{SHELL}/cmd"
_ENDLESS = "all work and no play " * 16_000


class Service:
    """The shells of one host. ``configurations``: its JEA endpoints, which run commands and no scripts."""

    def __init__(
        self,
        respond: Respond,
        counters: WinrmCounters,
        on_bug: Callable[[BaseException], None],
        *,
        fault: WinrmFault,
        quota: int | None,
        configurations: Sequence[str],
    ) -> None:
        self._respond = _never if fault is WinrmFault.ENDLESS_OUTPUT else respond
        self._counters, self._on_bug = counters, on_bug
        self._fault, self._quota = fault, quota
        self._restricted = {name.lower() for name in configurations}
        self._shells: dict[str, Shell] = {}
        self._polls = 0

    async def answer(self, envelope: Envelope, user: str) -> tuple[str, str]:
        """The action and the body of the answer to a request.

        Raises:
            WsmanFaultError: It is answered by a fault.
            BrokenHostError: What answers for the host had a bug.
        """
        self._check_resource(envelope)
        match envelope.action:
            case Action.CREATE:
                body = self._create(envelope, user)
            case Action.COMMAND:
                body = self._command(self._shell(envelope, user), envelope)
            case Action.SEND:
                body = self._send(self._shell(envelope, user), envelope)
            case Action.RECEIVE:
                body = await self._receive(self._shell(envelope, user), envelope)
            case Action.SIGNAL:
                body = self._signal(self._shell(envelope, user), envelope)
            case Action.DELETE:
                body = await self._delete(self._shell(envelope, user))
            case _:
                raise soap.unknown_action(envelope.action)
        return f"{envelope.action}Response", body

    async def close(self) -> None:
        """End what runs; the counters go on saying what a client has left open."""
        for shell in self._shells.values():
            await shell.close()

    def _check_resource(self, envelope: Envelope) -> None:
        uri = envelope.resource.lower()
        name = uri.removeprefix(POWERSHELL)
        if uri != _CMD and (name == uri or name not in {DEFAULT_CONFIGURATION.lower(), *self._restricted}):
            raise soap.unknown_resource(envelope.resource)

    def _create(self, envelope: Envelope, user: str) -> str:
        if self._fault is WinrmFault.ACCESS_DENIED:
            raise soap.access_denied()
        owned = sum(shell.user == user for shell in self._shells.values())
        if self._fault is WinrmFault.SHELL_QUOTA or (self._quota is not None and owned >= self._quota):
            raise soap.quota_exceeded()
        shell = self._new_shell(envelope, user)
        self._shells[shell.shell_id.upper()] = shell
        self._counters.shell_opened()
        return _created(shell, envelope.resource)

    def _new_shell(self, envelope: Envelope, user: str) -> Shell:
        body = envelope.required()
        if envelope.resource.lower() == _CMD:
            return CmdShell(body, user, self._respond, self._on_bug)
        name = envelope.resource.lower().removeprefix(POWERSHELL)
        return PsrpShell(body, user, self._respond, self._on_bug, runs_scripts=name not in self._restricted)

    def _shell(self, envelope: Envelope, user: str) -> Shell:
        shell = self._shells.get(envelope.shell_id.upper())
        if shell is None:
            raise soap.shell_not_found(envelope.shell_id)
        if shell.user != user:
            raise soap.access_denied()
        return shell

    def _command(self, shell: Shell, envelope: Envelope) -> str:
        self._counters.commands += 1
        command_id = shell.command(envelope.required())
        return (
            f"<rsp:CommandResponse><rsp:CommandId>{escape(command_id)}</rsp:CommandId></rsp:CommandResponse>"
        )

    def _send(self, shell: Shell, envelope: Envelope) -> str:
        self._counters.sends += 1
        shell.send(envelope.required())
        return "<rsp:SendResponse/>"

    async def _receive(self, shell: Shell, envelope: Envelope) -> str:
        self._counters.receives += 1
        wanted = envelope.required().find(f"{{{SHELL}}}DesiredStream")
        command_id = wanted.get("CommandId", "") if wanted is not None else ""
        outbox = shell.outbox(command_id)
        if command_id:
            await self._misbehave(shell, command_id)
        body = await outbox.fetch(envelope.message_id, envelope.max_bytes, envelope.timeout_s)
        if body is None:
            raise soap.timed_out()
        return body

    async def _misbehave(self, shell: Shell, command_id: str) -> None:
        match self._fault:
            case WinrmFault.TIMED_OUT_POLLING if self._polls < TIMED_OUT_POLLS:
                self._polls += 1
                raise soap.timed_out()
            case WinrmFault.SHELL_LOST:
                await self._end(shell)
                raise soap.shell_not_found(shell.shell_id)
            case WinrmFault.ENDLESS_OUTPUT if isinstance(shell, PsrpShell):
                shell.write(command_id, _ENDLESS)

    def _signal(self, shell: Shell, envelope: Envelope) -> str:
        self._counters.signals += 1
        body = envelope.required()
        shell.signal(body.get("CommandId", ""), body.findtext(f"{{{SHELL}}}Code") or "")
        return "<rsp:SignalResponse/>"

    async def _delete(self, shell: Shell) -> str:
        self._counters.deletes += 1
        if self._fault is WinrmFault.DELETE_FAILS:
            raise soap.aborted()
        await self._end(shell)
        return ""

    async def _end(self, shell: Shell) -> None:
        # Counted before anything is awaited: two requests may end the same shell.
        if self._shells.pop(shell.shell_id.upper(), None):
            self._counters.shells_open -= 1
        await shell.close()


async def _never(_request: Request) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError("nothing sets it")


def _created(shell: Shell, resource: str) -> str:
    shell_id, uri = escape(shell.shell_id), escape(resource)
    return (
        "<x:ResourceCreated><a:Address>http://localhost/wsman</a:Address><a:ReferenceParameters>"
        f'<w:ResourceURI>{uri}</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">{shell_id}'
        "</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"
        f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:ResourceUri>{uri}</rsp:ResourceUri>"
        f"<rsp:Owner>{escape(shell.user)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
        "<rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut>"
        f"<rsp:InputStreams>{shell.input_streams}</rsp:InputStreams>"
        f"<rsp:OutputStreams>{shell.output_streams}</rsp:OutputStreams>"
        "<rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime><rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity>"
        "</rsp:Shell>"
    )
