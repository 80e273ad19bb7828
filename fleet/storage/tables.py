"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
)

from fleet.storage.columns import CleanJson, CleanText, Count, Instant

HEAD = "0004"
"""The newest migration's revision: a database at it needs no upgrade. Older ones sort before it."""

VERSION_TABLE = "fleet_schema"
"""Where the revision is kept; its presence says that the database is fleet's."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is an INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")


def _visit_key() -> Column[int]:
    return Column(
        "visit_id",
        _ROW_ID,
        ForeignKey("visits.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


def _position_key() -> Column[int]:
    return Column("position", Integer, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, CleanText, nullable=False)


store_key = Table(
    "store_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", CleanText, primary_key=True),
    _text("inventory"),
    Column("started_at", Instant, nullable=False),
    Column("selected", Count, nullable=False),
    _text("fleet_version"),
    _text("pack_digest"),
    _text("script_sha256"),
    Column("ended_at", Instant),
    Column("exit_code", Integer),
    Column("warnings", CleanJson, nullable=False),
    Index(None, "started_at"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    _text("name"),
    UniqueConstraint("name"),
)

visits = Table(
    "visits",
    metadata,
    Column("id", _ROW_ID, primary_key=True),
    Column("run_id", CleanText, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("host_id", _ROW_ID, ForeignKey("hosts.id"), nullable=False),
    Column("position", Integer, nullable=False),
    _text("address"),
    Column("port", Integer, nullable=False),
    _text("user"),
    _text("connection"),
    _text("os"),
    _text("login"),
    Column("groups", CleanJson, nullable=False),
    Column("labels", CleanJson, nullable=False),
    _text("verdict"),
    _text("observed"),
    Column("reason", CleanText),
    Column("phase", CleanText),
    _text("message"),
    Column("cause_rule", CleanText),
    Column("cause_position", Integer),
    _text("action"),
    _text("os_name"),
    Column("started_at", Instant),
    Column("duration_s", Double),
    Column("clock_offset_s", Double),
    Column("timings", CleanJson, nullable=False),
    Column("traits", CleanJson, nullable=False),
    UniqueConstraint("run_id", "host_id"),
    Index(None, "host_id"),
)

agent_states = Table(
    "agent_states",
    metadata,
    _visit_key(),
    Column("installed", Boolean),
    _text("status"),
    _text("version"),
    Column("last_heartbeat_at", Instant),
    _text("resource_name"),
    _text("resource_group"),
    _text("subscription_id"),
    _text("tenant_id"),
    _text("location"),
    _text("cloud"),
    _text("error_code"),
    _text("error_details"),
    _text("https_proxy"),
    _text("vm_id"),
)

services = Table(
    "services",
    metadata,
    _visit_key(),
    _position_key(),
    _text("name"),
    _text("unit"),
    _text("load_state"),
    _text("active_state"),
    _text("sub_state"),
    _text("start_mode"),
    _text("result"),
    _text("exit_status"),
    Column("restarts", Count),
    Column("since_at", Instant),
    sqlite_with_rowid=False,
)

findings = Table(
    "findings",
    metadata,
    _visit_key(),
    _position_key(),
    _text("rule"),
    Column("rule_version", Count, nullable=False),
    Column("code", CleanText),
    _text("severity"),
    _text("state"),
    _text("title"),
    _text("cause"),
    _text("remediation"),
    Column("count", Count, nullable=False),
    Column("first_seen_at", Instant),
    Column("last_seen_at", Instant),
    Column("evidence", CleanJson, nullable=False),
    Column("explained_by", CleanJson, nullable=False),
    Column("accepted", CleanJson, nullable=False),
    Column("parameters", CleanJson, nullable=False),
    sqlite_with_rowid=False,
)

fleet_findings = Table(
    "fleet_findings",
    metadata,
    Column("run_id", CleanText, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    _position_key(),
    _text("rule"),
    Column("rule_version", Count, nullable=False),
    _text("severity"),
    _text("title"),
    _text("cause"),
    _text("remediation"),
    _text("value"),
    Column("hosts", CleanJson, nullable=False),
)

captures = Table(
    "captures",
    metadata,
    _visit_key(),
    Column("body", LargeBinary, nullable=False),
    Column("size", Count, nullable=False),
)
