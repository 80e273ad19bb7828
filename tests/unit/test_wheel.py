"""The wheel holds the package and nothing else, with its data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_only_the_package_is_packed(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.removesuffix(".dist-info").split("-")[0] for top in tops} == {"fleet", "fleet_diagnostics"}
    for data in (
        "fleet/collect/visit.sh",
        "fleet/packs/azcmagent/items.yaml",
        "fleet/packs/rule.schema.json",
        "fleet/packs/azcmagent/rules/codes/azcm0042.yaml",
        "fleet/report/templates/report.html.j2",
        "fleet/py.typed",
    ):
        assert data in names


def test_what_is_packed_brings_the_hosts_of_the_demo(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    asked = "import fleet.lab.describe as d; print(d.__file__, *(host.name for host in d.load_demo()))"
    told = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    names = sorted(path.stem for path in (ROOT / "inventory/demo").glob("*.yaml"))
    assert told == [str(tmp_path / "fleet/lab/describe.py"), *names]
