"""Databases of either kind, quickly."""

from tests.audit.databases import database_url, engine, shared_postgres

__all__ = ["database_url", "engine", "shared_postgres"]
