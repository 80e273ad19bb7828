"""Masking hides what is secret, and nothing else, once and for all."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.parse.mask import BYTES_A_HIT, FREE_HITS, Masker

OWN = "hunter2'\"x/y"
MASKER = Masker(b"k" * 32, ["sesame-1", OWN, "a<b>&c", "pass\u00b7word-1"])


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
        (rb'"azcmagent --service-principal-secret \u0027correct horse\u0027 --x"', b"correct horse"),
        (rb'"-ServicePrincipalSecret \u0027a\u0026b c\u003c\u0027 --x"', rb"a\u0026b c\u003c"),
        (rb'"\u0027-ServicePrincipalSecret\u0027, \u0027two words\u0027"', b"two words"),
        (rb'"password=\u0022two words\u0022; next"', b"two words"),
        (rb'"{\u0022client_secret\u0022:\u0022two words\u0022}"', b"two words"),
        (rb'msg="{\"c\":\"--secret \\u0027two words\\u0027 --x\"}"', b"two words"),
        (rb'"azcmagent connect \u0027-p\u0027,\u0027S3 cr~t\u0027"', b"S3 cr~t"),
        (b"-ServicePrincipalSecret Abc~1 -x", b"Abc~1"),
        (b"-ServicePrincipalSecret 'two words' -x", b"two words"),
        (b"setup.exe /ServicePrincipalSecret Abc~1 /x", b"Abc~1"),
        (b'setup.exe /ServicePrincipalSecret "two words" /x', b"two words"),
        (b"setup.exe /ServicePrincipalSecret:Abc~1 /x", b"Abc~1"),
        (b"access_token=abc&x=1", b"abc&"),
        (b"client_assertion=a.b.c&x", b"a.b.c"),
        (b"pwd: swordfish", b"swordfish"),
        (b"https://x.blob/c?sv=1&sig=abc%3D&x", b"abc%3D"),
        (b"AccountName=x;AccountKey=abc==;E", b"abc=="),
        (b"SharedAccessKeyName=foo;SharedAccessKey=bar=", b"bar="),
        (b"http://user:p@ss@proxy:3128/", b"p@ss"),
        (b"Environment=HTTPS_PROXY=http://svc:pa/ss?x#y@proxy:8080 X=1", b"pa/ss?x#y"),
        (b'"proxy":"http://svc:p\\u0026/w@proxy:8080"', b"p\\u0026/w"),
        (b"https://abcdefgh@proxy:8080/", b"abcdefgh"),
        (b"git clone https://joe@example.com/x", b"joe"),
        (b"token=0123456789abcdef", b"0123456789abcdef"),
        (b'"token":"0123456789abcdef"', b"0123456789abcdef"),
        (rb'msg="{\"token\":\"0123456789abcdef\"}"', b"0123456789abcdef"),
        (b"token='abcdefghIJ'", b"abcdefghIJ"),
        (b"X-Auth-Token: 0123456789abcdef", b"0123456789abcdef"),
        (b"Environment=AZCM_TOKEN=0123456789abcdef", b"0123456789abcdef"),
        (b"api_key=0123456789abcdef&x", b"0123456789abcdef"),
        (b"ApiKey: 0123456789abcdef", b"0123456789abcdef"),
        (b'api-key="0123456789abcdef"', b"0123456789abcdef"),
        (b"tool --api-key word --token other", b"other"),
        (b"password: Bearer abcDEF12345", b"abcDEF12345"),
        (b'["connect",\n "--service-principal-secret"\n,\n"Abc~1"]', b"Abc~1"),
        (b"azcmagent connect " + b"x" * 3000 + b" -p S3cr~t", b"S3cr~t"),
        (b"-----BEGIN PRIVATE KEY-----\nMIIabc\n\\x", b"MIIabc"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\n", b"MIIabc"),
        (b"QWERTYUIOPASDFGHJKL\nabc=\n-----END PRIVATE KEY-----\n", b"QWERTY"),
        (b"azcmagent.exe connect /i:x /p:S3cr~t /l:y", b"S3cr~t"),
        (b"azcmagent connect --service-principal-secret \\\n    S3cr~t \\\n  -l x", b"S3cr~t"),
        (b"azcmagent connect --service-principal-secret\n    S3cr~t -l x", b"S3cr~t"),
        (b"Connect -ServicePrincipalSecret `\r\nS3cr~t `\r\n -Tag x", b"S3cr~t"),
        (
            b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi\nOiIxMjM0NTY3ODkwIn0.dozjg\n  NryP4J3jVmNHl0w5N_XgL0n3I9\nabc\n",
            b"dozjg",
        ),
        (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi\nOiIxMjM0NTY3ODkwIn0.dozjg\nabc1\n", b"abc1"),
        (b'{"storageAccountKey":"abc"}', b"abc"),
        (b"x-functions-key: abc", b"abc"),
        (b'{"protectedSettings":{"a":{"b":"{ abc"},"c":[1]},"x":1}', b"abc"),
        (b'"protectedSettings":"MIIabc"', b"MIIabc"),
        (b'{"protectedSettings":{"run":"abc', b"abc"),
        (b'{"protectedSettings":[{"run":"abc"}],"x":1}', b"abc"),
        (b'{"protectedSettings":{"n":{"p":{"q":{"r":1}}},"run":"say abc"},"x":1}', b"abc"),
        (b'{"protectedSettings":\n  {"run":"abc"},"x":1}', b"abc"),
        (b"{'protectedSettings': {'run': 'abc }', 'x': 'abc'}}", b"abc"),
        (b'msg="{\\"protectedSettings\\":{\\"a\\":\\"\\\\\\"}abc\\"},\\"x\\":1}"', b"abc"),
        ("said pass\u00b7word-1".encode("utf-16"), "pass\u00b7word-1".encode("utf-16-le")),
        ("-p abc connect -p sesame-1".encode("utf-16"), "sesame-1".encode("utf-16-le")),
        (b"it said sesame-1, loud", b"sesame-1"),
        (b"it said c2VzYW1lLTE= in Base64", b"c2VzYW1lLTE"),
        (rb"it said a\u003cb\u003e\u0026c as Go does", b"u003cb"),
        (b"hunter2'\\\"x/y in JSON", b"hunter2"),
        (b"http://svc:abc1@proxy:1".hex().upper().encode(), b"abc1".hex().upper().encode()),
        (rb"hunter2\u0027\"x/y in JSON of Windows PowerShell", b"hunter2"),
        (b"it said " + "sesame-1".encode("utf-16-le") + b" in the midst", "sesame-1".encode("utf-16-le")),
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
        b"GET /secret HTTP/1.1 and /var/lib/secret /x",
        rb'"\u0027token\u0027 and \u0027password\u0027 are words"',
        b"mkdir -p /var/log",
        b"user@example.com https://portal.example.com/#@tenant/x",
        b"https://management.azure.com:443/subscriptions/1 by user@example.com",
        b"POST https://login.windows.net/t/oauth2/v2.0/token",
        b"Cancelled change token",
        b"Unable to Obtain Change Token: Internal Server Error",
        b"token: expired, token: unauthorized, Token: Authorization required",
        b"failed to get token: AADSTS700016: Application was not found; token: AZCM0042: x",
        b"accessToken 0123456789abcdef tokens=12",
        b"mount /p:/srv and connect to /path:x",
        b'{"settings":{"protected":true},"primaryKeyed":1,"key":"name","monkey":"banana"}',
        b"SharedAccessKeyName=foo",
        b"--service-principal-secret\nnext line",
        b"correlation id 8b5e1b1c-4f1c-4f6f-8d3e-000000000001 token: 404",
    ],
)
def test_leaves_harmless_text_alone(text: bytes) -> None:
    assert MASKER.mask(text) is text


def test_one_secret_looks_the_same_in_all_its_forms() -> None:
    plain, in_url = MASKER.mask(OWN.encode()), MASKER.mask(b"hunter2%27%22x%2Fy")
    assert plain == in_url
    assert Masker(b"other", [OWN]).mask(OWN.encode()) != plain
    assert Masker(None, [OWN]).mask(OWN.encode()) == b"<masked>"


def test_protected_settings_in_a_field_of_a_log_end_with_their_bracket_or_their_line() -> None:
    line = b'level=info msg="{\\"protectedSettings\\":{\\"a\\":\\"abc%s code=7\nnext line\n'
    closed = MASKER.mask(line % b'\\"},\\"x\\":1}"')
    assert re.sub(rb"<masked:[0-9a-f]{8}>", b"M", closed) == (
        b'level=info msg="{\\"protectedSettings\\":\\"M\\",\\"x\\":1}" code=7\nnext line\n'
    )
    torn = MASKER.mask(line % b"")
    assert b"abc" not in torn
    assert torn.endswith(b"\nnext line\n")


def test_what_stands_around_protected_settings_is_json_still() -> None:
    masked = MASKER.mask(b'{"status":"failed","protectedSettings":{"a":{"b":"c"}},"x":[1]}')
    found = json.loads(masked)
    assert (found["status"], found["x"]) == ("failed", [1])
    assert found["protectedSettings"].startswith("<masked:")


def test_a_wrapped_token_takes_no_more_than_its_lines() -> None:
    text = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi\nconnecting to management.azure.com\n2026-11-01T10:00:00Z ok\n"
    assert MASKER.mask(text).endswith(b">" + text[text.index(b"\n") :])


def test_a_secret_that_looks_like_a_mask_ends_too() -> None:
    masker = Masker(b"k", ["masked", "<mas"])
    once = masker.mask(b"masked <mas masked")
    assert masker.mask(once) is once


def test_secrets_beyond_the_window_and_within_long_lines_are_hidden() -> None:
    token = b"eyJ" + b"A" * 9000
    assert b"AAAA" not in MASKER.mask(b"x" * 50000 + b" " + token + b" " + b"y" * 50000)


@pytest.mark.parametrize("text", [b"@", b"joe.user@example.com wrote to x@example.org\n", b"://", b" -p "])
def test_much_that_is_no_credential_is_left_alone(text: bytes) -> None:
    data = text * (1 << 14)
    assert MASKER.mask(data) is data


def test_a_log_full_of_credentials_keeps_its_text_up_to_the_bound() -> None:
    line = b"level=info password=abc12345 " + b"x" * BYTES_A_HIT + b"\n"
    masked = MASKER.mask(line * 5000)
    assert b"abc12345" not in masked
    assert masked.count(b"\n") == 5000


@pytest.mark.parametrize("text", [b"secret=a ", b"secret=<masked> ", b"sesame-1 ", b"x eyJabcdefgh.a pwd=b "])
def test_beyond_the_bound_all_the_rest_is_one_mask(text: bytes) -> None:
    data = text * 20000
    bound = FREE_HITS + len(data) // BYTES_A_HIT
    masked = MASKER.mask(data)
    assert masked.count(b"<masked") <= bound + 1
    assert masked.endswith(b">")
    for secret in (b"=a", b"sesame-1", b"eyJ", b"=b"):
        assert secret not in masked


@pytest.mark.parametrize(
    "text",
    [
        b"@",
        b"secret=a ",
        b"eyJ",
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi ",
        b"://a:b@",
        b"--secret x ",
        b'pwd:"',
        b"connect -p abc ",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"secretAAAAAAAAAAAAAAA",
        b"sesame-1",
        b'"protectedSettings":{"',
        b"protectedSettings={{{",
        b"eyJhbGciOiJIUzI1NiJ9\nABCDEFGHIJKLMNOPQRST\n",
        b"--secret \\\n ",
    ],
)
def test_the_work_on_hostile_text_grows_with_its_size_not_with_the_square(text: bytes) -> None:
    def cpu_s(size: int) -> float:
        data, spent = text * (size // len(text)), []
        for _ in range(2):
            begun = time.process_time()
            MASKER.mask(data)
            spent.append(time.process_time() - begun)
        return max(min(spent), 0.001)

    # Eight times the text: eight times the work, or sixty-four.
    assert cpu_s(1 << 18) < 30 * cpu_s(1 << 15)


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
