"""``xds fetch``: ITI-43 for the manifest, RAD-69 for its images, each checked against what was promised."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pydicom
from pydicom.errors import InvalidDicomError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

from xds.actors.document_consumer import Search, batches, retrieve, retrieve_images
from xds.cli.client import Desk, audited, desk
from xds.cli.common import as_json, print_json
from xds.cli.find import found, search_of, searching
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import Finding
from xds.imaging import kos
from xds.imaging.entry import FORMAT_CODE
from xds.imaging.manifest import Manifest
from xds.metadata.document_entry import DocumentEntry
from xds.store.documents import sync_folder
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire.spool import Spool, Spooled

# Everything that pydicom's users commonly read; the uncompressed ones last, so that sources send as stored.
TRANSFER_SYNTAXES = tuple(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91", ".4.201", ".4.202", ".4.203",
        ".4.100", ".4.102", ".4.103", ".5", ".1.99", ".2", ".1", "",
    )
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What came, and what did not."""

    studies: int = 0
    promised: int = 0
    arrived: int = 0
    kept_before: int = 0
    size_bytes: int = 0
    problems: list[str] | None = None

    def problem(self, text: str) -> None:
        self.problems = [*(self.problems or ()), text]


@click.command(epilog="Example: xds fetch --patient 'anna^^^&1.2.3.4&ISO' --to ./images --config clinic.toml")
@searching
@click.option("--to", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the images go.")
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
    json_: bool,
    config: Path | None,
    data: str | None,
    audit_to: str,
) -> None:
    """Fetch a patient's images: find, fetch manifests, retrieve every instance, check it.

    What is in DIR already, whole, is not fetched again.
    """
    outcome = Outcome()
    with desk(config, data, audit_to) as at:
        search = search_of(patient, study, accession, modality, since, until)
        fetch_all(at, registry, search, to, outcome, quiet=json_)
    with_problems = outcome.problems or []
    if json_:
        print_json({f: getattr(outcome, f) for f in ("studies", "promised", "arrived", "kept_before", "size_bytes")}
                   | {"problems": with_problems})  # fmt: skip
    else:
        click.echo(f"{outcome.studies} studies: {outcome.arrived} of {outcome.promised} instances arrived"
                   f"{f', {outcome.kept_before} were here' if outcome.kept_before else ''}")  # fmt: skip
        for problem in with_problems:
            click.echo(f"  {problem}", err=True)
    sys.exit(1 if with_problems else 0)


def fetch_all(at: Desk, registry: str, search: Search, to: Path, outcome: Outcome, *, quiet: bool) -> None:
    """Fetch what a search finds into a folder; what happened is added to the outcome.

    Raises:
        Refused, NoReply, Faulted, Unusable: a step that the rest stands on failed.
    """
    entries = found(at, registry, search)
    to.mkdir(parents=True, exist_ok=True)
    with _progress(quiet) as progress, Spool(to / ".incoming") as spool:
        for entry in entries:
            _document(at, entry, to, spool, progress, outcome)
    with contextlib.suppress(OSError):  # another fetch into the same folder may be under way
        (to / ".incoming").rmdir()


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=Console(stderr=True), disable=quiet,
    )  # fmt: skip


def _document(at: Desk, entry: DocumentEntry, to: Path, spool: Spool, progress: Progress, outcome: Outcome) -> None:
    """One document of the answer: a manifest with its images, or any other as a file."""
    repository = entry.repository_unique_id or ""
    request = DocumentRequest(repository, entry.unique_id, entry.home_community_id)
    peer = at.repository(repository)
    with at.transaction(ITI_43, peer.url) as event:
        event.about_patient(str(entry.patient_id))
        event.about_documents([request])
        got = retrieve(at.client(peer), ITI_43.action, [request], spool)
        event.end(failed=not got.documents, findings=got.findings)
    for finding in got.findings:
        outcome.problem(_said(finding))
    spooled = got.documents.get(entry.unique_id)
    if spooled is None:
        outcome.problem(f"{entry.unique_id}: did not come")
    elif (spooled.sha1, spooled.size_bytes) != ((entry.hash or "").lower(), entry.size):
        outcome.problem(f"{entry.unique_id}: not the document that was registered (hash or size differs)")
    elif entry.format_code.key == FORMAT_CODE.key:
        _images(at, entry, spooled, to, spool, progress, outcome)
    else:
        _keep(spooled, to / _file_name(entry.unique_id))


def _images(
    at: Desk, entry: DocumentEntry, spooled: Spooled, to: Path, spool: Spool, progress: Progress, outcome: Outcome
) -> None:
    try:
        manifest = kos.read(spooled.path.read_bytes())
    except kos.NotAManifest as problem:
        outcome.problem(f"{entry.unique_id}: no manifest: {problem}")
        return
    folder = to / _file_name(manifest.study_instance_uid)
    _keep(spooled, folder / "manifest.dcm")
    outcome.studies += 1
    outcome.promised += manifest.count
    task = progress.add_task(f"study …{manifest.study_instance_uid[-12:]}", total=manifest.count)
    for location, request in _requests(manifest, folder, outcome):
        peer = at.imaging_source(location)
        for batch in batches(request):
            with at.transaction(RAD_69, peer.url) as event:
                event.about_patient(str(entry.patient_id))
                event.about_studies(batch)
                got = retrieve_images(at.client(peer), RAD_69.action, batch, spool)
                event.end(failed=not got.documents, findings=got.findings)
            for finding in got.findings:
                outcome.problem(_said(finding))
            for instance in batch.instances:
                _instance(instance, got.documents, manifest, folder, outcome)
                progress.advance(task)


def _requests(manifest: Manifest, folder: Path, outcome: Outcome) -> Iterator[tuple[str, ImagingRequest]]:
    """What is not here yet, a request a source."""
    missing: dict[str, list[InstanceRequest]] = {}
    for series, instance in manifest.instances():
        location = series.retrieve_location_uid
        request = InstanceRequest(
            manifest.study_instance_uid,
            series.series_instance_uid,
            DocumentRequest(location, instance.sop_instance_uid),
        )
        if _path(folder, request).exists():
            outcome.kept_before += 1
            outcome.arrived += 1
        else:
            missing.setdefault(location, []).append(request)
    for location, requests in missing.items():
        yield location, ImagingRequest(tuple(requests), TRANSFER_SYNTAXES)


def _path(folder: Path, request: InstanceRequest) -> Path:
    return folder / _file_name(request.series_instance_uid) / f"{_file_name(request.document.document_unique_id)}.dcm"


def _instance(request: InstanceRequest, documents: object, manifest: Manifest, folder: Path, outcome: Outcome) -> None:
    """Keep an instance if it is the one that the manifest promised."""
    uid = request.document.document_unique_id
    spooled = documents.get(uid) if isinstance(documents, dict) else None
    if spooled is None:
        outcome.problem(f"{uid}: promised and did not come")
        return
    wrong = _differs(spooled.path, request, manifest)
    if wrong:
        outcome.problem(f"{uid}: {wrong}")
        return
    _keep(spooled, _path(folder, request))
    outcome.arrived += 1
    outcome.size_bytes += spooled.size_bytes


def _differs(path: Path, request: InstanceRequest, manifest: Manifest) -> str:
    """How a file differs from what was promised; empty when it does not."""
    promised = {
        "StudyInstanceUID": request.study_instance_uid,
        "SeriesInstanceUID": request.series_instance_uid,
        "SOPInstanceUID": request.document.document_unique_id,
        "SOPClassUID": next(
            i.sop_class_uid
            for _, i in manifest.instances()
            if i.sop_instance_uid == request.document.document_unique_id
        ),
    }
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(promised))
    except (InvalidDicomError, OSError, ValueError, KeyError):
        return "is no DICOM file"
    return ", ".join(f"{key} differs" for key, value in promised.items() if str(header.get(key, "")) != value)


def _keep(spooled: Spooled, path: Path) -> None:
    """Move a file to its place, whole and synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with spooled.path.open("rb") as file:
        os.fsync(file.fileno())
    spooled.path.chmod(0o644)
    spooled.path.rename(path)
    sync_folder(path.parent)


def _file_name(uid: str) -> str:
    """An identifier as a file's name: what others send never names a path."""
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in uid).lstrip(".")[:128] or "_"


def _said(finding: Finding) -> str:
    return f"{finding.location or 'the source'}: {finding.code}: {finding.context}"
