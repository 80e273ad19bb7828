"""Whose keys a Kerberos key table holds, and what a file that is none does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.parse.keytab import keytab_trouble, parse_keytab, principal_of
from tests.keytabs import entry, keytab


def test_the_principals_of_a_key_table_each_once() -> None:
    data = keytab("CORP.EXAMPLE", "fleet", "fleet", "HTTP/win01.corp.example")
    assert parse_keytab(data) == ("fleet@CORP.EXAMPLE", "HTTP/win01.corp.example@CORP.EXAMPLE")
    hole = struct.pack(">i", -7) + b"deleted"
    assert parse_keytab(b"\x05\x02" + hole + entry("R", "a")) == ("a@R",)
    assert parse_keytab(b"\x05\x02") == ()


@given(st.binary() | st.binary().map(lambda data: b"\x05\x02" + data))
def test_any_bytes_are_a_key_table_or_none(data: bytes) -> None:
    assert (parse_keytab(data) is None) == (not data.startswith(b"\x05\x02"))


@pytest.mark.parametrize(
    ("user", "principal"),
    [
        ("fleet@corp.example", "fleet@CORP.EXAMPLE"),
        ("corp.example\\fleet", "fleet@CORP.EXAMPLE"),
        ("CORP\\fleet", "fleet"),
        ("fleet", "fleet"),
    ],
)
def test_an_account_as_kerberos_writes_it(user: str, principal: str) -> None:
    assert principal_of(user) == principal


def test_a_key_of_that_principal_or_why_there_is_none() -> None:
    data = keytab("CORP.EXAMPLE", "fleet", "web")
    assert keytab_trouble(data, "fleet@CORP.EXAMPLE") == keytab_trouble(data, "fleet") == ""
    assert keytab_trouble(data, "fleet@CORP") == (
        "it has no key for fleet@CORP, only for fleet@CORP.EXAMPLE, web@CORP.EXAMPLE"
    )
    assert keytab_trouble(b"\x05\x02", "fleet") == "it has no key for fleet, nor for anybody else"
    assert keytab_trouble(b"root:x:0:0", "fleet") == "it is no key table (keytab)"
