"""Of which family a visited host is: one of Windows may be reached over SSH, too."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("visits", sa.Column("os", sa.Text(), nullable=False, server_default="linux"))
    op.execute("UPDATE visits SET os = 'windows' WHERE connection = 'winrm'")
