"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The types as they were: a migration does not follow later changes of the tables.
TEXT = sa.Text()
JSON = sa.JSON()
COUNT = sa.BigInteger()
SECONDS = sa.Double()
INSTANT = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hosts"),
        sa.UniqueConstraint("name", name="uq_hosts_name"),
    )
    op.create_table(
        "runs",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("inventory", TEXT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("selected", COUNT, nullable=False),
        sa.Column("fleet_version", TEXT, nullable=False),
        sa.Column("pack_digest", TEXT, nullable=False),
        sa.Column("script_sha256", TEXT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("warnings", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_started_at", "runs", ["started_at"], unique=False)
    op.create_table(
        "store_key",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_store_key"),
    )
    op.create_table(
        "visits",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("host_id", ROW_ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("user", TEXT, nullable=False),
        sa.Column("connection", TEXT, nullable=False),
        sa.Column("groups", JSON, nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("verdict", TEXT, nullable=False),
        sa.Column("observed", TEXT, nullable=False),
        sa.Column("reason", TEXT),
        sa.Column("phase", TEXT),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("cause_rule", TEXT),
        sa.Column("cause_position", sa.Integer()),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("os_name", TEXT, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("duration_s", SECONDS),
        sa.Column("clock_offset_s", SECONDS),
        sa.Column("timings", JSON, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name="fk_visits_host_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_visits_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_visits"),
        sa.UniqueConstraint("run_id", "host_id", name="uq_visits_run_id_host_id"),
    )
    op.create_index("ix_visits_host_id", "visits", ["host_id"], unique=False)
    op.create_table(
        "agent_states",
        sa.Column("visit_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("installed", sa.Boolean()),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("last_heartbeat_at", INSTANT),
        sa.Column("resource_name", TEXT, nullable=False),
        sa.Column("resource_group", TEXT, nullable=False),
        sa.Column("subscription_id", TEXT, nullable=False),
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("location", TEXT, nullable=False),
        sa.Column("cloud", TEXT, nullable=False),
        sa.Column("error_code", TEXT, nullable=False),
        sa.Column("error_details", TEXT, nullable=False),
        sa.Column("https_proxy", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["visit_id"], ["visits.id"], name="fk_agent_states_visit_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("visit_id", name="pk_agent_states"),
    )
    op.create_table(
        "captures",
        sa.Column("visit_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visits.id"], name="fk_captures_visit_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("visit_id", name="pk_captures"),
    )
    op.create_table(
        "findings",
        sa.Column("visit_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("rule_version", COUNT, nullable=False),
        sa.Column("code", TEXT),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("remediation", TEXT, nullable=False),
        sa.Column("count", COUNT, nullable=False),
        sa.Column("first_seen_at", INSTANT),
        sa.Column("last_seen_at", INSTANT),
        sa.Column("evidence", JSON, nullable=False),
        sa.ForeignKeyConstraint(["visit_id"], ["visits.id"], name="fk_findings_visit_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("visit_id", "position", name="pk_findings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "services",
        sa.Column("visit_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("unit", TEXT, nullable=False),
        sa.Column("load_state", TEXT, nullable=False),
        sa.Column("active_state", TEXT, nullable=False),
        sa.Column("sub_state", TEXT, nullable=False),
        sa.Column("start_mode", TEXT, nullable=False),
        sa.Column("result", TEXT, nullable=False),
        sa.Column("exit_status", TEXT, nullable=False),
        sa.Column("restarts", COUNT),
        sa.Column("since_at", INSTANT),
        sa.ForeignKeyConstraint(["visit_id"], ["visits.id"], name="fk_services_visit_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("visit_id", "position", name="pk_services"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("services", "findings", "captures", "agent_states", "visits", "store_key", "runs", "hosts"):
        op.drop_table(table)
