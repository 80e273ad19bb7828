"""The closed words: the same in types, database, CSV, HTML, JSON and on the terminal."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Severity(StrEnum):
    """How much a finding matters; the order of ``RANK`` is worst first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class State(StrEnum):
    """Whether a finding holds now, or was survived."""

    ACTIVE = "active"
    HISTORICAL = "historical"


class Word(StrEnum):
    """The verdict on a host."""

    FAILING = "FAILING"
    DEGRADED = "DEGRADED"
    HEALTHY = "HEALTHY"
    NOT_OBSERVED = "NOT_OBSERVED"


class Observed(StrEnum):
    """How much of what the pack requires was read."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


class Reason(StrEnum):
    """Why a host was not observed."""

    UNREACHABLE = "unreachable"
    IDENTITY = "identity"
    AUTH = "auth"
    CREDENTIAL = "credential"
    PRIVILEGE = "privilege"
    DEADLINE = "deadline"
    REMOTE = "remote"
    PARTIAL = "partial"
    SKIPPED = "skipped"
    BUG = "bug"


class Phase(StrEnum):
    """The stations of a visit; each has a deadline of its own."""

    GATEWAY = "gateway"
    RESOLVE = "resolve"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    BECOME = "become"
    EXEC = "exec"
    TRANSFER = "transfer"


class Privilege(StrEnum):
    """With which privilege a section was read."""

    USER = "user"
    SUDO = "sudo"
    ROOT = "root"
    ADMIN = "admin"


class Connection(StrEnum):
    """How a host is reached."""

    SSH = "ssh"
    LOCAL = "local"
    WINRM = "winrm"


class Become(StrEnum):
    """Which privilege a visit may ask for: none, sudo for single reads, or sudo for the whole script."""

    NONE = "none"
    READS = "reads"
    SHELL = "shell"


class HostKeyPolicy(StrEnum):
    """What a host key that is not on record means."""

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"
    OFF = "off"


class Scheme(StrEnum):
    """What carries WinRM: HTTP, whose bodies the login seals, or HTTPS."""

    HTTP = "http"
    HTTPS = "https"


class WinrmAuth(StrEnum):
    """How a login over WinRM is proved."""

    KERBEROS = "kerberos"
    NEGOTIATE = "negotiate"
    NTLM = "ntlm"
    BASIC = "basic"
    CERTIFICATE = "certificate"


class CheckMode(StrEnum):
    """When ``azcmagent check`` runs: auto is only on a host that is not Connected."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class OS(StrEnum):
    """The family a host belongs to."""

    LINUX = "linux"
    WINDOWS = "windows"


class ExitCode(IntEnum):
    """What the program ends with; the first that holds, in the order of ``docs/exit-codes.md``."""

    OK = 0
    UNHEALTHY = 1
    USAGE = 2
    NOT_OBSERVED = 3
    STORE = 4
    LOCKED = 5
    DEADLINE = 6
    BUG = 70
    INTERRUPTED = 130
