"""A connection to one host's WinRM from the first packet to the login, and the messages after it."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import spnego
from pypsrp.exceptions import WinRMTransportError
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError

from fleet.errors import AuthError, IdentityError, PrivilegeError, RemoteError, UnreachableError
from fleet.model.words import Phase
from fleet.transport.winrm.frames import Kind, Target
from fleet.transport.winrm.http import Answer, request, take_answer
from fleet.transport.winrm.route import encoded_name, go_through
from fleet.transport.winrm.seal import KERBEROS, SPNEGO, ContextSeal, NoSeal, Seal
from fleet.transport.winrm.soap import is_wsman
from fleet.transport.winrm.tickets import Tickets, ticket_trouble
from fleet.transport.winrm.tls import Contexts, channel_binding, secured
from fleet.transport.winrm.wire import Wire
from fleet.transport.wording import shown

EXCHANGE_S = 60.0
"""For one message and its answer: three times what a host may take to say that it has nothing to say."""
MAX_SKEW_S = 300.0

_PATH = "/wsman"
_AGENT = {"User-Agent": "fleet", "Accept-Encoding": "identity"}
_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
_TOKEN = re.compile(r"(?:Kerberos|Negotiate|NTLM)\s+([A-Za-z0-9+/]+=*)", re.IGNORECASE)
_SCHEMES = {
    "basic": ("Basic",),
    "kerberos": ("Negotiate", "Kerberos"),
    "negotiate": ("Negotiate", "NTLM"),
    "ntlm": ("Negotiate", "NTLM"),
}
_NO_TOKEN = (SpnegoError, binascii.Error, struct.error, ValueError, LookupError)
_REFUSED = (
    "Log in by hand with the same account (`Enter-PSSession -ComputerName HOST -Credential USER`) and see "
    "event 4625 in the host's Security log. The reason can be the password, a local account written without "
    "`HOST\\`, NTLM forbidden by policy, or under load the host's own quota."
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


@dataclass(frozen=True, slots=True)
class Shared:
    """What the visits of one worker share."""

    contexts: Contexts = field(default_factory=Contexts)
    hashes: Hashes = field(default_factory=Hashes)
    tickets: Tickets = field(default_factory=Tickets)


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


class Line:
    """One connection that logs in and then carries messages, sealed or inside TLS.

    ``is_good``: nothing is half said on it. ``patience_s``: seconds for each exchange, None to keep to the
    deadline that the wire has.
    """

    def __init__(self, target: Target, login: Login, shared: Shared) -> None:
        self.wire = Wire()
        self.is_good = False
        self.patience_s: float | None = EXCHANGE_S
        self.received_bytes = 0
        self._target = target
        self._login = login
        self._shared = shared
        self._seal: Seal = NoSeal()
        self._headers = dict(_AGENT)
        self._host = ""
        self._binding: bytes | None = None

    @property
    def endpoint(self) -> str:
        """The URL that messages are addressed to, known once it was opened."""
        return f"{self._target.scheme}://{self._host}:{self._target.port}{_PATH}"

    def open(self) -> None:
        """Connect and log in. With Basic and certificates the login is in the first message."""
        self._connect()
        auth = self._target.auth
        if auth == "basic":
            # Unasked, the password would be told to whoever has the port.
            first = self._asked()
            self._scheme(first)
            self._reopen(first)
            proof = f"{self._target.user}:{self._login.password()}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(proof.encode()).decode("ascii")
        elif auth == "certificate":
            self._headers["Authorization"] = _MUTUAL
        else:
            self._negotiate()
        self._refresh()
        self.is_good = True

    def post(self, message: bytes) -> bytes:
        """Send a message; gives the answer's, or raises WinRMTransportError with a fault's."""
        self.is_good = False
        kind, body = self._seal.close(message)
        answer = self._exchange({**self._headers, "Content-Type": kind}, body)
        self.received_bytes += len(answer.body)
        if self.received_bytes > self._target.max_bytes:
            raise RemoteError("the host's answer is larger than any the visit can give; reading stopped")
        self._check_status(answer)
        try:
            said = self._seal.open(answer)
        except IdentityError:
            self._login.doubted()
            raise
        if not self._login.is_accepted and (self._seal.proves_login or is_wsman(answer.status, said)):
            self._login.accepted()
        self.is_good = not answer.is_last
        if answer.status != 200:
            raise WinRMTransportError("http", answer.status, said.decode("utf-8", "replace"))
        return said

    def _connect(self) -> None:
        target = self._target
        name = encoded_name(target.address).decode("ascii")
        self._host = f"[{name}]" if ":" in name else name
        if self.patience_s is not None:
            self.wire.allow(target.connect_s)
        self.wire.connect(target.addresses, target.address)
        if target.proxy:
            go_through(self.wire, target.proxy, target.address, target.port)
        if target.scheme == "https":
            self._login.enter(Phase.HANDSHAKE)
            self._refresh()
            self._binding = channel_binding(secured(self.wire, target, self._shared.contexts.of(target)))
        self._login.enter(Phase.AUTH)

    def _refresh(self) -> None:
        if self.patience_s is not None:
            self.wire.allow(self.patience_s)

    def _exchange(self, headers: dict[str, str], body: bytes) -> Answer:
        self._refresh()
        self.wire.send(request(f"{self._host}:{self._target.port}", _PATH, headers, body))
        answer = take_answer(self.wire)
        if answer.status // 100 == 3:
            where = shown(answer.headers.get("location", "nowhere")[:200])
            raise RemoteError(f"the host answers with a redirect to {where}; it was not followed")
        return answer

    def _check_status(self, answer: Answer) -> None:
        if answer.status == 401:
            raise self._refusal(answer)
        if answer.status in (200, 500) or answer.headers.get("content-type", "").startswith("multipart/"):
            return
        raise _http_trouble(self._target, answer.status)

    # Negotiate, NTLM and Kerberos (RFC 4559), each for one TCP connection.

    def _negotiate(self) -> None:
        first = self._asked()
        scheme = self._scheme(first)
        if self._target.uses_tickets:
            with self._shared.tickets.lent(self._target) as credential:
                self._prove(first, scheme, credential)
        else:
            hashed = self._shared.hashes.of(self._login.password())
            self._prove(first, scheme, spnego.NTLMHash(self._target.user, nt_hash=hashed))
        self._login.ended()

    def _asked(self) -> Answer:
        """The host's question for a login."""
        first = self._exchange(self._headers, b"")
        if first.status != 401:
            raise _http_trouble(self._target, first.status)
        return first

    def _reopen(self, first: Answer) -> None:
        """Connect anew where it said what it offers and hung up: nothing of the login was sent yet."""
        if first.is_last or self.wire.is_stale():
            self._connect()

    def _scheme(self, first: Answer) -> str:
        offered = first.headers.get("www-authenticate", "")
        schemes = _SCHEMES[self._target.auth]
        if self._target.uses_tickets:
            schemes = _SCHEMES["kerberos"]
        for scheme in schemes:
            if re.search(rf"\b{scheme}\b", offered, re.IGNORECASE):
                return scheme
        raise AuthError(
            f"{self._target.address} takes no {' or '.join(schemes)} login, only {_offered(offered)}",
            action="Allow it in the host's WinRM service (`winrm get winrm/config/service/auth`), or choose "
            "another `auth` in the inventory.",
        )

    def _prove(self, first: Answer, scheme: str, credential: spnego.KerberosCCache | spnego.NTLMHash) -> None:
        self._reopen(first)
        context = self._context(credential)
        answer, token = first, self._step(context, None, first)
        while token is not None:
            said = f"{scheme} {base64.b64encode(token).decode('ascii')}"
            answer = self._exchange({**self._headers, "Authorization": said}, b"")
            found = _TOKEN.search(answer.headers.get("www-authenticate", ""))
            if answer.status == 401 and (found is None or context.complete):
                raise self._refusal(answer)
            if found is None:
                break
            token = self._step(context, base64.b64decode(found[1]), answer)
        if answer.status != 200:
            raise _http_trouble(self._target, answer.status)
        self._agree(context, scheme)

    def _context(self, credential: spnego.KerberosCCache | spnego.NTLMHash) -> spnego.ContextProxy:
        target = self._target
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
            channel_bindings=GssChannelBindings(application_data=self._binding) if self._binding else None,
            protocol=protocol,
            options=options,
        )

    def _step(self, context: spnego.ContextProxy, token: bytes | None, answer: Answer) -> bytes | None:
        try:
            return context.step(token)
        except _NO_TOKEN as error:
            if self._target.uses_tickets and isinstance(error, SpnegoError):
                raise ticket_trouble(error, self._target, _skew(answer)) from error
            raise UnreachableError(
                f"{self._target.address} does not speak {self._target.auth} as WinRM does: "
                f"{shown(str(error))[:300]}"
            ) from error

    def _agree(self, context: spnego.ContextProxy, scheme: str) -> None:
        if not context.complete:
            raise IdentityError(
                f"{self._target.address} took the login without proving that it knows the account"
            )
        if self._target.scheme == "https":
            if self._target.uses_tickets and context.context_attr & spnego.ContextReq.mutual_auth:
                self._login.accepted()
            return
        if not context.context_attr & spnego.ContextReq.confidentiality:
            raise IdentityError(
                f"{self._target.address} agreed to no sealing; nothing was sent over plain http"
            )
        self._seal = ContextSeal(context, KERBEROS if scheme == "Kerberos" else SPNEGO)

    def _refusal(self, answer: Answer) -> AuthError:
        target = self._target
        self._login.refused()
        offered = _offered(answer.headers.get("www-authenticate", ""))
        who = target.user or target.client_cert or "the ticket's owner"
        words = [f"{target.address} refused the login of {who} ({target.auth}; offered: {offered})"]
        if self._login.is_accepted:
            words = [f"{target.address} ended the login of {who} during the visit"]
        if skew := _skew(answer):
            words.append(skew)
        return AuthError("; ".join(words), action=_REFUSED)


def _offered(header: str) -> str:
    names = re.findall(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)", header)
    return ", ".join(dict.fromkeys(names)) or "nothing"


def _skew(answer: Answer) -> str:
    """How far the host's clock is from ours, "" when it is near or not said."""
    try:
        behind_s = time.time() - parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
    if abs(behind_s) <= MAX_SKEW_S:
        return ""
    way = "behind" if behind_s > 0 else "ahead"
    return f"the host's clock is {abs(behind_s) / 60:.0f} min {way}: Kerberos fails beyond 5"


def _http_trouble(target: Target, status: int) -> PrivilegeError | RemoteError | UnreachableError:
    if status == 403:
        return PrivilegeError(
            f"{target.address} forbids {target.user or 'this login'} to use WinRM (HTTP 403)"
        )
    if status == 404:
        return UnreachableError(f"{target.address} has no WinRM at {_PATH} (HTTP 404)")
    if status == 503:
        return UnreachableError(
            f"{target.address}: the service WinRM is not available (HTTP 503)",
            action="See on the host whether the service runs (`Get-Service WinRM`) and is not overloaded.",
        )
    return RemoteError(f"{target.address} answered with HTTP {status} instead of a WinRM message")
