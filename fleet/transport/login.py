"""One login over SSH: whose key the host shows, what it is offered, and how a refusal is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh

from fleet.errors import AuthError, CredentialError, HostError, IdentityError, UnreachableError
from fleet.model.host import Host
from fleet.model.words import HostKeyPolicy, Phase
from fleet.ports import Guard, Permit, Phases
from fleet.transport.known_hosts import KnownHosts
from fleet.transport.wording import shown, why

# OpenSSH's order, so that a key it wrote down is the one we are shown; by algorithm, the type of its key.
KEY_ALGS = {
    "ssh-ed25519": "ssh-ed25519",
    "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
    "rsa-sha2-512": "ssh-rsa",
    "rsa-sha2-256": "ssh-rsa",
    "ssh-ed448": "ssh-ed448",
    "ssh-rsa": "ssh-rsa",
}


class Login(asyncssh.SSHClient):
    """One login: checks the host key, hands out the password at most once, tells the phases."""

    def __init__(
        self,
        host: Host,
        known: KnownHosts | None,
        password: str | None,
        guard: Guard,
        phases: Phases,
        permits: AsyncExitStack,
    ) -> None:
        self.host = host
        self.known = known
        self.password_sent = False
        self.trouble: HostError | None = None
        self.key_types: frozenset[str] = frozenset()
        self._password = password
        self._guard = guard
        self._phases = phases
        self._permits = permits
        self._permit: Permit | None = None
        self._peer = ""
        self._was_asked = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._phases.enter(Phase.HANDSHAKE)

    def enter(self, phase: Phase) -> None:
        self._phases.enter(phase)

    def key_algs(self, peer: str) -> tuple[str, ...]:
        """The host key algorithms to offer; none to let asyncssh follow the plain entries of the host."""
        if self.key_types:
            return tuple(alg for alg, kind in KEY_ALGS.items() if kind in self.key_types)
        if self.known is not None and any(self.known.match(self.host, peer)[:2]):
            return ()
        return tuple(KEY_ALGS)

    def match(self, host: str, addr: str, port: int | None) -> tuple[list[Any], ...]:
        self._peer = addr
        assert self.known is not None
        return self.known.match(self.host, addr)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        # Asked only when the plain entries do not hold the key.
        if self.known is None or self.known.is_known(self.host, self._peer, key):
            return True
        shown = key.get_fingerprint()
        on_record = self.known.key_types(self.host, self._peer)
        if on_record:
            if key.algorithm.decode("ascii", "replace") not in on_record:
                self.key_types = on_record
            self.trouble = IdentityError(f"the host key changed: {shown} is not the one in {self.known.path}")
            return False
        if self.host.host_key_policy is HostKeyPolicy.ACCEPT_NEW:
            try:
                self.known.add(self.host, key)
            except IdentityError as error:
                self.trouble = error
                return False
            return True
        self.trouble = IdentityError(
            f"the host key is not known: {self.known.path} has none for this host, which shows {shown}",
            action="Get its key by a way you trust (`ssh-keyscan` from a network you trust, the console), "
            "compare it and add it to known_hosts.",
        )
        return False

    def begin_auth(self, username: str) -> None:
        self._phases.enter(Phase.AUTH)

    async def password_auth_requested(self) -> str | None:
        if self._password is None or self.password_sent:
            return None
        try:
            self._permit = await self._permits.enter_async_context(
                self._guard.attempt("login", self.host.user, self._password)
            )
        except CredentialError as error:
            self.trouble = error
            return None
        self.password_sent = True
        return self._password

    async def kbdint_auth_requested(self) -> str | None:
        # Once: sshd without PAM offers the method, fails it without a question and offers it again.
        if self._password is None or self.password_sent or self._was_asked:
            return None
        self._was_asked = True
        return ""

    async def kbdint_challenge_received(
        self,
        name: str,
        instructions: str,
        lang: str,
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        if not prompts:
            return []
        if len(prompts) > 1 or "passw" not in prompts[0][0].lower():
            return None
        password = await self.password_auth_requested()
        return None if password is None else [password]

    def accepted(self) -> None:
        if self._permit is not None:
            self._permit.accepted()

    def refused(self) -> None:
        if self._permit is not None:
            self._permit.refused()


@asynccontextmanager
async def border(login: Login) -> AsyncIterator[None]:
    """Narrow before wide: what asyncssh raises becomes a HostError."""
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise login.trouble or IdentityError(f"the host key was not accepted: {error.reason}") from error
    except asyncssh.PermissionDenied as error:
        login.refused()
        raise login.trouble or AuthError(_auth_message(login)) from error
    except asyncssh.KeyExchangeFailed as error:
        if login.key_types:
            raise IdentityError(
                "the host key changed: the host has none of a type on record any more"
            ) from error
        raise UnreachableError(f"no common SSH algorithms: {shown(error.reason)}") from error
    except asyncssh.DisconnectError as error:
        if "authentication failures" in error.reason:
            login.refused()
            raise login.trouble or AuthError(_auth_message(login)) from error
        raise login.trouble or UnreachableError(
            f"the SSH connection failed: {shown(error.reason)}"
        ) from error
    except asyncssh.Error as error:
        raise UnreachableError(f"the SSH connection failed: {shown(str(error))}") from error
    except OSError as error:
        raise UnreachableError(f"the connection broke: {why(error)}") from error
    except ValueError as error:
        raise UnreachableError(f"the peer does not speak SSH: {shown(str(error))}") from error


def _auth_message(login: Login) -> str:
    host = login.host
    if login.password_sent:
        return f"{host.address} refused the password of {host.user}"
    if host.key_file is None:
        return f"{host.address} does not take passwords for {host.user}"
    return f"{host.address} refused the key of {host.user} ({host.key_file})"
