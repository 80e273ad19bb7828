"""What a simulated WinRM server is asked, what it answers, what it counts, and how it can misbehave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Request:
    """One pipeline (PSRP) or one encoded command (WinRS) that a client sent.

    ``script``: its text, empty for a command. ``command``: the name of an AddCommand, empty for a script.
    ``arguments``: positional ones as text; a named one is ``-Name`` and then its value.
    ``user``: ``DOM\\name``.
    """

    script: str
    command: str
    arguments: tuple[str, ...]
    user: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a host says to a request.

    ``output``: the strings written, one PSRP object each. ``errors``: the error stream, one record each.
    ``is_failed``: the last of the errors ended the pipeline. ``delay_s``: how long the host works before.
    """

    output: Sequence[str] = ()
    errors: Sequence[str] = ()
    is_failed: bool = False
    delay_s: float = 0


Respond = Callable[[Request], Awaitable[Reply]]
"""Answers one request. What it raises is a bug: the client gets HTTP 500, closing the server raises it."""


@dataclass(slots=True, kw_only=True)
class WinrmCounters:
    """What reached one host so far.

    ``requests``: HTTP requests, handshakes included. ``auth_attempts``: passwords, tickets and certificates
    that were checked (one a connection); ``refusals``: those of them that were refused. ``receives``: polls.
    """

    connections: int = 0
    requests: int = 0
    auth_attempts: int = 0
    refusals: int = 0
    shells_open: int = 0
    shells_opened: int = 0
    most_shells: int = 0
    commands: int = 0
    sends: int = 0
    receives: int = 0
    signals: int = 0
    deletes: int = 0

    def shell_opened(self) -> None:
        """One more is open."""
        self.shells_opened += 1
        self.shells_open += 1
        self.most_shells = max(self.most_shells, self.shells_open)


class WinrmFault(StrEnum):
    """How a host misbehaves. Each acts at one step; what comes after it, such as the Delete of a shell over
    another connection, is answered well, as by a host that was only unlucky once."""

    NONE = "none"

    # Instead of taking connections.
    CONNECTION_REFUSED = "connection-refused"
    NO_ANSWER = "no-answer"
    """No connection is ever made: packets are dropped."""

    # At every request, before or instead of a login.
    HANG_AT_ACCEPT = "hang-at-accept"
    """Takes the connection and says nothing, not even its part of a TLS handshake."""
    HANG_AT_LOGIN = "hang-at-login"
    """Reads the first request of each connection and answers nothing."""
    GARBAGE_HTTP = "garbage-http"
    """Answers with bytes that are no HTTP."""
    REDIRECT = "redirect"
    """Answers 307, to ``WinrmServer.redirect_to``."""
    UNAVAILABLE = "unavailable"
    """Answers 503, as HTTP.sys does for a service that is stopped."""
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 (a word for a fault)
    """Refuses every login."""
    CLOSES_AFTER_401 = "closes-after-first-401"
    """Asks for a login and ends the connection."""
    STRICT_CHANNEL_BINDING = "strict-channel-binding"
    """Over TLS takes no Negotiate login without a channel binding."""

    # At the shell's Create. Where an answer is spoilt or missing the shell was made.
    ACCESS_DENIED = "access-denied"
    SHELL_QUOTA = "shell-quota"
    HANG_AT_CREATE = "hang-at-create"
    GARBAGE_XML = "garbage-xml"
    """The answer to Create is sealed as it should be, and no XML."""
    BAD_SEAL = "bad-seal"
    UNSEALED_ANSWER = "unsealed-answer"
    WRONG_RELATES_TO = "wrong-relates-to"

    # At the Receive of a command.
    TIMED_OUT_POLLING = "timed-out-polling"
    """Says TimedOut at once to the first polls (``TIMED_OUT_POLLS``), then answers."""
    HANG_AT_RECEIVE = "hang-at-receive"
    SHELL_LOST = "shell-lost"
    """The shell is gone at the first poll."""
    RESET = "reset"
    FIN = "fin"
    """The connection ends properly, without an answer."""
    TRUNCATED = "truncated"
    """Half an answer, then the connection ends."""
    TRICKLE = "trickle"
    """``TRICKLE_BYTES`` of the answer every ``TRICKLE_EVERY_S``."""
    ENDLESS_OUTPUT = "endless-output"
    """As many objects as anybody asks for; the command never ends."""
    ENDLESS_BODY = "endless-body"
    """One HTTP answer that never ends."""

    DELETE_FAILS = "delete-fails"
    """Delete is answered by a fault, and the shell stays open."""


TIMED_OUT_POLLS = 3
TRICKLE_BYTES, TRICKLE_EVERY_S = 1, 0.5
