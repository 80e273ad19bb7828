"""Every rule against its own cases, which are data beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.app.rule_cases import CaseRunner, missing_cases
from fleet.model.case import Case
from fleet.packs.cases import load_cases
from fleet.packs.load import load_pack

PACK = load_pack()
CASES = load_cases([Path(__file__).parent / "azcmagent"], PACK)


@pytest.fixture(scope="module")
def runner() -> CaseRunner:
    return CaseRunner(PACK)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.number}")
def test_case(case: Case, runner: CaseRunner) -> None:
    runs = list(runner.run(case))
    assert runs
    assert [(run.shape, run.faults, run.active) for run in runs if run.faults] == [], case.place


def test_each_rule_has_a_case_that_finds_it_and_one_that_does_not() -> None:
    assert list(missing_cases(CASES, PACK.rules)) == []
