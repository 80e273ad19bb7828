"""How each trouble of a host over WinRM is told, and that no shell is left behind: all of them in one go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from fleet.collect.deadlines import Limits
from fleet.errors import (
    AuthError,
    DeadlineError,
    HostError,
    IdentityError,
    PrivilegeError,
    RemoteError,
    UnreachableError,
)
from fleet.lab.winrm.words import WinrmCounters, WinrmFault
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import Estate, made_estate, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = "echo\nword\n"
SHORT, LONG = Limits(connect_s=3, host_s=6), Limits(connect_s=30, host_s=60)
HANGS = {
    WinrmFault.NO_ANSWER,
    WinrmFault.HANG_AT_ACCEPT,
    WinrmFault.HANG_AT_LOGIN,
    WinrmFault.HANG_AT_CREATE,
    WinrmFault.HANG_AT_RECEIVE,
    WinrmFault.TRICKLE,
}
OVER_TLS = {WinrmFault.STRICT_CHANNEL_BINDING}
TOLD: Mapping[WinrmFault, tuple[type[HostError], str]] = {
    WinrmFault.CONNECTION_REFUSED: (UnreachableError, "Connection refused"),
    WinrmFault.NO_ANSWER: (DeadlineError, "in phase connect"),
    WinrmFault.HANG_AT_ACCEPT: (DeadlineError, "in phase auth"),
    WinrmFault.HANG_AT_LOGIN: (DeadlineError, "in phase auth"),
    WinrmFault.GARBAGE_HTTP: (UnreachableError, "does not speak HTTP"),
    WinrmFault.REDIRECT: (RemoteError, "it was not followed"),
    WinrmFault.UNAVAILABLE: (UnreachableError, "HTTP 503"),
    WinrmFault.WRONG_PASSWORD: (AuthError, "refused the login of CORP\\ops"),
    WinrmFault.CLOSES_AFTER_401: (UnreachableError, "connection"),
    WinrmFault.ACCESS_DENIED: (PrivilegeError, "denied a PowerShell session"),
    WinrmFault.SHELL_QUOTA: (RemoteError, "quota is used up"),
    WinrmFault.HANG_AT_CREATE: (DeadlineError, "in phase exec"),
    WinrmFault.GARBAGE_XML: (RemoteError, "what no WinRM says"),
    WinrmFault.BAD_SEAL: (IdentityError, "seal of the host's answer is broken"),
    WinrmFault.UNSEALED_ANSWER: (IdentityError, "answered unsealed"),
    WinrmFault.WRONG_RELATES_TO: (RemoteError, "what no WinRM says"),
    WinrmFault.HANG_AT_RECEIVE: (DeadlineError, "longer than 6 s"),
    WinrmFault.SHELL_LOST: (RemoteError, "ended the shell"),
    WinrmFault.RESET: (UnreachableError, "reset by peer"),
    WinrmFault.FIN: (UnreachableError, "ended the connection"),
    WinrmFault.TRUNCATED: (UnreachableError, "cut off"),
    WinrmFault.TRICKLE: (DeadlineError, "longer than 6 s"),
    WinrmFault.ENDLESS_OUTPUT: (RemoteError, "larger than any"),
    WinrmFault.ENDLESS_BODY: (UnreachableError, "more than any WinRM envelope"),
}
UNPROVEN = (WinrmFault.BAD_SEAL, WinrmFault.UNSEALED_ANSWER)
"""Another may answer for the host: the shell that it may have ends when it has been idle."""
WELL = (
    WinrmFault.NONE,
    WinrmFault.TIMED_OUT_POLLING,
    WinrmFault.STRICT_CHANNEL_BINDING,
    WinrmFault.DELETE_FAILS,
)


@dataclass(frozen=True)
class Outcome:
    """What a visit gave, and what its host counted when all was over."""

    said: str
    error: HostError | None
    counters: WinrmCounters


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(estate: Estate) -> AsyncIterator[Mapping[WinrmFault, Outcome]]:
    """Every fault once, all hosts at once; the servers stand until the transport has left."""
    faults = (*TOLD, *WELL)
    async with asyncio.timeout(90), AsyncExitStack() as servers:
        ports = {
            fault: await servers.enter_async_context(estate.serving(fault=fault, is_https=fault in OVER_TLS))
            for fault in faults
        }
        async with WinrmTransport(
            connect_s=10, concurrency=len(faults), max_answer_bytes=8 << 20
        ) as transport:
            met = await asyncio.gather(*(_met(estate, transport, ports[fault], fault) for fault in faults))
        # Counted when the transport has left: it stays until the shells are deleted.
        yield {
            fault: Outcome(said, error, replace(estate.servers[ports[fault]].counters))
            for fault, (said, error) in zip(faults, met, strict=True)
        }


async def _met(
    estate: Estate, transport: WinrmTransport, port: int, fault: WinrmFault
) -> tuple[str, HostError | None]:
    host = estate.host(port, is_https=fault in OVER_TLS)
    try:
        out, _ = await visit(transport, host, "echo", limits=SHORT if fault in HANGS else LONG)
    except HostError as error:
        return "", error
    return out, None


@pytest.mark.parametrize("fault", TOLD)
async def test_a_trouble_is_told(outcomes: Mapping[WinrmFault, Outcome], fault: WinrmFault) -> None:
    kind, words = TOLD[fault]
    outcome = outcomes[fault]
    assert type(outcome.error) is kind, outcome.error
    assert words in str(outcome.error)


@pytest.mark.parametrize("fault", WELL)
async def test_what_is_no_trouble(outcomes: Mapping[WinrmFault, Outcome], fault: WinrmFault) -> None:
    outcome = outcomes[fault]
    assert outcome.error is None
    assert outcome.said == ANSWER


@pytest.mark.parametrize("fault", [fault for fault in WinrmFault if fault in (*TOLD, *WELL)])
async def test_no_shell_is_left(outcomes: Mapping[WinrmFault, Outcome], fault: WinrmFault) -> None:
    kept = 1 if fault is WinrmFault.DELETE_FAILS or fault in UNPROVEN else 0
    assert outcomes[fault].counters.shells_open == kept


@pytest.mark.parametrize("fault", UNPROVEN)
async def test_a_host_that_proved_nothing_is_given_no_second_login(
    outcomes: Mapping[WinrmFault, Outcome], fault: WinrmFault
) -> None:
    counters = outcomes[fault].counters
    assert (counters.connections, counters.auth_attempts) == (1, 1)


async def test_every_fault_of_the_lab_is_met() -> None:
    assert set(TOLD) | set(WELL) == set(WinrmFault)


async def test_a_refused_password_was_tried_once(outcomes: Mapping[WinrmFault, Outcome]) -> None:
    counters = outcomes[WinrmFault.WRONG_PASSWORD].counters
    assert (counters.auth_attempts, counters.refusals) == (1, 1)


async def test_nothing_is_tried_again_at_a_redirect(outcomes: Mapping[WinrmFault, Outcome]) -> None:
    assert outcomes[WinrmFault.REDIRECT].counters.requests == 1


async def test_a_lost_connection_is_used_once_more_to_delete(outcomes: Mapping[WinrmFault, Outcome]) -> None:
    for fault in (WinrmFault.RESET, WinrmFault.HANG_AT_RECEIVE, WinrmFault.TRICKLE):
        assert outcomes[fault].counters.connections == 2
        assert outcomes[fault].counters.deletes == 1
