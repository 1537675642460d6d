"""Alembic's entry: runs on the connection that `storage.migrate` hands over, inside its transaction."""

from alembic import context

from qzbrain.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_server_default=False,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
