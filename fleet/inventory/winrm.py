"""What a file says about a Windows host into how it is reached over WinRM, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleet.inventory.variables import STRICT, UNUSED_CA_FILE, Layer, fill_host, is_sound, value_of
from fleet.model.host import Host, Winrm
from fleet.model.words import Connection, Scheme, WinrmAuth

WINRM_ONLY = (
    "scheme",
    "auth",
    "keytab",
    "client_cert",
    "client_key",
    "ca_file",
    "cert_validation",
    "spn_service",
    "spn_host",
    "proxy",
    "configuration_name",
)
"""Variables that nothing but ``connection: winrm`` uses."""

PORTS = {Scheme.HTTP: 5985, Scheme.HTTPS: 5986}
_SSH_PORT = 22

_DEFAULT = Winrm()
_IP_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
_PASSWORD_AUTHS = (WinrmAuth.NEGOTIATE, WinrmAuth.NTLM, WinrmAuth.BASIC)
_ONE_AUTH = {
    "keytab": WinrmAuth.KERBEROS,
    "client_cert": WinrmAuth.CERTIFICATE,
    "client_key": WinrmAuth.CERTIFICATE,
}

_Faults = Iterator[tuple[str, int]]


class WinrmBuilder:
    """Builds them, of what each host uses; hosts that are reached alike share one."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Winrm] = {}

    def build(self, layer: Layer, name: str) -> tuple[Winrm, int]:
        """How this host is reached, and its port."""
        scheme, port = _scheme_and_port(layer)
        spn_host = fill_host(value_of(layer, "spn_host", str, ""), name) or None
        told = (layer[variable].value if variable in layer else None for variable in WINRM_ONLY)
        key = (scheme, spn_host, *told)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _build(layer, scheme, spn_host)
        return known, port


def _scheme_and_port(layer: Layer) -> tuple[Scheme, int]:
    port = value_of(layer, "port", int, None)
    likely = Scheme.HTTPS if port == PORTS[Scheme.HTTPS] else Scheme.HTTP
    scheme = value_of(layer, "scheme", Scheme, likely)
    return scheme, port or PORTS[scheme]


def _build(layer: Layer, scheme: Scheme, spn_host: str | None) -> Winrm:
    auth = value_of(layer, "auth", WinrmAuth, _DEFAULT.auth)
    validation = value_of(layer, "cert_validation", str, STRICT) if scheme is Scheme.HTTPS else STRICT
    has_authority = scheme is Scheme.HTTPS and validation == STRICT

    def of_auth(variable: str) -> str | None:
        return value_of(layer, variable, str, None) if _ONE_AUTH[variable] is auth else None

    return Winrm(
        scheme=scheme,
        auth=auth,
        keytab=of_auth("keytab"),
        client_cert=of_auth("client_cert"),
        client_key=of_auth("client_key"),
        ca_file=value_of(layer, "ca_file", str, None) if has_authority else None,
        cert_validation=validation,
        spn_service=value_of(layer, "spn_service", str, _DEFAULT.spn_service),
        spn_host=spn_host,
        proxy=value_of(layer, "proxy", str, None),
        configuration_name=value_of(layer, "configuration_name", str, None),
    )


def needs_user(host: Host) -> bool:
    """Whether it is logged in to over WinRM as the user that the inventory names, and not as whose the
    certificate or the ticket is."""
    if host.connection is not Connection.WINRM or host.winrm.auth is WinrmAuth.CERTIFICATE:
        return False
    return host.password is not None or host.winrm.keytab is not None


def winrm_faults(host: Host, layer: Layer, own: Layer, line: int) -> _Faults:
    """What is wrong with a host that is reached over WinRM, and in which line.

    Args:
        layer: all that is said about it.
        own: what its own entry says of that.
        line: where it is mentioned first.
    """
    if is_sound(layer, "auth"):
        yield from _login_faults(host, layer, line)
        yield from _other_auth_faults(host, own)
    if is_sound(layer, "scheme") and is_sound(layer, "port"):
        yield from _scheme_and_port_faults(host, layer, own)


def _login_faults(host: Host, layer: Layer, line: int) -> _Faults:
    auth = host.winrm.auth
    if auth in _PASSWORD_AUTHS:
        if "user" not in layer:
            yield rf"auth: {auth} needs a user (DOM\user or user@domain)", line
        if "password" not in layer:
            yield f"auth: {auth} needs password; with a keytab or a ticket it is auth: kerberos", line
    elif auth is WinrmAuth.KERBEROS:
        credential = "keytab" if "keytab" in layer else "password"
        if credential in layer and "user" not in layer:
            yield f"auth: kerberos needs a user with {credential}: whose it is", line
        if not host.winrm.spn_host and is_sound(layer, "spn_host") and _IP_ADDRESS.fullmatch(host.address):
            at = layer["address"].line if "address" in layer else line
            yield "auth: kerberos knows hosts by name, and the address is none: set spn_host", at
    elif not layer.keys() >= {"client_cert", "client_key"}:
        yield "auth: certificate needs client_cert and client_key", line


def _other_auth_faults(host: Host, own: Layer) -> _Faults:
    for variable, auth in _ONE_AUTH.items():
        if variable in own and host.winrm.auth is not auth:
            yield f"{variable} is used with auth: {auth} only", own[variable].line


def _scheme_and_port_faults(host: Host, layer: Layer, own: Layer) -> _Faults:
    scheme = host.winrm.scheme
    other = Scheme.HTTP if scheme is Scheme.HTTPS else Scheme.HTTPS
    if host.port == _SSH_PORT:
        yield "port 22 is that of SSH: for winrm it is 5985, or 5986 for https", layer["port"].line
    if host.port == PORTS[other]:
        # Which of the two is wrong is not known, and so not what else is wrong with the scheme.
        yield f"port {host.port} is for {other}, and the scheme is {scheme}", layer["port"].line
    else:
        yield from _scheme_faults(host, layer, own)


def _scheme_faults(host: Host, layer: Layer, own: Layer) -> _Faults:
    if host.winrm.scheme is Scheme.HTTPS:
        if "ca_file" in own and "cert_validation" not in own and host.winrm.cert_validation != STRICT:
            yield UNUSED_CA_FILE, own["ca_file"].line
        return
    if host.winrm.auth is WinrmAuth.BASIC:
        yield "auth: basic over http would send the password readable: set scheme: https", layer["auth"].line
    if host.winrm.auth is WinrmAuth.CERTIFICATE:
        yield "auth: certificate works over https only: set scheme: https", layer["auth"].line
    # Inherited by a host that is said to be on http they are meant for others.
    for variable in ("ca_file", "cert_validation"):
        if variable in own or (variable in layer and "scheme" not in layer):
            yield f"{variable} is used over https only: set scheme: https", layer[variable].line
