"""A wrong password reaches two hosts and no more."""

from __future__ import annotations

import asyncio

import pytest

from fleet.collect.guard import PasswordGuard
from fleet.errors import CredentialError


async def try_on(guard: PasswordGuard, accepted: bool | None, running: list[int] | None = None) -> str:
    try:
        async with guard.attempt("login", "ops", "pw") as permit:
            if running is not None:
                running[0] += 1
                running[1] = max(running)
                await asyncio.sleep(0)
                running[0] -= 1
            if accepted is True:
                permit.accepted()
            if accepted is False:
                permit.refused()
            return "tried"
    except CredentialError:
        return "suspended"


async def test_wrong_for_all_two_attempts_arrive() -> None:
    guard = PasswordGuard()
    outcomes = await asyncio.gather(*(try_on(guard, accepted=False) for _ in range(50)))
    assert outcomes.count("tried") == 2
    assert outcomes.count("suspended") == 48


async def test_one_account_has_several_names() -> None:
    guard = PasswordGuard()
    for user in ("ops", "CORP\\Ops"):
        async with guard.attempt("login", user, "pw") as permit:
            permit.refused()
    with pytest.raises(CredentialError, match="suspended") as caught:
        await guard.attempt("login", "ops@corp.example", "pw").__aenter__()
    assert "by hand" in caught.value.action


async def test_unproven_goes_one_host_at_a_time() -> None:
    running = [0, 0]
    guard = PasswordGuard()
    outcomes = await asyncio.gather(*(try_on(guard, None, running) for _ in range(10)))
    assert running[1] == 1
    assert outcomes.count("tried") == 4, "a host that does not answer may have counted the attempt"


async def test_a_silent_host_does_not_suspend_a_good_password() -> None:
    guard = PasswordGuard()
    assert [await try_on(guard, None) for _ in range(2)] == ["tried"] * 2
    assert await try_on(guard, accepted=True) == "tried"
    assert [await try_on(guard, None) for _ in range(9)] == ["tried"] * 9


async def test_once_proven_nobody_waits_for_another() -> None:
    guard, everybody = PasswordGuard(), asyncio.Barrier(9)

    async def log_in() -> None:
        async with guard.attempt("login", "ops", "pw") as permit:
            await everybody.wait()
            permit.accepted()

    async with guard.attempt("login", "ops", "pw") as permit:
        waiting = [asyncio.create_task(log_in()) for _ in range(9)]
        await asyncio.sleep(0)
        permit.accepted()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_after_a_success_a_refusal_is_that_hosts_own_trouble() -> None:
    guard = PasswordGuard()
    assert await try_on(guard, accepted=False) == "tried"
    assert await try_on(guard, accepted=True) == "tried"
    assert [await try_on(guard, accepted=False) for _ in range(5)] == ["tried"] * 5


async def test_sudo_and_login_are_told_apart() -> None:
    guard = PasswordGuard()
    for _ in range(2):
        await try_on(guard, accepted=False)
    async with guard.attempt("sudo", "ops", "pw") as permit:
        permit.accepted()
    with pytest.raises(CredentialError, match="suspended"):
        async with guard.attempt("login", "ops", "pw"):
            pass
