"""Whatever a host says in any of its fields stays text: on a terminal, in a sheet, on a page, in JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import sync_playwright

from fleet.collect.plan import plan_visit
from fleet.lab.describe import Agent, Expectation, Fault, HostDescription
from fleet.lab.servers import Lab, running_lab
from fleet.lab.windows import Windows
from fleet.model.words import CheckMode, Word
from fleet.packs.load import load_pack
from tests.lab.running import Said, collect, collect_words, lying, put
from tests.system.test_html_chromium import _ARGS

KINDS: dict[str, bytes] = {
    "script": b"<script>window.pwned=1</script>'\"><img src=x onerror=window.pwned=1></script>",
    "url": b"javascript:window.pwned=1 data:text/html,<script>window.pwned=1</script>",
    "template": b"{{ 7*7 }}${7*7}</template><svg onload=window.pwned=1>",
    "dde": b"=cmd|' /C calc'!A0",
    "plus": b"+1+1",
    "minus": b"-1-1",
    "at": b"@SUM(1;1)",
    "tab": b"\t=1+1",
    "return": b"\r=1+1",
    "hyperlink": b'=HYPERLINK("http://127.0.0.1:9/x","y")',
    "webservice": b'=WEBSERVICE("http://127.0.0.1:9/x")',
    "quote": b'";=1+1;"\'=1+1',
    "wide": "\uff1d1+1".encode(),
    "bidi": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069x".encode(),
    "zero-width": "\u200b\u200c\u200d\u2060\ufeff=1+1\u00ad".encode(),
    "csi": b"\x1b[2J\x1b[31m\x1b[6n",
    "osc": b"\x1b]8;;http://x\x07y\x1b]8;;\x1b\\\x1b]52;c;eA==\x07\x1b]0;z\x07",
    "open-osc": b"\x1b]0;never ended \x1bP+q \x1b_x",
    "c1": "\u009b31m\u009d0;x\u009c\u0085=1+1".encode(),
    "raw-c1": b"\x9b31m\x9d0;x\x9c\x85",
    "c0": bytes(range(1, 32)).replace(b"\n", b"") + b"\x7f",
    "nul": b"\0=1+1\0",
    "broken": b"\xff\xfe\xc3\x28\xed\xa0\x80\xf8\x88",
    "frame": b"\n%s end log.azcmagent 0\n%s done 3\n" % (b"0" * 32, b"0" * 32),
}
HOSTS = 3 * len(KINDS)
# It says the poison before the visit begins.
LOGIN = b"""\
#!/bin/sh
say="cat ${0%/*}/../lab-answers/poison"
$say
$say >&2
shift 3
exec "$@"
"""
STAMP = b'time="2026-11-01T10:00:00Z" level='
HARMFUL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) ")


def _described(name: str, fault: Fault = Fault.NONE) -> HostDescription:
    expected = Expectation(verdict=Word.HEALTHY)
    agent = Agent(resource_name=name, heartbeat_age_s=60)
    return HostDescription(name=name, summary="", group="all", expect=expected, agent=agent, fault=fault)


def _shown(poison: bytes) -> bytes:
    """What ``show -j`` says; bytes that are no UTF-8 become lone surrogates, written as JSON escapes them."""
    text = poison.decode("utf-8", "surrogateescape")
    names = (
        "status agentVersion resourceName resourceGroup subscriptionId tenantId location cloud lastHeartbeat"
        " agentErrorCode agentErrorDetails httpsProxy"
    )
    services = [
        {"displayName": text, "serviceName": unit, "status": text} for unit in ("himdsd", "gcad", text)
    ]
    shown: dict[str, Any] = {key: text + key for key in re.findall(r"\w+", names)} | {
        text: text,
        "services": services,
    }
    return json.dumps(shown).encode()


def _poisoned(poison: bytes) -> dict[str, bytes]:
    """Files with the poison at the beginning of every field that a host controls."""
    log = b"".join(
        STAMP + line
        for line in (
            b'info msg="Agent Version: %s"\n' % poison,
            b'info msg="Agent Command: connect %s"\n' % poison,
            b'error msg="%s" Status Code="%s" %s="x"\n' % (poison, poison, poison),
            b'fatal msg="%s" Code=AZCM0042\n' % poison,
            b'fatal msg="AZCM0042: %s"\n' % poison,
        )
    )
    unit = b"Id=himdsd.service\nLoadState=loaded\n" + b"".join(
        b"%s=%s\n" % (key, poison)
        for key in (
            b"ActiveState",
            b"SubState",
            b"Result",
            b"UnitFileState",
            b"ExecMainStatus",
            b"Environment",
        )
    )
    extension = "".join(char for char in poison.decode("utf-8", "surrogateescape") if char not in "/\0")[:80]
    path = "var/lib/GuestConfig/extension_logs/" + (extension.strip(".") or "x")
    says = b'#!/bin/sh\ncat "${0%%/*}/../lab-answers/poison" >&%d\nexit %d\n'
    return {
        "etc/os-release": b'PRETTY_NAME="%s"\n' % poison,
        "answers/poison": poison,
        "answers/show.json": _shown(poison),
        "answers/unit.himdsd": unit,
        "answers/journal.himdsd": poison + b"\n",
        "answers/config.txt": b"Local Configuration Settings\n  proxy.url : %s\n  %s : x\n"
        % (poison, poison),
        "answers/version.txt": b"azcmagent version  1.2%s\n" % poison,
        "var/opt/azcmagent/log/azcmagent.log": log,
        "var/opt/azcmagent/log/himds.log": poison + b"\n" + log,
        "var/lib/GuestConfig/ext_mgr_logs/gc_ext.log": b"<GCLOG>[x] [ERROR] AZCM0042 %s</GCLOG>\n" % poison,
        f"{path}/state.json": b'{"status":"failed","message":"%s"}' % poison,
        "var/log/dpkg.log": b"azcmagent %s\n" % poison,
        "programs/sudo": LOGIN,
        "programs/uname": says % (1, 0),
        "programs/df": says % (2, 1),
        "programs/openssl": says % (2, 1),
    }


def _poisoned_windows(kind: str, poison: bytes) -> HostDescription:
    """A Windows host with the poison at the beginning of every field that it controls."""
    text = poison.decode("utf-8", "surrogateescape")
    at = {"at": "2026-11-01T10:00:00Z", "properties": [text, f"{text}himds", f"{text}%%1069"]}
    service = {"exists": True, "status": 1, "account": text, "display_name": text, "exit_code": 5}
    names = "caption edition installation_type domain powershell language_mode name version booted_at"
    said: dict[str, Any] = {
        "host.os": {key: text + key for key in names.split()} | {"build": 20348, "part_of_domain": True},
        "host.space": [{"drive": text, "free_bytes": 1, "size_bytes": 2}],
        "services": [{"name": name, **service} for name in ("himds", "arcproxy", text)],
        "events.services": [{"id": number, **at} for number in (7031, 7000, 7041)],
        "events.crashes": [{"id": 1000, **at}],
        "events.install": [{"id": 1033, **at}],
        "agent.identity": {"profile_exists": True, "cleanup_days": 30},
        "agent.proxy": {"machine": {"https_proxy": text, "no_proxy": text}, "winhttp": _winhttp(poison)},
        "host.tls": {"cipher_suites": [text], "protocols": {f"{text}/Client": {"enabled": 0}}},
        "host.time": {"type": text, "server": text, "status": 4},
        "host.rights": {"accounts": [text]},
    }
    files = _poisoned(poison)
    bodies = {item: json.dumps(value).encode() for item, value in said.items()} | {
        "host.clock": b"1795461820/+0100/%s" % poison,
        "agent.show": files["answers/show.json"],
        "agent.config": files["answers/config.txt"],
        "agent.version": files["answers/version.txt"],
        "agent.extensions": b'==> C:\\%s\\state.json <==\n{"status":"failed","message":"%s"}'
        % (poison, poison),
        "agent.certificates": b"notAfter=%s\n" % poison,
        "log.azcmagent": files["var/opt/azcmagent/log/azcmagent.log"],
        "log.himds": files["var/opt/azcmagent/log/himds.log"],
        "log.gc_ext": files["var/lib/GuestConfig/ext_mgr_logs/gc_ext.log"],
        "install.log": poison,
        "agent.check": poison,
    }
    return replace(_described(f"{kind}-windows"), windows=Windows(bodies=tuple(bodies.items())))


def _winhttp(server: bytes) -> str:
    """A registry value that names the poison as a proxy."""
    head = b"".join(number.to_bytes(4, "little") for number in (40, 0, 3, len(server)))
    return (head + server + bytes(4)).hex()


def _chatting(lab: Lab, name: str) -> bytes:
    """A login that says the poison and starts nothing."""
    words = f"{lab.tree(name)}/lab-answers/poison"
    return f"#!/bin/sh\ncat {words}\necho $0\ncat {words} >&2\nexit 1\n".encode()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For each kind of text hosts of both families that have it in every field, and one whose login says
    nothing else."""
    hosts = [_described(name) for kind in KINDS for name in (kind, f"{kind}-login")]
    hosts += [_poisoned_windows(kind, poison) for kind, poison in KINDS.items()]
    with running_lab(hosts, tmp_path_factory.mktemp("lab")) as lab:
        for kind, poison in KINDS.items():
            put(lab, kind, _poisoned(poison))
            put(lab, f"{kind}-login", {"answers/poison": poison})
            put(lab, f"{kind}-login", {"programs/sudo": _chatting(lab, f"{kind}-login")})
        yield lab


@pytest.fixture(scope="module")
def said(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Said:
    return collect(
        lab, tmp_path_factory.mktemp("run"), shown=(*KINDS, *(f"{kind}-windows" for kind in KINDS))
    )


def test_every_host_has_its_row(lab: Lab, said: Said) -> None:
    names = {host.name for host in lab.descriptions}
    assert said.hosts.keys() == names
    assert said.code == 1
    for kind in KINDS:
        for name in (kind, f"{kind}-windows"):
            assert said.hosts[name]["verdict"] in (Word.FAILING, Word.DEGRADED), name
        assert said.hosts[f"{kind}-login"]["verdict"] == Word.NOT_OBSERVED


def test_nothing_steers_a_terminal(said: Said) -> None:
    places = ("stdout", "stderr", "fleet.log", *(place for place in said.places if "fleet show" in place))
    for place in places:
        _assert_harmless(place, said.places[place].decode())


def test_a_record_of_the_log_is_one_line(said: Said) -> None:
    lines = said.places["fleet.log"].decode().split("\n")
    assert lines.pop() == ""
    assert [line for line in lines if not RECORD.match(line)] == []
    # What each visit did stands besides.
    assert len([line for line in lines if " INFO " in line]) == 2 + HOSTS


def test_nothing_steers_a_real_terminal(lab: Lab, tmp_path: Path) -> None:
    output = _on_a_terminal(collect_words(lab, tmp_path))
    # The live view is drawn with these.
    ours = re.compile(r"\x1b\[(?:\?25[lh]|[0-9;]*m|1A|2K)|\r")
    _assert_harmless("terminal", ours.sub("", output))
    assert re.search(rf"{HOSTS} hosts: ", output)


def _assert_harmless(place: str, text: str) -> None:
    found = [text[max(0, hit.start() - 60) : hit.end() + 20] for hit in HARMFUL.finditer(text)]
    assert found == [], place


def _on_a_terminal(words: tuple[str, ...]) -> str:
    ours, theirs = pty.openpty()
    call = [sys.executable, "-m", "fleet", *words]
    with subprocess.Popen(call, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        parts = []
        while select.select([ours], [], [], 60)[0]:
            try:
                parts.append(os.read(ours, 65536))
            except OSError:  # EIO: the other side is closed
                break
        process.wait(60)
    os.close(ours)
    return b"".join(parts).decode()


def _rows(said: Said, name: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(said.places[name].decode("utf-8-sig"), newline=""), strict=True))


def test_csv_has_a_row_a_host_and_no_formula(said: Said) -> None:
    for name in ("hosts.csv", "findings.csv"):
        head, *rows = _rows(said, name)
        assert {len(row) for row in rows} == {len(head)}
        _assert_harmless(name, "\n".join(cell for row in rows for cell in row))
        assert [cell for row in rows for cell in row if FORMULA.match(cell)] == []
    assert len(_rows(said, "hosts.csv")) == 1 + HOSTS


def test_a_spreadsheet_finds_no_formula(said: Said, tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed")
    for name, separators in (("comma", "44"), ("semicolon", "59")):
        out = tmp_path / name
        call = [office, "--headless", f"-env:UserInstallation=file://{tmp_path}/profile"]
        call += [f"--infilter=CSV:{separators},34,76", "--convert-to", "fods", "--outdir", str(out)]
        files = [str(said.folder / "out" / name) for name in ("hosts.csv", "findings.csv")]
        subprocess.run([*call, *files], check=True, timeout=120, capture_output=True)
        for sheet in ("hosts", "findings"):
            text = (out / f"{sheet}.fods").read_text()
            assert "table:formula" not in text, (name, sheet)
            assert "xlink:href" not in text, (name, sheet)
    rows = re.findall(
        r"<table:table-row\b.*?</table:table-row>", (tmp_path / "comma/hosts.fods").read_text(), re.DOTALL
    )
    assert sum("office:value-type" in row for row in rows) == 1 + HOSTS


def _strict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def _no_constant(word: str) -> None:
    raise AssertionError(word)


def test_json_is_strict_and_whole(said: Said) -> None:
    text = said.places["report.json"].decode()
    document = json.loads(text, object_pairs_hook=_strict, parse_constant=_no_constant)
    assert len(document["hosts"]) == document["counts"]["hosts"] == HOSTS
    _assert_harmless("report.json", text)
    _assert_harmless("report.json", json.dumps(document, ensure_ascii=False))


def test_the_page_is_inert(said: Said) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    heard: list[str] = []
    asked: list[str] = []
    url = (said.folder / "out/report.html").as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGS))
        page = browser.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        names = page.locator("#rows .open").all_text_contents()
        for button in page.locator("#rows .open").all():
            button.click()
        assert page.evaluate("window.pwned") is None
        tags = "main img, main script, svg[onload], main template, main iframe, a:not([href^='#'])"
        assert page.locator(tags).count() == 0
        assert page.locator(".evidence", has_text="<script>window.pwned=1</script>").count() > 0
        _assert_harmless("page", page.locator("body").inner_text().replace("\t", " "))
        page.fill("#text", "<script>")
        assert "script" in page.locator("#rows .open").all_text_contents()
        page.get_by_role("button", name="Clear").click()
        page.locator("th", has_text="Host").get_by_role("button").click()
        assert page.locator("#rows .open").all_text_contents() == sorted(names)
        browser.close()
    assert sorted(names) == sorted(said.hosts)
    assert heard == []
    assert asked == [url]


# Numbers that JSON's grammar does not have, or that no float holds.
NUMBERS = (
    b'{"status":1e999,"agentVersion":NaN,"lastHeartbeat":-Infinity,"resourceName":%s,"agentErrorCode":-1e-999,'
    b'"services":[{"serviceName":NaN,"status":Infinity}]}' % (b"9" * 5000)
)
LINE = b"x" * (1 << 20) + b"\n" + STAMP
BOMB_BYTES = 1 << 28
GIANTS: dict[str, dict[str, bytes]] = {
    "deep": {"answers/show.json": b'{"status":"Connected","a":' * 100 + b"1" + b"}" * 100},
    "abyss": {"answers/show.json": b'{"status":"Connected","a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"},
    "numbers": {"answers/show.json": NUMBERS},
    "line": {"var/opt/azcmagent/log/azcmagent.log": LINE + b'fatal msg="AZCM0042: %s"\n' % (b"y" * 100_000)},
    "lines": {"var/opt/azcmagent/log/azcmagent.log": (STAMP + b'fatal msg="AZCM0042: x"\r') * (1 << 15)},
    "bomb": lying(
        "{ printf '\\nNONCE begin log.azcmagent root\\n' | sed \"s/NONCE/$nonce/\"; "
        f"head -c {BOMB_BYTES} /dev/zero; }} | gzip -1",
        "gzip",
    ),
}


@pytest.fixture(scope="module")
def giants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts whose answers are too large, too deep or too odd, and one that is well."""
    with running_lab(
        [_described(name) for name in (*GIANTS, "keys", "well")], tmp_path_factory.mktemp("giants")
    ) as lab:
        for name, files in GIANTS.items():
            put(lab, name, files)
        keys = b",".join(b'"%d":%d' % (number, number) for number in range(10**6))
        put(lab, "keys", {"answers/show.json": b'{"status":"Connected",%s}' % keys})
        yield lab


def test_a_giant_costs_its_own_row_and_no_other(giants: Lab, tmp_path: Path) -> None:
    said = collect(giants, tmp_path, shown=("numbers", "line"))
    found = {name: row["verdict"] for name, row in said.hosts.items()}
    assert found.keys() == {*GIANTS, "keys", "well"}
    assert found["well"] == Word.HEALTHY
    assert found["bomb"] == Word.NOT_OBSERVED
    for name in ("abyss", "keys", "numbers"):
        assert said.hosts[name]["rule"] == "agent-not-answering", name
    for name in ("line", "lines"):
        findings: Any = said.hosts[name]["findings"]
        assert [finding["code"] for finding in findings] == ["AZCM0042"], name
    assert all(row["reason"] != "bug" for row in said.hosts.values())
    json.loads(said.places["report.json"], parse_constant=_no_constant)


_PEAK = """
import resource, sys
from fleet.cli.program import run
run(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_bomb_costs_no_more_memory_than_the_largest_honest_answer(giants: Lab, tmp_path: Path) -> None:
    def peak_bytes(name: str) -> int:
        folder = tmp_path / name
        folder.mkdir()
        # A process begins with the peak of the one that forked it, so let that be a small shell, not us.
        shell = ["sh", "-c", '"$@"; exit $?', "sh"]
        words = [*shell, sys.executable, "-c", _PEAK, *collect_words(giants, folder), "--limit", name]
        told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
        return int(told.rpartition("peak ")[2]) * 1024

    largest = plan_visit(load_pack().items, CheckMode.AUTO).max_answer_bytes
    assert largest * 16 < BOMB_BYTES
    peaks = peak_bytes("bomb"), peak_bytes("well")
    assert peaks[0] - peaks[1] < 8 * largest, peaks


EVIL = "$(touch pwned);`touch pwned`&touch pwned|'\"\\${IFS}touch\u2028"
_AUDIT = """
import json, sys
starts = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn", "pty.spawn")
def heard(event, arguments):
    if event in starts:
        open(sys.argv[1], "a").write(json.dumps([event, repr(arguments)]) + "\\n")
sys.addaudithook(heard)
from fleet.cli.program import run
run(sys.argv[2:])
"""


def test_an_inventory_never_reaches_a_shell(tmp_path: Path) -> None:
    """Labels, users and paths may be anything printable; a host's command line holds none of them."""
    evil = "".join(char for char in EVIL if char.isprintable())
    folder = tmp_path / evil.replace("/", "")
    with running_lab([_described("plain")], tmp_path / "lab") as lab:
        folder.mkdir()
        shutil.copytree(lab.folder, folder, dirs_exist_ok=True)
        document = yaml.safe_load(lab.inventory.read_text())
        plain = document["hosts"]["plain"]
        hosts = {
            "plain": plain,
            "labelled": plain | {"labels": {evil: evil}},
            "user": plain | {"user": evil.replace(" ", "")},
            "local": {"connection": "local", "become": "none", "labels": {evil: evil}},
            "resolved": plain | {"address": "no-such-host.invalid"},
        }
        document = {"defaults": document["defaults"], "hosts": hosts}
        inventory = folder / f"{evil}.yaml"
        inventory.write_text(yaml.safe_dump(document, allow_unicode=True))
        record = tmp_path / "started"
        call = [
            sys.executable,
            "-c",
            _AUDIT,
            str(record),
            "collect",
            str(inventory),
            "--out",
            str(folder / evil),
        ]
        done = subprocess.run(
            [*call, "--db", f"sqlite:///{tmp_path}/fleet.db"], capture_output=True, timeout=120
        )
        assert b"5 hosts: " in done.stdout, done.stderr.decode()
        commands = {
            re.sub(r"[0-9a-f]{32}|\d{8}T\d{6}-[0-9a-f]{8}", "N", line) for line in lab.commands("plain")
        }
        assert len(lab.commands("plain")) == 2
    assert len(commands) == 1
    started = record.read_text()
    assert started.count("sh -s --") == 1, "the local host's visit was not heard"
    assert "touch" not in started + commands.pop()
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()
