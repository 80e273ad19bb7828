"""A visit, fresh or stored, into what a pack's rules say of its host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from fleet.app.accepting import Accepting
from fleet.app.fleet_findings import FleetRules
from fleet.app.judge import judge
from fleet.classify.engine import Classification, Classifier
from fleet.collect.plan import plan_visit
from fleet.collect.visit import reopen
from fleet.model.finding import FleetFinding, Trait
from fleet.model.host import Host
from fleet.model.observation import Observation
from fleet.model.pack import Pack
from fleet.model.report import HostResult, Verdict
from fleet.model.visit import Failure, Visit
from fleet.model.words import CheckMode
from fleet.parse.observe import observe_visit
from fleet.parse.scan import Anchors


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What was observed, what the rules say of it, and the verdict that comes of it."""

    observation: Observation
    classification: Classification
    verdict: Verdict
    traits: tuple[Trait, ...]


class Rulings:
    """A pack's rules, compiled once. CPU only; may be used by several threads at once."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._classifier = Classifier(pack)
        self._anchors = Anchors(self._classifier.anchors)
        self._fleet = FleetRules(pack)
        self._accepting = Accepting(pack.accepts)

    def of_visit(self, visit: Visit, host: Host) -> Ruling:
        """What they say of the host by that visit, which is masked; what was accepted on its day says so."""
        observation = observe_visit(visit, self._anchors, host.os)
        found = self._classifier.classify(observation)
        marked = self._accepting.mark(host, found.findings, visit.started_at.date())
        found = replace(found, findings=marked)
        return Ruling(
            observation=observation,
            classification=found,
            verdict=judge(visit, observation, found.findings, self._pack, host),
            traits=self._fleet.traits(observation.facts, host.os),
        )

    def of_stored(self, result: HostResult, body: bytes) -> Ruling | None:
        """What they say today of a visit that is stored; None when nothing came of it.

        The host's family decides what is read of it; an item that the pack has no more is left out.
        """
        if not body or result.started_at is None:
            return None
        frames = reopen(body, plan_visit(self._pack.items, CheckMode.ALWAYS, result.host.os))
        verdict = result.verdict
        # Of a visit that ended well the reason is one that its captures give again.
        failure = (
            None
            if frames.complete or verdict.reason is None
            else Failure(
                reason=verdict.reason, phase=verdict.phase, message=verdict.message, action=verdict.action
            )
        )
        visit = Visit(
            started_at=result.started_at,
            duration_s=result.duration_s or 0.0,
            captures=frames.captures,
            complete=frames.complete,
            clock_offset_s=result.clock_offset_s,
            timings=result.timings,
            failure=failure,
            body=body,
        )
        return self.of_visit(visit, result.host)

    def of_fleet(self, results: Iterable[HostResult]) -> tuple[FleetFinding, ...]:
        """What the hosts of a run share, from all its results as they are stored: a run keeps nothing in mind
        for it."""
        return self._fleet.findings((result.host.name, result.traits) for result in results)

    def warnings(self, results: Iterable[HostResult], on: date) -> tuple[str, ...]:
        """What is to be told at the end of a run of what operators accepted, from all its results."""
        return tuple(self._accepting.unmatched(results, on))
