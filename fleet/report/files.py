"""Turns rendered reports into private files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fleet.errors import ReportError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def save_files(folder: Path, files: Sequence[tuple[str, Iterable[str]]]) -> tuple[Path, ...]:
    """Write all (name, pieces of text) as UTF-8, mode 0600, or none of them.

    Each goes to ``name.part`` first and takes its name when the last one is whole. Missing folders are made
    0700 whatever the umask.

    Raises:
        ReportError: the folder or a file could not be written; no ``.part`` is left.
    """
    parts = [folder / f"{name}.part" for name, _ in files]
    targets = tuple(folder / name for name, _ in files)
    try:
        make_folder(folder)
        for part, (_, pieces) in zip(parts, files, strict=True):
            _write_part(part, pieces)
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    except OSError as exc:
        raise ReportError(f"cannot write the report into {folder}: {exc.strerror or exc}") from exc
    finally:
        for part in parts:
            _discard(part)
    return targets


def make_folder(folder: Path) -> None:
    """Make the folder and what is missing above it, 0700 whatever the umask. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        # mkdir's mode passes through the umask, chmod's does not.
        path.chmod(FOLDER_MODE)


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
