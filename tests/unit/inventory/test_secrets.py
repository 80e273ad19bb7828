"""References to secrets and what they resolve to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.errors import CredentialError
from fleet.inventory.secrets import MAX_BYTES, SecretReader
from fleet.model.host import SecretRef


def env(name: str) -> SecretRef:
    return SecretRef(scheme="env", target=name)


def in_file(path: Path) -> SecretRef:
    return SecretRef(scheme="file", target=str(path))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b" p w ", " p w "),
        ("ü".encode(), "ü"),
    ],
)
def test_a_file_is_its_content_without_one_newline(tmp_path: Path, content: bytes, value: str) -> None:
    path = tmp_path / "pw"
    path.write_bytes(content)
    assert SecretReader({}).resolve(in_file(path)) == value


def test_a_variable_is_taken_as_it_is() -> None:
    assert SecretReader({"PW": "pw\n"}).resolve(env("PW")) == "pw\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"hunter2\xff", "UTF-8"),
        (b"hunter2" * MAX_BYTES, "64 KiB"),
    ],
)
def test_a_file_that_is_no_password(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "pw"
    path.write_bytes(content)
    with pytest.raises(CredentialError, match=why) as caught:
        SecretReader({}).resolve(in_file(path))
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_missing_and_unreadable(tmp_path: Path) -> None:
    reader = SecretReader({"EMPTY": "", "BYTES": "hunter2\udcff"})
    for ref in (in_file(tmp_path / "none"), in_file(tmp_path), env("NONE"), env("EMPTY"), env("BYTES")):
        with pytest.raises(CredentialError) as caught:
            reader.resolve(ref)
        assert str(ref) in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_a_pipe_or_a_device_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pw"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(CredentialError, match="not a regular file") as caught:
            SecretReader({}).resolve(in_file(path))
        assert str(path) in str(caught.value)


def test_no_value_is_kept_or_shown(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    path.write_text("hunter2")
    reader = SecretReader({})
    assert reader.resolve(in_file(path)) == "hunter2"
    assert "hunter2" not in repr(reader)
    assert "hunter2" not in repr(vars(reader))
    path.write_text("hunter3")
    assert reader.resolve(in_file(path)) == "hunter3"
