"""What README shows of `make demo`: the summary of the run in reports/sample. As a program, puts it there."""

from __future__ import annotations

import re
from pathlib import Path

from fleet.report.summary import render_summary
from tests.stored_report import read_report

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "reports/sample"
README = ROOT / "README.md"

_BLOCK = re.compile(r"(?<=```text\n).*?(?=```)", re.DOTALL)


def shown_output() -> str:
    """The output as README shows it."""
    (block,) = _BLOCK.findall(README.read_text(encoding="utf-8"))
    return str(block)


def sample_output() -> str:
    """The output as the sample's run gives it."""
    return render_summary(read_report(SAMPLE / "report.json"))


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(_BLOCK.sub(lambda _: sample_output(), text), encoding="utf-8")
