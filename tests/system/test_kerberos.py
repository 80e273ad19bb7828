"""WinRM logins by Kerberos against a real KDC: password, keytab, and one ticket cache for many hosts."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.collect.deadlines import Limits
from fleet.collect.guard import PasswordGuard
from fleet.errors import AuthError, CredentialError, HostError, UnreachableError
from fleet.model.host import Host
from fleet.model.words import WinrmAuth
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import Estate, made_estate, visit

pytestmark = pytest.mark.system

REALM, NAME = "CORP.EXAMPLE", "win01.corp.example"
SECRET = "correct horse 7"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
HOSTS = 100


@dataclass(frozen=True)
class Realm:
    """A KDC that runs, and the files that lead to it."""

    folder: Path
    log: Path
    environment: dict[str, str]

    @property
    def keytab(self) -> Path:
        return self.folder / "robot.keytab"

    def tickets_given(self, principal: str) -> int:
        """How often an account proved itself to the KDC."""
        lines = self.log.read_text().splitlines()
        return sum("AS_REQ" in line and "ISSUE" in line and f"{principal}@" in line for line in lines)

    def refusals(self) -> int:
        """How many wrong passwords the KDC saw."""
        return self.log.read_text().count("PREAUTH_FAILED")


def run(environment: dict[str, str], *command: str, said: str = "") -> None:
    subprocess.run(
        command, env={**os.environ, **environment}, input=said, text=True, check=True, capture_output=True
    )


def write_configuration(folder: Path, port: int) -> dict[str, str]:
    (folder / "krb5.conf").write_text(
        f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
        " dns_canonicalize_hostname = false\n rdns = false\n"
        f"[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
        f"[domain_realm]\n .corp.example = {REALM}\n"
        f"[logging]\n kdc = FILE:{folder}/kdc.log\n"
    )
    (folder / "kdc.conf").write_text(
        f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n"
        f"[realms]\n {REALM} = {{\n"
        f"  database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n }}\n"
    )
    return {
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
        "KRB5_KTNAME": str(folder / "hosts.keytab"),
        "KRB5CCNAME": f"FILE:{folder}/none",
        "KRB5RCACHENAME": "none:",
    }


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    missing = [
        name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None
    ]
    missing += [name for name in ("gssapi", "krb5") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("realm")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environment = write_configuration(folder, port)
    environment["PATH"] = os.environ["PATH"] + ":/usr/sbin"
    run(environment, "kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
    orders = (
        f'addprinc -pw "{SECRET}" +requires_preauth ops',
        "addprinc -randkey +requires_preauth robot",
        f"ktadd -k {folder}/robot.keytab robot",
        f"addprinc -randkey HTTP/{NAME}",
        f"ktadd -k {folder}/hosts.keytab HTTP/{NAME}",
    )
    run(environment, "kadmin.local", said="\n".join(orders) + "\n")
    kdc = subprocess.Popen(("krb5kdc", "-n"), env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        wait_for(port)
        yield Realm(folder, folder / "kdc.log", environment)
    kdc.terminate()
    kdc.wait()


def wait_for(port: int) -> None:
    """Until the KDC takes connections; each try waits for the kernel, none for a clock."""
    for _ in range(2000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        os.sched_yield()
    raise AssertionError("the KDC did not start")


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


def host_of(estate: Estate, port: int, **fields: Any) -> Host:
    known: dict[str, Any] = {"auth": WinrmAuth.KERBEROS, "spn_host": NAME, "user": f"ops@{REALM.lower()}"}
    return estate.host(port, **{**known, **fields})


async def answers(estate: Estate, count: int, **fields: Any) -> None:
    """Visit so many hosts at once in one run; all must answer."""
    async with estate.serving() as port, WinrmTransport(connect_s=30, concurrency=count) as transport:
        guard = PasswordGuard()
        host = host_of(estate, port, **fields)
        # So many logins at once, of one process, on a machine that has other work.
        limits = Limits(connect_s=90, host_s=120)
        visits = (
            visit(transport, host, "echo", password=SECRET, guard=guard, limits=limits) for _ in range(count)
        )
        for out, _ in await asyncio.gather(*visits):
            assert out == "echo\nword\n"
        assert estate.servers[port].counters.shells_opened == count
    assert estate.servers[port].counters.shells_open == 0


async def test_a_password_gets_one_ticket_for_all_hosts(realm: Realm, estate: Estate) -> None:
    before = realm.tickets_given("ops")
    await answers(estate, 10)
    assert realm.tickets_given("ops") == before + 1


async def test_a_keytab(realm: Realm, estate: Estate) -> None:
    before = realm.tickets_given("robot")
    await answers(estate, 5, user="robot", password=None, keytab=str(realm.keytab))
    assert realm.tickets_given("robot") == before + 1


@pytest.mark.parametrize("auth", [WinrmAuth.KERBEROS, WinrmAuth.NEGOTIATE])
async def test_a_hundred_hosts_on_the_operators_cache(
    realm: Realm, estate: Estate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, auth: WinrmAuth
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/cache")
    run(realm.environment | {"KRB5CCNAME": f"FILE:{tmp_path}/cache"}, "kinit", "ops", said=SECRET)
    kept = (tmp_path / "cache").read_bytes()
    before = realm.tickets_given("ops")
    await answers(estate, HOSTS, password=None, user="", auth=auth)
    assert realm.tickets_given("ops") == before
    # Only read: what belongs to the operator is not written by a hundred visits at once.
    assert (tmp_path / "cache").read_bytes() == kept


async def test_https_with_channel_binding(realm: Realm, estate: Estate) -> None:
    async with (
        estate.serving(is_https=True) as port,
        WinrmTransport(connect_s=30, concurrency=1) as transport,
    ):
        host = host_of(estate, port, is_https=True)
        out, _ = await visit(transport, host, "echo", password=SECRET)
        assert out == "echo\nword\n"


async def told(
    estate: Estate, host: Host, *, password: str = SECRET, guard: PasswordGuard | None = None
) -> HostError:
    async with WinrmTransport(connect_s=30, concurrency=1) as transport:
        with pytest.raises(HostError) as caught:
            await visit(transport, host, "echo", password=password, guard=guard)
    return caught.value


async def test_a_wrong_password_is_one_attempt_for_all_hosts(realm: Realm, estate: Estate) -> None:
    before, guard = realm.refusals(), PasswordGuard()
    async with estate.serving() as port, WinrmTransport(connect_s=30, concurrency=2) as transport:
        for kind in (AuthError, AuthError, CredentialError):
            with pytest.raises(kind):
                await visit(transport, host_of(estate, port), "echo", password="wrong", guard=guard)
        assert estate.servers[port].counters.connections == 0
    assert realm.refusals() == before + 1


def caches(folder: Path) -> list[Path]:
    """The folders of tickets, and what is in them."""
    return list(folder.rglob("*"))


async def test_a_killed_parent_leaves_no_ticket(realm: Realm, estate: Estate, tmp_path: Path) -> None:
    async with estate.serving() as port:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARENT, str(port)),
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert await parent.stdout.readline() == b"running\n"
        assert caches(tmp_path)
        parent.kill()
        # The worker holds stderr, too: its end is the end of both.
        assert await parent.stderr.read() == b""
        await parent.wait()
    assert not caches(tmp_path)


PARENT = f"""
import asyncio, sys
from fleet.model.words import WinrmAuth
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import Estate, opened

async def main():
    host = Estate.host(
        None, int(sys.argv[1]), auth=WinrmAuth.KERBEROS, spn_host={NAME!r}, user="ops@{REALM}"
    )
    async with WinrmTransport(connect_s=30, concurrency=1) as transport:
        async with opened(transport, host, password={SECRET!r}):
            print("running", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_ticket_at_all(realm: Realm, estate: Estate) -> None:
    async with estate.serving() as port:
        error = await told(estate, host_of(estate, port, password=None))
    assert isinstance(error, CredentialError)
    assert "kinit" in error.action


async def test_a_host_the_realm_does_not_know(realm: Realm, estate: Estate) -> None:
    async with estate.serving() as port:
        error = await told(estate, host_of(estate, port, spn_host="other.corp.example"))
    assert isinstance(error, AuthError)
    assert "HTTP/other.corp.example" in str(error)
    assert "spn_host" in error.action


async def test_a_realm_nobody_serves(realm: Realm, estate: Estate) -> None:
    async with estate.serving() as port:
        error = await told(estate, host_of(estate, port, user="ops@ELSEWHERE.EXAMPLE"))
    assert isinstance(error, UnreachableError)
    assert "domain's controllers" in error.action


@pytest.mark.parametrize(
    ("keytab", "words"),
    [
        ("nowhere.keytab", "cannot be read: No such file or directory"),
        ("hosts.keytab", f"it has no key for robot@{REALM}, only for HTTP/{NAME}@{REALM}"),
        ("krb5.conf", "it is no key table"),
    ],
)
async def test_a_keytab_that_cannot_serve_is_told_as_such(
    realm: Realm, estate: Estate, keytab: str, words: str
) -> None:
    async with estate.serving() as port:
        host = host_of(estate, port, user="robot", password=None, keytab=str(realm.folder / keytab))
        error = await told(estate, host)
    assert isinstance(error, CredentialError)
    assert f"the keytab {realm.folder / keytab} " in str(error)
    assert words in str(error)
    assert "controllers" not in error.action


async def test_an_account_the_realm_does_not_know(realm: Realm, estate: Estate) -> None:
    async with estate.serving() as port:
        error = await told(estate, host_of(estate, port, user="nobody"))
    assert isinstance(error, AuthError)
    assert "check `user`" in error.action
