"""Causes and symptoms, what operators accepted, and what hosts of a run share; nothing of it is known of runs
before this."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text()
JSON = sa.JSON()


def upgrade() -> None:
    for name in ("explained_by", "accepted", "parameters"):
        op.add_column("findings", sa.Column(name, JSON, nullable=False, server_default="[]"))
    op.add_column("visits", sa.Column("traits", JSON, nullable=False, server_default="[]"))
    op.add_column("agent_states", sa.Column("vm_id", TEXT, nullable=False, server_default=""))
    op.create_table(
        "fleet_findings",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("rule_version", sa.BigInteger(), nullable=False),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("remediation", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("hosts", JSON, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_fleet_findings_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_fleet_findings"),
    )
