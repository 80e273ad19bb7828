"""What comes over a WinRM connection, byte by byte: HTTP as it may be, and as it may not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from fleet.errors import IdentityError, UnreachableError
from fleet.transport.winrm.auth import offered, skew
from fleet.transport.winrm.http import MAX_BODY_BYTES, Answer, take_answer
from fleet.transport.winrm.seal import SPNEGO, ContextSeal
from fleet.transport.winrm.wire import CutError, Wire


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire and the socket at its other end."""
    near, far = socket.socketpair()
    wire = Wire()
    wire.hold(near)
    wire.allow(10)
    with far:
        yield wire, far
    wire.close()


def answered(ends: tuple[Wire, socket.socket], said: bytes) -> Answer:
    wire, far = ends
    far.sendall(said)
    far.shutdown(socket.SHUT_WR)
    return take_answer(wire)


def test_a_length(ends: tuple[Wire, socket.socket]) -> None:
    answer = answered(ends, b"HTTP/1.1 200 \r\nA: 1\r\na: 2\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1")
    assert (answer.status, answer.headers["a"], answer.body) == (200, "1, 2", b"abc")
    assert ends[0].is_stale()


def test_chunks(ends: tuple[Wire, socket.socket]) -> None:
    said = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert answered(ends, said).body == b"abcde"


def test_without_a_length_up_to_the_end(ends: tuple[Wire, socket.socket]) -> None:
    answer = answered(ends, b"HTTP/1.0 401 No\r\nConnection: Close\r\n\r\nabc")
    assert answer.body == b"abc"
    assert answer.is_last


def test_after_a_continue(ends: tuple[Wire, socket.socket]) -> None:
    said = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert answered(ends, said).status == 200


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 okay\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 17),
    ],
)
def test_what_is_no_answer(ends: tuple[Wire, socket.socket], said: bytes) -> None:
    wire, far = ends

    def say() -> None:
        far.sendall(said)
        far.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=say)
    sender.start()
    with pytest.raises(UnreachableError):
        take_answer(wire)
    wire.close()
    sender.join()


def test_a_cut_frees_who_reads_and_stays(ends: tuple[Wire, socket.socket]) -> None:
    wire, _ = ends
    cutter = threading.Timer(0, wire.cut)
    cutter.start()
    with pytest.raises((UnreachableError, CutError, OSError)):
        take_answer(wire)
    cutter.join()
    with pytest.raises(CutError):
        wire.send(b"more")


def test_a_deadline_is_for_all_waits_together(ends: tuple[Wire, socket.socket]) -> None:
    wire, far = ends
    wire.allow(0.05)
    far.sendall(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(TimeoutError):
        take_answer(wire)


class _Keys:
    """Stands for a login's keys: seals by doing nothing."""

    def wrap_winrm(self, data: bytes) -> tuple[bytes, bytes, int]:
        return b"sig", data, 0

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        assert header == b"sig"
        return data


def _sealed(message: bytes) -> tuple[ContextSeal, Answer]:
    seal = ContextSeal(_Keys(), SPNEGO)  # type: ignore[arg-type]
    kind, body = seal.close(message)
    return seal, Answer(200, {"content-type": kind}, body)


@pytest.mark.parametrize(
    "message", [b"", b"<x/>", b"--Encrypted Boundary--\r\n", b"--Encrypted Boundary\r\n" * 3]
)
def test_a_seal_opens_what_it_closed(message: bytes) -> None:
    seal, answer = _sealed(message)
    assert seal.open(answer) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Length=4", b"Length=5"), (b"\x03\0\0\0", b"\xff\xff\xff\x7f"), (b"Boundary--", b"Boundary-")],
)
def test_a_spoilt_seal_is_not_believed(old: bytes, new: bytes) -> None:
    seal, answer = _sealed(b"<x/>")
    assert old in answer.body
    with pytest.raises((IdentityError, AssertionError)):
        seal.open(Answer(200, answer.headers, answer.body.replace(old, new)))


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ('Negotiate, Kerberos, Basic realm="WSMAN"', "Negotiate, Kerberos, Basic"),
        ("Negotiate TlRMTVNTUAAC=", "Negotiate"),
        ("", "nothing"),
    ],
)
def test_what_a_host_offers(header: str, names: str) -> None:
    assert offered(header) == names


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 99:99:99 GMT"])
def test_a_date_that_is_none(date: str) -> None:
    assert skew(Answer(401, {"date": date} if date else {}, b"")) == ""
