"""From a host's question for a login to the answers that prove it, and to the seal that they leave."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import spnego
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError

from fleet.errors import AuthError, IdentityError, UnreachableError
from fleet.model.words import Phase
from fleet.transport.winrm.frames import Kind, Target
from fleet.transport.winrm.http import Answer
from fleet.transport.winrm.seal import KERBEROS, SPNEGO, ContextSeal, NoSeal, Seal
from fleet.transport.winrm.tickets import ticket_trouble
from fleet.transport.wording import shown

MAX_SKEW_S = 300.0

_TOKEN = re.compile(r"(?:Kerberos|Negotiate|NTLM)\s+([A-Za-z0-9+/]+=*)", re.IGNORECASE)
_SCHEMES = {
    "basic": ("Basic",),
    "kerberos": ("Negotiate", "Kerberos"),
    "negotiate": ("Negotiate", "NTLM"),
    "ntlm": ("Negotiate", "NTLM"),
}
_NO_TOKEN = (SpnegoError, binascii.Error, struct.error, ValueError, LookupError)
_SEE = "Event 4625 in the host's Security log has the reason."
_REFUSED = {
    "basic": f"Check the password; Basic takes local accounts only. {_SEE}",
    "certificate": "Map the certificate to an account of the host (`Get-ChildItem WSMan:\\localhost\\"
    "ClientCertificate`), and put its authority among the host's trusted ones.",
    "kerberos": "See with `setspn -Q */HOST` that the ticket's name is this host's and no other account's, "
    f"and that the account may log on over the network. {_SEE}",
}
_REFUSED_DOMAIN = (
    "Check the password, and that the account is not locked, disabled or a member of Protected Users; where "
    "the domain forbids NTLM it is `auth: kerberos`. Where only some hosts of many refuse it, their domain "
    f"controller is busy: a lower --winrm-concurrency. {_SEE}"
)
_REFUSED_LOCAL = (
    "Check the password, and whose account it is: without a domain it is the host's own, a domain's is "
    rf"written 'DOM\user' or user@domain, and on a domain member the host's own is 'HOST\user'. {_SEE}"
)
_ENDED = (
    "Run again, with a lower --winrm-concurrency: domain controllers refuse NTLM when they are busy. With "
    "`auth: kerberos` they are not asked."
)


class Hashes:
    """The NT hash of each password, computed once: it is most of the work of an NTLM login."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, password: str) -> str:
        """32 hex digits."""
        if password not in self._known:
            # Not in spnego's own interface; hashlib's MD4 is switched off in most OpenSSL builds.
            from spnego._ntlm_raw.crypto import ntowfv1

            self._known[password] = ntowfv1(password).hex().upper()
        return self._known[password]


class Login:
    """One host's login, on the first connection and on one to clean up: the password is asked for once, and
    offered again only while the host is known to have taken it."""

    def __init__(self, ask: Callable[[], str], tell: Callable[[Kind, str], None]) -> None:
        self._ask = ask
        self._tell = tell
        self._password: str | None = None
        self._phase: Phase | None = None
        self._is_let_in = False
        self._is_refused = False
        self.is_accepted = False

    @property
    def may_be_repeated(self) -> bool:
        """Whether one more login, to delete the shell, is made: where the host let us in, and neither refused
        a login since nor answered as another would."""
        return (self.is_accepted or self._is_let_in) and not self._is_refused

    def password(self) -> str:
        """The password, when it may be tried."""
        if self._password is None:
            self._password = self._ask()
        return self._password

    def enter(self, phase: Phase) -> None:
        """A phase begins, unless all that is left is to clean up."""
        if not self.is_accepted and phase is not self._phase:
            self._phase = phase
            self._tell(Kind.PHASE, phase)

    def ended(self) -> None:
        """What the two say to each other to log in is over; that is no proof yet."""
        self._is_let_in = True
        # To start PowerShell takes an old host longer than any login.
        self.enter(Phase.EXEC)

    def doubted(self) -> None:
        """It may not be the host that answers: it is given no further login."""
        self._is_refused = True

    def accepted(self) -> None:
        """The host proved that it took it."""
        self.ended()
        if not self.is_accepted:
            self.is_accepted = True
            self._tell(Kind.ACCEPTED, "")

    def refused(self) -> None:
        """The host refused it."""
        self._is_refused = True
        if self._password is not None and not self.is_accepted:
            self._tell(Kind.REFUSED, "")


class Negotiation:
    """One login by Negotiate, NTLM or Kerberos (RFC 4559), for one TCP connection: what each answer of the
    host is answered with.

    ``binding``: what ties it to the TLS around it, None over plain http.
    """

    def __init__(
        self,
        target: Target,
        login: Login,
        scheme: str,
        credential: spnego.KerberosCCache | spnego.NTLMHash,
        binding: bytes | None,
    ) -> None:
        self._target = target
        self._login = login
        self._scheme = scheme
        self._context = _context(target, credential, binding)

    def begin(self, question: Answer) -> str | None:
        """The first value of Authorization. Raises HostError."""
        return self._told(self._step(None, question))

    def follow(self, answer: Answer) -> str | None:
        """The next one, None when the host has had the last. Raises HostError, AuthError for a refusal."""
        found = _TOKEN.search(answer.headers.get("www-authenticate", ""))
        if answer.status == 401 and (found is None or self._context.complete):
            raise refusal(self._target, self._login, answer)
        return None if found is None else self._told(self._step(found[1], answer))

    def seal(self) -> Seal:
        """How messages go from now on. Raises IdentityError when it proved nothing or seals nothing."""
        target, context = self._target, self._context
        if not context.complete:
            raise IdentityError(f"{target.address} took the login without proving that it knows the account")
        if target.scheme == "https":
            if target.uses_tickets and context.context_attr & spnego.ContextReq.mutual_auth:
                self._login.accepted()
            return NoSeal()
        if not context.context_attr & spnego.ContextReq.confidentiality:
            raise IdentityError(f"{target.address} agreed to no sealing; nothing was sent over plain http")
        return ContextSeal(context, KERBEROS if self._scheme == "Kerberos" else SPNEGO)

    def _told(self, token: bytes | None) -> str | None:
        return None if token is None else f"{self._scheme} {base64.b64encode(token).decode('ascii')}"

    def _step(self, token: str | None, answer: Answer) -> bytes | None:
        try:
            return self._context.step(None if token is None else base64.b64decode(token))
        except _NO_TOKEN as error:
            if self._target.uses_tickets and isinstance(error, SpnegoError):
                raise ticket_trouble(error, self._target, skew(answer)) from error
            raise UnreachableError(
                f"{self._target.address} does not speak {self._target.auth} as WinRM does: "
                f"{shown(str(error))[:300]}"
            ) from error


def _context(
    target: Target, credential: spnego.KerberosCCache | spnego.NTLMHash, binding: bytes | None
) -> spnego.ContextProxy:
    if target.uses_tickets:
        protocol, options = "kerberos", spnego.NegotiateOptions.wrapping_winrm
    elif target.auth == "ntlm":
        protocol, options = "ntlm", spnego.NegotiateOptions.use_ntlm
    else:
        # Not GSSAPI's: it would try Kerberos with the password first, a second attempt at each host.
        protocol, options = "negotiate", spnego.NegotiateOptions.use_negotiate
    return spnego.client(
        credential,
        hostname=target.spn_host,
        service=target.spn_service,
        channel_bindings=GssChannelBindings(application_data=binding) if binding else None,
        protocol=protocol,
        options=options,
    )


def chosen_scheme(target: Target, question: Answer) -> str:
    """The name of the login that the host asks for and the inventory allows. Raises AuthError."""
    asked = question.headers.get("www-authenticate", "")
    schemes = _SCHEMES["kerberos" if target.uses_tickets else target.auth]
    for scheme in schemes:
        if re.search(rf"\b{scheme}\b", asked, re.IGNORECASE):
            return scheme
    raise AuthError(
        f"{target.address} takes no {' or '.join(schemes)} login, only {offered(asked)}",
        action="Allow it in the host's WinRM service (`winrm get winrm/config/service/auth`), or choose "
        "another `auth` in the inventory.",
    )


def refusal(target: Target, login: Login, answer: Answer) -> AuthError:
    """A 401 to a login, told and noted."""
    login.refused()
    who = target.user or target.client_cert or "the ticket's owner"
    names = offered(answer.headers.get("www-authenticate", ""))
    words = [f"{target.address} refused the login of {who} ({target.auth}; offered: {names})"]
    action = _refused(target)
    if login.is_accepted:
        words, action = [f"{target.address} ended the login of {who} during the visit"], _ENDED
    if late := skew(answer):
        words.append(late)
    return AuthError("; ".join(words), action=action)


def _refused(target: Target) -> str:
    """What to do, by what was offered: of a 401 no more is known."""
    auth = "kerberos" if target.uses_tickets else target.auth
    is_domain = "\\" in target.user or "@" in target.user
    return _REFUSED.get(auth) or (_REFUSED_DOMAIN if is_domain else _REFUSED_LOCAL)


def offered(header: str) -> str:
    """The names of the logins in a header WWW-Authenticate."""
    names = re.findall(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)", header)
    return ", ".join(dict.fromkeys(names)) or "nothing"


def skew(answer: Answer) -> str:
    """How far the host's clock is from ours, "" when it is near or not said."""
    try:
        behind_s = time.time() - parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
    if abs(behind_s) <= MAX_SKEW_S:
        return ""
    way = "behind" if behind_s > 0 else "ahead"
    return f"the host's clock is {abs(behind_s) / 60:.0f} min {way}: Kerberos fails beyond 5"
