"""Makes one visit to one host: connect, become, run the script, take its answer apart."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fleet.collect.become import as_text, become_root
from fleet.collect.deadlines import Limits, PhaseClock
from fleet.collect.framing import (
    Form,
    Frames,
    Header,
    Plain,
    deflate,
    find_header,
    from_base64,
    join_sections,
    mask_sections,
    open_gzip,
    parse_frames,
    reheaded,
    split_sections,
)
from fleet.collect.plan import Order, Plan
from fleet.errors import (
    AuthError,
    CredentialError,
    DeadlineError,
    HostError,
    IdentityError,
    PrivilegeError,
    RemoteError,
    StoppedError,
    UnreachableError,
)
from fleet.model.host import Host
from fleet.model.visit import Failure, Visit
from fleet.model.words import Become, Phase, Reason
from fleet.ports import Clock, Guard, Permit, Process, Secrets, Session, Transport

_READ_BYTES = 1 << 18
_MAX_CHATTER_BYTES = 1 << 18
_MAX_SHOWN_CHARS = 300
_TOO_LARGE = "the answer is larger than any the visit can give; reading stopped"
_MAX_WORDS_CHARS = 4096

_REASONS: dict[type[HostError], Reason] = {
    UnreachableError: Reason.UNREACHABLE,
    IdentityError: Reason.IDENTITY,
    AuthError: Reason.AUTH,
    CredentialError: Reason.CREDENTIAL,
    PrivilegeError: Reason.PRIVILEGE,
    DeadlineError: Reason.DEADLINE,
    RemoteError: Reason.REMOTE,
    StoppedError: Reason.SKIPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back on stdout behind the header, out of its Base64 and before masking; ``offset_s`` host's
    clock minus ours."""

    nonce: str
    data: bytes
    header: Header | None
    offset_s: float | None

    def plain(self, limit: int) -> Plain:
        """The framed text, decompressed as far as it goes, at most ``limit`` bytes."""
        if self.header is not None and self.header.form is not Form.PLAIN:
            return open_gzip(self.data, limit)
        return Plain(data=self.data[:limit] if self.header else b"", is_whole=False)


@dataclass(slots=True)
class _Heard:
    """What of a host has got here, whichever way its visit ends."""

    answer: Answer | None = None
    host_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Makes visits after one plan, with one transport; holds nothing of a host after its visit."""

    plan: Plan
    transport: Transport
    secrets: Secrets
    guard: Guard
    clock: Clock
    limits: Limits
    run_id: str

    async def visit(self, host: Host, watch: Callable[[PhaseClock], None]) -> tuple[Visit, Answer | None]:
        """One visit. A host's trouble is in ``Visit.failure``; an answer that came is returned even then,
        for :func:`open_answer` to read. ``watch`` is given the visit's clock as it starts."""
        started_at, began = self.clock.now(), time.monotonic()
        phases = PhaseClock(self.limits)
        watch(phases)
        heard = _Heard()
        failure = None
        try:
            async with phases:
                await self._talk(host, phases, heard)
        except HostError as error:
            failure = Failure(
                reason=_REASONS[type(error)], phase=phases.phase, message=str(error), action=error.action
            )
        answer = heard.answer
        visit = Visit(
            started_at=started_at,
            duration_s=time.monotonic() - began,
            timings=phases.timings,
            failure=failure,
            clock_offset_s=answer.offset_s if answer else None,
            host_key=heard.host_key,
        )
        return visit, answer

    async def _talk(self, host: Host, phases: PhaseClock, heard: _Heard) -> None:
        guard = _PausingGuard(self.guard, phases)
        session = await self.transport.open(host, self.secrets, guard, phases)
        heard.host_key = session.host_key
        async with _closing(session), AsyncExitStack() as permits:
            nonce, prompt, ready = (secrets.token_hex(16) for _ in range(3))
            shell = host.become is Become.SHELL
            phases.enter(Phase.BECOME if shell else Phase.EXEC)
            order = self.plan.order(host, nonce=nonce, run_id=self.run_id, prompt=prompt, ready=ready)
            process = await session.start(order.command)
            first = b""
            if shell:
                ask = _ask_for(host, self.secrets, guard, permits)
                first = await become_root(process, prompt=prompt, ready=ready, password=ask)
                await permits.aclose()
                phases.enter(Phase.EXEC)
            await _exchange(process, self.plan, order, first, nonce, phases, heard)


def _ask_for(
    host: Host, secrets_: Secrets, guard: Guard, permits: AsyncExitStack
) -> Callable[[], Awaitable[tuple[str, Permit]]] | None:
    ref = host.become_password
    if ref is None:
        return None

    async def ask() -> tuple[str, Permit]:
        password = secrets_.resolve(ref)
        if "\n" in password:
            # sudo would take the second line as a second attempt.
            raise CredentialError(f"{ref} holds more than one line; it is not sent to sudo")
        permit = await permits.enter_async_context(guard.attempt("sudo", host.user, password))
        return password, permit

    return ask


class _PausingGuard:
    """Waiting for another host to prove a password is not this host's time."""

    def __init__(self, guard: Guard, phases: PhaseClock) -> None:
        self._guard = guard
        self._phases = phases

    @asynccontextmanager
    async def attempt(self, kind: str, user: str, password: str) -> AsyncIterator[Permit]:
        async with AsyncExitStack() as stack:
            with self._phases.paused():
                permit = await stack.enter_async_context(self._guard.attempt(kind, user, password))
            yield permit


@asynccontextmanager
async def _closing(session: Session) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await session.close()


async def _exchange(
    process: Process,
    plan: Plan,
    order: Order,
    first: bytes,
    nonce: str,
    phases: PhaseClock,
    heard: _Heard,
) -> None:
    """Send the script and read to the end. What has arrived is in ``heard`` at every way out."""
    errors = asyncio.create_task(_drain(process))
    buffer = bytearray(first)
    header: Header | None = None
    offset: float | None = None
    sent_s = time.time()
    try:
        untaken = await _send(process, order)
        while True:
            part = await process.read(_READ_BYTES)
            if not part:
                break
            buffer += part
            if header is None and (header := find_header(bytes(buffer), nonce)) is not None:
                offset = _offset(header, sent_s, time.time())
                phases.enter(Phase.TRANSFER)
            elif header is None and len(buffer) > _MAX_CHATTER_BYTES:
                raise RemoteError("the host talks without end and did not start the visit")
            if len(buffer) > plan.max_answer_bytes // 3 * 4 + _MAX_CHATTER_BYTES:
                raise RemoteError(_TOO_LARGE)
        said = await errors
    finally:
        errors.cancel()
        await asyncio.gather(errors, return_exceptions=True)
        data = bytes(buffer[header.end :]) if header else b""
        if header is not None and header.form is Form.GZIP64:
            data = from_base64(data)
        heard.answer = Answer(nonce=nonce, data=data, header=header, offset_s=offset)
    if untaken is not None and (header is not None or not said + buffer):
        raise untaken
    if header is None:
        raise RemoteError("the host did not run the visit: " + _shown(said or bytes(buffer)))


async def _send(process: Process, order: Order) -> RemoteError | None:
    """The error where the other side ended before it took all: what it said until then tells more."""
    try:
        await process.write(order.stdin)
    except RemoteError as error:
        return error
    if order.ends:
        process.write_eof()
    return None


def _offset(header: Header, sent_s: float, received_s: float) -> float | None:
    if header.epoch_s is None:
        return None
    # date(1) cuts off the fraction: half a second is the middle of what it may have been.
    return round(header.epoch_s + 0.5 - (sent_s + received_s) / 2, 1)


async def _drain(process: Process) -> bytes:
    kept = b""
    while part := await process.read_stderr(4096):
        kept = (kept + part)[:4096]
    return kept


def _shown(said: bytes) -> str:
    """The last lines, whole: a secret is not to lose what names it before it is masked."""
    kept: list[str] = []
    room = _MAX_SHOWN_CHARS
    for line in reversed(as_text(said).split("\n")):
        room -= len(line) + 1
        if kept and room < 0:
            break
        kept.append(line)
    text = "\n".join(reversed(kept))[:_MAX_WORDS_CHARS]
    return "".join(char if char.isprintable() else " " for char in text) or "it said nothing"


def open_answer(
    visit: Visit, answer: Answer, plain: Plain, plan: Plan, mask: Callable[[bytes], bytes]
) -> Visit:
    """Mask the answer's plain text and take it apart: CPU only, total over what hosts send."""
    if answer.header is None:
        return visit
    if visit.failure is None and len(plain.data) >= plan.max_answer_bytes:
        trouble = Failure(reason=Reason.REMOTE, phase=Phase.TRANSFER, message=_TOO_LARGE)
        visit = replace(visit, failure=trouble)
    items = {item.name: item for item in plan.items}
    sections = split_sections(plain.data, answer.nonce, plan.max_sections)
    masked = tuple(mask_sections(sections, items, mask))
    frames = parse_frames(masked, items)
    # What was not touched is stored as it came: compressing it again would cost more than all the rest.
    untouched = all(new is old for new, old in zip(masked, sections, strict=True))
    as_it_came = untouched and plain.is_whole
    stored = reheaded(answer.data) if as_it_came else deflate(join_sections(masked, answer.nonce))
    return replace(
        visit,
        captures=frames.captures,
        complete=frames.complete and visit.failure is None,
        body=answer.nonce.encode() + b"\n" + stored,
    )


def reopen(body: bytes, plan: Plan) -> Frames:
    """What is in a stored body, as far as the plan's items know it. Total."""
    nonce, _, stored = body.partition(b"\n")
    # To mask may have made it longer than it came.
    plain = open_gzip(stored, 2 * plan.max_answer_bytes).data
    sections = split_sections(plain, nonce.decode("ascii", "replace"), most=len(plain) + 2)
    return parse_frames(sections, {item.name: item for item in plan.items})


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        return datetime.now(UTC)
