"""References to secrets into their values, read from the environment or from a file when one is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from fleet.errors import CredentialError
from fleet.model.host import SecretRef

MAX_BYTES = 64 * 1024


class SecretReader:
    """Resolves references and keeps no value. Its ``repr`` and its errors never show one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __repr__(self) -> str:
        return "SecretReader()"

    def resolve(self, ref: SecretRef) -> str:
        """The value; of a file, its content without one newline at the end.

        Raises:
            CredentialError: it is missing, empty, unreadable, no regular file, over 64 KiB or not UTF-8.
        """
        data = self._variable(ref) if ref.scheme == "env" else _content(ref)
        if len(data) > MAX_BYTES:
            raise CredentialError(f"{ref}: larger than {MAX_BYTES // 1024} KiB, that is no password")
        value = _decode(data)
        if value is None:
            raise CredentialError(f"{ref}: not UTF-8 text")
        if ref.scheme == "file":
            value = _without_newline(value)
        if not value:
            raise CredentialError(f"{ref}: empty")
        return value

    def _variable(self, ref: SecretRef) -> bytes:
        value = self._environ.get(ref.target)
        if value is None:
            raise CredentialError(f"{ref}: the environment variable is not set")
        # Bytes that are not UTF-8 reach the environment as lone surrogates; keep them, to be refused later.
        return value.encode("utf-8", "surrogatepass")


def _content(ref: SecretRef) -> bytes:
    try:
        return read_regular(ref.target, MAX_BYTES + 1)
    except CredentialError as exc:
        raise CredentialError(f"{ref}: {exc}") from exc


def read_regular(path: str, limit: int) -> bytes:
    """The first bytes of a regular file. Raises CredentialError, in words that follow the path."""
    try:
        # A pipe that nobody writes to would hold up every host: it is opened without waiting, and refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise CredentialError("not a regular file")
        with open(descriptor, "rb") as file:  # noqa: PTH123
            return file.read(limit)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else None
        raise CredentialError(f"the file cannot be read: {why or 'not a path'}") from exc


def _decode(data: bytes) -> str | None:
    # The decoder's error carries the bytes: it must not become the cause of another one.
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _without_newline(text: str) -> str:
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
