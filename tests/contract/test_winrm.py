"""The WinRM transport against simulated hosts: how it visits, and how each of their troubles is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet.transport.winrm import WinrmTransport
from tests.contract.winrm_site import Estate, made_estate, visit


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


class TestVisit:
    async def test_http_sealed(self, estate: Estate) -> None:
        async with estate.serving() as port, WinrmTransport(connect_s=10, concurrency=2) as transport:
            out, errors = await visit(transport, estate.host(port), "echo", "one", "zwei ü")
            assert out == "echo\none\nzwei ü\n"
            assert "trouble" in errors
