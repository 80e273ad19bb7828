"""What is decided before a run from the machine it runs on."""

from __future__ import annotations

import resource

import pytest

from fleet.bootstrap import fitting_concurrency, inventory_warnings
from fleet.model.host import Host, Winrm
from fleet.model.words import OS, Connection, HostKeyPolicy, Scheme


@pytest.mark.parametrize(
    ("limits", "fits", "raised_to", "is_told"),
    [
        ((1024, 4096), 100, None, False),
        ((100, 4096), 100, 264, False),
        ((100, resource.RLIM_INFINITY), 100, 264, False),
        ((100, 164), 50, 164, True),
        ((20, 20), 1, 20, True),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 100, None, False),
    ],
)
def test_concurrency_fits_the_limit_on_open_files(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], fits: int, raised_to: int | None, is_told: bool
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: raised.append(wanted[0]))
    found, message = fitting_concurrency(100)
    assert (found, raised) == (fits, [] if raised_to is None else [raised_to])
    assert bool(message) is is_told
    if is_told:
        assert message.startswith(
            f"concurrency lowered from 100 to {fits}: this process may open {limits[1]} files"
        )


def test_every_run_says_whose_identity_is_not_checked() -> None:
    unchecked = Winrm(scheme=Scheme.HTTPS, cert_validation="off")
    hosts = (
        Host(name="a", address="a", host_key_policy=HostKeyPolicy.OFF),
        Host(name="b", address="b", connection=Connection.WINRM, os=OS.WINDOWS, winrm=unchecked),
        Host(name="c", address="c", connection=Connection.WINRM, os=OS.WINDOWS, winrm=unchecked),
        Host(name="d", address="d", connection=Connection.WINRM, os=OS.WINDOWS),
    )
    assert inventory_warnings(hosts) == (
        "host keys are NOT checked for 1 of 4 hosts (host_key_policy: off)",
        "certificates are NOT checked for 2 of 4 hosts (cert_validation: off)",
    )
    assert inventory_warnings(hosts[3:]) == ()
