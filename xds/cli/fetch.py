"""``xds fetch``: finds a patient's images, or the priors of a study, and brings them here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, counted, print_json
from xds.cli.options import audited, searching
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.actors.document_consumer import Search
    from xds.cli.client import Desk
    from xds.cli.fetching import Outcome, Way
    from xds.metadata.document_entry import DocumentEntry


@click.command(epilog="Example: xds fetch --patient 'anna^^^&1.2.3.4&ISO' --to ./images --config clinic.toml")
@searching
@click.option("--to", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the images go.")
@click.option("--priors-of", metavar="UID", default="", help="Earlier studies of that one's anatomy or modality.")
@click.option("--most", metavar="N", default=5, show_default=True, help="Priors, the newest first.")
@click.option("--by", "way", type=click.Choice(["auto", "rad-69", "wado-rs"]), default="auto", show_default=True)
@click.option("--dicomdir", is_flag=True, help="Also as a file-set with a DICOMDIR, under DIR/file-set.")
@click.option("--zip", "zip_", metavar="FILE", type=click.Path(path_type=Path), help="Also as one ZIP file.")
@as_json
@audited
def fetch(
    patient: str,
    study: str,
    accession: str,
    modality: str,
    since: str,
    until: str,
    registry: str,
    to: Path,
    priors_of: str,
    most: int,
    way: Way,
    dicomdir: bool,
    zip_: Path | None,
    json_: bool,
    config: Path | None,
    data: str | None,
    audit_to: str,
) -> None:
    """Fetch a patient's images: find, fetch manifests, retrieve every instance, check it.

    What is in DIR already, whole, is not fetched again.  Images come by RAD-69 where the settings name their source,
    else by WADO-RS where the manifest does, at hosts of [imaging_sources] and console.fetch_from only.  With --registry
    of a gateway what is of other communities comes, too, by way of it.
    """
    from xds.cli import packing
    from xds.cli.client import desk
    from xds.cli.fetching import Outcome
    from xds.cli.find import found, search_of

    outcome = Outcome()
    with desk(config, data, audit_to) as at:
        search = search_of(patient, study, accession, modality, since, until)
        entries = found(at, registry, search, outcome.problems)
        if priors_of:
            entries = priors(entries, priors_of)[:most]
        _fetched(at, registry, entries, to, outcome, quiet=json_, way=way)
    with_problems = outcome.problems
    if dicomdir:
        packing.file_set(outcome.folders, to / "file-set")
    if zip_:
        packing.zipped(outcome.folders, zip_)
    if json_:
        print_json({f: getattr(outcome, f) for f in ("studies", "promised", "arrived", "kept_before", "size_bytes")}
                   | {"problems": with_problems})  # fmt: skip
    else:
        click.echo(_said(outcome))
        for problem in with_problems:
            click.echo(f"  {problem}", err=True)
    sys.exit(1 if with_problems else 0)


def _said(outcome: Outcome) -> str:
    """What came, in a line."""
    from rich.filesize import decimal

    before = f", {outcome.kept_before} of them {'was' if outcome.kept_before == 1 else 'were'} here before"
    images = f"{outcome.arrived} of {counted(outcome.promised, 'image')} arrived"
    size = f", {decimal(outcome.size_bytes)}" if outcome.size_bytes else ""
    return f"{counted(outcome.studies, 'study', 'studies')}: {images}{before if outcome.kept_before else ''}{size}"


def fetch_all(at: Desk, registry: str, search: Search, to: Path, outcome: Outcome, *, quiet: bool) -> None:
    """Fetch what a search finds into a folder; what happened is added to the outcome.

    Raises:
        Refused, NoReply, Faulted, Unusable: a step that the rest stands on failed.
    """
    from xds.cli.find import found

    _fetched(at, registry, found(at, registry, search, outcome.problems), to, outcome, quiet=quiet)


def _fetched(
    at: Desk,
    registry: str,
    entries: Sequence[DocumentEntry],
    to: Path,
    outcome: Outcome,
    *,
    quiet: bool,
    way: Way = "auto",
) -> None:
    from xds.cli.fetching import Fetch, document
    from xds.cli.progress import progress
    from xds.wire.spool import Spool

    to.mkdir(parents=True, exist_ok=True)
    with progress(quiet=quiet) as bar, Spool(to / ".incoming", "fetched-") as spool:
        fetch = Fetch(at, to, spool, bar, outcome, way, registry)
        for entry in entries:
            document(fetch, entry)
    with contextlib.suppress(OSError):  # another fetch into the same folder may be under way
        (to / ".incoming").rmdir()


def priors(entries: Sequence[DocumentEntry], study: str) -> list[DocumentEntry]:
    """The manifests of earlier studies with a modality or an anatomic region of that study's, the newest first.

    Raises:
        Unusable: the study is not among the entries.
    """
    from xds.imaging.entry import FORMAT_CODE

    manifests = [one for one in entries if one.format_code.key == FORMAT_CODE.key]
    current = next((one for one in manifests if study in one.study_instance_uids), None)
    if current is None:
        raise Unusable(f"the registry has no manifest of study {study} for this patient")
    codes = {code.key for code in current.event_code_list}
    began = _began(current)
    earlier = [
        one
        for one in manifests
        if study not in one.study_instance_uids
        and (not began or not _began(one) or _began(one) < began)
        and (not codes or codes & {code.key for code in one.event_code_list})
    ]
    return sorted(earlier, key=_began, reverse=True)


def _began(entry: DocumentEntry) -> str:
    return entry.service_start_time.padded if entry.service_start_time else ""
