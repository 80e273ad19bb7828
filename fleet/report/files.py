"""Turns rendered reports into private files that are whole or absent."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from fleet.errors import ReportError
from fleet.model.report import RunReport
from fleet.ports import ReportWriter

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def save_reports(report: RunReport, writers: Iterable[ReportWriter], folder: Path) -> tuple[Path, ...]:
    """Write the files of all these writers, or none of them. Raises ReportError."""
    return save_files(folder, (file for writer in writers for file in writer.files(report)))


def save_files(folder: Path, files: Iterable[tuple[str, Iterable[str]]]) -> tuple[Path, ...]:
    """Write all (name, pieces of text) as UTF-8, mode 0600, or none of them.

    Each goes to ``name.part`` first and takes its name when the last one is whole. Missing folders are made
    0700 whatever the umask.

    Raises:
        ReportError: the folder or a file could not be written; no ``.part`` is left.
    """
    parts: dict[Path, Path] = {}
    try:
        make_folder(folder)
        for name, pieces in files:
            part, target = folder / f"{name}.part", folder / name
            parts[part] = target
            _write_part(part, pieces)
            _require_free(target)
        for part, target in parts.items():
            part.replace(target)
    except OSError as exc:
        raise ReportError(f"cannot write the report into {folder}: {exc.strerror or exc}") from exc
    finally:
        for part in parts:
            _discard(part)
    return tuple(parts.values())


def make_folder(folder: Path) -> None:
    """Make the folder and what is missing above it, 0700 whatever the umask. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        # mkdir's mode passes through the umask, chmod's does not.
        path.chmod(FOLDER_MODE)


def _require_free(target: Path) -> None:
    # The one name that `replace` would refuse, when others have theirs already.
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{target.name} is a folder")


def _write_part(part: Path, pieces: Iterable[str]) -> None:
    # A leftover of a killed run goes first, so that O_EXCL can refuse whatever else has that name.
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    with open(handle, "w", encoding="utf-8", errors="replace", newline="") as stream:  # noqa: PTH123
        os.fchmod(handle, FILE_MODE)
        stream.writelines(pieces)


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The error that brought us here is the one to tell.
        return
