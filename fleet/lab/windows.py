"""What a description says of a Windows host beside what every host has."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fleet.lab.winrm.words import WinrmFault
from fleet.model.words import Connection, Scheme, WinrmAuth

SERVICES = ("himds", "GCArcService", "ExtensionService", "arcproxy")


class ServiceState(StrEnum):
    """What the service manager says. ``absent``: it does not know the service."""

    RUNNING = "running"
    STOPPED = "stopped"
    START_PENDING = "start-pending"
    STOP_PENDING = "stop-pending"
    PAUSED = "paused"
    ABSENT = "absent"


class StartMode(StrEnum):
    """When the service manager starts it."""

    AUTO = "auto"
    MANUAL = "manual"
    DISABLED = "disabled"


class LanguageMode(StrEnum):
    """What PowerShell lets a script do: in the constrained one it answers in plain text."""

    FULL = "FullLanguage"
    CONSTRAINED = "ConstrainedLanguage"


class Rights(StrEnum):
    """Of the login. ``user``: neither services nor event logs, nor what is for administrators only."""

    ADMIN = "admin"
    USER = "user"


class Certificate(StrEnum):
    """The certificate that the host shows over HTTPS."""

    VALID = "valid"
    EXPIRED = "expired"
    SELF_SIGNED = "self-signed"
    WRONG_NAME = "wrong-name"


class Provider(StrEnum):
    """Whose events a visit reads."""

    SERVICES = "Service Control Manager"
    CRASHES = "Application Error"
    INSTALL = "MsiInstaller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. ``account`` empty: the one it is installed with. ``exit_code``: a Win32 error."""

    state: ServiceState = ServiceState.RUNNING
    start: StartMode = StartMode.AUTO
    account: str = ""
    exit_code: int = 0
    service_exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, so many seconds old when the lab starts."""

    provider: Provider
    id: int
    age_s: int
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The machine. ``language``: its number, such as 1031; ``domain`` empty: a workgroup; ``behind_s``: by
    how much its clock is late."""

    caption: str = "Microsoft Windows Server 2022 Standard"
    build: int = 20348
    revision: int = 2700
    edition: str = "ServerStandard"
    installation_type: str = "Server"
    language: int = 1033
    domain: str = "corp.example"
    is_controller: bool = False
    timezone: str = "W. Europe Standard Time"
    offset: str = "+0100"
    powershell: str = "5.1.20348.2700"
    language_mode: LanguageMode = LanguageMode.FULL
    free_mb: int = 61_440
    up_s: int = 93_000
    behind_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is left of the service's identity. ``cleanup_days`` None: no policy deletes profiles."""

    has_profile: bool = True
    certificates: int = 1
    cleanup_days: int | None = None
    has_config: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Of the machine's environment, and what WinHTTP has, which the agent does not heed."""

    https_proxy: str = ""
    http_proxy: str = ""
    no_proxy: str = ""
    winhttp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """``suites``: what it offers; ``policy``: those that a group policy orders; ``protocols``: by protocol
    and side whether it is switched on."""

    suites: tuple[str, ...] = (
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    )
    policy: str = ""
    protocols: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsLogin:
    """How the host is logged in to. An empty password: over WinRM one that the lab draws, over SSH none but
    a key. ``configuration``: the session configuration (JEA) that offers the visit, empty where the script
    is run; like all below it of WinRM only."""

    connection: Connection = Connection.WINRM
    user: str = r"CORP\svc-fleet"
    password: str = ""
    rights: Rights = Rights.ADMIN
    configuration: str = ""
    auth: WinrmAuth = WinrmAuth.NEGOTIATE
    scheme: Scheme = Scheme.HTTP
    certificate: Certificate = Certificate.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """All of it only where it is not as usual. ``utf16``: logs in that encoding. ``rights``: whom a policy
    lets log on as a service; None: no policy says. ``has_license``: for security updates. ``bodies``: what
    the host says of an item in place of the truth."""

    system: System = field(default_factory=System)
    services: tuple[tuple[str, Service], ...] = ()
    events: tuple[Event, ...] = ()
    identity: Identity = field(default_factory=Identity)
    proxies: Proxies = field(default_factory=Proxies)
    tls: Tls = field(default_factory=Tls)
    time_server: str = ""
    rights: tuple[str, ...] | None = None
    has_license: bool = False
    utf16: tuple[str, ...] = ()
    bodies: tuple[tuple[str, bytes], ...] = ()
    login: WindowsLogin = field(default_factory=WindowsLogin)
    fault: WinrmFault = WinrmFault.NONE

    def service(self, name: str, *, is_installed: bool) -> Service:
        """As described; running, or where there is no agent absent."""
        usual = Service(state=ServiceState.RUNNING if is_installed else ServiceState.ABSENT)
        return dict(self.services).get(name, usual)
