"""``xds merge``: another region's registry and repositories into this deployment, in steps that can be repeated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import F, as_json, counted, deployment, print_json
from xds.cli.merge_images import images
from xds.cli.merging_site import TOLD, Site, site_of
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.merging.estimating import Estimate
    from xds.merging.patient import Done
    from xds.merging.proving import Proof
    from xds.merging.undoing import Undone

_KINDS = {"DE": "entries", "SS": "submission sets", "FD": "folders", "AS": "associations"}


@click.group()
def merge() -> None:
    """Bring another registry and its repositories in here: survey, copy, follow, prove; or undo.

    The source is a table [merges.NAME] of the settings. Every step may be broken off, and run again.
    """


def _paced(command: F) -> F:
    """The options of what goes through all patients."""
    for option in (
        click.option("--bytes-per-second", type=click.IntRange(min=0), default=0, metavar="N", help="0: any number."),
        click.option("--jobs", type=click.IntRange(1, 16), default=4, metavar="N", show_default=True,
                     help="Patients at once."),
        click.option("--patients", "file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
                     help="The source's patients, one a line as CX; without it those of merges.NAME.patients."),
    ):  # fmt: skip
        command = option(command)
    return command


def _list(site: Site, file: Path | None) -> None:
    """Note whom the source has.

    Raises:
        Unusable: nobody says so.
    """
    from xds.merging.mapping import patients_of
    from xds.store.merging import Ledger

    table = site.loaded.settings.merges[site.source.label].patients
    path = file or (Path(table) if table else None)
    named = [str(one) for one in patients_of(path)] if path is not None else []
    with site.engine.begin() as connection:
        ledger = Ledger(connection, site.source.label)
        ledger.list_patients(named)
        if not ledger.patients():
            raise Unusable("whom the source has is not known: name --patients FILE, or set merges.NAME.patients")


@contextmanager
def _bar(site: Site, quiet: bool) -> Iterator[Callable[[Done], None]]:
    """How far it is, on a terminal."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import Progress

    from xds.store.engine import reading
    from xds.store.merging import Ledger

    with reading(site.engine) as connection:
        total = sum(Ledger(connection, site.source.label).patients_by_state().values())
    with Progress(console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as progress:
        task = progress.add_task("patients", total=total)

        def tell(done: Done) -> None:
            size = decimal(done.copied_bytes)
            progress.update(task, completed=done.patients, description=f"patients, {done.copied} objects, {size}")

        yield tell


def _gone_through(site: Site, file: Path | None, jobs: int, *, copies: bool, quiet: bool) -> Done:
    """Every patient of the source, looked at or copied."""
    _list(site, file)
    with _bar(site, quiet) as tell:
        return site.running(copies=copies).run(jobs, tell)


merge.add_command(images)


@merge.command(epilog="Example: xds merge survey south --patients south-patients.txt --config xds.toml")
@click.argument("name")
@_paced
@click.option("--sample", type=click.IntRange(min=0), default=20, metavar="N", show_default=True,
              help="Documents that are read, and not kept, to tell how long a copy takes.")  # fmt: skip
@as_json
@deployment
def survey(
    name: str, config: Path | None, data: str | None, file: Path | None, jobs: int, bytes_per_second: int, sample: int,
    json_: bool,
) -> None:  # fmt: skip
    """See what the source has, what of it could not be copied, and why; and what a copy takes. Nothing is copied."""
    from xds.merging.estimating import estimate
    from xds.store.documents.moving import Pace

    with site_of(name, config, data, bytes_per_second) as site:
        began = time.monotonic()
        done = _gone_through(site, file, jobs, copies=False, quiet=json_)
        seconds = time.monotonic() - began
        pace = Pace(bytes_per_second)
        found = estimate(site.database, site.source, site.disk, pace, samples=sample)
        takes = _estimated(found, jobs, site.disk.free_bytes())
        _report(site, done, seconds, takes, json_=json_)
    sys.exit(1 if done.failed else 0)


def _estimated(found: Estimate, jobs: int, free_bytes: int) -> dict[str, Any]:
    """What a copy takes."""
    return {
        "documents": found.documents, "bytes": found.room_bytes, "free": free_bytes, "sampled": found.sampled,
        "notRead": found.not_read, "seconds": found.seconds(jobs),
    }  # fmt: skip


@merge.command(epilog="Example: xds merge copy south --bytes-per-second 20000000 --config xds.toml")
@click.argument("name")
@_paced
@as_json
@deployment
def copy(
    name: str, config: Path | None, data: str | None, file: Path | None, jobs: int, bytes_per_second: int, json_: bool
) -> None:
    """Copy what is not here yet, with its history and its documents, one submission after the other.

    Run again it copies what is new or has changed. Exit code 1: of some patients the source did not say all.
    """
    with site_of(name, config, data, bytes_per_second) as site:
        began = time.monotonic()
        done = _gone_through(site, file, jobs, copies=True, quiet=json_)
        _report(site, done, time.monotonic() - began, json_=json_)
    sys.exit(1 if done.failed else 0)


@merge.command(epilog="Example: xds merge follow south --every 30 --config xds.toml")
@click.argument("name")
@_paced
@click.option("--every", type=click.FloatRange(min=0), default=60.0, metavar="SECONDS", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=None, metavar="N", help="At most; else until even.")
@as_json
@deployment
def follow(
    name: str, config: Path | None, data: str | None, file: Path | None, jobs: int, bytes_per_second: int,
    every: float, rounds: int | None, json_: bool,
) -> None:  # fmt: skip
    """Copy again and again, until the source has nothing that is new: then nothing keeps you from cutting over.

    Exit code 1: it still had after so many rounds.
    """
    number, even = 0, False
    while not even and (rounds is None or number < rounds):
        if number:
            time.sleep(every)
        number += 1
        with site_of(name, config, data, bytes_per_second) as site:
            done = _gone_through(site, file, jobs, copies=True, quiet=json_)
            even = not done.copied and not done.changed and not done.failed
        if not json_:
            click.echo(f"round {number}: {_said(done)}")
    if json_:
        print_json({"rounds": number, "even": even, **asdict(done)})
    elif even:
        click.echo("the source has nothing that is new")
    sys.exit(0 if even else 1)


@merge.command(epilog="Example: xds merge report south --config xds.toml")
@click.argument("name")
@as_json
@deployment
def report(name: str, config: Path | None, data: str | None, json_: bool) -> None:
    """What the source has, how much of it is here, and what is to be decided by a person."""
    with site_of(name, config, data, asks=False, alone=False) as site:
        _report(site, None, 0.0, json_=json_)


@merge.command(epilog="Example: xds merge prove south --read 100 --out south-proof.xml --config xds.toml")
@click.argument("name")
@click.option("--read", "samples", type=click.IntRange(min=0), default=20, metavar="N", show_default=True,
              help="Documents whose bytes are read on both sides, and compared.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The signed statement.")
@as_json
@deployment
def prove(name: str, config: Path | None, data: str | None, samples: int, out: Path | None, json_: bool) -> None:
    """Compare everything that the source has with what is here, and sign what came of it.

    Exit code 1: the two differ; it is told in what.
    """
    from xds.audit.log.sequencer import signing_key
    from xds.merging.proving import prove as compare
    from xds.merging.proving import signed

    with site_of(name, config, data) as site:
        proof = compare(site.database, site.source, samples=samples)
        if out is not None:
            out.write_bytes(signed(proof, site.source, datetime.now(UTC), signing_key(site.loaded)))
    if json_:
        print_json({
            "there": proof.there, "here": proof.here, "rootThere": proof.root_there.hex(),
            "rootHere": proof.root_here.hex(), "readBack": proof.read_back, "holds": proof.holds,
            "differences": proof.differences, "by": proof.by,
        })  # fmt: skip
    else:
        _tell_proof(proof)
    sys.exit(0 if proof.holds else 1)


def _tell_proof(proof: Proof) -> None:
    click.echo(f"there: {counted(proof.there, 'entry', 'entries')}, root {proof.root_there.hex()}")
    click.echo(f"here:  {counted(proof.here, 'entry', 'entries')}, root {proof.root_here.hex()}")
    click.echo(f"{counted(proof.read_back, 'document')} read on both sides")
    for uuid, how in proof.differences[:TOLD]:
        click.echo(f"  {uuid}: {how}", err=True)
    click.echo("the two have the same" if proof.holds else f"{counted(len(proof.differences), 'difference')}")


@merge.command(epilog="Example: xds merge undo south --dry-run --config xds.toml")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
@deployment
def undo(name: str, config: Path | None, data: str | None, dry_run: bool, json_: bool) -> None:
    """Remove again what was copied; the source is not touched, and can be copied again.

    Patients of whom anything was changed here since keep all of it, and are told. Exit code 1: there are some.
    """
    import getpass

    from xds.audit.messages.events import source_of
    from xds.cli.common import alerted
    from xds.merging.undoing import undo as remove

    with site_of(name, config, data, asks=False) as site:
        if not dry_run:
            with site.engine.begin() as connection:
                text = f"what was merged from {name} is removed"
                alerted(connection, site.loaded, getpass.getuser(), "110141", "urn:xds:merge", text)
        undone = remove(site.database, name, source_of(site.loaded.settings), dry=dry_run)
    if json_:
        print_json(asdict(undone) | {"dry_run": dry_run})
    else:
        _tell_undone(undone, dry_run=dry_run)
    sys.exit(1 if undone.changed else 0)


def _tell_undone(undone: Undone, *, dry_run: bool) -> None:
    would = "would be removed" if dry_run else "removed"
    click.echo(f"{counted(undone.objects, 'object')} and {counted(undone.documents, 'document')} {would}")
    for uuid in undone.changed[:TOLD]:
        click.echo(f"  {uuid} was changed here, or is led to from here: its patient keeps all", err=True)


def _said(done: Done) -> str:
    from rich.filesize import decimal

    said = [f"{counted(done.patients, 'patient')}", f"{done.copied} objects copied ({decimal(done.copied_bytes)})"]
    said += [f"{done.changed} changed"] if done.changed else []
    said += [f"{done.left} left"] if done.left else []
    said += [f"{done.gone} gone at the source"] if done.gone else []
    said += [f"{counted(done.failed, 'patient')} not told whole"] if done.failed else []
    return ", ".join(said)


def _report(
    site: Site, done: Done | None, seconds: float, takes: dict[str, Any] | None = None, *, json_: bool
) -> None:  # fmt: skip
    from xds.store.engine import reading
    from xds.store.merging import Ledger, shared_studies

    with reading(site.engine) as connection:
        ledger = Ledger(connection, site.source.label)
        found: dict[str, Any] = {
            "patients": ledger.patients_by_state(),
            "objects": [
                {"kind": one.kind, "state": one.state, "objects": one.objects, "bytes": one.size_bytes}
                for one in ledger.totals()
            ],
            "types": ledger.counted_by("type_code"),
            "repositories": [
                {"repositoryUniqueId": one, "entries": n, "known": site.source.knows(one)}
                for one, n in ledger.counted_by("repository_unique_id")
            ],
            "reasons": [{"state": state, "why": why, "objects": n} for state, why, n in ledger.reasons()],
            "waitingPatients": ledger.unsettled_patients(1000),
            "sharedStudies": shared_studies(connection, site.source.label),
        }
    if done is not None:
        found |= {"done": asdict(done), "seconds": round(seconds, 1)}
    if takes is not None:
        found["copy"] = takes
    if json_:
        print_json(found)
        return
    if done is not None:
        click.echo(f"{_said(done)}, in {seconds:.1f} s")
    _tell(found)


def _tell_estimate(takes: dict[str, Any]) -> None:
    from rich.filesize import decimal

    from xds.merging.estimating import told

    about = "" if takes["seconds"] is None else f", in about {told(takes['seconds'])}"
    room = f"{decimal(takes['bytes'])} of disk ({decimal(takes['free'])} are free)"
    click.echo(f"to copy: {counted(takes['documents'], 'document')}: {room}{about}")
    if takes["notRead"]:
        click.echo(f"  of {takes['notRead']} that were to be read as a sample none came")


def _tell(found: dict[str, Any]) -> None:
    from rich.filesize import decimal

    if found.get("copy"):
        _tell_estimate(found["copy"])
    states = ", ".join(f"{n} {state}" for state, n in sorted(found["patients"].items()))
    click.echo(f"patients: {states}")
    for one in found["objects"]:
        size = f", {decimal(one['bytes'])}" if one["kind"] == "DE" else ""
        click.echo(f"{_KINDS[one['kind']]:>16}: {one['objects']} {one['state']}{size}")
    for one in found["repositories"][:TOLD]:
        unknown = "" if one["known"] or not one["repositoryUniqueId"] else "; [repositories] does not say where it is"
        click.echo(f"in {one['repositoryUniqueId'] or 'no repository'}: {one['entries']} entries{unknown}")
    for one in found["reasons"][:TOLD]:
        click.echo(f"{one['state']}: {counted(one['objects'], 'object')}: {one['why']}")
    for study, other in found["sharedStudies"][:TOLD]:
        click.echo(f"study {study} is of {other}, too")
    for _, state, why in found["waitingPatients"][:TOLD]:
        click.echo(f"a patient {state}: {why}")
