"""Turns a YAML file into the description of one simulated host."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from fleet.errors import Mistake
from fleet.lab.reading import DescriptionError, Reader
from fleet.lab.windows import Windows
from fleet.lab.windows_reading import windows_readers
from fleet.lab.winrm.words import WinrmFault
from fleet.model.words import OS, Become, Connection, Phase, Reason, Word

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*\Z")
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NO_INSTANT = re.compile(rb"\{[td]-(?!\d+\})[^}\s]{0,20}\}")

LOG_PATHS = {
    "azcmagent": "/var/opt/azcmagent/log/azcmagent.log",
    "himds": "/var/opt/azcmagent/log/himds.log",
    "arcproxy": "/var/opt/azcmagent/log/arcproxy.log",
    "gc_agent": "/var/lib/GuestConfig/arc_policy_logs/gc_agent.log",
    "gc_ext": "/var/lib/GuestConfig/ext_mgr_logs/gc_ext.log",
    "install": "/var/log/dpkg.log",
}
MAX_LOG_BYTES = 1 << 30
UNITS = ("himdsd", "gcad", "extd", "arcproxyd")


class Fault(StrEnum):
    """What is wrong with the host as an SSH server; the agent has its own trouble."""

    NONE = "none"
    NO_ANSWER = "no-answer"
    CONNECTION_REFUSED = "connection-refused"
    NOT_SSH = "not-ssh"
    SILENT_AFTER_ACCEPT = "silent-after-accept"
    WRONG_HOST_KEY = "wrong-host-key"
    SILENT_AT_LOGIN = "silent-at-login"
    CLOSES_EARLY = "closes-early"
    SILENT_AFTER_AUTH = "silent-after-auth"
    GARBAGE_OUTPUT = "garbage-output"
    SILENT_MID_OUTPUT = "silent-mid-output"
    CUT_OUTPUT = "cut-output"
    SLOW_OUTPUT = "slow-output"
    ENDLESS_OUTPUT = "endless-output"
    ZIP_BOMB = "zip-bomb"


class UnitState(StrEnum):
    """What systemd says about a unit. ``absent``: it does not know it; ``restarting``: it ends again and
    again, and systemd waits to start it once more."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    FAILED = "failed"
    RESTARTING = "restarting"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent's answers. ``heartbeat_age_s`` None: never one. ``garbage``: every command prints it instead.

    ``unreachable``: endpoints ``check`` finds closed. ``has_json`` False: an agent too old for ``-j``.
    ``certificate_days``: how long the certificate of its identity lasts; None: it has none.
    """

    is_absent: bool = False
    hangs: bool = False
    fails: bool = False
    has_json: bool = True
    garbage: str = ""
    delay_s: int = 0
    version: str = "1.67.03535.1012"
    status: str = "Connected"
    heartbeat_age_s: int | None = None
    resource_name: str = ""
    resource_group: str = ""
    subscription_id: str = ""
    tenant_id: str = ""
    location: str = ""
    cloud: str = "AzureCloud"
    error_code: str = ""
    error_details: str = ""
    https_proxy: str = ""
    unreachable: tuple[str, ...] = ()
    certificate_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How the host is logged in to. An empty password: by key. ``sudo_password``: sudo asks for it."""

    is_refused: bool = False
    password: str = ""
    become: Become = Become.SHELL
    sudo_password: str = ""
    is_sudo_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What fleet must say: the verdict, why and in which phase nobody looked, the rule that is the cause.

    ``code``: the AZCM code of one of the active findings, the cause or its symptom. ``also``: more rules that
    find something, now or in the host's history.
    """

    verdict: Word
    reason: Reason | None = None
    phase: Phase | None = None
    rule: str | None = None
    code: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDescription:
    """One simulated host. What ``logs`` and ``journal`` hold may name instants: ``{t-60}``, ``{d-60}``.

    ``repeat``: how often a log's content stands in its file, where not once. ``windows``: what only a Windows
    host has, in place of ``os_release``, ``services``, ``journal``, ``login`` and ``fault``.
    """

    name: str
    summary: str
    group: str
    expect: Expectation
    labels: tuple[tuple[str, str], ...] = ()
    os_release: str = ""
    agent: Agent = field(default_factory=Agent)
    services: tuple[tuple[str, UnitState], ...] = ()
    config: tuple[tuple[str, str], ...] = ()
    logs: tuple[tuple[str, bytes], ...] = ()
    repeat: tuple[tuple[str, int], ...] = ()
    journal: tuple[tuple[str, str], ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()
    login: Login = field(default_factory=Login)
    fault: Fault = Fault.NONE
    windows: Windows | None = None

    def unit(self, name: str) -> UnitState:
        """The state of a unit (without its suffix): active unless told, absent where there is no agent."""
        told = dict(self.services).get(name)
        if told is not None:
            return told
        known = name in UNITS and not self.agent.is_absent
        return UnitState.ACTIVE if known else UnitState.ABSENT


def load_demo() -> tuple[HostDescription, ...]:
    """The hosts of the demo, in the order of their names: those of the wheel, or of the checkout."""
    packed = Path(__file__).with_name("demo")
    return load_descriptions(packed if packed.is_dir() else Path(__file__).parents[2] / "inventory" / "demo")


def load_descriptions(folder: Path) -> tuple[HostDescription, ...]:
    """Every ``*.yaml`` of a folder, by name. Raises DescriptionError with the mistakes of all of them."""
    found: dict[str, HostDescription] = {}
    mistakes: list[Mistake] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            host = load_description(path)
        except DescriptionError as error:
            mistakes += error.mistakes
            continue
        if host.name in found:
            mistakes.append(
                Mistake(path=str(path), line=0, text=f"another file has a host {host.name!r}, too")
            )
        found[host.name] = host
    if mistakes:
        raise DescriptionError(mistakes)
    return tuple(found.values())


def load_description(path: Path) -> HostDescription:
    """One file. Raises DescriptionError with every mistake in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DescriptionError([Mistake(path=str(path), line=0, text=f"cannot be read: {why}")]) from error
    return parse_description(text, str(path))


def parse_description(text: str, path: str) -> HostDescription:
    """The description in a YAML text; ``path`` names it in mistakes. Raises DescriptionError."""
    reader = Reader(path)
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 0
        raise DescriptionError([Mistake(path=path, line=line, text=exc.problem or "not YAML")]) from exc
    if root is None:
        raise DescriptionError([Mistake(path=path, line=1, text="it is empty: no host is described")])
    description = _host(reader, root)
    if reader.mistakes:
        raise DescriptionError(reader.mistakes)
    return description


def _host(reader: Reader, root: yaml.Node) -> HostDescription:
    is_windows = _is_windows(reader, root)
    own = windows_readers(reader, tuple(LOG_PATHS)) if is_windows else _linux_readers(reader)
    readers: dict[str, Callable[[yaml.Node], object]] = {
        "os": reader.text,
        "name": reader.text,
        "summary": reader.text,
        "group": reader.text,
        "expect": lambda node: _expect(reader, node),
        "labels": reader.pairs,
        "agent": lambda node: _agent(reader, node),
        "config": reader.pairs,
        "logs": lambda node: _logs(reader, node),
        "repeat": lambda node: _repeat(reader, node),
        "extensions": lambda node: _extensions(reader, node),
        **own,
    }
    found = reader.fields(root, readers)
    for key in ("name", "summary", "group", "expect"):
        if key not in found:
            reader.wrong(root, f"{key!r} is missing")
    values = {key: readers[key](node) for key, node in found.items() if key in readers}
    values.pop("os", None)
    if "name" in found and not _NAME.match(str(values["name"])):
        reader.wrong(found["name"], "a name is letters, digits, '.' and '-'")
    _check_sizes(reader, found, values)
    blank = {"name": "", "summary": "", "group": "", "expect": Expectation(verdict=Word.HEALTHY)}
    if is_windows:
        windows = Windows(**{key: values.pop(key) for key in own if key in values})  # type: ignore[arg-type]
        if windows.login.connection is Connection.SSH and windows.fault is not WinrmFault.NONE:
            reader.wrong(found["fault"], "no fault of WinRM is one of a host that is reached over ssh")
        values["windows"] = windows
    return HostDescription(**(blank | values))  # type: ignore[arg-type]


def _is_windows(reader: Reader, root: yaml.Node) -> bool:
    """Which keys it may have, and what they hold, hangs on this one."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    nodes = [value for key, value in pairs if key.value == "os"]
    return bool(nodes) and reader.word(OS, nodes[0]) is OS.WINDOWS


def _linux_readers(reader: Reader) -> Mapping[str, Callable[[yaml.Node], object]]:
    return {
        "os_release": reader.text,
        "services": lambda node: _services(reader, node),
        "journal": lambda node: reader.pairs(node, UNITS),
        "login": lambda node: _login(reader, node),
        "fault": lambda node: reader.word(Fault, node),
    }


def _check_sizes(reader: Reader, found: Mapping[str, yaml.Node], values: Mapping[str, object]) -> None:
    sizes = dict(values.get("logs", ()))  # type: ignore[call-overload]
    for name, times in values.get("repeat", ()):  # type: ignore[attr-defined]
        if name not in sizes:
            reader.wrong(found["repeat"], f"no log {name!r} to repeat")
        elif len(sizes[name]) * times > MAX_LOG_BYTES:
            reader.wrong(found["repeat"], f"{name!r} would be larger than {MAX_LOG_BYTES >> 20} MiB")


def _agent(reader: Reader, node: yaml.Node) -> Agent:
    renamed = {"absent": "is_absent", "json": "has_json"}
    readers: dict[str, Callable[[yaml.Node], object]] = {
        **dict.fromkeys(("absent", "hangs", "fails", "json"), reader.flag),
        **dict.fromkeys(("delay_s", "heartbeat_age_s", "certificate_days"), reader.number),
        **dict.fromkeys(("garbage", "version", "status", "cloud", "location", "https_proxy"), reader.text),
        **dict.fromkeys(("resource_name", "resource_group", "subscription_id", "tenant_id"), reader.text),
        **dict.fromkeys(("error_code", "error_details"), reader.text),
        "unreachable": reader.texts,
    }
    found = reader.fields(node, readers)
    values = {renamed.get(key, key): readers[key](value) for key, value in found.items() if key in readers}
    return Agent(**values)  # type: ignore[arg-type]


def _logs(reader: Reader, node: yaml.Node) -> tuple[tuple[str, bytes], ...]:
    logs = tuple(
        (name, value, reader.content(value)) for name, value in reader.fields(node, LOG_PATHS).items()
    )
    for _, value, text in logs:
        if broken := _NO_INSTANT.search(text):
            shown = broken[0].decode("utf-8", "replace")
            reader.wrong(value, f"{shown} is no instant; one is {{t-SECONDS}} or {{d-SECONDS}}")
    return tuple((name, text) for name, _, text in logs)


def _repeat(reader: Reader, node: yaml.Node) -> tuple[tuple[str, int], ...]:
    return tuple((name, reader.number(value)) for name, value in reader.fields(node, LOG_PATHS).items())


def _extensions(reader: Reader, node: yaml.Node) -> tuple[tuple[str, str], ...]:
    found = reader.fields(node, None)
    for name, value in found.items():
        # A folder has this name.
        if not _EXTENSION.match(name):
            reader.wrong(value, f"the name {name!r} is not of letters, digits, '.', '-' and '_'")
    return tuple((name, reader.text(value)) for name, value in found.items())


def _services(reader: Reader, node: yaml.Node) -> tuple[tuple[str, UnitState], ...]:
    found = reader.fields(node, UNITS)
    return tuple((name, reader.word(UnitState, value)) for name, value in found.items())


def _login(reader: Reader, node: yaml.Node) -> Login:
    found = reader.fields(node, ("refuse", "password", "become", "sudo_password", "sudo_refuse"))
    return Login(
        is_refused="refuse" in found and reader.flag(found["refuse"]),
        password=reader.text(found["password"]) if "password" in found else "",
        become=reader.word(Become, found["become"]) if "become" in found else Become.SHELL,
        sudo_password=reader.text(found["sudo_password"]) if "sudo_password" in found else "",
        is_sudo_refused="sudo_refuse" in found and reader.flag(found["sudo_refuse"]),
    )


def _expect(reader: Reader, node: yaml.Node) -> Expectation:
    found = reader.fields(node, ("verdict", "reason", "phase", "rule", "code", "also"))
    if "verdict" not in found:
        reader.wrong(node, "'verdict' is missing")
    return Expectation(
        verdict=reader.word(Word, found["verdict"]) if "verdict" in found else Word.HEALTHY,
        reason=reader.word(Reason, found["reason"]) if "reason" in found else None,
        phase=reader.word(Phase, found["phase"]) if "phase" in found else None,
        rule=reader.text(found["rule"]) if "rule" in found else None,
        code=reader.text(found["code"]) if "code" in found else None,
        also=reader.texts(found["also"]) if "also" in found else (),
    )
