"""Alembic's way in: the connection comes from ``deployment.prepare``, in whose transaction all steps run."""

from alembic import context

from xds.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
