"""The database's history, a step a file; Alembic walks it."""
