"""Which databases are opened, how their files are made, and what their failures say."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from fleet.errors import LockedError, SettingsError, StorageError
from fleet.model.report import Run
from fleet.storage import name_database, open_existing, open_store
from fleet.storage.database import open_database
from fleet.storage.failures import translated
from fleet.storage.tables import HEAD

RUN = Run(
    id="run-0001",
    inventory="fleet.yaml",
    started_at=datetime(2026, 3, 29, tzinfo=UTC),
    selected=0,
    fleet_version="",
    pack_digest="",
    script_sha256="",
)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fleet.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/fleet.db",
        "sqlite:///fleet.db?mode=ro",
        "mysql://u:hunter2@h/db",
        "postgresql+psycopg2://u:hunter2@h/db",
        "postgresql://u:hunter2@h:port/db",
    ],
)
def test_other_urls_are_the_operators_mistake_and_never_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_files_are_0600_in_folders_of_0700_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a" / "b" / "fleet.db"
    store = open_store(f"sqlite:///{path}")
    store.begin(RUN, [])
    assert [rights(path.parent), rights(path.parent.parent)] == [0o700, 0o700]
    made = {each.name: rights(each) for each in path.parent.iterdir()}
    assert made == dict.fromkeys(("fleet.db", "fleet.db-wal", "fleet.db-shm", "fleet.db.lock"), 0o600)
    store.close()


def test_two_names_of_one_file_are_one_database_to_the_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "fleet.db")
    store, other = (open_store(f"sqlite:///{tmp_path}/{name}") for name in ("fleet.db", "link.db"))
    store.begin(RUN, [])
    with pytest.raises(LockedError):
        other.begin(RUN, [])
    store.close()
    other.close()


def test_a_lock_file_that_leads_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("my notes")
    (tmp_path / "fleet.db.lock").symlink_to(tmp_path / "notes")
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    with pytest.raises(StorageError, match=r"fleet\.db\.lock: .*let fleet write beside"):
        store.begin(RUN, [])
    store.close()
    assert (tmp_path / "notes").read_text() == "my notes"


def test_reading_a_database_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no database .*fleet collect INVENTORY` makes one"):
        open_existing(f"sqlite:///{tmp_path}/data/fleet.db")
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_no_file_behind(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    open_store(url).close()
    reader = open_existing(url)
    assert reader.runs(1) == ()
    reader.close()
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.db"]


@contextmanager
def reader_only(folder: Path, beside: int = 0o444) -> Iterator[None]:
    """Within, this process may only read; ``beside``: the rights of the files that SQLite makes."""
    for path in folder.iterdir():
        path.chmod(beside if path.name.endswith(("-wal", "-shm")) else 0o444)
    folder.chmod(0o555)
    is_root = os.getuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder that other users reach."""
    with TemporaryDirectory(prefix="fleet #") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_reader_needs_no_right_to_write(shared: Path) -> None:
    store = open_store(f"sqlite:///{shared}/fleet.db")
    store.begin(RUN, [])
    store.close()
    (shared / "link.db").symlink_to("fleet.db")
    with reader_only(shared):
        for name in ("fleet.db", "link.db"):
            reader = open_existing(f"sqlite:///{shared}/{name}")
            assert reader.runs(1) == (RUN,)
            reader.close()
    assert {path.name for path in shared.iterdir()} == {"fleet.db", "fleet.db.lock", "link.db"}


def test_a_reader_of_a_run_that_is_being_stored_sees_it_or_is_told_who_must_act(shared: Path) -> None:
    url = f"sqlite:///{shared}/fleet.db"
    store = open_store(url)
    store.begin(RUN, [])
    with reader_only(shared):
        reader = open_existing(url)
        assert reader.runs(1) == (RUN,)
        reader.close()
    with (
        reader_only(shared, 0o000),
        pytest.raises(StorageError, match="let its owner call `fleet runs` once"),
    ):
        open_existing(url)
    store.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSPC, errno.EROFS])
def test_a_lock_that_the_file_system_refuses_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageError, match=rf"fleet\.db\.lock: .*{os.strerror(number)}"):
        store.begin(RUN, [])
    store.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:////var/lib/fleet.db", "database /var/lib/fleet.db"),
        ("postgresql://ops:hunt?er2@h:6000/runs", "PostgreSQL database runs at h:6000"),
        ("postgresql://ops@h/runs?password=hunt@er2", "PostgreSQL database runs at h"),
        ("postgresql:///runs?host=/run/pg&password=hunter2", "PostgreSQL database runs at /run/pg"),
    ],
)
def test_a_database_is_named_without_who_logs_in_and_how(url: str, name: str) -> None:
    assert name_database(url) == name


def test_a_folder_that_exists_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_store(f"sqlite:///{tmp_path}/fleet.db").close()
    assert rights(tmp_path) == 0o755


def test_the_file_is_opened_with_wal_keys_and_a_patient_wait(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    open_store(url).close()
    database = open_database(url)
    with database.reading() as connection:
        names = ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    assert found == ["wal", 10_000, 1, 1]
    database.close()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(StorageError, match="not a SQLite database"):
        open_store(f"sqlite:///{path}")
    assert path.read_text() == "my notes"
    assert list(tmp_path.iterdir()) == [path]


def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_folder_and_a_path_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "fleet.db"):
        with pytest.raises(StorageError, match=str(tmp_path)):
            open_store(f"sqlite:///{path}")


def test_a_damaged_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    with pytest.raises(StorageError, match="damaged or not a database"):
        open_store(f"sqlite:///{path}")


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.touch()
    store = open_store(f"sqlite:///{path}")
    assert store.load(None) is None
    store.close()


def test_a_server_that_is_not_there_is_unreachable_and_its_password_not_shown() -> None:
    with pytest.raises(StorageError) as caught:
        open_store("postgresql://fleet:hunter2@127.0.0.1:1/fleet")
    assert "127.0.0.1:1: not reachable" in str(caught.value)
    assert "hunter2" not in str(caught.value)


class DriverError(Exception):
    """As a driver raises it."""

    def __init__(self, code: int | None = None, state: str | None = None) -> None:
        super().__init__("words\nof hunter2's driver")
        self.sqlite_errorcode = code
        self.sqlstate = state


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (DriverError(code=sqlite3.SQLITE_FULL), "disk is full"),
        (DriverError(code=sqlite3.SQLITE_READONLY_DIRECTORY), "no access"),
        (DriverError(code=sqlite3.SQLITE_BUSY_SNAPSHOT), "locked by another"),
        (DriverError(state="53100"), "disk is full"),
        (DriverError(state="53300"), "not reachable"),
        (DriverError(state="28P01"), "no access"),
        (DriverError(state="3D000"), "no such database"),
        (DriverError(state="57P01"), "not reachable"),
        (DriverError(state="22021"), "db: words of ***'s driver"),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_failure_says_whose_move_it_is(cause: DriverError, words: str, wrapped: bool) -> None:
    with (
        pytest.raises(StorageError) as caught,
        translated("db", DriverError, lambda t: t.replace("hunter2", "***")),
    ):
        raise OperationalError("INSERT", {"p": "hunter2"}, cause) if wrapped else cause
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "fleet.storage:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
