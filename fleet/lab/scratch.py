"""A folder for a lab's temporary files, removed at its end, or by the next lab where it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "fleet-lab-"
# No host has such a name. The lock on it ends with its process, however that ends.
_HELD, _NOT_YET_HELD = ".held", ".new"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, for as long as this lasts; what killed labs of this user left behind is removed."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        descriptor = os.open(folder / _NOT_YET_HELD, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Only now may another lab look at it.
            (folder / _NOT_YET_HELD).rename(folder / _HELD)
            yield folder
        finally:
            os.close(descriptor)


def _remove_left() -> None:
    for held in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_HELD}"):
        # Another's, or gone by now.
        with suppress(OSError):
            if _is_left(held):
                shutil.rmtree(held.parent, ignore_errors=True)


def _is_left(held: Path) -> bool:
    if held.parent.is_symlink() or held.parent.stat().st_uid != os.getuid():
        return False
    descriptor = os.open(held, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
