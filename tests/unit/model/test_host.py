"""How a host is logged in to, in words."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.host import SSH_AGENT, Host, SecretRef, Winrm
from fleet.model.words import OS, Become, Connection, Scheme, WinrmAuth

PW = SecretRef(scheme="env", target="PW")
WINRM: dict[str, Any] = {"connection": Connection.WINRM, "os": OS.WINDOWS}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key_file": "/k"}, "key"),
        ({"key_file": SSH_AGENT, "become": Become.READS}, "ssh-agent, become reads"),
        ({"key_file": "/k", "password": PW, "become": Become.SHELL}, "key, password, become shell"),
        ({"connection": Connection.LOCAL}, ""),
        (WINRM, "http, negotiate"),
        (
            {
                **WINRM,
                "password": PW,
                "winrm": Winrm(scheme=Scheme.HTTPS, auth=WinrmAuth.KERBEROS, configuration_name="FleetVisit"),
            },
            "https, kerberos, session configuration FleetVisit",
        ),
    ],
)
def test_the_login_in_words(fields: dict[str, Any], words: str) -> None:
    assert Host(name="h", address="a", **fields).login == words
