"""The wheel holds the package and nothing else, with its data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_only_the_package_is_packed(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info").split("-")[0] for top in tops} == {"fleet", "fleet_diagnostics"}
    for data in (
        "fleet/collect/visit.sh",
        "fleet/packs/azcmagent/items.yaml",
        "fleet/packs/azcmagent/rules/azcm0042.yaml",
        "fleet/report/templates/report.html.j2",
        "fleet/lab/demo/db01.yaml",
        "fleet/py.typed",
    ):
        assert data in names
