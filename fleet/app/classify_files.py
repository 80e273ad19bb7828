"""Files, folders or standard input into verdicts with findings, without touching a host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleet.app.judge import word_of
from fleet.classify.engine import Classifier
from fleet.errors import SettingsError
from fleet.model.finding import Finding
from fleet.model.observation import Level, Log, Observation, Outcome
from fleet.model.pack import Pack
from fleet.model.words import OS, State, Word
from fleet.parse.mask import Masker
from fleet.parse.observe import observe_texts
from fleet.parse.scan import Anchors

SCHEMA = "fleet.classify/1"
STDIN = "-"
MAX_SOURCE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """One text: its path as found ("-" for standard input), the word on it, its findings in order."""

    path: str
    verdict: Word
    findings: tuple[Finding, ...] = ()


def classify_paths(
    paths: Sequence[str], pack: Pack, system: OS | None = None, stdin: bytes = b""
) -> tuple[SourceResult, ...]:
    """Judge each text on its own; a folder stands for the regular files below it, by name.

    ``stdin`` is what ``-`` among the paths stands for. Of a file larger than ``MAX_SOURCE_BYTES`` the end
    is read. Secrets are masked before anything is looked at.

    Raises:
        SettingsError: a path that cannot be read, with its name.
    """
    classifier = Classifier(pack)
    anchors = Anchors(classifier.anchors)
    masker = Masker(None)
    results = []
    for path, data in _texts(paths, stdin):
        observation = observe_texts([(path, masker.mask(data))], anchors, os=system)
        findings = classifier.classify(observation).findings
        results.append(SourceResult(path=path, verdict=_verdict(observation, findings), findings=findings))
    return tuple(results)


def render_classify_json(results: Sequence[SourceResult]) -> str:
    """The results as one JSON document of the schema ``fleet.classify/1``; times are ISO 8601 in UTC."""
    sources = [
        {
            "path": result.path,
            "verdict": result.verdict.value,
            "findings": [_finding_fields(finding) for finding in result.findings],
        }
        for result in results
    ]
    return json.dumps({"schema": SCHEMA, "sources": sources}, indent=2, ensure_ascii=True) + "\n"


def _finding_fields(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "code": finding.code,
        "severity": finding.severity.value,
        "state": finding.state.value,
        "title": finding.title,
        "cause": finding.cause,
        "remediation": finding.remediation,
        "count": finding.count,
        "first_seen_at": _instant(finding.first_seen_at),
        "last_seen_at": _instant(finding.last_seen_at),
        "evidence": [{"line": evidence.line, "text": evidence.text} for evidence in finding.evidence],
        "explained_by": list(finding.explained_by),
        "parameters": dict(finding.parameters),
    }


def _instant(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _texts(paths: Sequence[str], stdin: bytes) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == STDIN:
            yield STDIN, stdin
            continue
        for file in _files(Path(path)):
            yield str(file), _read_end(file)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, names, files in os.walk(path, onerror=_refuse):
        names.sort()
        yield from (file for name in sorted(files) if (file := Path(folder, name)).is_file())


def _refuse(error: OSError) -> None:
    raise SettingsError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _read_end(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            if stream.seekable():
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - MAX_SOURCE_BYTES))
            return stream.read(MAX_SOURCE_BYTES)
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc


def _verdict(observation: Observation, findings: Sequence[Finding]) -> Word:
    active = [finding for finding in findings if finding.state is State.ACTIVE]
    word = word_of(active)
    if word is Word.HEALTHY and not _shows_health(observation):
        return Word.NOT_OBSERVED
    return word


def _shows_health(observation: Observation) -> bool:
    """Whether the text would have shown what is wrong: a version or a list of settings would not."""
    if observation.unanswered:
        return False
    return bool(observation.agent.status or observation.services) or any(map(_is_telling, observation.logs))


def _is_telling(log: Log) -> bool:
    """A command that ended, or a service's own log; not a command that is still under way."""
    if log.runs and log.runs[-1].command:
        return log.runs[-1].outcome is not Outcome.UNKNOWN
    return any(record.code or record.at or record.level is not Level.UNKNOWN for record in log.records)
