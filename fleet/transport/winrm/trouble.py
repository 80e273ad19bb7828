"""What pypsrp and the socket raise, told as a HostError; the types are listed, what is not is a bug."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager

from pypsrp.exceptions import WinRMError, WinRMTransportError, WSManFaultError

from fleet.errors import HostError, PrivilegeError, RemoteError, UnreachableError
from fleet.transport.winrm.frames import Target
from fleet.transport.wording import shown, why

# Codes of [MS-WSMV] and winerror.h.
ACCESS_DENIED = 5
ABORTED = 995
TIMED_OUT = 2150858793
SHELL_GONE = 2150858843
QUOTA = 2150859173
# Both are "invalid resource URI": the name of a session configuration that nobody registered.
NO_CONFIGURATION = (2150858811, 2150858754)

_AFTER_LOGIN = (
    "Run again; if it breaks again, see on the host why (Event Viewer, Microsoft-Windows-WinRM/Operational)."
)
_SHELLS = (
    "End what holds the account's shells (`Get-WSManInstance -ResourceURI Shell -Enumerate` on the host), or "
    "allow more: `Set-Item WSMan:\\localhost\\Shell\\MaxShellsPerUser`."
)
_RIGHTS = (
    "Put the account into the host's group Remote Management Users or Administrators; for a session "
    "configuration (JEA) into one of its roles."
)
_REGISTER = (
    "See what is registered on the host (`Get-PSSessionConfiguration`): `Enable-PSRemoting -Force` registers "
    "the usual one, the files of `fleet privileges jea` one for fleet, which `configuration_name` names."
)
# An answer of another shape makes pypsrp trip over it in one of these ways; no code of fleet runs inside.
_ODD = (
    WinRMError,
    ET.ParseError,
    ValueError,
    struct.error,
    LookupError,
    AttributeError,
    TypeError,
    RecursionError,
)


@contextmanager
def talking(target: Target) -> Iterator[None]:
    """Around calls of pypsrp and nothing else: what they raise becomes a HostError."""
    try:
        yield
    except WSManFaultError as error:
        raise _of_fault(target, error) from error
    except WinRMTransportError as error:
        raise RemoteError(f"{target.address} answered with HTTP {error.code} instead of a message") from error
    except HostError:
        raise
    except _ODD as error:
        raise RemoteError(
            f"{target.address} answered what no WinRM says: {shown(str(error))[:300] or type(error).__name__}"
        ) from error


@contextmanager
def on_the_wire(target: Target) -> Iterator[None]:
    """Around all of a visit: what its sockets raise becomes a HostError."""
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(f"no answer from {target.address}") from error
    except OSError as error:
        raise UnreachableError(f"the connection broke: {why(error)}", action=_AFTER_LOGIN) from error


def _of_fault(target: Target, error: WSManFaultError) -> HostError:
    who = target.user or "this login"
    words = shown(" ".join(str(error.provider_fault or error.reason or "no reason given").split()))[:300]
    if error.code == ACCESS_DENIED:
        what = target.configuration_name or "a PowerShell session"
        return PrivilegeError(f"{target.address} let {who} log in and denied {what}: {words}", action=_RIGHTS)
    if error.code == QUOTA:
        return RemoteError(
            f"{target.address} opens no more shells for {who}: the quota is used up", action=_SHELLS
        )
    if error.code == SHELL_GONE:
        return RemoteError(f"{target.address} ended the shell during the visit: {words}", action=_AFTER_LOGIN)
    if error.code in NO_CONFIGURATION:
        name = target.configuration_name or "of the usual name"
        return RemoteError(f"{target.address} has no session configuration {name}: {words}", action=_REGISTER)
    where = f" (session configuration {target.configuration_name})" if target.configuration_name else ""
    code = f"fault {error.code}" if error.code is not None else "a fault without a code"
    return RemoteError(f"{target.address} refused with {code}{where}: {words}")
