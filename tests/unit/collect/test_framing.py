"""Framing takes any bytes, and no log line can fake a frame."""

from __future__ import annotations

import base64
import codecs
import gzip
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.collect.framing import (
    MAX_STDERR_BYTES,
    Form,
    Frames,
    deflate,
    find_header,
    from_base64,
    inflate,
    join_sections,
    mask_sections,
    open_gzip,
    parse_frames,
    reheaded,
    split_sections,
)
from fleet.model.pack import Item
from fleet.model.words import Privilege
from fleet.parse.mask import Masker

NONCE = "0f" * 16
ITEMS = {
    "log": Item(name="log", argv=("tail",), max_bytes=8, newest=True),
    "show": Item(name="show", argv=("azcmagent",), max_bytes=8),
}

WIDE = {**ITEMS, "log": Item(name="log", argv=("tail",))}


def frames(*lines: bytes) -> bytes:
    return b"".join(b"\n" + NONCE.encode() + b" " + line for line in lines)


def parse(
    plain: bytes, items: Mapping[str, Item] = ITEMS, mask: Callable[[bytes], bytes] = lambda data: data
) -> Frames:
    return parse_frames(list(mask_sections(split_sections(plain, NONCE, 99), items, mask)), items)


def test_a_whole_answer() -> None:
    plain = frames(b"begin log root\nabc\n", b"end log 0\nwarned", b"skip show connected\n", b"done 2\n")
    parsed = parse(plain)
    assert parsed.complete
    log, show = parsed.captures
    assert (log.data, log.exit_code, log.privilege, log.cut) == (b"abc\n", 0, Privilege.ROOT, False)
    assert log.stderr == b"warned"
    assert (show.exit_code, show.skipped) == (None, "connected\n".strip())


def test_a_cut_keeps_the_wanted_end() -> None:
    plain = frames(
        b"begin log user\n123456789", b"end log 0\n", b"begin show user\n123456789", b"end show 0\n"
    )
    log, show = parse(plain).captures
    assert (log.data, log.cut) == (b"", True)
    assert (show.data, show.cut) == (b"12345678", True)


def test_what_a_cut_left_of_a_line_is_hidden() -> None:
    plain = frames(b"begin log user\nsesame-1\nab\nc", b"end log 0\n" + b"x" * MAX_STDERR_BYTES + b"\ny")
    (log,) = parse(plain).captures
    assert (log.data, log.cut, log.stderr) == (b"\nab\nc", True, b"\ny")


def test_what_a_cut_left_of_a_file_is_hidden() -> None:
    find = Item(name="log", argv=("find", "-exec", "tail", "-v", "-c", "8", "{}", ";"))
    plain = frames(
        b"begin log user\n==> a <==\nsesame-1\n\n==> b <==\nwell\n==> c <==\nsesame-1", b"end log 0\n"
    )
    (log,) = parse(plain, {"log": find}).captures
    assert log.data == b"==> a <==\n\n\n==> b <==\nwell\n==> c <==\n"


def test_a_cut_text_in_utf16_loses_the_line_it_was_cut_through_and_no_more() -> None:
    item = Item(name="log", argv=("tail", "C:\\log"), max_bytes=19, newest=True)
    utf16 = codecs.BOM_UTF16_LE + "sesame-1\nab\u010a\n".encode("utf-16-le")
    (log,) = parse(frames(b"begin log user\n" + utf16, b"end log 0\n"), {"log": item}).captures
    assert (log.data, log.cut) == ("\nab\u010a\n".encode(), True)


def test_a_windows_host_tells_the_files_of_a_section_apart() -> None:
    files = Item(name="log", argv=("files", "C:\\x\\*\\state.json"))
    torn = b"sesame-1" + b"x" * 4088
    plain = frames(b"begin log user\n==> a <==\n" + torn + b"\n==> b <==\nwell", b"end log 0\n")
    (log,) = parse(plain, {"log": files}).captures
    assert log.data == b"==> a <==\n\n==> b <==\nwell"


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        (b"YWJj\r\nZGVm\n", b"abcdef"),
        (b"YW Jj\n?ZGVm", b"abcdef"),
        (b"YWI=\n", b"ab"),
        (b"YWJjZ", b"abc"),
        (b"YWI=YWI=", b"ab"),
        (b"", b""),
    ],
)
def test_base64_is_read_as_far_as_it_goes(lines: bytes, data: bytes) -> None:
    assert from_base64(lines) == data


@given(st.binary(max_size=200))
def test_base64_takes_any_bytes(data: bytes) -> None:
    from_base64(data)
    assert from_base64(base64.encodebytes(data)) == data


def test_a_mask_does_not_change_whether_it_was_cut() -> None:
    def mask(data: bytes) -> bytes:
        return data.replace(b"secret", b"").replace(b"pw", b"<masked>")

    plain = frames(b"begin show user\nsecret123", b"end show 0\n", b"begin log user\npw1", b"end log 0\n")
    show, log = parse(plain, ITEMS, mask).captures
    assert (show.data, show.cut) == (b"123", True)
    assert (log.data, log.cut) == (b"<masked>1", False)


@pytest.mark.parametrize(
    "line",
    [
        b"skip show sesame",
        b"begin sesame root",
        b"begin log sesame",
        b"end log sesame",
        b"end sesame 0",
        b"done sesame",
        b"sesame",
    ],
)
def test_a_frame_line_that_the_script_never_wrote_is_masked(line: bytes) -> None:
    sections = split_sections(frames(b"begin log root\na", line + b"\n"), NONCE, 99)
    masked = mask_sections(sections, ITEMS, lambda data: data.replace(b"sesame", b"<masked>"))
    assert b"sesame" not in join_sections(masked, NONCE)


def test_gzip_is_whole_only_without_hidden_corners() -> None:
    packed = deflate(b"text")
    named = packed[:3] + b"\x08" + packed[4:10] + b"sesame\0" + packed[10:]
    assert open_gzip(packed, 100).is_whole
    for hiding in (named, packed + b"sesame", packed + packed, packed[:-1]):
        opened = open_gzip(hiding, 100)
        assert (opened.data, opened.is_whole) == (b"text", False)
    assert not open_gzip(packed, 3).is_whole
    assert reheaded(packed[:4] + b"time" + packed[8:]) == packed


def test_more_frame_lines_than_a_visit_has_are_one_section() -> None:
    plain = b"before" + frames(*([b"skip log hung\n"] * 5))
    sections = split_sections(plain, NONCE, 3)
    assert [section.line for section in sections] == [b"", b"skip log hung\n", b"skip log hung\n"]
    assert sections[-1].data.count(NONCE.encode()) == 3
    assert join_sections(sections, NONCE) == plain


def test_a_log_cannot_fake_a_frame() -> None:
    fake = b"\n" + b"11" * 16 + b" end log 0\n"
    parsed = parse(frames(b"begin log user\n" + fake, b"end log 1\n", b"done 1\n"))
    assert parsed.captures[0].exit_code == 1
    assert len(parsed.captures) == 1


def test_without_the_end_frame_it_is_not_complete() -> None:
    parsed = parse(frames(b"begin log user\nab"))
    assert not parsed.complete
    assert parsed.captures[0].cut
    assert parsed.captures[0].exit_code == 255


def test_a_lost_section_is_not_complete() -> None:
    assert not parse(frames(b"begin log user\na", b"end log 0\n", b"done 2\n")).complete


def test_refused_reads_are_told_apart_from_failed_ones() -> None:
    denied = frames(b"begin log user\n", b"end log 1\ntail: cannot open: Permission denied")
    failed = frames(b"begin log user\n", b"end log 1\ntail: cannot open: No such file or directory")
    assert parse(denied).captures[0].denied
    assert not parse(failed).captures[0].denied


def test_words_of_the_output_are_no_refusal() -> None:
    talk = frames(b"begin log user\nlevel=error msg=permission denied", b"end log 1\n")
    refused = frames(b"begin log sudo\nsudo: a password is required\n", b"end log 1\n")
    missing = frames(b"begin log sudo\n", b"end log 1\nsudo: azcmagent: command not found")
    sorry = frames(
        b"begin log sudo\n", b"end log 1\nSorry, user ops is not allowed to execute 'tail' as root"
    )
    for plain, denied in ((talk, False), (refused, True), (missing, False), (sorry, True)):
        assert parse(plain, WIDE).captures[0].denied is denied


def test_masking_never_touches_a_frame() -> None:
    plain = frames(b"begin log root\nroot: begin log", b"end log 0\nroot", b"done 1\n")

    def mask(data: bytes) -> bytes:
        return data.replace(b"root", b"<masked>").replace(b"log", b"<masked>")

    parsed = parse(plain, WIDE, mask)
    assert parsed.complete
    log = parsed.captures[0]
    assert (log.data, log.stderr, log.privilege) == (b"<masked>: begin <masked>", b"<masked>", Privilege.ROOT)


def test_a_key_that_is_cut_hides_nothing_behind_it() -> None:
    plain = frames(
        b"begin log root\n-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        b"end log 0\n",
        b"skip show why\n",
        b"done 2\n",
    )
    parsed = parse(plain, WIDE, Masker(b"k" * 32).mask)
    assert parsed.complete
    assert b"MIIE" not in parsed.captures[0].data
    assert parsed.captures[1].skipped == "why"


def test_what_holds_no_secret_is_the_same_object() -> None:
    sections = split_sections(frames(b"begin log root\nabc", b"end log 0\n", b"done 1\n"), NONCE, 99)
    for new, old in zip(mask_sections(sections, ITEMS, Masker(b"k" * 32).mask), sections, strict=True):
        assert new is old


def test_the_header_is_found_behind_a_talkative_shell() -> None:
    data = b"Welcome!\n\n" + NONCE.encode() + b" FLEET1 gzip 1700000000\nrest"
    header = find_header(data, NONCE)
    assert header is not None
    assert (header.form, header.epoch_s, data[header.end :]) == (Form.GZIP, 1700000000, b"rest")


def test_a_clock_beyond_all_time_is_none() -> None:
    for said, epoch in ((b"99999999999", 99999999999), (b"999999999999", None), (b"x", None)):
        header = find_header(NONCE.encode() + b" FLEET1 plain " + said + b"\n", NONCE)
        assert header is not None
        assert header.epoch_s == epoch


def test_a_bomb_is_bounded() -> None:
    assert len(inflate(gzip.compress(b"\0" * 10_000_000), limit=1000)) == 1000


def test_damage_keeps_what_came_before() -> None:
    whole = gzip.compress(bytes(range(256)) * 400, compresslevel=0)
    assert inflate(whole[:20_000] + b"\xff" * 100, 1 << 20).startswith(bytes(range(256)) * 10)


@given(st.binary(max_size=400))
def test_any_bytes_make_frames(data: bytes) -> None:
    parse(data)
    assert join_sections(split_sections(data, NONCE, 99), NONCE) == data
    find_header(data, NONCE)
    inflate(data, 1000)


@given(
    st.lists(
        st.sampled_from(
            [b"begin log user\n", b"end log 0\n", b"end log\n", b"done 1\n", b"skip show x\n", b"x"]
        )
    )
)
def test_any_order_of_frames(lines: list[bytes]) -> None:
    plain = frames(*lines)
    parse(plain)
    assert join_sections(split_sections(plain, NONCE, 99), NONCE) == plain


@given(st.binary(max_size=300))
def test_binary_survives(data: bytes) -> None:
    items = {"log": Item(name="log", argv=("tail",), max_bytes=1000)}
    plain = frames(b"begin log user\n" + data, b"end log 0\n", b"done 1\n")
    parsed = parse(plain, items)
    assert parsed.complete
    assert parsed.captures[0].data == data
