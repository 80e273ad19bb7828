"""What holds for every rule beside its cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.model.pack import Rule, Variant
from fleet.model.words import Severity
from fleet.packs.lint import vague_remedies
from fleet.packs.load import load_pack

RULES = load_pack().rules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_its_remedy_names_a_command_a_setting_or_a_role(rule: Rule) -> None:
    assert list(vague_remedies([rule])) == []


def test_a_remedy_that_names_nothing_is_vague() -> None:
    rule = replace(RULES[0], severity=Severity.ERROR, remediation=("Ask somebody.",), instead=())
    (told,) = vague_remedies([rule])
    assert told.endswith("no role: Ask somebody.")
    assert list(vague_remedies([replace(rule, severity=Severity.INFO)])) == []
    clear = replace(rule, remediation=("Ask somebody.", "Run `azcmagent check`."))
    assert list(vague_remedies([clear])) == []
    assert len(list(vague_remedies([replace(clear, instead=(Variant(remediation=("Wait.",)),))]))) == 1
