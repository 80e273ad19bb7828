"""The simulated WinRM hosts that several files of tests visit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.lab.winrm_hosts import EVERYTHING, Host, Site, running_host, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What hosts share: accounts and a certificate authority."""
    with running_site(tmp_path_factory.mktemp("winrm")) as site:
        yield site


@pytest.fixture(scope="module")
def https_host(site: Site) -> Iterator[Host]:
    """A host that takes every login, over HTTPS."""
    with running_host(site, is_https=True, auth=EVERYTHING) as host:
        yield host
