"""Conditions over facts."""

from __future__ import annotations

import pytest

from fleet.classify.conditions import holds, is_usable
from fleet.model.observation import Fact
from fleet.model.pack import Condition


@pytest.mark.parametrize(
    ("value", "op", "wanted", "expected"),
    [
        ("Connected", "is", "connected", True),
        ("Connected", "is", "Connect", False),
        ("Connected", "is_not", "Expired", True),
        ("expired", "is_not", "Expired", False),
        ("failed", "one_of", "stopped, failed", True),
        ("running", "one_of", "stopped,failed", False),
        ("121", "above", "120", True),
        ("120", "above", "120", False),
        ("1e3", "above", "120", True),
        ("nan", "above", "120", False),
        ("inf", "above", "120", False),
        ("soon", "above", "120", False),
        ("-1", "below", "0", True),
        ("0", "below", "0", False),
        ("1.100.2", "at_least", "1.51", True),
        ("1.51.03008.304", "at_least", "1.51", True),
        ("1.50.02986-239", "at_least", "1.51", False),
        ("2.0", "at_least", "1.51", True),
        ("latest", "at_least", "1.51", False),
        ("anything", "exists", "yes", True),
        ("", "exists", "yes", False),
        ("", "is_not", "Expired", False),
    ],
)
def test_one_fact(value: str, op: str, wanted: str, expected: bool) -> None:
    condition = Condition(field="x", op=op, value=wanted)
    assert is_usable(condition)
    assert holds(condition, {"x": Fact(name="x", value=value)}) is expected


@pytest.mark.parametrize("op", ["is", "is_not", "one_of", "above", "below", "at_least", "exists"])
def test_a_fact_nobody_read_meets_no_condition(op: str) -> None:
    assert not holds(Condition(field="x", op=op, value="1"), {})
