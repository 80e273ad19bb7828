"""Turns a RunReport into report.html: one self-contained page that asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fleet.app.judge import first_sentence
from fleet.model.report import Run, RunReport
from fleet.model.words import Observed, Word
from fleet.report.groups import cause_groups, count_hosts, gap_groups
from fleet.report.payload import Payload
from fleet.report.telling import during, fold_hosts, place
from fleet.report.text import clean, format_seconds, format_utc

_BAR_WIDTH = 1000
_CODE = re.compile(r"`([^`]+)`")
_NAMES = (
    (Word.FAILING, "failing", "✕"),
    (Word.DEGRADED, "degraded", "!"),
    (Word.HEALTHY, "healthy", "✓"),
    (Word.NOT_OBSERVED, "not observed", "?"),
)


class HtmlWriter:
    """Makes ``report.html``."""

    def files(self, report: RunReport) -> Iterator[tuple[str, Iterable[str]]]:
        """The one file."""
        yield "report.html", (render_html(report),)


def render_html(report: RunReport) -> str:
    """The page. Its policy lets nothing load and runs only the one script and style it carries."""
    page = _environment()
    style = _source(page, "report.css")
    script = _source(page, "report.js")
    payload = Payload(report)
    return page.get_template("report.html.j2").render(
        during=during,
        title=f"fleet report {clean(report.run.id)}",
        facts=tuple(_facts(report.run)),
        trust=_trust(report),
        warnings=report.run.warnings,
        shares=_shares(report),
        fleet=report.fleet,
        causes=cause_groups(report),
        gaps=gap_groups(report),
        total=len(report.results),
        is_shortened=payload.is_shortened,
        data=Markup(payload.to_json()),  # noqa: S704 - escaped for a script element by to_json
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fleet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=clean,
        fold_hosts=fold_hosts,
        count_hosts=count_hosts,
        first_sentence=first_sentence,
        place=place,
        prose=prose,
    )
    return environment


def prose(text: str) -> Markup:
    """A rule's words as markup: all is escaped, then what stands between backticks becomes ``<code>``."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before it is marked


def _source(environment: Environment, name: str) -> Markup:
    if environment.loader is None:
        raise RuntimeError("the environment has no loader")
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 - a file of ours


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "Run", clean(run.id)
    yield "Inventory", clean(run.inventory)
    yield "Started", format_utc(run.started_at)
    took = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    yield "Took", format_seconds(took) or "did not end"
    yield "fleet", clean(run.fleet_version)
    yield "Rules", clean(run.pack_digest)[:12]
    yield "Script", " ".join(digest[:12] for digest in clean(run.script_sha256).split(" "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whether the run may be relied on. ``word`` is yes, partly or no."""

    word: str
    headline: str
    remarks: tuple[str, ...]


def _trust(report: RunReport) -> Trust:
    total, missing = len(report.results), report.count(Word.NOT_OBSERVED)
    return Trust(
        word="no" if missing == total else "partly" if missing or report.run.ended_at is None else "yes",
        headline=_headline(total, missing),
        remarks=tuple(_remarks(report)),
    )


def _headline(total: int, missing: int) -> str:
    if not total:
        return "No host was selected, so nothing was observed."
    if missing == total:
        return f"Nothing was observed. This run says nothing about any of its {count_hosts(total)}."
    if missing:
        return (
            f"{total - missing} of {total} hosts were observed. Nobody knows whether the other {missing} are "
            "well."
        )
    return "The one host was observed." if total == 1 else f"All {total} hosts were observed."


def _remarks(report: RunReport) -> Iterator[str]:
    if report.run.ended_at is None:
        yield "The run did not end; hosts it had not reached are listed as skipped."
    partial = sum(result.verdict.observed is Observed.PARTIAL for result in report.results)
    if partial:
        yield f"{count_hosts(partial)} observed in part only: what was read counts, the rest is unknown."


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One verdict's part of the bar; ``x`` and ``width`` in thousandths of it."""

    word: Word
    name: str
    sign: str
    count: int
    x: float
    width: float


def _shares(report: RunReport) -> tuple[Share, ...]:
    shares: list[Share] = []
    x = 0.0
    for word, name, sign in _NAMES:
        count = report.count(word)
        width = round(_BAR_WIDTH * count / max(len(report.results), 1), 2)
        shares.append(Share(word=word, name=name, sign=sign, count=count, x=round(x, 2), width=width))
        x += width
    return tuple(shares)
