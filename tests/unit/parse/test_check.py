"""What ``azcmagent check`` prints to facts, as a table and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.parse.check import check_facts, family_of, parse_check

HEAD = "ENDPOINT                                      |REACHABLE |PRIVATE |TLS     |PROXY"
LOG = (
    'time="2026-03-01T08:00:00Z" level=info msg="Testing connectivity | to the endpoints" A=1 | B=2 | C=3 | D'
)


def facts(*rows: str, head: str = HEAD) -> dict[str, str]:
    text = "\n".join((LOG, head, *rows, ""))
    return {fact.name: fact.value for fact in check_facts(text.encode(), "agent.check")}


def row(name: str, *words: str) -> str:
    return "|".join((f"https://{name:<38}", *(f"{word:<9}" for word in words)))


def well(name: str) -> str:
    return row(name, "true", "false", "TLS 1.3", "not set")


def closed(name: str) -> str:
    return row(name, "false", "unknown", "unknown", "not set")


def test_a_table_of_reachable_endpoints() -> None:
    assert facts(well("gbl.his.arc.azure.com"), well("management.azure.com")) == {
        "check.unreachable": "none",
        "check.unreachable_connect": "none",
        "check.unreachable_notification": "none",
        "check.unreachable_optional": "none",
        "check.private": "none",
        "check.tls": "TLS 1.3",
        "check.proxy": "not set",
    }


def test_a_text_without_a_table_says_nothing() -> None:
    assert facts(head="") == {}
    assert facts() == {}
    assert list(check_facts(b'{"endpoint": "https://gbl.his.arc.azure.com"}', "x")) == []


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("login.microsoftonline.com", "check.unreachable"),
        ("login.windows.net", "check.unreachable"),
        ("westeurope.login.microsoft.com", "check.unreachable"),
        ("login.microsoftonline.us", "check.unreachable"),
        ("login.chinacloudapi.cn", "check.unreachable"),
        ("pas.windows.net", "check.unreachable"),
        ("pasff.usgovcloudapi.net", "check.unreachable"),
        ("gbl.his.arc.azure.com", "check.unreachable"),
        ("weu.his.arc.azure.us", "check.unreachable"),
        ("gbl.his.hybridcompute.azure-automation.net", "check.unreachable"),
        ("agentserviceapi.guestconfiguration.azure.com", "check.unreachable"),
        ("westeurope-gas.guestconfiguration.azure.cn", "check.unreachable"),
        ("contoso.gw.arc.azure.com", "check.unreachable"),
        ("management.azure.com", "check.unreachable_connect"),
        ("management.usgovcloudapi.net", "check.unreachable_connect"),
        ("guestnotificationservice.azure.com", "check.unreachable_notification"),
        ("azgnrelay-westeurope-l1.servicebus.windows.net", "check.unreachable_notification"),
        ("dls.microsoft.com", "check.unreachable_optional"),
        ("san-af-westeurope-prod.azurewebsites.net", "check.unreachable_optional"),
        ("we-ats.his.arc.azure.com", "check.unreachable_optional"),
        ("dc.services.visualstudio.com", "check.unreachable_optional"),
        ("westeurope.waconazure.com", "check.unreachable_optional"),
    ],
)
def test_an_endpoint_by_its_family(name: str, fact: str) -> None:
    told = facts(closed(name), well("gbl.his.arc.azure.com"))
    lists = {key: value for key, value in told.items() if key.startswith("check.unreachable")}
    assert {key for key, value in lists.items() if value != "none"} == {fact}
    assert lists[fact] == name


def test_endpoints_are_listed_once_in_order_and_not_without_end() -> None:
    names = [f"r{number:02}.his.arc.azure.com" for number in range(15)]
    told = facts(*map(closed, reversed(names)), closed(names[0]))["check.unreachable"]
    assert told == f"{', '.join(names[:12])} and 3 more"


def test_columns_are_found_by_their_heads() -> None:
    head = "ENDPOINT | REQUIRED | PROXY STATUS | REACHABLE | TLS | PRIVATE"
    line = "https://new.example.com | true | set | false | TLS 1.2 | true"
    told = facts(line, head=head)
    assert told["check.unreachable"] == told["check.private"] == "new.example.com"
    assert (told["check.tls"], told["check.proxy"]) == ("TLS 1.2", "set")


def test_a_table_in_a_long_log_is_found() -> None:
    text = "\n".join((*[LOG] * 5000, HEAD, closed("pas.windows.net"), *[LOG] * 5000))
    told = {fact.name: fact.value for fact in check_facts(text.encode(), "x")}
    assert told["check.unreachable"] == "pas.windows.net"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "set"), "set"),
        (("set", "not set"), "in part"),
        (("proxy is not used", "unknown"), "not set"),
        (("set", "bypassed"), "in part"),
        (("unknown", ""), None),
    ],
)
def test_the_proxy_column(words: tuple[str, str], said: str | None) -> None:
    rows = [row(f"r{n}.his.arc.azure.com", "true", "false", "TLS 1.3", word) for n, word in enumerate(words)]
    assert facts(*rows).get("check.proxy") == said


def test_the_oldest_tls_is_told() -> None:
    rows = [row(f"r{n}.his.arc.azure.com", "true", "false", f"TLS 1.{n}", "set") for n in (3, 1, 2)]
    assert facts(*rows)["check.tls"] == "TLS 1.1"


ENTRY: dict[str, Any] = {
    "endpoint": "https://gbl.his.arc.azure.com",
    "reachable": False,
    "private": True,
    "tls": "unknown",
    "proxy status": "set",
}


@pytest.mark.parametrize("change", [{}, {"reachable": "false", "private": "true"}, {"Required": True}])
def test_the_form_of_json(change: dict[str, Any]) -> None:
    text = f"{LOG}\n{json.dumps([{**ENTRY, **change}], indent=2)}"
    told = {fact.name: fact.value for fact in check_facts(text.encode(), "agent.check")}
    assert told["check.unreachable"] == told["check.private"] == "gbl.his.arc.azure.com"
    assert told["check.proxy"] == "set"
    assert "check.tls" not in told


def test_an_unknown_endpoint_is_required_if_the_agent_says_so() -> None:
    entry = {**ENTRY, "endpoint": "new.example.com"}
    (plain,) = parse_check(json.dumps([entry]).encode())
    (told,) = parse_check(json.dumps([{**entry, "required": True}]).encode())
    assert (family_of(plain), family_of(told)) == ("optional", "required")


def test_what_was_not_found_out_is_not_unreachable() -> None:
    told = facts(row("gbl.his.arc.azure.com", "unknown", "unknown", "unknown", "unknown"))
    assert told["check.unreachable"] == told["check.private"] == "none"


@pytest.mark.parametrize(
    "data", [b"|||||\n" * 9, b"a.b|x|x|x|x\n\xff\xfe|", b"ENDPOINT|||||\nx.y|\n", b"[{}]"]
)
def test_it_is_total(data: bytes) -> None:
    assert all(fact.value for fact in check_facts(data, "x"))
