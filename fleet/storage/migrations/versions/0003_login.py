"""How a visited host was logged in to, in words; not known of visits before this."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("visits", sa.Column("login", sa.Text(), nullable=False, server_default=""))
