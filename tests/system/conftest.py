"""Fifty Linux hosts behind one real sshd: each address has a tree of its own, real sudo, real shells.

In a private mount namespace the root is bound below a folder per host, with the agent's folders and fake
agent programs mounted over it; sshd changes root by the address it was reached at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.collect.plan import sudoers
from fleet.packs.load import load_pack

HOSTS = 50
USER = "fleetops"
PASSWORD = "correct horse 7"
# Of its own for each worker of a parallel run, and not below /tmp: sshd refuses such a ChrootDirectory.
ROOT = Path(f"/srv/fleet-system-test-{os.getpid()}")

# Host 9 has these from busybox alone.
BUSYBOX = ("sh", "cat", "date", "df", "env", "find", "grep", "gzip", "head", "id", "tail", "timeout", "uname")


@dataclass(frozen=True)
class Estate:
    """Where the sshd answers, and with which keys."""

    port: int
    key: Path
    host_key: Path
    log: Path
    daemon: int

    def address(self, number: int) -> str:
        return f"127.0.1.{number}"

    def attempts(self, word: str) -> int:
        """Lines of sshd's log that hold the word."""
        return self.log.read_text("utf-8", "replace").count(word)


def needed(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None or os.geteuid() != 0:
        pytest.skip(f"needs {program} and root")
    return found


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """One daemon for the whole session; gone with all of its mounts afterwards."""
    sshd, _ = needed("sshd"), needed("unshare")
    folder = tmp_path_factory.mktemp("sshd")
    port = free_port()
    make_user()
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    for number in range(1, HOSTS + 1):
        make_tree(number, ROOT / f"tree{number}")
    (folder / "sshd_config").write_text(sshd_config(folder, port))
    Path("/run/sshd").mkdir(exist_ok=True)
    log = folder / "sshd.log"
    script = folder / "start.sh"
    script.write_text(mounts() + f"exec {sshd} -D -e -f {folder}/sshd_config 2>{log}\n")
    daemon = subprocess.Popen(["unshare", "-m", "sh", str(script)], start_new_session=True)
    try:
        wait_for_port(port)
        yield Estate(
            port=port, key=folder / "client", host_key=folder / "host.pub", log=log, daemon=daemon.pid
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, 15)
        daemon.wait(10)
        shutil.rmtree(ROOT, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.1.1", port)) == 0:
                return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("sshd does not answer")


def make_user() -> None:
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", USER], check=True)
    subprocess.run(["chpasswd"], input=f"{USER}:{PASSWORD}\n", text=True, check=True)


def sshd_config(folder: Path, port: int) -> str:
    # sshd reads it as the login, which may not look into a test's own folders.
    keys = ROOT / "authorized_keys"
    shutil.copy(folder / "client.pub", keys)
    keys.chmod(0o644)
    head = textwrap.dedent(f"""\
        Port {port}
        ListenAddress 0.0.0.0
        HostKey {folder}/host
        AuthorizedKeysFile {keys}
        StrictModes no
        UsePAM no
        PasswordAuthentication yes
        MaxStartups 500
        PidFile none
        LogLevel VERBOSE
        """)
    matches = (
        f"Match LocalAddress 127.0.1.{number}\n  ChrootDirectory {ROOT}/host{number}\n"
        for number in range(1, HOSTS + 1)
    )
    return head + "".join(matches)


def mounts() -> str:
    """Binds of the root per host, and over it the host's own folders. All of it dies with the namespace."""
    lines = ["set -e", "mount --make-rprivate /"]
    for number in range(1, HOSTS + 1):
        host, tree = ROOT / f"host{number}", ROOT / f"tree{number}"
        host.mkdir(parents=True, exist_ok=True)
        # Not recursive: each bind would hold all the binds before it.
        lines += [
            f"mount --bind / {host}",
            *(f"mount --bind /{name} {host}/{name}" for name in ("proc", "dev")),
        ]
        lines += [
            f"mkdir -p {tree}/{name} && mount --bind {tree}/{name} {host}/{name}"
            for name in ("var/opt", "usr/local/bin", "etc/sudoers.d")
        ]
    return "\n".join(lines) + "\n"


def make_tree(number: int, tree: Path) -> None:
    """Host 1 to 40 healthy, 41 to 44 fail to create the resource, 45 to 47 have himds stopped, 48 to 50 never
    had an agent."""
    logs = tree / "var/opt/azcmagent/log"
    programs = tree / "usr/local/bin"
    rules = tree / "etc/sudoers.d"
    for folder in (logs, programs, rules):
        folder.mkdir(parents=True)
    (tree / "var/opt/azcmagent").chmod(0o700)
    (logs / "himds.log").write_text(line("info", "Heartbeat sent"))
    (logs / "azcmagent.log").write_text(connect_log(failed=41 <= number <= 44))
    has_agent = number < 48
    himds, others = ("inactive" if number >= 45 else "active"), ("active" if has_agent else "inactive")
    write_program(programs / "systemctl", systemctl(himds, others, "loaded" if has_agent else "not-found"))
    if number == 9:
        for name in BUSYBOX:
            (programs / name).symlink_to("/bin/busybox")
    if number < 48:
        write_program(programs / "azcmagent", azcmagent(41 <= number <= 44, number))
    else:
        shutil.rmtree(tree / "var/opt/azcmagent")
    (rules / "fleet").write_text(sudo_rule(number))
    (rules / "fleet").chmod(0o440)


def sudo_rule(number: int) -> str:
    """Every tenth host asks for the password; the others do not; host 7 allows nothing and host 8 what our
    drop-in names."""
    if number == 7:
        return "# nothing\n"
    if number == 8:
        return sudoers(load_pack().items, USER)
    return f"{USER} ALL=(root) {'' if number % 10 == 0 else 'NOPASSWD: '}ALL\n"


def write_program(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def line(level: str, text: str) -> str:
    return f'time="2026-11-01T10:00:00Z" level={level} msg="{text}"\n'


def connect_log(*, failed: bool) -> str:
    text = line("debug", "Agent Version: 1.58.03228.700") + line("debug", "Agent Command: connect")
    text += line("debug", f"tried with {PASSWORD}")
    if not failed:
        return text + line("info", "Successfully Onboarded Resource to Azure")
    return (
        text + line("info", "Exit Code:  AZCM0042: Failed to Create Resource") + line("fatal", "no resource")
    )


def azcmagent(failed: bool, number: int) -> str:
    connected = (
        f'"status":"Connected","resourceName":"host{number}","agentVersion":"1.58.03228.700",'
        '"subscriptionId":"00000000-0000-0000-0000-000000000000","lastHeartbeat":"%s"'
    )
    never = '"status":"Disconnected","resourceName":"","agentVersion":"1.58.03228.700"'
    return textwrap.dedent(f"""\
        case "$1" in
        version)
          [ ! -e /usr/local/bin/hang ] || sleep 6061
          echo "azcmagent version  1.58.03228.700" ;;
        show) printf '{{{never if failed else connected}}}\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" ;;
        config) echo "Local Configuration Settings" ;;
        *) exit 1 ;;
        esac
        """)


def systemctl(himds: str, others: str, loaded: str) -> str:
    return textwrap.dedent(f"""\
        state() {{ [ "$1" = himdsd.service ] && echo {himds} || echo {others}; }}
        case "$1" in
        is-active) s=$(state "$2"); echo "$s"; [ "$s" = active ] ;;
        show)
          for unit in "$@"; do
            case $unit in *.service)
              s=$(state "$unit")
              printf 'Id=%s\\nLoadState={loaded}\\nActiveState=%s\\nSubState=%s\\n\\n' \
                "$unit" "$s" "$([ "$s" = active ] && echo running || echo dead)" ;;
            esac
          done ;;
        esac
        """)
