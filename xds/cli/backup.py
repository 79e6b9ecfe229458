"""``xds backup`` and ``xds restore``."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

import click

from xds.cli.common import F, alerted, as_json, counted, database, deployment, existing, print_json, settings
from xds.errors import Unusable

_DONE = "110141"  # Local Service Operation Started

SAMPLE = 20
"""Of what is wrong, how much is told line by line."""


def _tell(what: str, done: int, of: int) -> None:
    """How far it is, on one line of a terminal."""
    if sys.stderr.isatty():
        amount = f" {done:,}" + (f" of {of:,}" if of else "") if done else ""
        click.echo(f"\r\x1b[K{what}{amount}", nl=False, err=True)


def _told() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.group()
def backup() -> None:
    """Copies of the whole deployment: database, documents, audit log, keys."""


@backup.command(epilog="Example: xds backup make /srv/backups --config xds.toml --recipient age1…")
@deployment
@click.argument("to", type=FOLDER)
@click.option("--recipient", "recipients", multiple=True, metavar="AGE", help="Encrypt for this age recipient.")
@click.option("--in-clear", is_flag=True, help="Although documents are encrypted here (server.documents_key).")
@click.option("--whole-server", is_flag=True, help="PostgreSQL's whole server, by pg_basebackup: faster than a dump.")
@as_json
def make(
    config: Path | None, data: str | None, to: Path, recipients: tuple[str, ...], *, in_clear: bool,
    whole_server: bool, json_: bool,
) -> None:  # fmt: skip
    """Make a backup into a folder of backups, while the server runs or not.

    Documents that the folder has already are not copied again, nor is what it has of the audit log.
    """
    from xds.backup.sealing import Recipients
    from xds.backup.taking import take

    loaded = existing(config, data)
    with database(loaded) as engine:
        taken = take(
            loaded, engine, to, Recipients(recipients), _tell, config, in_clear=in_clear, whole_server=whole_server
        )
        with engine.begin() as connection:
            text = f"a backup of everything was made into {to}{', encrypted' if recipients else ''}"
            alerted(connection, loaded, getpass.getuser(), _DONE, f"urn:xds:backup:{taken.folder.name}", text)
    _told()
    said = taken.manifest
    if json_:
        print_json({
            "folder": str(taken.folder), "documents": said.documents, "copied": taken.copied, "records": said.records,
            "encrypted": said.is_sealed, "damaged": list(taken.damaged),
        })  # fmt: skip
    else:
        click.echo(
            f"{taken.folder}: {counted(said.documents, 'document')} ({taken.copied} new), "
            f"{counted(said.records, 'audit record')}{', encrypted' if said.is_sealed else ''}"
        )
        if not said.is_sealed:
            click.echo("it holds patients' data and the audit log's key in clear: keep it as you keep the server")
        for one in taken.damaged[:SAMPLE]:
            click.echo(f"damaged, and not in the backup: document {one}", err=True)
    sys.exit(1 if taken.damaged else 0)


@backup.command(name="list", epilog="Example: xds backup list /srv/backups")
@click.argument("folder", type=FOLDER)
@as_json
def list_(folder: Path, *, json_: bool) -> None:
    """List the backups of a folder, the oldest first."""
    from xds.backup import layout

    found = {one: layout.read(one) for one in layout.backups(folder)}
    if json_:
        print_json([
            {"folder": str(one), "made": said.made.isoformat(), "documents": said.documents,
             "records": said.records, "encrypted": said.is_sealed}
            for one, said in found.items()
        ])  # fmt: skip
        return
    for one, said in found.items():
        click.echo(
            f"{one}  {counted(said.documents, 'document')}  {counted(said.records, 'audit record')}"
            f"{'  encrypted' if said.is_sealed else ''}"
        )


@backup.command(epilog="Example: xds backup verify /srv/backups/2026-11-30T023000Z --certificate audit-signing.crt")
@click.argument("folder", type=FOLDER)
@click.option("--certificate", type=FILE, metavar="FILE", help="The audit log's certificate, kept elsewhere.")
@click.option("--identity", type=FILE, metavar="FILE", help="The age identity that reads an encrypted backup.")
@as_json
def verify(folder: Path, certificate: Path | None, identity: Path | None, *, json_: bool) -> None:
    """Look whether a backup is whole and unchanged: every file, every document.

    Of a folder of backups it looks at all of them, and once at what they share.
    """
    from xds.audit.log.keys import load_certificates
    from xds.backup.sealing import Identities
    from xds.backup.verifying import verify as look

    certificates = load_certificates(certificate) if certificate else ()
    found = look(folder, _tell, certificates=certificates, identities=Identities(identity))
    _told()
    unread = found.documents - found.read
    if json_:
        said = {"documents": found.documents, "not_read": unread, "wrong": list(found.wrong)}
        print_json(said if len(found.manifests) == 1 else {"backups": len(found.manifests), **said})
    else:
        for one in found.wrong[:SAMPLE]:
            click.echo(one)
        files = sum(len(one.files) + len(one.log) for one in found.manifests)
        told = f"{counted(found.documents, 'document')}, {counted(files, 'file')}"
        if len(found.manifests) > 1:
            told += f" of {counted(len(found.manifests), 'backup')}"
        click.echo(f"{len(found.wrong)} wrong of {told}" if found.wrong else f"whole: {told}")
        if unread:
            click.echo(f"{counted(unread, 'document')} not looked into: they are encrypted, and there is no --identity")
        if not certificate:
            click.echo("who made it was not looked at: --certificate FILE")
    sys.exit(1 if found.wrong else 0)


def _many(name: str, of: str) -> Callable[[F], F]:
    return click.option(f"--keep-{name}", type=click.IntRange(min=0), default=0, metavar="N", help=of)


@backup.command(epilog="Example: xds backup prune /srv/backups --keep-daily 7 --keep-weekly 5 --keep-monthly 12")
@click.argument("folder", type=FOLDER)
@_many("last", "The newest backups.")
@_many("daily", "The newest backup of so many days that have one.")
@_many("weekly", "The same of weeks, from Monday on.")
@_many("monthly", "The same of months.")
@_many("yearly", "The same of years.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_json
def prune(folder: Path, *, dry_run: bool, json_: bool, **keep: int) -> None:
    """Remove the backups of a folder that are not kept, and the documents and logs that were theirs alone.

    The newest backup is always kept. Nothing is removed when any backup of the folder cannot be read. Days are UTC.
    """
    from xds.backup.pruning import Keep
    from xds.backup.pruning import prune as remove

    kinds = {name.removeprefix("keep_"): count for name, count in keep.items()}
    pruned = remove(folder, Keep(**kinds), _tell, dry_run=dry_run)
    _told()
    if json_:
        print_json({
            "kept": [str(one) for one in pruned.kept], "removed": [str(one) for one in pruned.removed],
            "files": pruned.files, "bytes": pruned.file_bytes, "dry_run": dry_run,
        })  # fmt: skip
        return
    would = "would be " if dry_run else ""
    for one in pruned.removed:
        click.echo(f"{one}  {would}removed")
    shared = f"{counted(pruned.files, 'file')} of what backups share ({counted(pruned.file_bytes, 'byte')})"
    click.echo(f"{counted(len(pruned.kept), 'backup')} kept; {shared} {would}removed")


@click.command(epilog="Example: xds restore /srv/backups/2026-11-30T023000Z --data /srv/xds")
@deployment
@click.argument("folder", type=FOLDER)
@click.option("--identity", type=FILE, metavar="FILE", help="The age identity that reads an encrypted backup.")
@click.option("--certificate", type=FILE, metavar="FILE", help="The audit log's certificate, kept elsewhere.")
@click.option("--postgresql", type=FOLDER, metavar="DIR", help="Only unpack the server that --whole-server kept.")
def restore(
    config: Path | None, data: str | None, folder: Path, identity: Path | None, certificate: Path | None,
    postgresql: Path | None,
) -> None:  # fmt: skip
    """Bring a backup back into an empty folder and an empty database.

    The settings are not brought back: their file stands in the backup as xds.toml. Of a backup that was made with
    --whole-server, first unpack PostgreSQL's folder (--postgresql DIR), and start it; then run this without.
    """
    from xds.audit.log.keys import load_certificates
    from xds.backup.restoring import restore as bring_back
    from xds.backup.restoring import unpack_server
    from xds.backup.sealing import Identities

    certificates = load_certificates(certificate) if certificate else ()
    if postgresql is not None:
        unpack_server(folder, postgresql, Identities(identity), _tell, certificates)
        _told()
        click.echo(f"start PostgreSQL on {postgresql}, then run this again without --postgresql")
        return
    loaded = settings(config, data, made=False)
    if not loaded.settings.data.parent.is_dir():
        raise Unusable(f"{loaded.settings.data.parent} is no folder")
    done = bring_back(folder, loaded, Identities(identity), _tell, certificates)
    _told()
    made = f"{done.manifest.made:%Y-%m-%d %H:%M:%S}Z"
    with database(done.loaded) as engine, engine.begin() as connection:
        text = f"restored from the backup of {made}: what was done after that is not there"
        alerted(connection, done.loaded, getpass.getuser(), _DONE, f"urn:xds:backup:{folder.name}", text)
    click.echo(
        f"{counted(done.documents, 'document')} and {counted(done.sealed, 'audit record')}, as they were at {made}"
    )
    click.echo("what was done after that is not there: partners who were acknowledged send it again, witnesses refuse")
