"""Masking hides what is secret, and nothing else, once and for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.parse.mask import Masker

OWN = "hunter2'\"x/y"
MASKER = Masker(b"k" * 32, ["sesame-1", OWN])


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (b'azcmagent connect --service-principal-secret "Ab c~1" --foo', b"Ab c~1"),
        (b"azcmagent connect --service-principal-secret=Abc~1", b"Abc~1"),
        (b"azcmagent connect -i x -p S3cr~t -l y", b"S3cr~t"),
        (b'["connect","-p","S3cr~t"]', b"S3cr~t"),
        (b'{"clientSecret":"a\\"b","x":1}', b'a\\"b'),
        (rb'msg="{\"client_secret\":\"Xy~z\"}"', b"Xy~z"),
        (b'level=info msg="a" Client Secret="X Y"', b"X Y"),
        (b"Authorization: Bearer abcDEF12345.x", b"abcDEF12345.x"),
        (b"Authorization: Basic dXNlcjpwdw==", b"dXNlcjpwdw=="),
        (
            b"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc-_ back",
            b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc-_",
        ),
        (b"access_token=abc&x=1", b"abc&"),
        (b"client_assertion=a.b.c&x", b"a.b.c"),
        (b"pwd: swordfish", b"swordfish"),
        (b"https://x.blob/c?sv=1&sig=abc%3D&x", b"abc%3D"),
        (b"AccountName=x;AccountKey=abc==;E", b"abc=="),
        (b"SharedAccessKeyName=foo;SharedAccessKey=bar=", b"bar="),
        (b"http://user:p@ss@proxy:3128/", b"p@ss"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\n", b"MIIabc"),
        (b"QWERTYUIOPASDFGHJKL\nabc=\n-----END PRIVATE KEY-----\n", b"QWERTY"),
        (b"it said sesame-1, loud", b"sesame-1"),
        (b"hunter2'\\\"x/y in JSON", b"hunter2"),
        (b"hunter2%27%22x%2Fy in a URL", b"hunter2"),
        (b"'hunter2'\"'\"'\"x/y' in a shell", b"hunter2"),
    ],
)
def test_hides(text: bytes, secret: bytes) -> None:
    masked = MASKER.mask(text)
    assert secret in text
    assert secret not in masked
    assert b"<masked:" in masked
    assert MASKER.mask(masked) is masked


@pytest.mark.parametrize(
    "text",
    [
        b"Invalid client secret is provided",
        b"AADSTS7000215: Invalid client secret is provided.",
        b"password authentication failed",
        b"for client secret: AADSTS70002: x",
        b"Bearer authentication",
        b"mkdir -p /var/log",
        b"user@example.com https://portal.example.com/#@tenant/x",
    ],
)
def test_leaves_harmless_text_alone(text: bytes) -> None:
    assert MASKER.mask(text) is text


def test_one_secret_looks_the_same_in_all_its_forms() -> None:
    plain, in_url = MASKER.mask(OWN.encode()), MASKER.mask(b"hunter2%27%22x%2Fy")
    assert plain == in_url
    assert Masker(b"other", [OWN]).mask(OWN.encode()) != plain
    assert Masker(None, [OWN]).mask(OWN.encode()) == b"<masked>"


def test_a_secret_that_looks_like_a_mask_ends_too() -> None:
    masker = Masker(b"k", ["masked", "<mas"])
    once = masker.mask(b"masked <mas masked")
    assert masker.mask(once) is once


def test_secrets_beyond_the_window_and_within_long_lines_are_hidden() -> None:
    token = b"eyJ" + b"A" * 9000
    assert b"AAAA" not in MASKER.mask(b"x" * 50000 + b" " + token + b" " + b"y" * 50000)


FRAGMENTS = st.sampled_from(
    [
        b"password=",
        b'"',
        b"\\",
        b"<masked:12345678>",
        b"secret",
        b" ",
        b"=",
        b"-p ",
        b"connect",
        b"://",
        b"a:b@",
        b"@",
        b"eyJhbGciOiJIUzI1NiJ9",
        b"Bearer ",
        b"sesame-1",
        b"\n",
        b"-----BEGIN PRIVATE KEY-----",
        b"-----END PRIVATE KEY-----",
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=20).map(b"".join))
def test_any_bytes_are_masked_and_own_secrets_never_survive(data: bytes) -> None:
    assert b"sesame-1" not in MASKER.mask(data)
