"""One document of a search, fetched and kept: a manifest with its images, or any other as a file.

ITI-43 for the document; for images RAD-69 where the settings say where the source is, else WADO-RS (RAD-107) where the
manifest does and the settings know the host.  What is of another community comes by the gateway that has named it.
Sources are asked at once, and each instance is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal

import pydicom
from pydicom.errors import InvalidDicomError
from rich.progress import TaskID

from xds.actors.document_consumer import batches, retrieve, retrieve_images
from xds.archives.interface import Gone, NotAnswering
from xds.archives.web import Web
from xds.cli.client import Desk
from xds.cli.progress import Images
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.endpoints.dicomweb.service import RAD_107
from xds.errors import Finding, Unusable
from xds.imaging import kos
from xds.imaging.entry import FORMAT_CODE
from xds.imaging.manifest import Manifest
from xds.initiating import known_sources
from xds.metadata.document_entry import DocumentEntry
from xds.system.durable import sync_file, sync_folder
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire.spool import NotKept, Spool, Spooled

Way = Literal["auto", "rad-69", "wado-rs"]

AT_ONCE = 4
"""Sources of a study that are asked at once."""

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
    problems: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)  # of studies

    def problem(self, text: str) -> None:
        self.problems.append(text)


@dataclass(slots=True)
class Fetch:
    """One fetch under way: where from, where to, and what has become of it."""

    at: Desk
    to: Path
    spool: Spool
    progress: Images
    outcome: Outcome
    way: Way = "auto"
    gateway: str = ""
    """Where the documents were found: it may be the gateway of those that say of which community they are."""
    wants: Callable[[Manifest], bool] = bool
    """Whether the images of a manifest are to come, too."""
    lock: Lock = field(default_factory=Lock)

    def problem(self, text: str) -> None:
        with self.lock:
            self.outcome.problem(text)

    def said(self, findings: object) -> None:
        for finding in findings if isinstance(findings, list | tuple) else ():
            self.problem(_said(finding))


def document(fetch: Fetch, entry: DocumentEntry) -> None:
    """One document of an answer: a manifest with its images, or any other as a file.

    Raises:
        Refused, NoReply, Faulted, Unusable: a step that the rest stands on failed.
    """
    at = fetch.at
    repository = entry.repository_unique_id or ""
    request = DocumentRequest(repository, entry.unique_id, entry.home_community_id)
    peer = at.repository(repository, fetch.gateway if entry.home_community_id else "")
    with at.transaction(ITI_43, peer.url) as event:
        event.about_patient(str(entry.patient_id))
        event.about_documents([request])
        got = retrieve(at.client(peer), ITI_43.action, [request], fetch.spool)
        event.end(failed=not got.documents, findings=got.findings)
    fetch.said(got.findings)
    spooled = got.documents.get(entry.unique_id)
    if spooled is None:
        fetch.problem(f"{entry.unique_id}: did not come")
    elif (spooled.sha1, spooled.size_bytes) != ((entry.hash or "").lower(), entry.size):
        fetch.problem(f"{entry.unique_id}: not the document that was registered (hash or size differs)")
    elif entry.format_code.key == FORMAT_CODE.key:
        _images(fetch, entry, spooled)
    else:
        _keep(spooled, fetch.to / _file_name(entry.unique_id))


def _images(fetch: Fetch, entry: DocumentEntry, spooled: Spooled) -> None:
    try:
        manifest = kos.read(spooled.path.read_bytes())
    except kos.NotAManifest as problem:
        fetch.problem(f"{entry.unique_id}: no manifest: {problem}")
        return
    folder = fetch.to / _file_name(manifest.study_instance_uid)
    _keep(spooled, folder / "manifest.dcm")
    fetch.outcome.studies += 1
    fetch.outcome.promised += manifest.count
    fetch.outcome.folders.append(folder)
    if not fetch.wants(manifest):
        return
    task = fetch.progress.study(f"study …{manifest.study_instance_uid[-12:]}", manifest.count)
    study = _Study(fetch, str(entry.patient_id), manifest, folder, task, entry.home_community_id)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda one: study.from_source(*one), study.missing()))


@dataclass(frozen=True, slots=True)
class _Study:
    """A study's images on their way."""

    fetch: Fetch
    patient_id: str
    manifest: Manifest
    folder: Path
    task: TaskID
    home: str | None = None  # the homeCommunityId of its manifest

    def missing(self) -> Iterator[tuple[str, str, ImagingRequest]]:
        """What is not here yet, a request a source, with its Retrieve Location UID and URL."""
        found: dict[tuple[str, str], list[InstanceRequest]] = {}
        for series, instance in self.manifest.instances():
            location = series.retrieve_location_uid
            request = InstanceRequest(
                self.manifest.study_instance_uid,
                series.series_instance_uid,
                DocumentRequest(location, instance.sop_instance_uid, self.home),
            )
            if _path(self.folder, request).exists():
                self.fetch.outcome.kept_before += 1
                self.fetch.outcome.arrived += 1
                self.fetch.progress.came(self.task)
            else:
                found.setdefault((location, series.retrieve_url), []).append(request)
        for (location, url), requests in found.items():
            yield location, url, ImagingRequest(tuple(requests), TRANSFER_SYNTAXES)

    def from_source(self, location: str, url: str, request: ImagingRequest) -> None:
        """Everything that one source has of it.

        Raises:
            NoReply, Faulted, Unusable: the source does not answer, or is not known.
        """
        gateway = self.fetch.gateway if self.home else ""
        known = location in self.fetch.at.settings.imaging_sources or bool(gateway)
        if self.fetch.way == "wado-rs" or (self.fetch.way == "auto" and not known and url):
            if not url:
                raise Unusable(f"the manifest names no WADO-RS service for source {location}")
            known_sources.check(url, self.fetch.at.settings)
            self._by_wado_rs(url, request)
            return
        peer = self.fetch.at.imaging_source(location, gateway)
        for batch in batches(request):
            with self.fetch.at.transaction(RAD_69, peer.url) as event:
                event.about_patient(self.patient_id)
                event.about_studies(batch)
                event.of_classes(self._classes())
                got = retrieve_images(self.fetch.at.client(peer), RAD_69.action, batch, self.fetch.spool)
                event.end(failed=not got.documents, findings=got.findings)
            self.fetch.said(got.findings)
            for instance in batch.instances:
                self._keep(instance, got.documents.get(instance.document.document_unique_id))

    def _classes(self) -> Iterator[tuple[str, str]]:
        return ((one.sop_instance_uid, one.sop_class_uid) for _, one in self.manifest.instances())

    def _by_wado_rs(self, url: str, request: ImagingRequest) -> None:
        """Instance by instance, so that a break costs little (RAD TF-2: 4.107)."""
        peer = self.fetch.at.peer(url)
        web = Web(
            url, certificate=peer.certificate, key=peer.key, trusted=peer.trusted,
            authorization=self.fetch.at.authorization(url),
        )  # fmt: skip
        for batch in batches(request):
            with self.fetch.at.web_transaction(RAD_107, url) as event:
                event.about_patient(self.patient_id)
                event.about_instances((i.study_instance_uid, i.document.document_unique_id) for i in batch.instances)
                event.of_classes(self._classes())
                got = [(one, self._one(web, one)) for one in batch.instances]
                failed = [one.document.document_unique_id for one, spooled in got if spooled is None]
                event.end(failed=len(failed) == len(got))
                if failed and len(failed) < len(got):
                    event.partly_failed(failed)
            for instance, spooled in got:
                self._keep(instance, spooled)

    def _one(self, web: Web, instance: InstanceRequest) -> Spooled | None:
        """An instance, if it came."""
        uid = instance.document.document_unique_id
        writing = self.fetch.spool.new()
        try:
            web.instance(
                f"/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}/instances/{uid}",
                writing.write,
            )
            return writing.finish()
        except (Gone, NotAnswering, NotKept) as problem:
            self.fetch.problem(f"{uid}: {problem}")
            return None

    def _keep(self, request: InstanceRequest, spooled: Spooled | None) -> None:
        """Keep an instance if it is the one that the manifest promised."""
        uid = request.document.document_unique_id
        self.fetch.progress.came(self.task, spooled.size_bytes if spooled is not None else 0)
        if spooled is None:
            self.fetch.problem(f"{uid}: promised and did not come")
            return
        wrong = _differs(spooled.path, request, self.manifest)
        if wrong:
            self.fetch.problem(f"{uid}: {wrong}")
            return
        _keep(spooled, _path(self.folder, request))
        with self.fetch.lock:
            self.fetch.outcome.arrived += 1
            self.fetch.outcome.size_bytes += spooled.size_bytes


def _path(folder: Path, request: InstanceRequest) -> Path:
    return folder / _file_name(request.series_instance_uid) / f"{_file_name(request.document.document_unique_id)}.dcm"


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
    sync_file(spooled.path)
    spooled.path.rename(path)
    sync_folder(path.parent)


def _file_name(uid: str) -> str:
    """An identifier as a file's name: what others send never names a path."""
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in uid).lstrip(".")[:128] or "_"


def _said(finding: Finding) -> str:
    return f"{finding.location or 'the source'}: {finding.code}: {finding.context}"
