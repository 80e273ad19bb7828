"""Stand-ins typed against the ports: what a fault needs that no real part can be made to show."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from fleet.errors import HostError
from fleet.model.finding import FleetFinding
from fleet.model.host import Host, SecretRef
from fleet.model.report import HostResult, Run, RunReport
from fleet.model.words import Phase, Word
from fleet.ports import Guard, Phases, Process, Secrets, Session


class FakeSecrets:
    """Values by reference, as ``str(ref)``."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def resolve(self, ref: SecretRef) -> str:
        return self._values[str(ref)]


class FakeTransport:
    """Opens nothing: raises what it is given, or hangs in a phase until it is cancelled."""

    def __init__(self, outcome: Callable[[Host], Exception | None]) -> None:
        self._outcome = outcome
        self.opened: list[str] = []
        self.reached = asyncio.Event()

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        self.opened.append(host.name)
        phases.enter(Phase.CONNECT)
        self.reached.set()
        error = self._outcome(host)
        if error is None:
            await asyncio.Event().wait()
            raise AssertionError
        raise error


class AnsweringTransport:
    """Every host answers the visit with these texts by item, all else empty."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = dict(texts)

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        return _AnsweringSession(self._texts)


class _AnsweringSession:
    host_key = "SHA256:fake"

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts

    async def start(self, command: str) -> Process:
        nonce, items = command.split(" ")[4].encode(), [word.split(":")[0] for word in command.split(" ")[6:]]
        frames = [
            b"\n%s begin %s user\n%s\n%s end %s 0\n"
            % (nonce, item.encode(), self._texts.get(item, b""), nonce, item.encode())
            for item in items
        ]
        body = b"".join(frames) + b"\n%s done %d\n" % (nonce, len(items))
        return _AnsweringProcess(b"\n%s FLEET1 gzip 1700000000\n" % nonce + gzip.compress(body))

    async def close(self) -> None:
        pass


class _AnsweringProcess:
    def __init__(self, answer: bytes) -> None:
        self._left = answer

    async def write(self, data: bytes) -> None:
        pass

    def write_eof(self) -> None:
        pass

    async def read(self, limit: int) -> bytes:
        part, self._left = self._left[:limit], self._left[limit:]
        return part

    async def read_stderr(self, limit: int) -> bytes:
        return b""


class _SayingProcess(_AnsweringProcess):
    def __init__(self, told: SayingTransport) -> None:
        super().__init__(told.answer())
        self._told = told

    async def write(self, data: bytes) -> None:
        self._told.script += data


class SayingTransport:
    """Every host says this, ``NONCE`` replaced by the visit's own; frames without a header go in Base64."""

    def __init__(self, say: bytes) -> None:
        self._say = say
        self.command = ""
        self.script = b""

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        return _SayingSession(self)

    def answer(self) -> bytes:
        nonce = self.command.split("\n")[0].encode()
        said = self._say.replace(b"NONCE", nonce)
        if said.startswith(nonce):
            return said
        return b"%s FLEET1 gzip64 1700000000\n" % nonce + base64.encodebytes(gzip.compress(said))


class _SayingSession:
    host_key = ""

    def __init__(self, told: SayingTransport) -> None:
        self._told = told

    async def start(self, command: str) -> Process:
        self._told.command = command
        return _SayingProcess(self._told)

    async def close(self) -> None:
        pass


class FakeStore:
    """Keeps the results it is given; ``fails`` is raised by every save."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.results: dict[str, HostResult] = {}
        self._fails = fails

    def mask_key(self) -> bytes:
        return b"k" * 32

    def begin(self, run: Run, hosts: Sequence[Host]) -> None:
        pass

    def save(self, run_id: str, batch: Sequence[tuple[HostResult, bytes]]) -> None:
        if self._fails is not None:
            raise self._fails
        self.results |= {result.host.name: result for result, _ in batch}

    def end(self, run: Run, fleet: Sequence[FleetFinding] = ()) -> None:
        pass

    def runs(self, limit: int) -> tuple[Run, ...]:
        return ()

    def count_verdicts(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Word, int]]:
        return {}

    def load(self, run_id: str | None) -> RunReport | None:
        return None

    def fleet(self, run_id: str) -> tuple[FleetFinding, ...]:
        return ()

    def visit(self, host: str, run_id: str | None) -> tuple[Run, HostResult, bytes] | None:
        return None

    def history(self, host: str, limit: int) -> tuple[tuple[Run, HostResult], ...]:
        return ()

    def close(self) -> None:
        pass


class FakeClock:
    """One instant, for ever."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at


def raises(error: HostError | Exception) -> Callable[[Host], Exception | None]:
    """The same trouble for every host."""
    return lambda _: error
