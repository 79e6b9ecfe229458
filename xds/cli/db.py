"""``xds db``: the database's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, database, deployment, existing, print_json, settings
from xds.errors import Unusable
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa


@click.group()
def db() -> None:
    """The database's tables."""


@db.command(epilog="Example: xds db upgrade --config xds.toml")
@deployment
def upgrade(config: Path | None, data: str | None) -> None:
    """Bring the tables up to this version; nodes of the version before go on beside it."""
    with database(settings(config, data)):
        click.echo("the database is up to date")


@db.command(epilog="Example: xds db status --config xds.toml")
@deployment
@as_json
def status(config: Path | None, data: str | None, *, json_: bool) -> None:
    """Say which version the tables are of, and which this program wants; nothing is changed."""
    from xds.store.deployment import VERSION, version
    from xds.store.engine import reading

    with _as_it_is(existing(config, data)) as engine, reading(engine) as connection:
        found = version(connection)
    if json_:
        print_json({"tables": found, "wanted": VERSION})
    else:
        state = "up to date" if found == VERSION else "xds db upgrade brings them there"
        click.echo(f"the tables are of version {found or 'none'}; this program wants {VERSION}: {state}")


@db.command(epilog="Example: xds db back 0007 --config xds.toml")
@deployment
@click.argument("to", metavar="VERSION")
@click.option("--even-so", is_flag=True, help="Although nodes of this version run, which cannot go on then.")
def back(config: Path | None, data: str | None, to: str, *, even_so: bool) -> None:
    """Take the tables back to an earlier version, so that the program of that version starts again.

    Stop the nodes of this version first.  What only this version keeps goes away; what peers have sent stays.
    """
    from xds.store.deployment import go_back

    with _as_it_is(existing(config, data)) as engine, engine.begin() as connection:
        go_back(connection, to, even_so=even_so)
    click.echo(f"the tables are of version {to}")


@db.command(epilog="Example: xds db distribute --dry-run --config xds.toml")
@deployment
@click.option("--shards", default=32, show_default=True, type=click.IntRange(1, 1024), help="Parts of each table.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; nothing is.")
@click.option("--even-so", is_flag=True, help="Although nodes run, which wait meanwhile.")
@as_json
def distribute(
    config: Path | None, data: str | None, *, shards: int, dry_run: bool, even_so: bool, json_: bool
) -> None:  # fmt: skip
    """Put the tables on several machines, where PostgreSQL has the extension Citus.

    What is of one patient lies on one machine, with all that a query about them reads; what is asked for by an id alone
    by that id; all else on the coordinator, which server.database names.  What is distributed already is left so.
    """
    from xds.store.deployment import alone
    from xds.store.distributing import Distributing, Step

    def told(step: Step) -> None:
        if not json_:
            click.echo(str(step))

    with _as_it_is(existing(config, data), connections=2) as engine, engine.begin() as connection:
        alone(connection)  # a node that starts meanwhile waits
        distributing = Distributing(connection, shards, even_so=even_so or dry_run)
        if dry_run:
            for step in distributing.steps:
                told(step)
        else:
            distributing.run(engine, told)
    if json_:
        print_json([
            {"table": one.name, "place": one.placing.kind.value, "column": one.placing.column, "beside": one.together,
             "why": one.placing.why, "done_before": one.done}
            for one in distributing.steps
        ])  # fmt: skip


@contextmanager
def _as_it_is(loaded: Loaded, connections: int = 1) -> Iterator[sa.Engine]:
    """The deployment's database, of whatever version.

    Raises:
        Unusable: it cannot be reached.
    """
    from sqlalchemy.exc import DatabaseError

    from xds.store.engine import make_engine

    engine = make_engine(loaded.settings.database_url, connections=connections)
    try:
        yield engine
    except DatabaseError as problem:
        raise Unusable(f"the database cannot be used: {type(problem.orig).__name__}") from None
    finally:
        engine.dispose()
