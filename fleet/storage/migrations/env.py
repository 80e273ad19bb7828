"""Runs the migrations on the connection that the caller holds, inside the caller's transaction."""

from alembic import context

from fleet.storage.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
