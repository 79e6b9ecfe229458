"""``xds documents``."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import F, alerted, as_json, counted, database, deployment, existing, print_json
from xds.cli.document_keys import key

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.settings.sections import Loaded
    from xds.store.documents.moving import Move, Moved

_DONE = "110141"  # Local Service Operation Started

SAMPLE = 20
"""Of what is damaged, how much is told line by line."""


@click.group()
def documents() -> None:
    """The documents of the repository, wherever they are kept."""


documents.add_command(key)


def _moving(command: F) -> F:
    """The options of what goes through all documents, while servers run."""
    at_most = click.IntRange(min=0)
    command = click.option("--bytes-per-second", type=at_most, default=0, metavar="N", help="At most; 0: any number.")(
        command
    )
    return click.option("--dry-run", is_flag=True, help="Only say what would be done.")(command)


def _moved(going: Move, loaded: Loaded, engine: sa.Engine, event: tuple[str, str], *, finish: bool, dry: bool) -> Moved:
    """Do it, recorded before it is begun; or say what would be done.  ``event``: its subject, and its text."""
    going.check()
    if dry:
        return going.would(finish=finish)
    with engine.begin() as connection:
        alerted(connection, loaded, getpass.getuser(), _DONE, *event)
    return going.run(finish=finish)


@documents.command(epilog="Example: xds documents move --config xds.toml --bytes-per-second 20000000")
@deployment
@click.option("--finish", is_flag=True, help="Remove from the old store what the new one gives back.")
@_moving
@as_json
def move(
    config: Path | None, data: str | None, *, finish: bool, dry_run: bool, bytes_per_second: int, json_: bool
) -> None:
    """Copy documents from server.documents_also to server.documents, while servers run.

    Each is read back. It may be broken off, and run again. Nothing is removed until it is run with --finish.
    """
    from xds.store.documents.moving import Move, Pace

    loaded = existing(config, data)
    with database(loaded) as engine, _bar(engine) as tell:
        going = Move(loaded.settings, engine, Pace(bytes_per_second), tell)
        what = "are moved" if finish else "are copied"
        event = "urn:xds:documents:move", f"documents {what} from {going.source} to {going.target}"
        moved = _moved(going, loaded, engine, event, finish=finish, dry=dry_run)
    if json_:
        print_json(asdict(moved) | {"from": str(going.source), "to": str(going.target), "dry_run": dry_run})
    else:
        _tell(moved, going, finish=finish, dry_run=dry_run)
    sys.exit(1 if moved.damaged else 0)


@documents.command(epilog="Example: xds documents encrypt --finish --config xds.toml")
@deployment
@click.option("--finish", is_flag=True, help="Remove what is in clear once what is encrypted has been read back.")
@_moving
@as_json
def encrypt(
    config: Path | None, data: str | None, *, finish: bool, dry_run: bool, bytes_per_second: int, json_: bool
) -> None:
    """Encrypt documents that were kept before server.documents_key was set, while servers run.

    It may be broken off, and run again. Nothing is removed until it is run with --finish.
    """
    from xds.store.documents.moving import Move, Pace

    loaded = existing(config, data)
    with database(loaded) as engine, _bar(engine) as tell:
        going = Move(loaded.settings, engine, Pace(bytes_per_second), tell, encrypts=True)
        event = "urn:xds:documents:encrypt", f"documents in {going.source} are encrypted"
        moved = _moved(going, loaded, engine, event, finish=finish, dry=dry_run)
    if json_:
        print_json(asdict(moved) | {"in": str(going.source), "dry_run": dry_run})
    else:
        _tell_encrypted(moved, going, finish=finish, dry_run=dry_run)
    sys.exit(1 if moved.damaged else 0)


def _tell_encrypted(moved: Moved, going: Move, *, finish: bool, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    took = "" if dry_run else f" in {moved.seconds:.1f} s"
    said = f"{counted(moved.documents, 'document')} in clear in {going.source}: {moved.copied} {would}encrypted"
    click.echo(f"{said} ({counted(moved.copied_bytes, 'byte')}){took}")
    for one in moved.damaged[:SAMPLE]:
        click.echo(f"damaged, and left as it is: document {one}", err=True)
    if dry_run:
        return
    if not finish:
        click.echo("what was in clear is there still: look whether all is well, then run this with --finish")
    elif moved.left:
        click.echo(f"{counted(moved.left, 'document')} in clear left: run this again in an hour")
    else:
        click.echo("no document is left in clear; what a disk or a bucket keeps of removed files, xds cannot erase")


def _tell(moved: Moved, going: Move, *, finish: bool, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    said = f"{counted(moved.documents, 'document')} of {going.source}: {moved.copied} {would}copied to {going.target}"
    took = "" if dry_run else f" in {moved.seconds:.1f} s"
    click.echo(f"{said} ({counted(moved.copied_bytes, 'byte')}){took}")
    for one in moved.damaged[:SAMPLE]:
        click.echo(f"damaged, and only there: document {one}", err=True)
    if finish:
        click.echo(f"{moved.removed} {would}removed from {going.source}")
        if going.keeps_versions():
            click.echo("its bucket keeps older versions: what was removed stays there until a lifecycle rule ends it")
    if dry_run:
        return
    if not finish:
        click.echo("nothing was removed: look whether all is well, then run this with --finish")
    elif moved.left:
        click.echo(f"{counted(moved.left, 'document')} left there: run this again in an hour")
    else:
        click.echo("nothing is left there: take server.documents_also out of the settings, and restart each node")


@contextmanager
def _bar(engine: sa.Engine) -> Iterator[Callable[[int, int], None]]:
    """How far it is, on a terminal."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import Progress

    from xds.store.documents.folder import count

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("documents", total=count(engine))

        def tell(done: int, size: int) -> None:
            progress.update(task, completed=done, description=f"documents, {decimal(size)} copied")

        yield tell
