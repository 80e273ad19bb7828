"""Kerberos tickets of a run: got once for each account, lent to each visit as a cache of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import spnego
from spnego.exceptions import SpnegoError

from fleet.errors import AuthError, CredentialError, HostError, UnreachableError
from fleet.parse.keytab import keytab_trouble
from fleet.transport.winrm.frames import Target, TicketRequest
from fleet.transport.wording import shown, why

# ERROR_TABLE_BASE_krb5 of MIT's krb5.h; up to 127 the numbers behind it are RFC 4120's (section 7.5.9).
_BASE = -1765328384
_CLIENT_UNKNOWN, _SERVER_UNKNOWN, _REVOKED, _KEY_EXPIRED, _PREAUTH_FAILED = (
    _BASE + n for n in (6, 7, 18, 23, 24)
)
_BAD_INTEGRITY, _SKEW = (_BASE + n for n in (31, 37))
_REALM_UNKNOWN, _KDC_UNREACHABLE = _BASE + 154, _BASE + 156

_SPN = (
    "Address the host by its DNS name, or set spn_host; where HTTP/NAME belongs to another account, "
    "set `spn_service: WSMAN` (see `setspn -Q */HOST`)."
)
_KDC = "See that this machine finds the domain's controllers (DNS, /etc/krb5.conf) and reaches their port 88."
_READ = "Put the file there, and let the account that runs fleet read it, and no other (chmod 600)."
_KEYTAB = (
    "See whose keys it holds with `klist -k FILE`; `user` in the inventory is written as there. A new one is "
    "made with ktutil, or with ktpass by the domain's administrators."
)
_OTHER_KEY = (
    "Check the password that the inventory refers to; or have the keytab made anew: it is of no use once the "
    "account has a new password."
)
_ACTIONS = {
    _CLIENT_UNKNOWN: "The domain knows no such account: check `user` and its realm (the part behind the @).",
    _REVOKED: "The account is locked, disabled or expired: have the domain's administrators open it again.",
    _KEY_EXPIRED: "The account's password has expired: have it set anew, and the keytab with it.",
    _PREAUTH_FAILED: _OTHER_KEY,
    _BAD_INTEGRITY: _OTHER_KEY,
}
_KINIT = "Get a ticket with `kinit`, or give the inventory a keytab or a password."

_SAME = "See /etc/krb5.conf; `kinit` with the same account says the same without fleet."


class Tickets:
    """The ticket-granting tickets that this worker knows, by the cache they come from."""

    def __init__(self) -> None:
        self._granting: dict[str, tuple[Any, tuple[Any, ...]]] = {}
        self._lock = threading.Lock()
        self._numbers = count()

    @contextmanager
    def lent(self, target: Target) -> Iterator[spnego.KerberosCCache]:
        """A cache in memory for one login: nobody waits for, or sees, the service tickets of others."""
        import krb5

        context = krb5.init_context()
        owner, granting = self._read(target.tickets)
        name = f"MEMORY:fleet-{next(self._numbers)}"
        try:
            cache = krb5.cc_resolve(context, name.encode())
            krb5.cc_initialize(context, cache, krb5.parse_name_flags(context, owner))
            for ticket in granting:
                krb5.cc_store_cred(context, cache, krb5.unmarshal_credentials(context, ticket))
        except krb5.Krb5Error as error:
            raise _trouble(error.err_code, str(error), "the tickets cannot be lent") from error
        try:
            yield spnego.KerberosCCache(name)
        finally:
            krb5.cc_destroy(context, cache)

    def _read(self, source: str) -> tuple[bytes, tuple[bytes, ...]]:
        with self._lock:
            if source not in self._granting:
                self._granting[source] = _granting_tickets(source)
            return self._granting[source]


def _granting_tickets(source: str) -> tuple[bytes, tuple[bytes, ...]]:
    """The owner and the tickets that get other tickets, of a cache; "" is the operator's own."""
    import krb5

    context = krb5.init_context()
    try:
        cache = krb5.cc_resolve(context, source.encode()) if source else krb5.cc_default(context)
        owner = krb5.cc_get_principal(context, cache)
        found = [
            krb5.marshal_credentials(context, ticket)
            for ticket in cache
            if str(ticket.server).startswith("krbtgt/")
        ]
        return str(owner).encode(), tuple(found)
    except krb5.Krb5Error as error:
        raise CredentialError(
            f"there is no Kerberos ticket to log in with: {shown(str(error))}", action=_KINIT
        ) from error


def fetch(request: TicketRequest, password: str) -> None:
    """Get a ticket-granting ticket into a file. Raises AuthError when the domain refused, else HostError."""
    import krb5

    context = krb5.init_context()
    try:
        principal = krb5.parse_name_flags(context, request.principal.encode())
        options = krb5.get_init_creds_opt_alloc(context)
        if request.keytab is not None:
            _require_key(request.keytab, str(principal))
            keytab = krb5.kt_resolve(context, request.keytab.encode())
            ticket = krb5.get_init_creds_keytab(context, principal, options, keytab=keytab)
        else:
            ticket = krb5.get_init_creds_password(context, principal, options, password=password.encode())
        cache = krb5.cc_resolve(context, request.into.encode())
        krb5.cc_initialize(context, cache, principal)
        krb5.cc_store_cred(context, cache, ticket)
    except krb5.Krb5Error as error:
        what = f"no Kerberos ticket for {request.principal}"
        raise _trouble(error.err_code, str(error), what, otherwise=_SAME) from error


def _require_key(keytab: str, principal: str) -> None:
    """Raises CredentialError. krb5 would look for a controller first, and tell of that one alone."""
    what = f"no Kerberos ticket for {principal}: the keytab {keytab}"
    try:
        data = Path(keytab).read_bytes()
    except OSError as error:
        raise CredentialError(f"{what} cannot be read: {why(error)}", action=_READ) from error
    if trouble := keytab_trouble(data, principal):
        raise CredentialError(f"{what} cannot be used: {trouble}", action=_KEYTAB)


def ticket_trouble(error: SpnegoError, target: Target, skew: str) -> HostError:
    """Why no login could be made of the tickets."""
    code = getattr(error.base_error, "min_code", 0)
    # GSSAPI hands on the mechanism's number without its sign.
    code = code - (1 << 32) if code >= 1 << 31 else code
    what = f"no Kerberos login at {target.address} ({target.spn_service}/{target.spn_host})"
    return _trouble(code, f"{error}{'; ' if skew else ''}{skew}", what)


def _trouble(code: int, said: str, what: str, *, otherwise: str = _KINIT) -> HostError:
    words = f"{what}: {shown(said)[:400]}"
    if code in _ACTIONS:
        return AuthError(words, action=_ACTIONS[code])
    if code == _SKEW:
        return AuthError(f"{words} (the clocks are more than 5 min apart)", action="Set the clocks right.")
    if code == _SERVER_UNKNOWN:
        return AuthError(words, action=_SPN)
    if code in (_REALM_UNKNOWN, _KDC_UNREACHABLE):
        return UnreachableError(words, action=_KDC)
    return CredentialError(words, action=otherwise)
