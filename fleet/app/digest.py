"""Turns one visit's answer into a judged result: mask, take apart, observe, classify, judge."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from fleet.app.ruling import Rulings
from fleet.classify.evidence import harmless
from fleet.collect.framing import Plain
from fleet.collect.plan import Plan
from fleet.collect.visit import Answer, open_answer
from fleet.errors import CredentialError
from fleet.model.finding import FleetFinding
from fleet.model.host import Host, SecretRef
from fleet.model.pack import Pack
from fleet.model.report import HostResult
from fleet.model.visit import Failure, Visit
from fleet.model.words import OS
from fleet.parse.mask import Masker
from fleet.ports import Secrets

MAX_MESSAGE_CHARS = 400

log = logging.getLogger(__name__)
MAX_SHARED = 256
"""More than these would make looking for them the dearest part of a visit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A result, and the visit's body as it is to be stored."""

    result: HostResult
    body: bytes


class Digest:
    """Judges visits with one pack. CPU only; may be used by several threads at once."""

    def __init__(
        self,
        pack: Pack,
        plans: Mapping[OS, Plan],
        mask_key: bytes,
        secrets: Secrets,
        shared: frozenset[SecretRef],
    ) -> None:
        self._plans = plans
        self._mask_key = mask_key
        self._secrets = secrets
        self._shared = _resolved(secrets, shared)
        self._masker = Masker(mask_key, self._shared)
        self._rulings = Rulings(pack)

    def max_answer_bytes(self, host: Host) -> int:
        """The most plain text that is worth reading of that host's answer."""
        return self._plans[host.os].max_answer_bytes

    def judge(
        self, host: Host, visit: Visit, answer: Answer | None = None, plain: Plain | None = None
    ) -> Judged:
        """The host's result from the answer and its plain text; what came is judged, also after a failure."""
        mask = self._mask_for(host)
        if answer is not None and plain is not None:
            visit = open_answer(visit, answer, plain, self._plans[host.os], mask)
        if visit.failure is not None:
            visit = replace(visit, failure=_masked(visit.failure, mask))
        if log.isEnabledFor(logging.DEBUG):
            for line in _told(visit):
                log.debug("%s: %s", host.name, line)
        ruling = self._rulings.of_visit(visit, host)
        observation = ruling.observation
        result = HostResult(
            host=host,
            verdict=ruling.verdict,
            findings=ruling.classification.findings,
            login=host.login,
            os_name=observation.os_name,
            agent=observation.agent,
            services=observation.services,
            started_at=visit.started_at,
            duration_s=round(visit.duration_s, 3),
            clock_offset_s=visit.clock_offset_s,
            timings=visit.timings,
            traits=ruling.traits,
        )
        return Judged(result=result, body=visit.body)

    def fleet_findings(self, results: Iterable[HostResult]) -> tuple[FleetFinding, ...]:
        """What the hosts of a run share, from all its results."""
        return self._rulings.of_fleet(results)

    def warnings(self, results: Iterable[HostResult], on: date) -> tuple[str, ...]:
        """What is to be told at the end of a run, from all its results."""
        return self._rulings.warnings(results, on)

    def _mask_for(self, host: Host) -> Callable[[bytes], bytes]:
        own = _resolved(self._secrets, _own_secrets(host))
        if own <= self._shared:
            return self._masker.mask
        return Masker(self._mask_key, self._shared | own).mask


def _told(visit: Visit) -> Iterator[str]:
    """What a visit did, for who looks into one: phases, what was read with which outcome, what went wrong."""
    yield "phases: " + ", ".join(f"{one.phase} {one.seconds:.2f} s" for one in visit.timings)
    for capture in visit.captures:
        if capture.skipped:
            yield f"{capture.item}: left out, {capture.skipped}"
            continue
        cut = ", cut" if capture.cut else ""
        said = harmless(capture.stderr.decode("utf-8", "replace")[:MAX_MESSAGE_CHARS])
        yield (
            f"{capture.item}: exit code {capture.exit_code}, {len(capture.data)} bytes{cut}, read as "
            f"{capture.privilege}{f'; it said: {said}' if said else ''}"
        )
    if visit.failure is not None:
        yield f"{visit.failure.reason}: {visit.failure.message}"


def _masked(failure: Failure, mask: Callable[[bytes], bytes]) -> Failure:
    """It may quote the host. It is cut after it is masked: half a secret is none that a mask would know."""
    message = mask(failure.message.encode("utf-8", "replace")).decode("utf-8", "replace")
    short = message if len(message) <= MAX_MESSAGE_CHARS else f"{message[: MAX_MESSAGE_CHARS - 1]}…"
    return replace(failure, message=short)


def shared_secrets(hosts: tuple[Host, ...]) -> frozenset[SecretRef]:
    """The references whose values are looked for in every host's answer: all of the run, and where a run has
    more than ``MAX_SHARED`` those that most hosts use. A host's own are looked for in its answer besides."""
    uses = Counter(ref for host in hosts for ref in _own_secrets(host))
    return frozenset(ref for ref, _ in uses.most_common(MAX_SHARED))


def _own_secrets(host: Host) -> frozenset[SecretRef]:
    return frozenset(ref for ref in (host.password, host.become_password) if ref is not None)


def _resolved(secrets: Secrets, refs: frozenset[SecretRef]) -> frozenset[str]:
    values = set()
    for ref in refs:
        try:
            values.add(secrets.resolve(ref))
        except CredentialError:
            # Its hosts say so in their own rows; there is no value to mask.
            continue
    return frozenset(values)
