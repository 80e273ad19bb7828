"""From a host's addresses to an HTTP connection that is logged in, and from a message to its answer."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import spnego
from pypsrp.exceptions import WinRMTransportError

from fleet.errors import IdentityError, PrivilegeError, RemoteError, UnreachableError
from fleet.model.words import Phase
from fleet.transport.winrm.auth import Hashes, Login, Negotiation, chosen_scheme, refusal
from fleet.transport.winrm.frames import Target
from fleet.transport.winrm.http import Answer, request, take_answer
from fleet.transport.winrm.route import encoded_name, go_through
from fleet.transport.winrm.seal import NoSeal, Seal
from fleet.transport.winrm.soap import is_wsman
from fleet.transport.winrm.tickets import Tickets
from fleet.transport.winrm.tls import Contexts, channel_binding, secured
from fleet.transport.winrm.wire import Wire
from fleet.transport.wording import shown, why

EXCHANGE_S = 60.0
"""For one message and its answer: three times what a host may take to say that it has nothing to say."""

_PATH = "/wsman"
_AGENT = {"User-Agent": "fleet", "Accept-Encoding": "identity"}
_LISTENER = {
    "http": "If the port is an HTTPS listener's, set `scheme: https`; on the host, "
    "`winrm enumerate winrm/config/listener` says what listens where.",
    "https": "See what listens on that port (`winrm enumerate winrm/config/listener` on the host).",
}
_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the visits of one worker share."""

    contexts: Contexts = field(default_factory=Contexts)
    hashes: Hashes = field(default_factory=Hashes)
    tickets: Tickets = field(default_factory=Tickets)


class HttpConnection:
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
            self._offer_password()
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

    def _offer_password(self) -> None:
        # Unasked, the password would be told to whoever has the port.
        question = self._asked()
        chosen_scheme(self._target, question)
        proof = f"{self._target.user}:{self._login.password()}"
        self._reopen(question)
        self._headers["Authorization"] = "Basic " + base64.b64encode(proof.encode()).decode("ascii")

    def _negotiate(self) -> None:
        question = self._asked()
        scheme = chosen_scheme(self._target, question)
        if self._target.uses_tickets:
            with self._shared.tickets.lent(self._target) as credential:
                self._prove(question, scheme, credential)
        else:
            hashed = self._shared.hashes.of(self._login.password())
            self._prove(question, scheme, spnego.NTLMHash(self._target.user, nt_hash=hashed))
        self._login.ended()

    def _prove(
        self, question: Answer, scheme: str, credential: spnego.KerberosCCache | spnego.NTLMHash
    ) -> None:
        self._reopen(question)
        negotiation = Negotiation(self._target, self._login, scheme, credential, self._binding)
        answer, said = question, negotiation.begin(question)
        while said is not None:
            answer = self._exchange({**self._headers, "Authorization": said}, b"")
            said = negotiation.follow(answer)
        if answer.status != 200:
            raise _http_trouble(self._target, answer.status)
        self._seal = negotiation.seal()

    def _asked(self) -> Answer:
        """The host's question for a login."""
        try:
            question = self._exchange(self._headers, b"")
        except TimeoutError:
            raise
        except (OSError, UnreachableError) as error:
            # The first word on it: what broke it off is another kind of listener rather than the network.
            words = (
                f"no answer to the first message: {why(error)}" if isinstance(error, OSError) else str(error)
            )
            raise UnreachableError(words, action=_LISTENER[self._target.scheme]) from error
        if question.status != 401:
            raise _http_trouble(self._target, question.status)
        return question

    def _reopen(self, question: Answer) -> None:
        """Connect anew where it said what it offers and hung up: nothing of the login was sent yet."""
        if question.is_last or self.wire.is_stale():
            self._connect()

    def _connect(self) -> None:
        target = self._target
        name = encoded_name(target.address).decode("ascii")
        self._host = f"[{name}]" if ":" in name else name
        if self.patience_s is not None:
            self.wire.allow(target.connect_s)
        self._reach()
        if target.scheme == "https":
            self._login.enter(Phase.HANDSHAKE)
            self._refresh()
            context = self._shared.contexts.of(target)
            self._binding = channel_binding(secured(self.wire, target, context, self._reach))
        self._login.enter(Phase.AUTH)

    def _reach(self) -> None:
        """A bare connection to the host, by way of the proxy where there is one."""
        target = self._target
        self.wire.connect(target.addresses, target.address)
        if target.proxy:
            go_through(self.wire, target.proxy, target.address, target.port)

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
            raise refusal(self._target, self._login, answer)
        if answer.status in (200, 500) or answer.headers.get("content-type", "").startswith("multipart/"):
            return
        raise _http_trouble(self._target, answer.status)


def _http_trouble(target: Target, status: int) -> PrivilegeError | RemoteError | UnreachableError:
    if status == 403:
        return PrivilegeError(
            f"{target.address} forbids {target.user or 'this login'} to use WinRM (HTTP 403)"
        )
    if status == 404:
        return UnreachableError(
            f"{target.address} has no WinRM at {_PATH} (HTTP 404)",
            action="Another web server has that port: set the `port` of WinRM's listener "
            "(`winrm enumerate winrm/config/listener` on the host).",
        )
    if status == 503:
        return UnreachableError(
            f"{target.address}: the service WinRM is not available (HTTP 503)",
            action="See on the host whether the service runs (`Get-Service WinRM`) and is not overloaded.",
        )
    return RemoteError(f"{target.address} answered with HTTP {status} instead of a WinRM message")
