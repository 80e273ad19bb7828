"""What hosts refer to on the machine fleet runs on (secrets, keys, packages) into what is missing of it."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

from fleet.errors import CredentialError, Mistake
from fleet.inventory.load import Inventory
from fleet.inventory.resolve import named
from fleet.inventory.secrets import SecretReader, read_regular
from fleet.model.host import SSH_AGENT, Host, SecretRef
from fleet.model.words import Connection, WinrmAuth
from fleet.parse.keytab import keytab_trouble, principal_of

_MAX_BYTES = 1 << 20
_KERBEROS = ("gssapi", "krb5")
NO_KERBEROS = (
    f"the packages {' and '.join(_KERBEROS)} are not installed beside fleet: `pip install '.[kerberos]'` in "
    "fleet's folder (needs libkrb5-dev and a C compiler)"
)
_NO_AGENT = "no ssh-agent is running (SSH_AUTH_SOCK)"

_Missing = Iterator[tuple[str, str, str]]
"""The variable, what it names, and what is wrong with that."""


def find_missing(
    inventory: Inventory, hosts: Sequence[Host], secrets: SecretReader, *, has_agent: bool
) -> tuple[Mistake, ...]:
    """What hosts of the inventory refer to and cannot be used on this machine, by line; no host is contacted.

    Hosts that lack the same for the same reason share a mistake. No secret is kept or shown.
    """
    looker = _Looker(secrets, has_agent=has_agent)
    found: dict[tuple[int, str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for host in hosts:
        for variable, target, why in looker.missing(host):
            line = inventory.lines[host.name].get(variable, 0)
            found[line, variable, why][target].append(host.name)
    return tuple(
        Mistake(path=str(inventory.path), line=line, text=_told(variable, why, targets), key=variable)
        for (line, variable, why), targets in sorted(found.items())
    )


def _told(variable: str, why: str, targets: dict[str, list[str]]) -> str:
    hosts = [host for mine in targets.values() for host in mine]
    first, more = next(iter(targets)), len(targets) - 1
    rest = f" and {more:,} more like it" if more else ""
    return f"{named(hosts)}: {variable} {first}{rest}: {why}"


class _Looker:
    """Looks at each thing once, however many hosts refer to it."""

    def __init__(self, secrets: SecretReader, *, has_agent: bool) -> None:
        self._secrets = secrets
        self._has_agent = has_agent
        self._known: dict[tuple[object, ...], str] = {}

    def missing(self, host: Host) -> _Missing:
        """What this host's visit would not find."""
        for variable, ref in (("password", host.password), ("become_password", host.become_password)):
            if ref is not None and (why := self._once(_secret_trouble, self._secrets, ref)):
                yield variable, str(ref), why.removeprefix(f"{ref}: ")
        if host.connection is Connection.SSH:
            yield from self._over_ssh(host)
        if host.connection is Connection.WINRM:
            yield from self._over_winrm(host)

    def _over_ssh(self, host: Host) -> _Missing:
        if host.key_file == SSH_AGENT:
            if not self._has_agent:
                yield "key_file", SSH_AGENT, _NO_AGENT
        elif host.key_file and (why := self._once(_file_trouble, host.key_file)):
            yield "key_file", host.key_file, why

    def _over_winrm(self, host: Host) -> _Missing:
        how = host.winrm
        if how.auth is WinrmAuth.KERBEROS and not all(map(find_spec, _KERBEROS)):
            yield "auth", how.auth, NO_KERBEROS
        if how.keytab and (why := self._once(_keytab_trouble, how.keytab, host.user)):
            yield "keytab", how.keytab, why
        if how.ca_file and (why := self._once(_authority_trouble, how.ca_file)):
            yield "ca_file", how.ca_file, why
        if how.client_cert and how.client_key:
            yield from self._certificate(how.client_cert, how.client_key)

    def _certificate(self, certificate: str, key: str) -> _Missing:
        files = (("client_cert", certificate), ("client_key", key))
        missing = [(name, path, why) for name, path in files if (why := self._once(_file_trouble, path))]
        yield from missing
        if not missing and (why := self._once(_pair_trouble, certificate, key)):
            yield "client_cert", certificate, why

    def _once(self, look: Callable[..., str], *what: object) -> str:
        key = (look, *what)
        if key not in self._known:
            self._known[key] = look(*what)
        return self._known[key]


def _secret_trouble(secrets: SecretReader, ref: SecretRef) -> str:
    try:
        secrets.resolve(ref)
    except CredentialError as error:
        return str(error)
    return ""


def _file_trouble(path: str) -> str:
    try:
        data = read_regular(path, 1)
    except CredentialError as error:
        return str(error)
    return "" if data else "empty"


def _keytab_trouble(path: str, user: str) -> str:
    try:
        data = read_regular(path, _MAX_BYTES)
    except CredentialError as error:
        return str(error)
    return keytab_trouble(data, principal_of(user))


def _authority_trouble(path: str) -> str:
    if why := _file_trouble(path):
        return why
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError):
        return "it holds no certificate in PEM form"
    return ""


def _pair_trouble(certificate: str, key: str) -> str:
    try:
        # A passphrase would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, lambda: "")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error).lower().replace("_", " ")
        return f"it and client_key {key} cannot be used together: {reason}"
    return ""
