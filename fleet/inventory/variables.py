"""What an inventory writes for a variable into a checked setting that knows its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from fleet.inventory.document import BACKSLASH, Mistakes, Node, Scalar, Sequence, entries
from fleet.model.host import SSH_AGENT, SecretRef
from fleet.model.words import OS, Become, Connection, HostKeyPolicy, Scheme, WinrmAuth

LABEL = "labels."
"""A label is a variable of its own, ``labels.site``, so that labels merge by key."""

UNUSED_CA_FILE = "ca_file is used with cert_validation: strict only"
NO_BECOME = "is for Linux hosts: on Windows the account's own rights count"
SSH_ONLY = ("key_file", "become", "become_password", "known_hosts", "host_key_policy")
"""Variables that ``connection: winrm`` has no use for."""

BECOMES = ("become", "become_password")

_ADDRESS = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONFIGURATION = re.compile(r"[A-Za-z0-9_.-]+")
_PROXY = re.compile(r"(?:socks5h|http)://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})/?")
_HOST = "{host}"

STRICT = "strict"
_PIN = "sha256:"


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret before ``{host}`` is filled in; ``base`` is the folder of a relative path."""

    scheme: str
    base: str
    text: str

    def fill(self, host: str) -> SecretRef:
        """The reference of this host."""
        return SecretRef(scheme=self.scheme, target=self.base + fill_host(self.text, host))


def fill_host(text: str, host: str) -> str:
    """The text with the host's name for ``{host}``."""
    return text.replace(_HOST, host)


Value = str | int | Secret
"""Words of an enumeration are texts too."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable's checked value and where it was written; None is a value that was noted as a mistake."""

    value: Value | None
    line: int


Layer = dict[str, Setting]
"""Variable to setting, as one ``vars`` (or defaults, or a host's entry) gives them."""

_T = TypeVar("_T")
_D = TypeVar("_D")


def value_of(layer: Layer, variable: str, kind: type[_T], default: _D) -> _T | _D:
    """The variable's value; the default where it is not set, or was noted as a mistake."""
    setting = layer.get(variable)
    if setting is None or setting.value is None:
        return default
    assert isinstance(setting.value, kind)
    return setting.value


def is_sound(layer: Layer, variable: str) -> bool:
    """Not set, or with a value that can be used."""
    return variable not in layer or layer[variable].value is not None


@dataclass(frozen=True, slots=True)
class Places:
    """Where relative paths and ``~`` begin; both absolute."""

    folder: Path
    home: Path

    def base(self, text: str) -> tuple[str, str]:
        """The path as an absolute folder (ending with a slash, or empty) and the rest. Raises ValueError."""
        if text == "~" or text.startswith("~/"):
            return f"{self.home}/", text[2:]
        if text.startswith("~"):
            raise ValueError("'~' stands for your own home folder only: write ~/ or a whole path")
        return ("", text) if text.startswith("/") else (f"{self.folder}/", text)


def parse_layer(node: Node, what: str, places: Places, mistakes: Mistakes) -> Layer:
    """The checked variables of a mapping; what is wrong is noted, and its value is None.

    So is what is meant by a word that is nearly a variable's, and all that may stand in what is no mapping:
    nothing else is wrong because of it.
    """
    layer: Layer = {}
    if isinstance(node, Sequence) or (isinstance(node, Scalar) and not node.is_empty):
        layer.update((variable, Setting(None, node.line)) for variable in VARIABLES)
    for key, value in entries(node, what, mistakes):
        if key.text == "labels":
            layer.update(_labels(value, mistakes))
        elif key.text not in VARIABLES:
            name = visible(key.text)
            mistakes.add(key.line, _unknown(key.text, name), name)
            if meant := nearest(name, VARIABLE_NAMES):
                layer.setdefault(meant, Setting(None, key.line))
        else:
            _add(layer, key, value, places, mistakes)
    if "ca_file" in layer and value_of(layer, "cert_validation", str, STRICT) != STRICT:
        mistakes.add(layer["ca_file"].line, UNUSED_CA_FILE, "ca_file")
    if value_of(layer, "os", OS, None) is OS.WINDOWS:
        for variable, line in becomes(layer):
            mistakes.add(line, f"{variable} {NO_BECOME}", variable)
    return layer


def becomes(layer: Layer) -> Iterator[tuple[str, int]]:
    """The variables that ask for another account's rights, with their lines."""
    for variable in BECOMES:
        if variable in layer and layer[variable].value not in (None, Become.NONE):
            yield variable, layer[variable].line


def _unknown(key: str, name: str) -> str:
    if key.partition(":")[0] in VARIABLE_NAMES:
        return f"a blank is missing behind '{key.partition(':')[0]}:'"
    return f"unknown variable {name!r}{suggest(name, VARIABLE_NAMES)}"


def _add(layer: Layer, key: Scalar, node: Node, places: Places, mistakes: Mistakes) -> None:
    # Set even without a value: that the variable is missing would be a second, false mistake.
    layer[key.text] = Setting(None, node.line)
    if not isinstance(node, Scalar):
        mistakes.add(node.line, f"{key.text} must be a single value", key.text)
        return
    try:
        if not node.text:
            raise ValueError("is empty")
        layer[key.text] = Setting(VARIABLES[key.text](node.text, places), node.line)
    except ValueError as exc:
        mistakes.add(node.line, f"{key.text}: {exc}", key.text)


def _labels(node: Node, mistakes: Mistakes) -> Layer:
    layer: Layer = {}
    for key, value in entries(node, "labels", mistakes):
        if not isinstance(value, Scalar):
            mistakes.add(value.line, f"the label {key.text!r} must be a single value", key.text)
        elif not (key.text and key.text.isprintable() and value.text.isprintable()):
            mistakes.add(key.line, f"the label {key.text!r} is empty or holds control characters", key.text)
        else:
            layer[LABEL + key.text] = Setting(value.text, value.line)
    return layer


def suggest(word: str, words: tuple[str, ...]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    near = nearest(word, words)
    return f"; did you mean {near!r}?" if near else f"; known are: {', '.join(words)}"


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The known word that is like it, "" when none is."""
    return next(iter(get_close_matches(word[:80], words, n=1)), "")


def visible(key: str) -> str:
    """The word that a key begins with: ``{password:x}`` without its space is one key, with a secret in it."""
    return re.match(r"[\w.-]{0,80}", key)[0]  # type: ignore[index]  # matches the empty text too


def _address(text: str, _: Places) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is neither a host name nor an IP address")
    return text


def _port(text: str, _: Places) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


def _user(text: str, _: Places) -> str:
    if not text.isprintable():
        raise ValueError(rf"a user name has no control characters; {BACKSLASH}")
    if " " in text or text.startswith("-"):
        raise ValueError("a user name has no spaces and no leading dash")
    return text


def _word(words: type[StrEnum]) -> Callable[[str, Places], Value]:
    names = tuple(word.value for word in words)

    def check(text: str, _: Places) -> Value:
        if text not in names:
            raise ValueError(f"{text!r} is not one of its words{suggest(text, names)}")
        return words(text)

    return check


def _path(text: str, places: Places) -> str:
    if not text.isprintable():
        raise ValueError("a path without control characters is wanted")
    base, rest = places.base(text)
    return str(Path(base + rest))


def _key_file(text: str, places: Places) -> str:
    return SSH_AGENT if text == SSH_AGENT else _path(text, places)


def _secret(text: str, places: Places) -> Secret:
    scheme, _, target = text.partition(":")
    if scheme not in ("env", "file"):
        raise ValueError("secrets stand here only as references, env:NAME or file:PATH, never as values")
    if not target or not target.isprintable() or target.strip() != target:
        raise ValueError(f"the reference names nothing that can be read: {scheme}: needs a name behind it")
    if set("{}") & set(target.replace(_HOST, "")):
        raise ValueError("{host} is the only thing in braces that is filled in")
    if scheme == "file":
        return Secret("file", *places.base(target))
    if not _ENV_NAME.fullmatch(target.replace(_HOST, "_")):
        raise ValueError("env: needs the name of a variable: letters, digits and _ (and {host})")
    return Secret("env", "", target)


def _cert_validation(text: str, _: Places) -> str:
    if text in (STRICT, "off"):
        return text
    if not text.startswith(_PIN):
        raise ValueError(f"strict, off, or {_PIN} and the certificate's fingerprint is wanted")
    digits = re.sub("[:-]", "", text.removeprefix(_PIN)).lower()
    if re.fullmatch(r"[0-9a-f]{40}", digits):
        raise ValueError("that is a SHA-1 thumbprint, as Windows shows it; sha256: takes 64 hex digits")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("sha256: takes 64 hex digits, with or without colons or dashes")
    return _PIN + digits


def _proxy(text: str, _: Places) -> str:
    # What is refused is not repeated: it may hold a password.
    if "@" in text:
        raise ValueError("a proxy's URL holds no credentials here")
    found = _PROXY.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= 65535:
        raise ValueError("socks5h://HOST:PORT or http://HOST:PORT is wanted")
    return text.removesuffix("/")


def _spn_host(text: str, _: Places) -> str:
    if not _ADDRESS.fullmatch(fill_host(text, "h")):
        raise ValueError(f"{text!r} is not a host name ({{host}} is filled in)")
    return text


def _spn_service(text: str, _: Places) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text):
        raise ValueError("the first part of a service principal name is wanted, such as HTTP, HOST or WSMAN")
    return text


def _configuration(text: str, _: Places) -> str:
    if not _CONFIGURATION.fullmatch(text):
        raise ValueError("the name of a session configuration has letters, digits and _ . -")
    return text


def _flag(text: str, _: Places) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false is wanted")
    return text == "true"


VARIABLES: dict[str, Callable[[str, Places], Value]] = {
    "address": _address,
    "port": _port,
    "user": _user,
    "connection": _word(Connection),
    "os": _word(OS),
    "key_file": _key_file,
    "password": _secret,
    "become": _word(Become),
    "become_password": _secret,
    "known_hosts": _path,
    "host_key_policy": _word(HostKeyPolicy),
    "scheme": _word(Scheme),
    "auth": _word(WinrmAuth),
    "keytab": _path,
    "client_cert": _path,
    "client_key": _path,
    "ca_file": _path,
    "cert_validation": _cert_validation,
    "spn_service": _spn_service,
    "spn_host": _spn_host,
    "proxy": _proxy,
    "configuration_name": _configuration,
    "tier0": _flag,
}
VARIABLE_NAMES = (*VARIABLES, "labels")
