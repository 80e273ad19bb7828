"""Makes sure that a path is a SQLite database that fleet may open, or a new private file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fleet.errors import SettingsError, StorageError

_MAGIC = b"SQLite format 3\x00"


def prepare_file(path: Path) -> None:
    """Create the file 0600, and folders that are missing 0700, whatever the umask.

    Raises:
        StorageError: it cannot be made, or it is something other than a SQLite database.
    """
    try:
        _create_folder(path.absolute().parent)
        if not _create_file(path):
            _require_database(path)
    except OSError as exc:
        raise StorageError(
            f"{path}: {exc.strerror}; give fleet a file it may create or write, with --db sqlite:///PATH"
        ) from exc


def require_file(path: Path) -> None:
    """See that the file is there and may be a SQLite database; nothing is made.

    Raises:
        SettingsError: there is none.
        StorageError: it cannot be read, or is something other than a SQLite database.
    """
    try:
        _require_database(path)
    except FileNotFoundError as exc:
        raise SettingsError(f"there is no database {path}; `fleet collect INVENTORY` makes one") from exc
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror}; name a database that you may read") from exc


def is_still(path: Path) -> bool:
    """Whether the file must be read as it stands: in a folder that we may not write, with nothing beside it.

    Raises:
        StorageError: what a run left beside it cannot be read from here.
    """
    # SQLite follows links, and looks for its files beside what they lead to.
    real = path.resolve()
    if os.access(real.parent, os.W_OK):
        return False
    log, index = Path(f"{real}-wal"), Path(f"{real}-shm")
    if not log.exists():
        return True
    if os.access(log, os.R_OK) and os.access(index, os.R_OK):
        return False
    raise StorageError(
        f"{path}: a run is being stored, or was cut off, and you may not read {log.name} and {index.name}"
        " beside it; wait for its end, or let its owner call `fleet runs` once"
    )


def _create_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        try:
            each.mkdir(mode=0o700)
        except FileExistsError:
            # Another process made it meanwhile; its rights are that one's affair.
            continue
        each.chmod(0o700)


def _create_file(path: Path) -> bool:
    # SQLite gives its -wal and -shm the rights of the file they belong to.
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return True


def _require_database(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise StorageError(f"{path}: not a file; name the database's file")
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
    # An empty file is a database that was created and never written.
    if head not in (b"", _MAGIC):
        raise StorageError(f"{path}: not a SQLite database; it was left untouched, name another file")
