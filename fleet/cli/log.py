"""Turns the program's log into lines on stderr and in a file that nothing a host said can steer."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from fleet.cli.program import tell
from fleet.errors import SettingsError
from fleet.report.text import clean, format_utc

FILE_MODE = 0o600


@contextmanager
def logged(path: Path | None, *, verbose: bool) -> Iterator[None]:
    """Log to ``path`` (appended to, made 0600), to stderr only errors, or everything when ``verbose``.

    Raises:
        SettingsError: the file cannot be opened.
    """
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.DEBUG if verbose else logging.ERROR)
    # Without -v a bug's traceback goes where it is kept: to the file, if there is one.
    handlers: list[logging.Handler] = [console] if verbose or path is None else []
    if path is not None:
        handlers.append(_file_handler(path))
    root = logging.getLogger("fleet")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    for handler in handlers:
        handler.setFormatter(_Inert())
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _file_handler(path: Path) -> logging.Handler:
    try:
        return _LogFile(_created(path), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"--log-file {path}: {error.strerror}; name a file that fleet may create or write"
        ) from error


def _created(path: Path) -> Path:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return path
    try:
        # open's mode passes through the umask, fchmod's does not.
        os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)
    return path


class _LogFile(logging.FileHandler):
    """Ends with the first line that cannot be written, and says so: the run is worth more than its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.setLevel(logging.CRITICAL + 1)
        tell(f"warning: --log-file {self.baseFilename}: {error.strerror}; the log ends here")
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                # What is still in its buffer goes with it.
                stream.close()


class _Inert(logging.Formatter):
    """One line a record, with its instant in UTC, and the lines of a traceback below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return format_utc(datetime.fromtimestamp(record.created, UTC))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return clean(super().formatMessage(record))

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(map(clean, super().formatException(ei).splitlines()))
