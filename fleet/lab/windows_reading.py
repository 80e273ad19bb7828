"""Reads what a description says of a Windows host."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import yaml

from fleet.lab.reading import Reader
from fleet.lab.windows import (
    SERVICES,
    Certificate,
    Event,
    Identity,
    LanguageMode,
    Provider,
    Proxies,
    Rights,
    Service,
    ServiceState,
    StartMode,
    System,
    Tls,
    WindowsLogin,
)
from fleet.lab.winrm.words import WinrmFault
from fleet.model.words import Connection, Scheme, WinrmAuth

_OFFSET = re.compile(r"[+-]\d{4}\Z")
_ITEM = re.compile(r"[a-z]+(?:[.-][a-z_]+)*\Z")
_PROTOCOL = re.compile(r"(?:TLS|SSL) \d\.\d/(?:Client|Server)\Z")
_T = TypeVar("_T")
_Readers = Mapping[str, Callable[[yaml.Node], object]]


def windows_readers(reader: Reader, logs: tuple[str, ...]) -> _Readers:
    """The keys of a Windows host, which are the fields of :class:`Windows`."""
    return {
        "system": lambda node: _system(reader, node),
        "services": lambda node: _services(reader, node),
        "events": lambda node: tuple(_event(reader, each) for each in reader.items(node)),
        "identity": lambda node: _identity(reader, node),
        "proxies": lambda node: _made(reader, node, Proxies, dict.fromkeys(_names(Proxies), reader.text)),
        "tls": lambda node: _tls(reader, node),
        "time_server": reader.text,
        "rights": reader.texts,
        "has_license": reader.flag,
        "utf16": lambda node: _utf16(reader, node, logs),
        "bodies": lambda node: _bodies(reader, node),
        "login": lambda node: _login(reader, node),
        "fault": lambda node: reader.word(WinrmFault, node),
    }


def _names(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _made(reader: Reader, node: yaml.Node, kind: Callable[..., _T], readers: _Readers) -> _T:
    found = reader.fields(node, readers)
    return kind(**{key: readers[key](value) for key, value in found.items() if key in readers})


def _system(reader: Reader, node: yaml.Node) -> System:
    readers: _Readers = {
        **dict.fromkeys(_names(System), reader.text),
        **dict.fromkeys(("build", "revision", "language", "free_mb", "up_s", "behind_s"), reader.number),
        "is_controller": reader.flag,
        "language_mode": lambda value: reader.word(LanguageMode, value),
        "offset": lambda value: _matching(reader, value, _OFFSET, "an offset such as +0100"),
    }
    return _made(reader, node, System, readers)


def _matching(reader: Reader, node: yaml.Node, pattern: re.Pattern[str], wanted: str) -> str:
    text = reader.text(node)
    if not pattern.match(text):
        reader.wrong(node, f"expected {wanted}, not {text!r}")
    return text


def _services(reader: Reader, node: yaml.Node) -> tuple[tuple[str, Service], ...]:
    found = reader.fields(node, SERVICES)
    return tuple((name, _service(reader, value)) for name, value in found.items())


def _service(reader: Reader, node: yaml.Node) -> Service:
    if isinstance(node, yaml.ScalarNode):
        return Service(state=reader.word(ServiceState, node))
    readers: _Readers = {
        "state": lambda value: reader.word(ServiceState, value),
        "start": lambda value: reader.word(StartMode, value),
        "account": reader.text,
        "exit_code": reader.number,
        "service_exit_code": reader.number,
    }
    return _made(reader, node, Service, readers)


def _event(reader: Reader, node: yaml.Node) -> Event:
    readers: _Readers = {
        "provider": lambda value: reader.word(Provider, value),
        **dict.fromkeys(("id", "age_s"), reader.number),
        "properties": reader.texts,
    }
    for key in ("provider", "id", "age_s"):
        if isinstance(node, yaml.MappingNode) and key not in {name.value for name, _ in node.value}:
            reader.wrong(node, f"{key!r} is missing")
    blank: dict[str, Any] = {"provider": Provider.SERVICES, "id": 0, "age_s": 0}
    return _made(reader, node, lambda **given: Event(**(blank | given)), readers)


def _identity(reader: Reader, node: yaml.Node) -> Identity:
    readers: _Readers = {
        "has_profile": reader.flag,
        "has_config": reader.flag,
        "certificates": reader.number,
        "cleanup_days": reader.number,
    }
    return _made(reader, node, Identity, readers)


def _tls(reader: Reader, node: yaml.Node) -> Tls:
    def protocols(value: yaml.Node) -> tuple[tuple[str, bool], ...]:
        found = reader.fields(value, None)
        for name, each in found.items():
            if not _PROTOCOL.match(name):
                reader.wrong(each, f"{name!r} is no protocol such as TLS 1.2/Client")
        return tuple((name, reader.flag(each)) for name, each in found.items())

    readers: _Readers = {"suites": reader.texts, "policy": reader.text, "protocols": protocols}
    return _made(reader, node, Tls, readers)


def _utf16(reader: Reader, node: yaml.Node, logs: tuple[str, ...]) -> tuple[str, ...]:
    names = reader.texts(node)
    for name in names:
        if name not in logs:
            reader.wrong(node, f"no log {name!r}; known are {', '.join(sorted(logs))}")
    return names


def _bodies(reader: Reader, node: yaml.Node) -> tuple[tuple[str, bytes], ...]:
    found = reader.fields(node, None)
    for name, value in found.items():
        if not _ITEM.match(name):
            reader.wrong(value, f"{name!r} is no item")
    return tuple((name, reader.content(value)) for name, value in found.items())


def _login(reader: Reader, node: yaml.Node) -> WindowsLogin:
    readers: _Readers = {
        **dict.fromkeys(("user", "password", "configuration"), reader.text),
        "connection": lambda value: reader.word(Connection, value),
        "rights": lambda value: reader.word(Rights, value),
        "auth": lambda value: reader.word(WinrmAuth, value),
        "scheme": lambda value: reader.word(Scheme, value),
        "certificate": lambda value: reader.word(Certificate, value),
    }
    login = _made(reader, node, WindowsLogin, readers)
    if login.connection is Connection.LOCAL:
        reader.wrong(node, "a simulated Windows host is reached over winrm or ssh")
    if login.connection is Connection.SSH and login != _of_ssh(login):
        reader.wrong(node, "auth, scheme, certificate and configuration are for `connection: winrm`")
    if login.auth is WinrmAuth.KERBEROS:
        reader.wrong(node, "no lab has a domain: kerberos cannot be")
    if login.auth in (WinrmAuth.BASIC, WinrmAuth.CERTIFICATE) and login.scheme is not Scheme.HTTPS:
        reader.wrong(node, f"{login.auth} needs `scheme: https`")
    return login


def _of_ssh(login: WindowsLogin) -> WindowsLogin:
    """What of a login counts over SSH."""
    return WindowsLogin(
        connection=login.connection, user=login.user, password=login.password, rights=login.rights
    )
