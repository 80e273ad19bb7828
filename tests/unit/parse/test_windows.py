"""What the script of a Windows host says, into services, facts and logs, whatever is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from fleet.model.observation import Observation, Service
from fleet.model.visit import Visit
from fleet.model.words import OS
from fleet.packs.load import load_pack
from fleet.parse.observe import observe_texts, observe_visit
from fleet.parse.scan import Anchors
from fleet.parse.services import service_state
from fleet.parse.windows import parse_services, parse_winhttp
from tests.windows_host import BODIES, NAMES, NOW, SHOW, SYSTEM, capture, event, service

ANCHORS = Anchors(["no such host"])


def visit(bodies: Mapping[str, object], failed: Mapping[str, tuple[int, bytes]] | None = None) -> Visit:
    captures = [capture(item, body) for item, body in (BODIES | dict(bodies)).items()]
    codes = {item: capture(item, b"", *how) for item, how in (failed or {}).items()}
    kept = [codes.pop(each.item, each) for each in captures]
    return Visit(
        started_at=NOW,
        duration_s=1.0,
        captures=(*kept, *codes.values()),
        complete=True,
        clock_offset_s=0.5,
    )


def observe(failed: Mapping[str, tuple[int, bytes]] | None = None, **bodies: object) -> Observation:
    named = {item.replace("__", "."): body for item, body in bodies.items()}
    return observe_visit(visit(named, failed), ANCHORS)


def facts(observation: Observation) -> dict[str, str]:
    return {fact.name: fact.value for fact in observation.facts}


def test_a_whole_visit() -> None:
    observation = observe()
    told = facts(observation)
    assert observation.os is OS.WINDOWS
    assert observation.os_name == "Windows Server 2022 Standard"
    assert [(each.name, each.unit, service_state(each)) for each in observation.services] == [
        ("himds", "himds", "running"),
        ("gcad", "GCArcService", "running"),
        ("extd", "ExtensionService", "running"),
        ("arcproxy", "arcproxy", "running"),
    ]
    assert observation.answered == ("services",)
    assert observation.unanswered == ()
    expected = {
        "agent.installed": "yes",
        "agent.status": "Connected",
        "agent.heartbeat_age_s": "120",
        "clock.skew_s": "0.5",
        "host.name": "WIN01",
        "host.version": "10.0.20348",
        "host.build": "20348.2700",
        "host.edition": "ServerStandard",
        "host.installation_type": "Server Core",
        "host.domain": "corp.example",
        "host.domain_role": "member server",
        "host.language": "de-DE",
        "host.powershell": "5.1.20348.2700",
        "host.language_mode": "FullLanguage",
        "host.timezone": "+0100 W. Europe Standard Time",
        "host.uptime_s": "86400",
        "space.C:.free_kb": "4194304",
        "space.C:.used_pct": "75",
        "service.himds.state": "running",
        "service.himds.start_mode": "auto",
        "service.himds.account": r"NT SERVICE\himds",
        "service.himds.exit_code": "0",
        "service.himds.up_s": "3600",
        "policy.profile_cleanup": "not set",
        "identity.profile": "yes",
        "identity.config": "yes",
        "identity.certificate": "yes",
    }
    assert expected.items() <= told.items()
    assert not [name for name in told if "crash" in name or "start_error" in name or "Ccm" in name]


@pytest.mark.parametrize(
    ("more", "state", "start_mode", "exit_status"),
    [
        ({}, "running", "auto", "0"),
        ({"delayed": True}, "running", "auto (delayed)", "0"),
        ({"status": 1}, "stopped", "auto", "0"),
        ({"status": 1, "exit_code": 1077}, "stopped", "auto", "1077"),
        ({"status": 1, "exit_code": 1067}, "failed", "auto", "1067"),
        ({"status": 1, "exit_code": 1066, "service_exit_code": 13}, "failed", "auto", "13"),
        ({"status": 1, "exit_code": None}, "stopped", "auto", ""),
        ({"status": 2}, "starting", "auto", "0"),
        ({"status": 3}, "stopped", "auto", "0"),
        ({"status": 5}, "starting", "auto", "0"),
        ({"status": 7}, "stopped", "auto", "0"),
        ({"status": 1, "start": 4}, "stopped", "disabled", "0"),
        ({"start": 3}, "running", "manual", "0"),
        ({"start": 99, "status": 99}, "unknown", "", "0"),
        ({"exists": False, "status": None, "start": None, "exit_code": None}, "absent", "", ""),
        ({"status": "Running"}, "unknown", "auto", "0"),
    ],
)
def test_a_service(more: dict[str, object], state: str, start_mode: str, exit_status: str) -> None:
    ((found,)) = [each.service for each in parse_services(json.dumps([service(**more)]).encode())]
    assert (service_state(found), found.start_mode, found.exit_status) == (state, start_mode, exit_status)
    assert (found.since_at is not None) == (found.active_state == "running")


def test_a_list_of_one_may_stand_alone_and_a_cut_one_gives_what_is_whole() -> None:
    alone = json.dumps(service()).encode()
    assert [each.service.name for each in parse_services(alone)] == ["himds"]
    cut = json.dumps([service(name) for name in NAMES]).encode()[:-40]
    assert [each.service.name for each in parse_services(cut)] == ["himds", "gcad", "extd"]


@pytest.mark.parametrize("body", ["", "null", "[]", "[{}]", '[{"name": 7}]', '[{"name": "himds"}]'])
def test_services_that_say_nothing_are_no_answer(body: str) -> None:
    observation = observe(services=body)
    assert observation.answered == ()
    assert [each.item for each in observation.unanswered] == ["services"]


def test_who_may_not_see_services_is_told_no_state_of_them() -> None:
    stopped = SHOW | {"services": [{"serviceName": "himds", "status": "stopped"}]}
    observation = observe({"services": (126, b"access denied")}, agent__show=stopped)
    assert observation.services == ()
    assert "service.himds.state" not in facts(observation)
    assert observation.answered == ()


def test_an_old_script_that_reads_no_services_leaves_what_the_agent_says() -> None:
    observation = observe({"services": (1, b"other")})
    assert observation.services == (Service(name="himds", unit="himds", active_state="running"),)


LOGON_DENIED = [
    event(7041, 60, "himds", r"NT SERVICE\himds"),
    event(7000, 60, "Azure Hybrid Instance Metadata Service", "%%1069"),
]


STOPPED: dict[str, object] = {"status": 1, "exit_code": None}


@pytest.mark.parametrize(
    ("events", "more", "error"),
    [
        (LOGON_DENIED, {"status": 1, "exit_code": 1069}, "1385"),
        (LOGON_DENIED[1:], {"status": 1, "exit_code": 1069}, "1069"),
        (LOGON_DENIED, {}, None),
        (LOGON_DENIED, STOPPED, "1385"),
        (LOGON_DENIED, {"status": 2, "exit_code": None}, "1385"),
        ([event(7009, 60, 30000, "himds")], STOPPED, "1053"),
        ([event(7023, 60, "himds", "%%2147943515")], STOPPED, "2147943515"),
        ([event(7000, 9, "himds", "%%5"), event(7000, 5, "himds", "%%1069")], STOPPED, "1069"),
        ([event(7000, 60, "Spooler", "%%1069")], STOPPED, None),
        ([event(7000, 60, "himds", "1069")], STOPPED, None),
        ([event(7000, 60, "Agentendienst", "%%1069")], STOPPED | {"display_name": "Agentendienst"}, "1069"),
        # Stopped in good order, or never started: an event tells of another day.
        (LOGON_DENIED, {"status": 1}, None),
        (LOGON_DENIED, {"status": 2}, None),
        (LOGON_DENIED, {"status": 1, "exit_code": 1077}, None),
        # Before the boot a day ago.
        ([event(7041, 29 * 86_400, "himds")], STOPPED, None),
        ([event(7041, 29 * 86_400, "himds")], {"status": 1, "exit_code": 1067}, "1067"),
        ([event(7041, 86_300, "himds")], STOPPED, "1385"),
        ([{"id": 7041, "properties": ["himds"]}], STOPPED, None),
        # It ran since.
        ([event(7041, 60, "himds"), event(7031, 30, "himds", "1")], STOPPED, None),
        ([event(7041, 60, "himds"), event(7034, 30, "himds")], {"status": 1, "exit_code": 1067}, "1067"),
        ([event(7041, 60, "himds"), event(7034, 30, "Spooler")], STOPPED, "1385"),
        ([event(7041, 20, "himds"), event(7031, 30, "himds", "1")], STOPPED, "1385"),
        ([], {"status": 1, "exit_code": 1067}, "1067"),
        ([], {"status": 1}, None),
    ],
)
def test_why_a_service_does_not_run(events: list[object], more: dict[str, object], error: str | None) -> None:
    told = facts(observe(services=[service(**more)], events__services=events))
    assert told.get("service.himds.start_error") == error


def test_without_the_time_of_the_boot_any_event_may_tell() -> None:
    old = [event(7041, 29 * 86_400, "himds")]
    told = facts(
        observe(services=[service(**STOPPED)], events__services=old, host__os=SYSTEM | {"booted_at": None})
    )
    assert told["service.himds.start_error"] == "1385"


def test_crashes_are_counted_by_the_day() -> None:
    name = "Azure Hybrid Instance Metadata Service"
    ages = (600, 4000, 86_000, 90_000, 2_000_000)
    events = [event(7031, age, name, "3", "60000", "1") for age in ages[:4]]
    events += [event(7034, ages[4], name, "4"), event(7034, 1, "Azure Arc Proxy", "1"), {"id": 7034}]
    told = facts(observe(events__services=events))
    assert told["service.himds.crashes"] == "5"
    assert told["service.himds.crashes_in_a_day"] == "3"
    assert told["service.himds.crash_age_s"] == "600"
    assert told["service.arcproxy.crashes"] == "1"
    assert "service.gcad.crashes" not in told


def test_faults_name_program_module_and_exception() -> None:
    body = [
        event(1000, 9, "gc_arc_service.exe", "1.0", "6a", "ntdll.dll", "10.0", "6b", "c0000005", "0x1"),
        event(1000, 99, "gc_arc_service.exe", "1.0", "6a", "old.dll", "10.0", "6b", "c0000005", "0x1"),
        event(1000, 9, "azcmagent.exe"),
        event(1000, 9, "notepad.exe"),
        event(1000, 9),
    ]
    told = facts(observe(events__crashes=body))
    assert told["service.gcad.fault"] == "gc_arc_service.exe ntdll.dll c0000005"
    assert told["agent.fault"] == "azcmagent.exe"


PRODUCT = "Azure Connected Machine Agent"
DONE = event(1033, 50, PRODUCT, "1.61", "1033", "0", "Microsoft")
BROKEN = event(1033, 50, PRODUCT, "1.61", "1031", "1603", "Microsoft")
MSI_LOG = "MSI (s) (10:4C) [10:00:00:000]: MainEngineThread is returning {}\r\n=== Logging stopped ===\r\n"


@pytest.mark.parametrize(
    ("events", "log", "last", "failed"),
    [
        ([DONE, event(11707, 50, f"Product: {PRODUCT} -- Installation completed.")], "", "installed", None),
        ([BROKEN, event(11708, 50, f"Produkt: {PRODUCT} -- fehlgeschlagen")], "", "failed", "1603"),
        ([event(11708, 50, f"製品: {PRODUCT}"), BROKEN], "", "failed", "1603"),
        ([event(11708, 50, PRODUCT)], "", "failed", "yes"),
        ([event(11707, 10, PRODUCT), BROKEN], "", "installed", None),
        ([event(1034, 10, PRODUCT, "1.61", "0", "0"), DONE], "", "removed", None),
        ([event(1033, 10, PRODUCT, "1.61", "0", "3010")], "", "installed", None),
        ([event(1033, 10)], "", "installed", None),
        ([], MSI_LOG.format(1603), "failed", "1603"),
        ([], MSI_LOG.format(1603) + MSI_LOG.format(0), "installed", None),
        ([], "Action ended 10:00:00: INSTALL. Return value 3.\r\n", "failed", "yes"),
        ([], "Action ended 10:00:00: INSTALL. Return value 1.\r\n", None, None),
        ([DONE], MSI_LOG.format(1603), "installed", None),
    ],
)
def test_how_the_installation_ended(
    events: list[object], log: str, last: str | None, failed: str | None
) -> None:
    for encoded in (log.encode(), b"\xff\xfe" + log.encode("utf-16-le")):
        told = facts(observe(events__install=events, install__log=encoded))
        assert (told.get("install.last"), told.get("install.failed")) == (last, failed)


CERTS = "notAfter=Apr 30 12:00:00 2026 GMT\n"
GONE = (1, rb"C:\ProgramData\AzureConnectedMachineAgent\Certs: No such file or directory")


@pytest.mark.parametrize(
    ("store", "files", "how", "certificate", "on_disk"),
    [
        (1, "", None, "yes", "no"),
        (0, CERTS, None, "yes", "yes"),
        (0, "pfx\n", None, "yes", "yes"),
        (0, "", None, "no", "no"),
        (0, "", GONE, "no", "no"),
        (None, "", None, None, "no"),
        (None, CERTS, None, "yes", "yes"),
        (0, "", (126, b"access denied"), None, None),
        (0, "", (1, b"a constrained session reads no certificates"), None, None),
        (0, "", (0, rb"C:\x\y.cer access denied"), None, None),
        (1, "", (126, b"access denied"), "yes", None),
    ],
)
def test_whether_the_identity_has_its_certificate(
    store: int | None,
    files: str,
    how: tuple[int, bytes] | None,
    certificate: str | None,
    on_disk: str | None,
) -> None:
    identity = {"profile_exists": True, "store_certificates": store, "cleanup_days": 30}
    failed = {"agent.certificates": how} if how else {}
    told = facts(observe(failed, agent__identity=identity, agent__certificates=files))
    assert told.get("identity.certificate") == certificate
    assert told.get("identity.certificate_file") == on_disk
    assert told["policy.profile_cleanup"] == "set"
    assert told["policy.profile_cleanup_days"] == "30"


def test_without_a_profile_there_is_no_store() -> None:
    identity = {"profile_exists": False, "store_certificates": None, "cleanup_days": 0}
    told = facts(observe(agent__identity=identity, agent__certificates=""))
    assert (told["identity.profile"], told["identity.certificate"]) == ("no", "no")
    assert told["policy.profile_cleanup_days"] == "0"


def test_a_policy_nobody_read_is_not_called_unset() -> None:
    for how in ({"agent.identity": (126, b"access denied")}, {"agent.identity": (124, b"")}):
        assert "policy.profile_cleanup" not in facts(observe(how))
    assert "policy.profile_cleanup" not in facts(observe(agent__identity={}))


def winhttp(flags: int, name: str = "", bypass: str = "") -> str:
    numbers = b"".join(number.to_bytes(4, "little") for number in (0x28, 0, flags, len(name)))
    return (numbers + name.encode() + len(bypass).to_bytes(4, "little") + bypass.encode()).hex().upper()


@pytest.mark.parametrize(
    ("digits", "said"),
    [
        (winhttp(1), "direct"),
        (winhttp(3, "proxy.corp.example:3128"), "proxy.corp.example:3128"),
        (winhttp(3, "p:80", "*.corp.example;<local>"), "p:80 except *.corp.example;<local>"),
        (winhttp(3, "ops:word@p:80"), "p:80"),
        (winhttp(3, "p\x00\x1b[2J:80"), "p[2J:80"),
        (winhttp(3, "p:80")[:-12], "p:"),
        (winhttp(3), ""),
        ("28000000000000000300" + "0000" + "FFFFFFFF" + "41", "A"),
        ("", ""),
        ("zz", ""),
        ("28", ""),
        ("2", ""),
    ],
)
def test_the_proxy_of_winhttp(digits: str, said: str) -> None:
    assert parse_winhttp(digits) == said


def test_proxies() -> None:
    machine = {"https_proxy": None, "http_proxy": "http://p:3128", "no_proxy": "10.0.0.0/8"}
    told = facts(observe(agent__proxy={"machine": machine, "winhttp": winhttp(3, "w:80")}))
    assert (told["proxy.machine"], told["proxy.bypass"], told["proxy.winhttp"]) == (
        "http://p:3128",
        "10.0.0.0/8",
        "w:80",
    )
    assert "proxy.machine" not in facts(observe(agent__proxy={"machine": None, "winhttp": None}))


NEEDED = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"


@pytest.mark.parametrize(
    ("suites", "policy", "said"),
    [
        ([NEEDED], None, "ok"),
        (["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256"], None, "ok"),
        ([f"{NEEDED}_P384"], None, "ok"),
        (["TLS_RSA_WITH_AES_128_CBC_SHA", f"{NEEDED}_OTHER"], None, "missing"),
        ([], None, "missing"),
        (None, None, None),
        (None, f"TLS_X, {NEEDED}", "ok"),
        ([NEEDED], "TLS_RSA_WITH_AES_128_CBC_SHA", "missing"),
        ([NEEDED], ",".join(["TLS_RSA_WITH_AES_128_CBC_SHA"] * 100 + [NEEDED]), "ok"),
        (7, 7, None),
    ],
)
def test_cipher_suites(suites: object, policy: object, said: str | None) -> None:
    body = {"cipher_suites": suites, "policy_suites": policy, "protocols": None}
    assert facts(observe(host__tls=body)).get("tls.suites") == said


def test_protocols() -> None:
    protocols = {
        "TLS 1.2/Client": {"enabled": 0, "disabled_by_default": 1},
        "TLS 1.3/Client": {"enabled": 4294967295, "disabled_by_default": 0},
        "TLS 1.1/Client": {"enabled": None, "disabled_by_default": 1},
        "TLS 1.0/Client": {"enabled": None, "disabled_by_default": 0},
        "SSL 3.0/Server": 7,
    }
    told = facts(observe(host__tls={"cipher_suites": None, "protocols": protocols}))
    assert told["tls.protocols"] == "TLS 1.2/Client off, TLS 1.3/Client on, TLS 1.1/Client not by default"
    assert told["tls.tls12_client"] == "off"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"accounts": ["*S-1-5-80-0"]}, "yes"),
        ({"accounts": "*S-1-5-80-0"}, "yes"),
        (
            {"accounts": ["*S-1-5-80-4215458991-2034252225-2287069555-1155419622-2701885083"]},
            "yes",
        ),
        ({"accounts": [r"NT SERVICE\himds"]}, "yes"),
        ({"accounts": ["*S-1-5-32-559", "*S-1-5-21-1-2-3-1104"]}, "no"),
        ({"accounts": []}, "no"),
        ({"accounts": ["*S-1-5-32-559", r"NT-DIENST\ALLE DIENSTE"]}, None),
        ({"accounts": None}, "no policy"),
        ({"accounts": 7}, None),
        ({}, None),
    ],
)
def test_who_may_log_on_as_a_service(body: object, said: str | None) -> None:
    assert facts(observe(host__rights=body)).get("rights.logon_as_service") == said


@pytest.mark.parametrize(
    ("body", "source", "state"),
    [
        ({"type": "NT5DS", "server": "time.windows.com,0x9", "status": 4}, "domain", "running"),
        (
            {"type": "NTP", "server": "ntp.corp.example,0x9", "status": 1},
            "NTP ntp.corp.example,0x9",
            "stopped",
        ),
        ({"type": "NoSync", "server": None, "status": None}, "none", None),
        ({}, None, None),
    ],
)
def test_where_the_time_comes_from(body: object, source: str | None, state: str | None) -> None:
    told = facts(observe(host__time=body))
    assert (told.get("time.source"), told.get("time.service")) == (source, state)


@pytest.mark.parametrize(
    ("start", "word"), [(2, "auto"), (3, "manual"), (4, "disabled"), (99, None), (None, None)]
)
def test_how_the_time_service_starts(start: object, word: str | None) -> None:
    assert facts(observe(host__time={"start": start})).get("time.start_mode") == word


def test_a_licence() -> None:
    for is_there, said in ((True, "yes"), (False, "no"), (None, None)):
        assert facts(observe(agent__esu={"license_exists": is_there})).get("esu.license") == said


SHOWN = "Agent Version        : 1.64.1\nAgent Status         : Connected\n{}\nResource Name        : w\n"


@pytest.mark.parametrize(
    ("show", "said"),
    [
        (SHOW | {"esuEligibility": "Eligible"}, "Eligible"),
        (SHOW | {"ESU_Eligibility_Status": "Not eligible"}, "Not eligible"),
        (SHOW | {"isESUEligible": True}, "yes"),
        (SHOW | {"isESUEligible": False}, "no"),
        (SHOW | {"esuEligibility": None}, None),
        (SHOW | {"esuLicense": "Assigned", "eligibility": "x"}, None),
        (SHOWN.format("ESU Eligibility      : Eligible"), "Eligible"),
        (SHOWN.format("ESU 2012 Eligibility : No"), "No"),
        (SHOWN.format("ESU Eligibility      :"), None),
        (SHOW, None),
    ],
)
def test_whether_security_updates_may_be_had(show: object, said: str | None) -> None:
    assert facts(observe(agent__show=show)).get("esu.eligibility") == said
    texts = observe_texts([("show.txt", capture("x", show).data)], ANCHORS)
    assert facts(texts).get("esu.eligibility") == said


@pytest.mark.parametrize(
    ("system", "name", "domain"),
    [
        (
            SYSTEM | {"caption": "Microsoft Windows Server 2019 Datacenter"},
            "Windows Server 2019 Datacenter",
            "d",
        ),
        (SYSTEM | {"caption": None}, "Windows ServerStandard build 20348", "d"),
        (SYSTEM | {"caption": None, "edition": 7}, "Windows build 20348", "d"),
        ({"caption": None}, "", ""),
        (SYSTEM | {"domain": "WORKGROUP", "part_of_domain": False}, "Windows Server 2022 Standard", "w"),
        (
            SYSTEM | dict.fromkeys(("domain", "domain_role", "part_of_domain", "booted_at")),
            "Windows Server 2022 Standard",
            "",
        ),
    ],
)
def test_a_system(system: dict[str, object], name: str, domain: str) -> None:
    observation = observe(host__os=system)
    told = facts(observation)
    assert observation.os_name == name
    assert (told.get("host.domain"), told.get("host.workgroup")) == {
        "d": ("corp.example", None),
        "w": (None, "WORKGROUP"),
        "": (None, None),
    }[domain]


@pytest.mark.parametrize(("number", "said"), [(2052, "zh-CN"), (1041, "ja-JP"), (1036, "fr-FR"), (1, "1")])
def test_a_language(number: int, said: str) -> None:
    assert facts(observe(host__os=SYSTEM | {"language": number}))["host.language"] == said


def test_a_drive_that_makes_no_sense_is_left_out() -> None:
    body = [
        {"drive": "D:", "free_bytes": 2, "size_bytes": 1},
        {"drive": r"\\x", "free_bytes": 1, "size_bytes": 1},
        {"drive": "E:", "free_bytes": 0, "size_bytes": 0},
        {"drive": "F:", "free_bytes": None, "size_bytes": 9},
        {"drive": "g:", "free_bytes": 0, "size_bytes": 1024},
        "H:",
    ]
    told = facts(observe(host__space=body))
    assert {name for name in told if name.startswith("space.")} == {
        "space.G:.free_kb",
        "space.G:.used_pct",
    }


def test_an_extension_below_a_windows_path() -> None:
    body = (
        '==> C:\\ProgramData\\GuestConfig\\extension_logs\\A.X\\state.json <==\n{"state": "Failed"}\n'
        '==> C:\\ProgramData\\GuestConfig\\extension_logs\\A.Y\\state.json <==\n{"state": "Running"}\n'
    )
    assert facts(observe(agent__extensions=body))["extensions.failed"] == "A.X"


def test_a_removal_may_leave_services_behind() -> None:
    gone = dict.fromkeys(("agent.show", "agent.show-text", "agent.version"), (127, b"azcmagent: not found"))
    told = facts(observe(gone, services=[service(status=1), service("GCArcService", status=1)]))
    assert told["agent.installed"] == "no"
    assert told["agent.leftovers"] == "himds, GCArcService"
    told = facts(observe(gone, services=[service(), service("GCArcService", status=1)]))
    assert told["agent.installed"] == "yes"
    assert "agent.leftovers" not in told
    told = facts(observe(gone, services=[service(status=1), service("GCArcService")]))
    assert "agent.installed" not in told
    assert "agent.leftovers" not in told
    none = [{"name": name, "exists": False} for name in NAMES]
    told = facts(observe(gone, services=none))
    assert told["agent.installed"] == "no"
    assert "agent.leftovers" not in told


def test_texts_in_any_language_are_kept() -> None:
    system = SYSTEM | {"caption": "Майкрософт Windows Server 2022 стандартный", "domain": "ドメイン.例え"}
    observation = observe(host__os=system, services=[service(account="СИСТЕМА\\служба")])
    told = facts(observation)
    assert observation.os_name.startswith("Майкрософт")
    assert told["host.domain"] == "ドメイン.例え"
    assert told["service.himds.account"] == "СИСТЕМА\\служба"


@pytest.mark.parametrize("body", [None, 7, "x", [], {}, [[]], True, {"a": {"b": []}}, "\ud800", 1e400])
def test_a_body_of_any_other_shape_says_nothing(body: object) -> None:
    text = json.dumps(body)
    items = [item.name for item in load_pack().items_for(OS.WINDOWS) if item.name != "agent.show"]
    observation = observe_visit(visit(dict.fromkeys(items, text)), ANCHORS)
    names = {name for name in facts(observation) if not name.startswith(("agent.", "clock."))}
    assert names <= {"service.himds.state", "identity.certificate_file"}


@pytest.mark.parametrize("key", [key for key, value in SYSTEM.items() if value is not None])
@pytest.mark.parametrize("value", [None, [], {}, "\x00\ud800", -1, 10**30, True, 0.5, ""])
def test_a_value_of_any_other_type_is_not_there(key: str, value: object) -> None:
    observation = observe(host__os=json.dumps(SYSTEM | {key: value}))
    repr(observation).encode()
    assert observation.os is OS.WINDOWS
