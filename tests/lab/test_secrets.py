"""Secrets planted wherever a host has them, and those of the operator, are found nowhere afterwards."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from fleet.lab.describe import Agent, Expectation, Fault, HostDescription, Login
from fleet.lab.servers import Lab, running_lab
from fleet.lab.windows import Windows, WindowsLogin
from fleet.model.words import OS, Word
from fleet.packs.load import load_pack
from tests.lab.program import Call
from tests.lab.running import SCRIPT_LINES, Said, bodies, collect, collect_words, lying, put

LOG = "var/opt/azcmagent/log/azcmagent.log"
HIMDS = "var/opt/azcmagent/log/himds.log"
ARCPROXY = "var/opt/azcmagent/log/arcproxy.log"
GC_EXT = "var/lib/GuestConfig/ext_mgr_logs/gc_ext.log"
STATE = "var/lib/GuestConfig/extension_logs/Custom/state.json"
INSTALL = "var/log/dpkg.log"
JOURNAL = "answers/journal.himdsd"
UNIT = "answers/unit.himdsd"
CONFIG = "answers/config.txt"
OS_RELEASE = "etc/os-release"
SHOW = "answers/show.json"
STDERR = "programs/uname"

# What an operator types: the SSH password and sudo's.
SSH_PASSWORD = 'Tr0ub4dor<&>"3\\x'
SUDO_PASSWORD = "correct horse/battery+staple"
WINDOWS_PASSWORD = "Gr\u00fc\u00dfe:\u6f22 & 'pa55'"
STAMP = 'time="2026-11-01T10:00:00Z" level='


def _token(number: int) -> str:
    """A secret of this plant alone, of the looks of an Azure client secret."""
    return f"q{number:02}8Q~Vx.{number * 7919:06}_kTz-W{number:02}y"


def _jwt(number: int) -> str:
    parts = (b'{"alg":"RS256","typ":"JWT","kid":"%d"}', b'{"aud":"https://management.azure.com","n":%d}')
    coded = [base64.urlsafe_b64encode(part % number).rstrip(b"=").decode() for part in parts]
    return ".".join([*coded, f"s{number:02}GnAtUrE" * 12])


def _pem_body(number: int) -> str:
    body = base64.b64encode(bytes((number * 31 + place * 7) % 256 for place in range(240))).decode()
    return "\n".join(body[at : at + 64] for at in range(0, len(body), 64))


def _basic(number: int) -> str:
    return base64.b64encode(f"svc:{_token(number)}".encode()).decode()


# Kind of place -> (file, text with the secret as {}, the secret).
PLANTS: dict[str, tuple[str, str, str]] = {
    "argv-blank": (
        LOG,
        "azcmagent connect --service-principal-secret {} --resource-group rg",
        _token(1),
    ),
    "argv-equals": (LOG, "azcmagent connect --service-principal-secret={} --location x", _token(2)),
    "argv-short": (LOG, "azcmagent connect -i 4f1c -p {} -t 4f6f", _token(3)),
    "argv-quoted": (LOG, 'azcmagent connect --service-principal-secret "{}" -l x', f"two words {_token(4)}"),
    "argv-single": (LOG, "azcmagent connect --service-principal-secret '{}' -l x", f"two words {_token(5)}"),
    "argv-json": (LOG, '["azcmagent","connect","--service-principal-secret","{}"]', _token(6)),
    "argv-json-short": (LOG, '["azcmagent","connect","-p","{}"]', _token(7)),
    "argv-windows": (LOG, "azcmagent.exe connect /i:4f1c /p:{} /t:4f6f", _token(8)),
    "argv-powershell": (LOG, "Connect-AzConnectedMachine -ServicePrincipalSecret {} -Tag x", _token(9)),
    "argv-token": (LOG, "azcmagent connect --access-token {} --cloud AzureCloud", _token(10)),
    "argv-wrapped": (LOG, "azcmagent connect --service-principal-secret \\\n    {} \\\n    -l x", _token(11)),
    "logrus-field": (LOG, STAMP + 'debug msg="got it" Access Token="{}"', _token(12)),
    "jwt": (HIMDS, STAMP + 'debug msg="token {} received"', _jwt(13)),
    "jwt-wrapped": (HIMDS, "got token\n{}\nback", "\n".join(_jwt(14)[i : i + 60] for i in range(0, 200, 60))),
    "bearer": (HIMDS, STAMP + 'debug msg="Authorization: Bearer {}"', _token(15)),
    "basic": (HIMDS, "Proxy-Authorization: Basic {}", _basic(16)),
    "json": (HIMDS, '{{"grant_type":"client_credentials","client_secret":"{}"}}', _token(17)),
    "json-escaped": (HIMDS, STAMP + r'info msg="{{\"clientSecret\":\"{}\"}}"', _token(18)),
    "form": (HIMDS, "grant_type=client_credentials&client_secret={}&scope=x", quote(_token(19) + "+/=")),
    "sas": (
        GC_EXT,
        "https://x.blob.core.windows.net/c/a.zip?sv=2021&sig={}&se=2026",
        quote(_token(20) + "="),
    ),
    "account-key": (GC_EXT, "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};E=y", _token(21)),
    "shared-key": (GC_EXT, "Endpoint=sb://x/;SharedAccessKeyName=r;SharedAccessKey={}", _token(22)),
    "connection-string": (GC_EXT, "Server=tcp:db;User ID=sa;Password={};Encrypt=True", _token(23)),
    "pwd": (GC_EXT, "Driver=ODBC;Uid=sa;Pwd={};", _token(24)),
    "proxy-in-error": (ARCPROXY, "proxyconnect tcp: dial http://svc:{}@proxy:3128: timeout", _token(25)),
    "proxy-escaped": (
        ARCPROXY,
        STAMP + r'error msg="Get \"https://x\": proxy \"http://svc:{}@proxy:3128\" refused"',
        quote(f"p@:{_token(26)}", safe=""),
    ),
    "proxy-in-config": (CONFIG, "  proxy.url : http://svc:{}@proxy:3128", _token(27)),
    "proxy-in-unit": (UNIT, "Environment=https_proxy=http://svc:{}@proxy:3128 X=1", _token(28)),
    "unit": (UNIT, "Environment=AZURE_CLIENT_SECRET={} Y=1", _token(29)),
    "pem": (ARCPROXY, "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", _pem_body(30)),
    "pem-encrypted": (
        ARCPROXY,
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,9F3A\n\n{}\n-----END",
        _pem_body(31),
    ),
    "pem-in-json": (
        ARCPROXY,
        r'{{"key":"-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n"}}',
        _pem_body(32).replace("\n", r"\n"),
    ),
    "journal": (JOURNAL, "2026-11-01T10:00:00+0000 h himds[7]: client_secret={} refused", _token(33)),
    "stderr": (STDERR, "#!/bin/sh\necho 'uname: --password {} refused' >&2\nexit 1", _token(34)),
    "protected-settings": (
        STATE,
        '{{"status":"failed","protectedSettings":{{"storageAccountKey":"x","managed":{{"run":"do {}"}}}}}}',
        _token(35),
    ),
    "storage-key": (GC_EXT, '{{"storageAccountKey":"{}","primaryKey":"x"}}', _token(36)),
    "install-log": (INSTALL, "2026-11-01 configure azcmagent AZCM_PASSWORD={}", _token(37)),
    "os-release": (OS_RELEASE, 'PRETTY_NAME="Debian, root password={}"', _token(38)),
    "broken-bytes": (
        LOG,
        "azcmagent connect --service-principal-secret \udcff\udcfe{}\udc80 -l x",
        _token(39),
    ),
    "long-line": (LOG, "x" * 60_000 + " client_secret={} " + "y" * 60_000, _token(40)),
    "show-details": (SHOW, "the agent said client_secret={} is wrong", _token(41)),
    "proxy-in-show": (SHOW, "http://svc:{}@proxy:3128", _token(45)),
    "fatal": (LOG, STAMP + 'fatal msg="AZCM0041: --service-principal-secret {} was refused"', _token(42)),
    "pipe-key": (GC_EXT, "x-functions-key: {}", _token(43)),
    "workspace-key": (STATE, '{{"workspaceId":"4f1c","workspaceKey":"{}"}}', _token(44)),
}
# As the registry has WinHTTP's proxy, and what a UTF-16 log says.
WINDOWS_HEX = f"http://svc:{_token(86)}@proxy:3128".encode().hex().upper()
WINDOWS_UTF16 = f"azcmagent connect --service-principal-secret {_token(85)} -l x\n"
# Of a Windows host: item -> (what it gives with the secret as {}, the secret).
WINDOWS_PLANTS: dict[str, tuple[str, str]] = {
    "host.os": ('{{"caption":"Windows, root password={}","build":20348}}', _token(71)),
    "agent.show": ('{{"status":"Disconnected","agentErrorDetails":"client_secret={} is wrong"}}', _token(72)),
    "agent.config": ("Local Configuration Settings\n  proxy.url : http://svc:{}@proxy:3128\n", _token(73)),
    "services": (
        '[{{"name":"himds","exists":true,"status":1,"account":"azcmagent connect -p {}"}}]',
        _token(74),
    ),
    "events.services": (
        '[{{"id":7023,"at":"2026-11-01T10:00:00Z","properties":["himds","client_secret={}"]}}]',
        _token(75),
    ),
    "events.install": (
        '[{{"id":1033,"at":"2026-11-01T10:00:00Z","properties":["/p:x AZCM_PASSWORD={}"]}}]',
        _token(76),
    ),
    "log.himds": (STAMP + 'debug msg="Authorization: Bearer {}"', _token(77)),
    "log.gc_agent": ("<GCLOG>[x] [ERROR] AZCM0042 https://x?sig={}&se=1</GCLOG>", quote(_token(78) + "=")),
    "agent.extensions": (
        '==> C:\\x\\state.json <==\n{{"protectedSettings":{{"run":"do {}"}}}}\n',
        _token(79),
    ),
    "agent.proxy": (
        '{{"machine":{{"https_proxy":"http://svc:{}@proxy:3128"}},"winhttp":"' + WINDOWS_HEX + '"}}',
        _token(80),
    ),
    "host.rights": ('{{"accounts":["SharedAccessKey={};x"]}}', _token(81)),
    "install.log": ("Property(S): AZURE_CLIENT_SECRET = {0}\r\nCommandLine: AZCM_PASSWORD={0}", _token(82)),
    "host.time": ('{{"type":"NTP","server":"http://svc:{}@ntp,0x8"}}', _token(83)),
    "agent.check": ("time=x level=error msg=proxy http://svc:{}@proxy:3128 refused\n", _token(84)),
}
# What an operator needs to read must still be there.
KEPT = (
    "AZCM0041",
    "AADSTS7000215",
    "8b5e1b1c-4f1c-4f6f-8d3e-000000000001",
    "weu.his.arc.azure.com",
    "keyvault.example.com",
    "monkey=banana",
    "Authorization failed for db01",
)


def _forms(secret: str) -> tuple[bytes, ...]:
    """The secret as it stands and as it is when it is coded for another place."""
    raw = secret.encode("utf-8", "surrogateescape")
    in_json = json.dumps(secret)[1:-1]
    # As Windows PowerShell 5.1 writes it.
    in_windows = json.dumps(secret, ensure_ascii=False)[1:-1]
    for char in "<>&'":
        in_windows = in_windows.replace(char, f"\\u{ord(char):04x}")
    texts = (
        secret,
        in_json,
        json.dumps(in_json)[1:-1],
        in_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        in_windows,
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        raw.hex().upper(),
    )
    return (raw, *(text.encode() for text in texts), secret.encode("utf-16-le"))


def _found(places: Mapping[str, bytes], secret: str) -> list[str]:
    """Where it is, or, of one of several lines, any of its lines."""
    lines = [line for line in secret.replace(r"\n", "\n").split("\n") if line]
    forms = {form for line in lines for form in _forms(line)}
    return [place for place, data in places.items() if any(form in data for form in forms)]


def _described(name: str, fault: Fault = Fault.NONE) -> HostDescription:
    return HostDescription(
        name=name,
        summary="",
        group="all",
        expect=Expectation(verdict=Word.FAILING),
        agent=Agent(resource_name=name, heartbeat_age_s=60),
        login=Login(password=SSH_PASSWORD, sudo_password=SUDO_PASSWORD),
        fault=fault,
    )


def _on_windows(name: str, windows: Windows) -> HostDescription:
    agent = Agent(status="Disconnected", heartbeat_age_s=60)
    return replace(_described(name), windows=windows, agent=agent)


def _leaky_windows() -> HostDescription:
    bodies = tuple((item, text.format(secret).encode()) for item, (text, secret) in WINDOWS_PLANTS.items())
    host = _on_windows("leaky-windows", Windows(bodies=bodies, utf16=("arcproxy",)))
    return replace(host, logs=(("azcmagent", _planted()[LOG]), ("arcproxy", WINDOWS_UTF16.encode())))


def _planted() -> dict[str, bytes]:
    texts: dict[str, list[str]] = {}
    for place, text, secret in PLANTS.values():
        texts.setdefault(place, []).append(text.format(secret))
    texts[LOG].insert(0, STAMP + 'info msg="Agent Command: connect"')
    texts[LOG].append(STAMP + f'fatal msg="AZCM0041: {" ".join(KEPT[1:])}"')
    details, proxy = texts.pop(SHOW)
    shown = {
        "status": "Disconnected",
        "agentVersion": "1.61",
        "agentErrorDetails": details,
        "httpsProxy": proxy,
    }
    files = {place: "\n".join(lines).encode("utf-8", "surrogateescape") for place, lines in texts.items()}
    return files | {SHOW: json.dumps(shown).encode()}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    """A run over two hosts with every plant."""
    with running_lab([_described("leaky"), _leaky_windows()], tmp_path_factory.mktemp("lab")) as lab:
        for path, data in _planted().items():
            old = lab.tree("leaky") / path.replace("answers", "lab-answers")
            before = old.read_bytes() if path in (UNIT, CONFIG) else b""
            put(lab, "leaky", {path: before + data + b"\n"})
        yield collect(lab, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_secret_is_found_nowhere(said: Said, name: str) -> None:
    assert _found(said.places, PLANTS[name][2]) == []


@pytest.mark.parametrize(
    "secret", [*(secret for _, secret in WINDOWS_PLANTS.values()), _token(85), _token(86)]
)
def test_a_secret_planted_on_windows_is_found_nowhere(said: Said, secret: str) -> None:
    assert _found(said.places, secret) == []


def test_the_plants_on_windows_were_looked_at(said: Said) -> None:
    stored = said.places["stored of leaky-windows"]
    in_log = sum(place == LOG for place, _, _ in PLANTS.values())
    assert stored.count(b"<masked:") >= len(WINDOWS_PLANTS) + 1 + in_log
    assert stored.count(b"begin ") >= len(WINDOWS_PLANTS)
    assert b"AZCM0041" in stored


def test_the_plants_were_looked_at(said: Said) -> None:
    assert said.hosts["leaky"]["verdict"] == Word.FAILING
    assert said.places["stored of leaky"].count(b"<masked:") >= len(PLANTS)
    assert b"<masked:" in said.places["findings.csv"]


@pytest.mark.parametrize("words", KEPT)
@pytest.mark.parametrize("place", ["stored of leaky", "report.json", "fleet show leaky", "findings.csv"])
def test_what_an_operator_needs_is_still_there(said: Said, place: str, words: str) -> None:
    assert words.encode() in said.places[place]


def _cut_before(secret: str, size: int) -> bytes:
    """A text of which a bound of ``size`` bytes cuts off what names the secret."""
    rest = f"{secret} for azcmagent\n".encode()
    filler = b'time="2026-11-01T10:00:00Z" level=info msg="azcmagent is well"\n'
    rest += filler * ((size - len(rest)) // len(filler) - 1)
    rest += b"azcmagent".ljust(size - len(rest) - 1, b".") + b"\n"
    return b"azcmagent connect --service-principal-secret " + rest


# Place -> (file, how many of its last bytes are read, secret).
TORN = {
    "log": (LOG, (1 << 20) + 1, _token(51)),
    "json": (STATE, 4096, _token(52)),
    "stderr": ("programs/uname", 2046, _token(53)),
    "install-log": (INSTALL, (1 << 15) + 1, _token(55)),
    "os-release": (OS_RELEASE, 8192, _token(56)),
    "key": (HIMDS, (1 << 20) + 1, _pem_body(57)),
}


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    """A run over a host whose texts are too long, cut through right before or within a secret."""
    with running_lab([_described("torn")], tmp_path_factory.mktemp("lab")) as lab:
        for place, size, secret in TORN.values():
            end = "\n-----END PRIVATE KEY-----" if place == HIMDS else ""
            text = _cut_before(secret + end, size)
            if place == STATE:
                # The whole file is one line.
                text = text.replace(b"\n", b" ")
            if place.startswith("programs"):
                put(lab, "torn", {"answers/stderr": text})
                text = f"#!/bin/sh\ncat {lab.tree('torn')}/lab-answers/stderr >&2\nexit 1\n".encode()
            put(lab, "torn", {place: text})
        yield collect(lab, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("name", TORN)
def test_a_secret_whose_name_was_cut_off_is_found_nowhere(torn: Said, name: str) -> None:
    assert _found(torn.places, TORN[name][2]) == []


def _says(lab: Lab, name: str, text: bytes) -> str:
    """A command line that says this on the host."""
    put(lab, name, {"answers/words": text})
    return f"cat {lab.tree(name)}/lab-answers/words"


def _own() -> bytes:
    """The operator's passwords in every coding a host has at hand, without a word that names them."""
    forms = [form for secret in (SSH_PASSWORD, SUDO_PASSWORD) for form in _forms(secret)]
    return b" it was ".join(form for form in forms if b"\0" not in form) + b"\n"


def _parrot(lab: Lab, name: str) -> None:
    """Whatever a visit reads or calls says the operator's passwords."""
    words = _says(lab, name, _own())
    program = f"#!/bin/sh\n{words}\n{words} >&2\nexit 3\n".encode()
    put(lab, name, {f"programs/{called}": program for called in PROGRAMS})
    lines = b"".join(
        STAMP.encode() + b'fatal msg="AZCM0042: %s"\n' % line for line in _own().split(b" it was ")
    )
    put(lab, name, dict.fromkeys((LOG, HIMDS, ARCPROXY, GC_EXT), lines))
    put(lab, name, {OS_RELEASE: b"PRETTY_NAME=" + _own(), STATE: _own(), INSTALL: b"azcmagent " + _own()})


def _parrot_in_utf_16(lab: Lab, name: str) -> None:
    text = f"azcmagent connect -p {_token(62)} said {SSH_PASSWORD} and {SUDO_PASSWORD}\n"
    put(lab, name, {LOG: text.encode("utf-16")})


def _parrot_in_frames(lab: Lab, name: str) -> None:
    """The host answers in the script's place, and has the passwords in the frames themselves."""
    words = SSH_PASSWORD.encode() + b"\n"
    frames = [b"\nNONCE skip agent.show ", b"\nNONCE begin ", b"\nNONCE end log.himds ", b"\nNONCE ", b"\n"]
    answer = _says(lab, name, b"".join(frame + words for frame in frames) + b"\nNONCE done 1\n")
    put(lab, name, lying(f'{answer} | sed "s/NONCE/$nonce/"'))


def _parrot_in_gzip(lab: Lab, name: str) -> None:
    """The passwords are where nobody looks who only decompresses."""
    packed = gzip.compress(b"\n")
    named = packed[:3] + b"\x08" + packed[4:10] + SSH_PASSWORD.encode() + b"\0" + packed[10:]
    put(lab, name, lying(_says(lab, name, named + SUDO_PASSWORD.encode()), "gzip"))


def _parrot_on_stderr(lab: Lab, name: str) -> None:
    """Sudo lets us in, but no visit starts."""
    words = _own() + f"azcmagent connect --service-principal-secret {_token(60)} {'x' * 280}\n".encode()
    ready = f"line=${{6#echo }}\necho ${{line%%;*}}\nhead -n {SCRIPT_LINES} >/dev/null"
    put(lab, name, {"programs/sudo": f"#!/bin/sh\n{ready}\n{_says(lab, name, words)} >&2\n".encode()})


def _parrot_before_the_visit(lab: Lab, name: str) -> None:
    words = _says(lab, name, _own().replace(b"\n", b" ") + f"client_secret={_token(61)}\n".encode())
    put(lab, name, {"programs/sudo": f"#!/bin/sh\n{words}\n{words} >&2\nexit 1\n".encode()})


def _parrot_windows() -> HostDescription:
    """Whatever it is asked it answers with the operator's password, and with that of another host."""
    words = b" it was ".join(_forms(WINDOWS_PASSWORD)) + b" and " + SSH_PASSWORD.encode()
    bodies = tuple((item.name, words) for item in load_pack().items_for(OS.WINDOWS))
    login = WindowsLogin(password=WINDOWS_PASSWORD)
    return _on_windows("windows", Windows(bodies=bodies, login=login))


PROGRAMS = ("azcmagent", "systemctl", "journalctl", "uname", "df", "openssl", "date")
PARROTS = {
    "everywhere": _parrot,
    "utf-16": _parrot_in_utf_16,
    "frames": _parrot_in_frames,
    "gzip": _parrot_in_gzip,
    "stderr": _parrot_on_stderr,
    "before": _parrot_before_the_visit,
}


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    """A run over hosts that give back what the operator entrusted to them."""
    hosts = [*(_described(name) for name in PARROTS), _parrot_windows()]
    with running_lab(hosts, tmp_path_factory.mktemp("lab")) as lab:
        for name, teach in PARROTS.items():
            teach(lab, name)
        yield collect(lab, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    "secret", [SSH_PASSWORD, SUDO_PASSWORD, WINDOWS_PASSWORD, *map(_token, (60, 61, 62))]
)
def test_what_a_hostile_host_gives_back_is_found_nowhere(echoed: Said, secret: str) -> None:
    assert _found(echoed.places, secret) == []
    assert _found(echoed.places, secret[:10]) == []


def test_every_parrot_was_listened_to(echoed: Said) -> None:
    assert set(echoed.hosts) == {*PARROTS, "windows"}
    for name in ("everywhere", "utf-16", "frames", "windows"):
        assert b"<masked:" in echoed.places[f"stored of {name}"]
    assert "stored of gzip" in echoed.places
    for name in ("stderr", "before"):
        assert "<masked:" in str(echoed.hosts[name]["message"])


def test_a_killed_run_leaves_no_secret_behind(tmp_path: Path) -> None:
    hosts = [_described("leaky"), _described("silent", Fault.SILENT_AFTER_AUTH)]
    with running_lab(hosts, tmp_path / "lab") as lab:
        put(lab, "leaky", {LOG: _planted()[LOG]})
        call = Call(tmp_path, *collect_words(lab, tmp_path))
        database = tmp_path / "fleet.db"
        call.wait_until(lambda: _is_stored(database))
        call.send(signal.SIGKILL)
        assert call.ended()[0] == -signal.SIGKILL
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {"fleet.db", "fleet.db-wal", "fleet.log"} <= files.keys()
    files |= bodies(database)
    assert b"<masked:" in files["leaky"]
    for secret in (
        SSH_PASSWORD,
        SUDO_PASSWORD,
        *(secret for place, _, secret in PLANTS.values() if place == LOG),
    ):
        assert _found(files, secret) == []


def _is_stored(database: Path) -> bool:
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as connection:
        try:
            return bool(connection.execute("SELECT count(*) FROM captures").fetchone()[0])
        except sqlite3.OperationalError:
            return False
