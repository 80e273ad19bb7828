"""``runs``, ``show`` and ``report``, and the offline command ``classify``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.model.host import Host
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.words import Observed, Word
from fleet.storage import open_store
from tests.unit.cli.conftest import Fleet

AT = datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
HOSTS = (Host(name="web01", address="198.51.100.4"), Host(name="web02", address="198.51.100.5"))
RUN = Run(
    id="20260329T010203-aaaaaaaa",
    inventory="fleet\x1b[2J.yaml",
    started_at=AT,
    selected=2,
    fleet_version="",
    pack_digest="",
    script_sha256="",
)


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Two runs: one that ended, and a newer one that did not."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    store = open_store(url)
    store.begin(RUN, HOSTS)
    verdict = Verdict(word=Word.HEALTHY, observed=Observed.FULL)
    store.save(RUN.id, [(HostResult(host=HOSTS[0], verdict=verdict), b"")])
    store.end(replace(RUN, ended_at=AT + timedelta(minutes=1), exit_code=3))
    store.begin(replace(RUN, id="20260330T010203-bbbbbbbb", started_at=AT + timedelta(days=1)), HOSTS[:1])
    store.close()
    return url


def test_runs_are_a_table_with_their_verdicts(fleet: Fleet, db: str) -> None:
    done = fleet("runs", "--db", db)
    assert done.code == 0
    assert done.err == f"database {db.removeprefix('sqlite:///')}\n"
    heading, newer, older = (line.split() for line in done.out.splitlines())
    assert heading[:5] == ["RUN", "BEGAN", "ENDED", "EXIT", "HOSTS"]
    assert newer[:4] == ["20260330T010203-bbbbbbbb", "2026-03-30T01:02:03Z", "not", "ended"]
    assert older[2:9] == ["2026-03-29T01:03:03Z", "3", "2", "0", "0", "1", "1"]
    assert "\x1b" not in done.out


@pytest.mark.parametrize("words", [["runs"], ["show", "web01"], ["why", "web01"], ["report"]])
def test_reading_where_nothing_is_makes_nothing(fleet: Fleet, tmp_path: Path, words: list[str]) -> None:
    out = ["-o", str(tmp_path / "out")] if words == ["report"] else []
    done = fleet(*words, *out, "--db", f"sqlite:///{tmp_path}/data/fleet.db")
    assert (done.code, done.out) == (2, "")
    assert f"there is no database {tmp_path}/data/fleet.db; `fleet collect INVENTORY` makes one" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "words"),
    [("2026", "several runs begin with 2026"), ("20270101", "holds no run 20270101; `fleet runs` lists")],
)
def test_a_run_that_is_not_one_is_the_operators_mistake(
    fleet: Fleet, db: str, tmp_path: Path, run: str, words: str
) -> None:
    done = fleet("report", "--db", db, "--run", run, "-o", tmp_path / "out")
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_a_report_is_written_by_the_beginning_of_its_run(fleet: Fleet, db: str, tmp_path: Path) -> None:
    done = fleet("report", "--db", db, "--run", "20260329", "--format", "csv", "-o", tmp_path / "out")
    assert done.code == 0
    assert f"wrote {tmp_path / 'out' / 'hosts.csv'}" in done.out


def test_show_is_one_host(fleet: Fleet, db: str) -> None:
    assert "web01" in fleet("show", "web01", "--db", db).out
    missing = fleet("show", "web", "--db", db)
    assert missing.code == 2
    assert "no run knows a host named web" in missing.err


def test_why_judges_what_is_stored_and_says_where_nothing_is(fleet: Fleet, db: str) -> None:
    nothing = fleet("why", "web02", "--db", db)
    assert nothing.code == 0
    assert nothing.out.startswith("web02  NOT OBSERVED: skipped\n  run 20260329T010203-aaaaaaaa: not visited")
    assert "no rule can say anything" in nothing.out
    for words, said in (
        (["web"], "no run knows a host named web"),
        (["web02", "--run", "20260330"], "no run 20260330 knows a host named web02"),
        (["web01", "--run", "2026"], "several runs begin with 2026"),
    ):
        missing = fleet("why", *words, "--db", db)
        assert (missing.code, missing.out) == (2, "")
        assert said in missing.err


def test_why_tells_of_a_real_visit_what_fired_and_what_nobody_read(
    fleet: Fleet, here: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    assert fleet("collect", here, "--db", url).code in (1, 3)
    done = fleet("why", "here", "--db", url, "--run", "latest")
    assert done.code == 0
    assert "\nFired\n  error: agent-not-installed" in done.out
    assert "\nNot evaluated\n" in done.out
    assert "nobody read agent.status (connected" in done.out
    assert "\n  then" not in done.out


def test_classify_says_when_and_where_only_as_far_as_it_is_known(fleet: Fleet, tmp_path: Path) -> None:
    show = tmp_path / "show.txt"
    show.write_text("Agent Version : 1.58.03228.700\nAgent Status : Disconnected\nResource Name :\n")
    log = tmp_path / "azcmagent.log"
    log.write_text(
        'time="2026-03-01T10:00:00+02:00" level=debug msg="Agent Command: connect"\n'
        'time="2026-03-01T10:00:01+02:00" level=error msg="Exit Code: AZCM0042: Failed to Create Resource"\n'
    )
    shown, logged = fleet("classify", show), fleet("classify", log)
    assert (shown.code, logged.code) == (1, 1)
    assert "line 0" not in shown.out
    assert "line 2: " in logged.out
    assert "seen: once, at 2026-03-01T08:00:01Z" in logged.out


def test_classify_tells_of_a_symptom_what_explains_it_and_no_remedy(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "azcmagent.log"
    log.write_text(
        'time="2026-03-01T08:00:00Z" level=debug msg="Agent Command: connect"\n'
        'time="2026-03-01T08:00:01Z" level=error msg="AADSTS700016: gone"\n'
        'time="2026-03-01T08:00:02Z" level=fatal msg="Exit Code: AZCM0041: Failed to Get Access Token"\n'
    )
    cause, symptom = fleet("classify", log).out.split("  error: ")[1:]
    assert cause.startswith("application-not-found ")
    assert "    remedy: " in cause
    assert symptom.startswith("AZCM0041 ")
    assert symptom.split("\n")[1] == "    explained by: application-not-found"
    assert "remedy" not in symptom


def test_classify_without_a_standard_input_is_one_line(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    done = fleet("classify", "-")
    assert (done.code, done.out, done.err) == (2, "", "fleet: -: there is no standard input\n")
