"""``xds audit``: list, show and verify the audit log."""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import sqlalchemy as sa
from cryptography import x509
from rich.console import Console
from rich.progress import Progress

from xds.audit.log import bundle, index_check
from xds.audit.log import verify as checks
from xds.audit.log.checkpoint import BadCheckpoint, Checkpoint, CheckpointLog, read
from xds.audit.log.framing import BadFrame
from xds.audit.log.keys import load_certificates, log_certificates
from xds.audit.log.merkle import BadProof, HashTree
from xds.audit.log.proof import proof
from xds.audit.log.segments import as_leaf
from xds.audit.log.verify import Tampered
from xds.audit.log.witness import NotWitnessed
from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.messages.parties import Party
from xds.audit.messages.plain import indented, one_line, summary, visible, words
from xds.audit.search.indexing import by_values
from xds.audit.search.reports import REPORTS
from xds.cli.common import TIME, as_json, database, deployment, existing, micros, print_json, settings, time_of
from xds.cli.keeping import erase, hold
from xds.errors import Unusable
from xds.initiating.audit_forwarder import waiting
from xds.initiating.witnesses import witness_at
from xds.settings.sections import Loaded
from xds.store.audit import records as store
from xds.store.audit import review, search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted
from xds.store.engine import reading
from xds.store.registry import patients


@click.group()
def audit() -> None:
    """The audit log: list, show, verify, export, report; what is kept of it; and where it is sent on to."""


audit.add_command(hold)
audit.add_command(erase)


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
    values = by_values({kind: value for kind, value in named.items() if value})
    return replace(values, since=micros(since), until=micros(until), transaction=transaction, failed=failed)


@audit.command("list", epilog="Example: xds audit list --json --data ./xds-data")
@deployment
@as_json
@click.option("--most", default=100, show_default=True, type=click.IntRange(1), help="How many, newest first.")
@filters
def list_(config: Path | None, data: str | None, json_: bool, most: int, **given: Any) -> None:
    """Print the newest records.  Looking is itself recorded."""
    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            records = search.found(connection, _wanted(**given), most)
        _looked(engine, loaded)
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


def _looked(engine: sa.Engine, loaded: Loaded, asked: str = "", patient_id: str = "") -> None:
    """Audit Log Used: who reads the log is in the log (ITI TF-2: 3.20; DICOM PS3.15: A.5.3.2)."""
    reader = Party(f"xds audit, {getpass.getuser()}", "localhost", ours=True, requestor=True)
    event = AuditEvent.log_used(source_of(loaded.settings), reader, asked=asked, patient_id=patient_id)
    with engine.begin() as connection:
        store.record(connection, event.records())


@audit.command(epilog="Example: xds audit report patient 'anna^^^&1.2.3.4&ISO' --since 2026-03-01 --data ./xds-data")
@click.argument("what", type=click.Choice([*REPORTS, "unusual"]))
@click.argument("whom", required=False, default="")
@deployment
@as_json
@click.option("--most", default=5000, show_default=True, type=click.IntRange(1), help="Of the newest so many records.")
@click.option("--since", type=TIME, default=None, help="Not before: 2026-03-01 or 2026-03-01T08:00 (UTC).")
@click.option("--until", type=TIME, default=None, help="Before.")
def report(
    what: str, whom: str, config: Path | None, data: str | None, json_: bool, most: int, since: datetime | None,
    until: datetime | None,
) -> None:  # fmt: skip
    """Print who saw a patient, what a person saw, what failed, emergency overrides, or unusual accesses to decide on.

    WHOM is the patient as CX, or the person or system.
    """
    about = REPORTS.get(what)  # None: unusual accesses, which are kept as such
    if bool(about and about.needs) != bool(whom):
        raise click.UsageError("patient and person need a WHOM, and nothing else has one")
    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            if about is None:
                unusual = review.unusual(connection, most=most)
            else:
                names = patients.aliases(connection, whom) if about.needs == "patient" else [whom]
                records = dict[int, Recorded]()
                for name in names:
                    wanted = replace(
                        by_values({about.needs: name} if name else {}),
                        since=micros(since), until=micros(until), event=about.event, failed=about.failed,
                    )  # fmt: skip
                    records |= {one.id: one for one in search.found(connection, wanted, most)}
                lines = about.make(sorted(records.values(), key=lambda one: -one.recorded)[:most])
        _looked(engine, loaded, f"report={what}", whom if what == "patient" else "")
    if about is None:
        _print_unusual(unusual, json_)
        return
    if json_:
        print_json([line.as_json() for line in lines])
        return
    for line in lines:
        kinds = ", ".join(f"{kind} × {count}" for kind, count in line.kinds.items())
        click.echo(one_line(f"{line.count:>6}  {time_of(line.last)}  {line.key}  {line.beside}  {kinds}"))


def _print_unusual(found: list[review.Unusual], json_: bool) -> None:
    if json_:
        print_json([dataclasses.asdict(one) for one in found])
        return
    for one in found:
        day = time_of(one.day * review.DAY)[:10]
        click.echo(one_line(f"{day}  {one.reason:14}  {one.known_as}  {one.patient_id}  {one.detail}".rstrip()))


@audit.command(epilog="Example: xds audit forwarding --data ./xds-data")
@deployment
@as_json
def forwarding(config: Path | None, data: str | None, json_: bool) -> None:
    """Print what each repository that records are sent on to has still to be sent, and what it cannot be."""
    loaded = existing(config, data)
    with database(loaded) as engine, reading(engine) as connection:
        found = {url: waiting(connection, url) for url in loaded.settings.audit.forward_to}
    rows = [{"to": url, "waiting": waits, "unsent": unsent} for url, (waits, unsent) in found.items()]
    if json_:
        print_json(rows)
        return
    for row in rows:
        click.echo("{to}  {waiting} waiting, {unsent} cannot be sent".format(**row))


@audit.command(epilog="Example: xds audit show 17 --data ./xds-data")
@click.argument("id_", metavar="ID", type=click.IntRange(0, 2**63 - 1))
@deployment
@as_json
def show(id_: int, config: Path | None, data: str | None, json_: bool) -> None:
    """Print record ID: what it means, its XML, and its proof."""
    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            record = store.one(connection, id_)
        if record is None:
            raise Unusable(f"there is no record {id_}")
        proved = proof(engine, loaded.settings.data / "audit", _certificates(loaded, None), record).text
        _looked(engine, loaded)
    if json_:
        print_json(summary(record.message) | {
            "arrived": record.time.isoformat(timespec="milliseconds"), "origin": record.origin,
            "words": words(record.message, record.origin), "proof": proved,
        })  # fmt: skip
        return
    arrived = f"{record.time:%Y-%m-%d %H:%M:%S} UTC"
    said = words(record.message, record.origin)
    click.echo(f"{said}\n\n{visible(indented(record.message))}\nrecorded: {arrived}\nproof: {proved}")


def _kept(signed: bytes) -> Checkpoint:
    """The database's last checkpoint, which the files must still begin with.

    Raises:
        Tampered: it is no checkpoint any more.
    """
    try:
        return read(signed)
    except BadCheckpoint as problem:
        raise Tampered(6, None, f"the database's last checkpoint: {problem}") from None


def _certificates(loaded: Loaded, given: Path | None) -> list[x509.Certificate]:
    return load_certificates(given) if given else log_certificates(loaded.settings)


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
    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            found, signed = search.found(connection, _wanted(**given), most), store.last_checkpoint(connection)
        if signed is None:
            raise Unusable("nothing is sealed yet")
        records = [
            as_leaf(one) for one in reversed(found) if one.leaf_number is not None and one.leaf_number < signed[0]
        ]
        if not records:
            raise Unusable("no sealed record meets this")
        tree, certificates = HashTree(loaded.settings.data / "audit" / "tree"), _certificates(loaded, None)
        try:
            done = bundle.write(path, tree, records, signed[1], certificates)
        except (Tampered, BadProof) as problem:
            path.unlink(missing_ok=True)
            raise Unusable(f"DOES NOT HOLD: {problem}") from None
        except OSError as problem:
            raise Unusable(f"{path}: {problem.strerror}") from None
        _looked(engine, loaded)
    if json_:
        print_json({"records": done.records, "of": done.size, "sealed": done.sealed.isoformat()})
        return
    click.echo(f"{done.records} records, sealed {done.sealed:%Y-%m-%d %H:%M:%S} UTC, in {path}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise Unusable(f"{path}: {problem.strerror}") from None


def _trusted(path: Path) -> bytes:
    """A checkpoint that was verified before.

    Raises:
        Unusable: it cannot be read, or is none.
    """
    data = _read(path)
    try:
        read(data)
    except BadCheckpoint as problem:
        raise Unusable(f"{path}: {problem}") from None
    return data


def _seen(where: str, loaded: Loaded, folder: Path) -> bytes:
    """What a witness has seen of a log.

    Raises:
        Unusable: it does not say, or has seen nothing.
    """
    try:
        last = CheckpointLog(folder / "checkpoints").first()
        if last is None:
            raise Unusable("the log has no checkpoint")
        where = where if where.startswith(("http:", "https:", "file:")) else f"file:{where}"
        seen = witness_at(where, loaded.settings.tls, lambda: ()).last(read(last).log_id)
    except (NotWitnessed, BadFrame, BadCheckpoint) as problem:
        raise Unusable(f"the witness {where}: {problem}") from None
    if seen is None:
        raise Unusable(f"the witness {where} has seen nothing of this log")
    return seen


@audit.command(epilog="Example: xds audit verify --data ./xds-data")
@deployment
@as_json
@click.option("--log", metavar="DIR", type=click.Path(path_type=Path), help="The log's folder; else the deployment's.")
@click.option("--certificate", metavar="FILE", type=click.Path(path_type=Path), help="Trust these instead.")
@click.option("--every-signature", is_flag=True, help="Verify every checkpoint's signature, not only the last.")
@click.option("--witness", "witnesses", metavar="FILE|URL", multiple=True,
              help="Hold it against what a witness has seen: its file, or its /audit/witness.")  # fmt: skip
@click.option("--trusted", metavar="FILE", type=click.Path(path_type=Path),
              help="Go on from this checkpoint, which was verified before.")  # fmt: skip
@click.option("--keep", metavar="FILE", type=click.Path(path_type=Path),
              help="Write the last checkpoint there, to be --trusted the next time.")  # fmt: skip
@click.option("--database", "with_database", is_flag=True, help="Compare the database's rows with the files too.")
@click.option("--index", "with_index", is_flag=True, help="And whether each is found by what it says.")
def verify(
    config: Path | None,
    data: str | None,
    json_: bool,
    log: Path | None,
    certificate: Path | None,
    every_signature: bool,
    witnesses: tuple[str, ...],
    trusted: Path | None,
    keep: Path | None,
    with_database: bool,
    with_index: bool,
) -> None:
    """Verify the log by its files and the public certificate; exit code 1 if it has been tampered with."""
    # The files are enough, such as a copy of them elsewhere; the database is a deployment's.
    with_files = not (with_database or with_index)
    loaded = settings(config, data, made=False) if with_files else existing(config, data)
    folder = log or loaded.settings.data / "audit"
    if not (folder / "checkpoints").is_dir():
        raise Unusable(f"{folder} holds no audit log")
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=json_) as bar:
            task = bar.add_task("records", total=None)
            found = checks.verify(
                folder,
                _certificates(loaded, certificate),
                every_signature=every_signature,
                trusted=_trusted(trusted) if trusted else None,
                witnessed=[_seen(where, loaded, folder) for where in witnesses],
                progress=lambda count: bar.update(task, completed=count),
            )
        if with_database or with_index:
            with database(loaded) as engine, reading(engine) as connection:
                kept = store.last_checkpoint(connection)
                rows = map(as_leaf, store.all_numbered(connection))
                checks.compare(folder, rows, None if kept is None else _kept(kept[1]))
                if with_index:
                    index_check.check(connection)
    except Tampered as problem:
        if json_:
            print_json({"holds": False, "step": problem.step, "record": problem.leaf, "reason": problem.reason})
        else:
            click.echo(f"TAMPERED: {problem}", err=True)
        sys.exit(1)
    if keep:
        try:
            keep.write_bytes(found.signed)
        except OSError as problem:
            raise Unusable(f"{keep}: {problem.strerror}") from None
    if json_:
        print_json({"holds": True, "records": found.records, "checkpoints": found.checkpoints,
                    "unsealed": found.unsealed, "erased": found.erased})  # fmt: skip
        return
    last = f", the last at {found.last.time:%Y-%m-%d %H:%M:%S} UTC" if found.last else ""
    erased = f", of which {found.erased} were erased" if found.erased else ""
    click.echo(f"the log holds: {found.records} records{erased} under {found.checkpoints} checkpoints{last}"
               f"{f'; {found.unsealed} wait for the next' if found.unsealed else ''}")  # fmt: skip


@audit.command(epilog="Example: xds audit reindex --data ./xds-data")
@deployment
@as_json
def reindex(config: Path | None, data: str | None, json_: bool) -> None:
    """File every record as its message says, beside a server that goes on; on record itself."""
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
        _looked(engine, loaded, f"reindex={wrong}")
    if json_:
        print_json({"mended": wrong})
        return
    click.echo(f"{wrong} records were filed wrongly and are not any more")
