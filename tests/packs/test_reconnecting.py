"""A resource that is still in Azure keeps a host from connecting under its name, and deleting it afterwards
takes the new connection along."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.packs.load import load_pack

PACK = load_pack()


def texts() -> Iterator[tuple[str, str]]:
    for rule in PACK.rules:
        for steps in (rule.remediation, *(variant.remediation for variant in rule.instead)):
            text = " ".join(steps)
            if "--force-local-only" in text and "connect`" in text.replace("disconnect`", ""):
                yield rule.id, text


def test_some_rules_have_a_host_connected_again() -> None:
    assert {"agent-expired", "machine-certificate-missing"} <= {rule for rule, _ in texts()}


def test_the_old_resource_is_not_deleted_after_the_host_is_connected_again() -> None:
    late = [
        rule
        for rule, text in texts()
        if "delete the" in text.lower()
        and text.lower().index("delete the") > text.rindex("azcmagent connect`")
    ]
    assert late == []
