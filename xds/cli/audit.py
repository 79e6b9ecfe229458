"""``xds audit``: list, show and verify the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xds.cli.common import TIME, as_json, database, deployment, existing, micros, print_json
from xds.cli.keeping import erase, hold
from xds.cli.reporting import looked, report
from xds.cli.stored import fetch
from xds.cli.verifying import certificates, verify
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.store.audit.search import Wanted


@click.group()
def audit() -> None:
    """The audit log: list, show, verify, export, report; what is kept of it; and where it is sent on to."""


audit.add_command(hold)
audit.add_command(report)
audit.add_command(verify)
audit.add_command(erase)
audit.add_command(fetch)


F = TypeVar("F", bound=Callable[..., Any])


def filters(command: F) -> F:
    """The options that say which records; ``_wanted`` makes of them what is asked of the store."""
    for option in (
        click.option("--failed", is_flag=True, help="Only what failed, wholly or in part."),
        click.option("--until", type=TIME, default=None, help="Before."),
        click.option("--since", type=TIME, default=None, help="Not before: 2026-03-01 or 2026-03-01T08:00 (UTC)."),
        click.option("--source", default="", metavar="ID", help="Only of the node that calls itself so."),
        click.option("--study", default="", metavar="UID", help="Only of this study."),
        click.option("--user", default="", metavar="ID", help="Only where this person, system or address took part."),
        click.option("--patient", default="", metavar="CX", help="Only of this patient; their retrievals too."),
        click.option("--transaction", default="", metavar="NUMBER", help="Only of this transaction, such as ITI-18."),
    ):
        command = option(command)
    return command


def _wanted(transaction: str, since: datetime | None, until: datetime | None, failed: bool, **named: str) -> Wanted:
    from xds.audit.search.indexing import by_values

    values = by_values({kind: value for kind, value in named.items() if value})
    return replace(values, since=micros(since), until=micros(until), transaction=transaction, failed=failed)


@audit.command("list", epilog="Example: xds audit list --json --data ./xds-data")
@deployment
@as_json
@click.option("--most", default=100, show_default=True, type=click.IntRange(1), help="How many, newest first.")
@filters
def list_(config: Path | None, data: str | None, json_: bool, most: int, **given: Any) -> None:
    """Print the newest records.  Looking is itself recorded."""
    from xds.audit.messages.plain import one_line, summary
    from xds.audit.search.covering import covered
    from xds.store.audit import search
    from xds.store.engine import reading

    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            if given["patient"]:
                covered(connection, loaded.settings, given["patient"])
            records = search.found(connection, _wanted(**given), most)
        looked(engine, loaded)
    rows = [
        {"id": str(one.id), "leaf": "" if one.leaf_number is None else str(one.leaf_number),
         "arrived": one.time.isoformat(timespec="milliseconds"), "origin": one.origin} | summary(one.message)
        for one in records
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        sent = f"  sent by {row['origin']}" if row["origin"] else ""
        click.echo(one_line(
            f"{row['id']:>6}  {row['arrived']}  {row.get('transaction', ''):7}  {row['event']:28}  "
            f"{row.get('outcome', ''):1}  {row.get('patient', '')}{sent}"
        ))  # fmt: skip


@audit.command(epilog="Example: xds audit forwarding --data ./xds-data")
@deployment
@as_json
def forwarding(config: Path | None, data: str | None, json_: bool) -> None:
    """Print what each repository that records are sent on to has still to be sent, and what it cannot be."""
    from xds.initiating.audit_forwarder import waiting
    from xds.store.engine import reading

    loaded = existing(config, data)
    with database(loaded) as engine, reading(engine) as connection:
        found = {url: waiting(connection, url) for url in loaded.settings.audit.forward_to}
    rows = [{"to": url, "waiting": waits, "unsent": unsent} for url, (waits, unsent) in found.items()]
    if json_:
        print_json(rows)
        return
    if not rows:
        click.echo("records are sent on to nobody: audit.forward_to is not set")
    for row in rows:
        click.echo("{to}  {waiting} waiting, {unsent} cannot be sent".format(**row))


@audit.command(epilog="Example: xds audit show 17 --data ./xds-data")
@click.argument("id_", metavar="ID", type=click.IntRange(0, 2**63 - 1))
@deployment
@as_json
def show(id_: int, config: Path | None, data: str | None, json_: bool) -> None:
    """Print record ID: what it means, its XML, and its proof."""
    from xds.audit.log.proof import proof
    from xds.audit.messages.plain import indented, summary, visible, words
    from xds.store.audit import records as store
    from xds.store.engine import reading

    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            record = store.one(connection, id_)
        if record is None:
            raise Unusable(f"there is no record {id_}")
        proved = proof(engine, loaded.settings.data / "audit", certificates(loaded, None), record).text
        looked(engine, loaded)
    if json_:
        print_json(summary(record.message) | {
            "arrived": record.time.isoformat(timespec="milliseconds"), "origin": record.origin,
            "words": words(record.message, record.origin), "proof": proved,
        })  # fmt: skip
        return
    arrived = f"{record.time:%Y-%m-%d %H:%M:%S} UTC"
    said = words(record.message, record.origin)
    click.echo(f"{said}\n\n{visible(indented(record.message))}\nrecorded: {arrived}\nproof: {proved}")


@audit.command(epilog="Example: xds audit export --to court.zip --patient 'anna^^^&1.2.3.4&ISO' --data ./xds-data")
@deployment
@as_json
@click.option("--to", "path", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The ZIP file.")
@click.option("--most", default=10_000, show_default=True, type=click.IntRange(1), help="How many, newest first.")
@filters
def export(config: Path | None, data: str | None, json_: bool, path: Path, most: int, **given: Any) -> None:
    """Write records with their proofs, the checkpoint, certificates and a report into one ZIP file.

    deploy/verify_audit_log.py checks it without xds.  Records that are not sealed yet are left out.
    """
    from xds.audit.log import bundle
    from xds.audit.log.merkle import BadProof, HashTree
    from xds.audit.log.segments import as_leaf
    from xds.audit.log.verify import Tampered
    from xds.audit.search.covering import covered
    from xds.store.audit import records as store
    from xds.store.audit import search
    from xds.store.engine import reading

    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            if given["patient"]:
                covered(connection, loaded.settings, given["patient"])
            found, signed = search.found(connection, _wanted(**given), most), store.last_checkpoint(connection)
        if signed is None:
            raise Unusable("nothing is sealed yet")
        records = [
            as_leaf(one) for one in reversed(found) if one.leaf_number is not None and one.leaf_number < signed[0]
        ]
        if not records:
            raise Unusable("no sealed record meets this")
        tree, trusted = HashTree(loaded.settings.data / "audit" / "tree"), certificates(loaded, None)
        try:
            done = bundle.write(path, tree, records, signed[1], trusted)
        except (Tampered, BadProof) as problem:
            path.unlink(missing_ok=True)
            raise Unusable(f"DOES NOT HOLD: {problem}") from None
        except OSError as problem:
            raise Unusable(f"{path}: {problem.strerror}") from None
        looked(engine, loaded)
    if json_:
        print_json({"records": done.records, "of": done.size, "sealed": done.sealed.isoformat()})
        return
    click.echo(f"{done.records} records, sealed {done.sealed:%Y-%m-%d %H:%M:%S} UTC, in {path}")


@audit.command(epilog="Example: xds audit reindex --data ./xds-data")
@deployment
@as_json
def reindex(config: Path | None, data: str | None, json_: bool) -> None:
    """File every record as its message says, beside a server that goes on; on record itself."""
    from rich.console import Console
    from rich.progress import Progress

    from xds.audit.log import index_check

    loaded = existing(config, data)
    wrong, begin, done = 0, 0, False
    with database(loaded) as engine, Progress(console=Console(stderr=True), transient=True, disable=json_) as bar:
        task = bar.add_task("records", total=None)
        while not done:
            with engine.begin() as connection:
                before = begin
                begin, mended = index_check.mend(connection, begin)
                wrong, done = wrong + mended, begin == before
            bar.update(task, completed=begin)
        looked(engine, loaded, f"reindex={wrong}")
    if json_:
        print_json({"mended": wrong})
        return
    click.echo(f"{wrong} records were filed wrongly and are not any more")
