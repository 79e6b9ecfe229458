"""``xds db``: the database's tables."""

from __future__ import annotations

from pathlib import Path

import click

from xds.cli.common import database, deployment, settings


@click.group()
def db() -> None:
    """The database's tables."""


@db.command(epilog="Example: xds db upgrade --config xds.toml")
@deployment
def upgrade(config: Path | None, data: str | None) -> None:
    """Bring the tables up to this version."""
    with database(settings(config, data)):
        click.echo("the database is up to date")
