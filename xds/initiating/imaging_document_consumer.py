"""An Imaging Document Consumer inside a server: finds a patient's studies, reads manifests, gets single instances.

ITI TF-2: 3.18, 3.43; RAD TF-2: 4.69.  What runs in this process is called, all else is sent to; each step is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from xds.actors.document_consumer import Search, read_answer, retrieve, retrieve_images
from xds.audit.messages.events import AuditEvent
from xds.ebxml.query import AdhocQuery, write_request
from xds.ebxml.rim import Slot
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import Finding, Refused
from xds.imaging import kos
from xds.imaging.entry import FORMAT_CODE
from xds.imaging.manifest import Manifest
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.transactions.transaction import Transaction
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.spool import NotKept, Spool, Spooled

REMEMBERED = 100_000
"""Documents of which it is remembered whose they are."""


SAID = 200
"""Characters of a peer's own words that are passed on."""


class Unavailable(Exception):
    """Somebody who is needed does not answer, refuses, or is not known; the message says who, for people to read.

    ``place`` is a repositoryUniqueId or Retrieve Location UID; ``codes`` are of the errors that were answered.
    """

    def __init__(self, reason: str, place: str = "", called: str = "", codes: Collection[str] = ()) -> None:
        """``reason`` goes on after the name of who it is, which is ``called`` so where nobody knows a better one."""
        super().__init__(f"{called or place} {reason}".strip())
        self.reason, self.place, self.codes = reason, place, frozenset(codes)

    def of(self, name: Callable[[str], str]) -> str:
        """The message, with the place as people call it."""
        return f"{name(self.place)} {self.reason}" if self.place else str(self)


@dataclass(frozen=True, slots=True)
class Peers:
    """Who is asked: the registry, repositories by repositoryUniqueId, sources by Retrieve Location UID.

    ``registry`` may be a gateway: what is of another community, and of nobody who is known here, is asked of it.
    """

    registry: Client | None
    repository: Callable[[str], Client | None]
    source: Callable[[str], Client | None]


class Listed(NamedTuple):
    """The manifests of a patient, how many other documents there are, and why these may not be all."""

    manifests: list[DocumentEntry]
    others: int
    missing: Sequence[Finding]


class Consuming:
    """Safe with threads."""

    def __init__(
        self, peers: Peers, new_event: Callable[[Transaction, str], AuditEvent], recorded: Callable[[AuditEvent], None],
        spool: Path,
    ) -> None:  # fmt: skip
        self.peers, self._new_event, self._recorded, self._spool = peers, new_event, recorded, spool
        self._patients: dict[str, str] = {}  # whose a document is that was found a while ago, by its uniqueId

    def studies(self, patient_id: PatientId) -> Listed:
        """The manifests of a patient, whichever source they are of.

        Raises:
            Unavailable: see there.
        """
        client = _known(self.peers.registry, "no registry is set in console.registry_url")
        query_id, parameters = Search(patient_id).query()
        slots = tuple(Slot(f"${name}", tuple(values)) for name, values in parameters.items())
        asked = AdhocQuery(query_id, "LeafClass", slots)
        body = etree.tostring(write_request(asked))
        with self._step(ITI_18, client.url, called="the registry") as event, Spool(self._spool) as spool:
            event.about_query(asked, body)
            event.about_patient(str(patient_id))
            found, missing = read_answer(client.send(ITI_18.action, [body], spool, as_mtom=False).body)
            event.end(failed=False, findings=missing)
        manifests = [entry for entry in found if entry.format_code.key == FORMAT_CODE.key]
        if len(self._patients) > REMEMBERED:
            self._patients = {}
        self._patients |= dict.fromkeys((entry.unique_id for entry in manifests), str(patient_id))
        return Listed(manifests, len(found) - len(manifests), missing)

    def is_elsewhere(self, entry: DocumentEntry) -> bool:
        """Whether a document is of another community."""
        return bool(entry.home_community_id) and self.peers.repository(entry.repository_unique_id or "") is None

    def manifest(
        self, repository: str, unique_id: str, patient_id: PatientId | None = None, home: str = ""
    ) -> Manifest:  # fmt: skip
        """A manifest by where it is kept; ``patient_id``: whose it is said to be, where that was not found here.

        ``home`` is the homeCommunityId of another community's.

        Raises:
            Unavailable: see there; also where the document is no manifest.
        """
        with self.document(repository, unique_id, patient_id, home) as spooled:
            if spooled.size_bytes > kos.MOST_BYTES:
                raise Unavailable("the document is too long for a manifest")
            try:
                return kos.read(spooled.path.read_bytes())
            except kos.NotAManifest:
                raise Unavailable("the document is no manifest") from None

    @contextmanager
    def document(
        self, repository: str, unique_id: str, patient_id: PatientId | None = None, home: str = ""
    ) -> Iterator[Spooled]:
        """A document by where it is kept, in a file that is there until the block ends.

        Raises:
            Unavailable: see there.
        """
        client = self._client(self.peers.repository(repository), home, "is not in [repositories]", repository)
        request = DocumentRequest(repository, unique_id, home or None)
        with Spool(self._spool) as spool:
            with self._step(ITI_43, client.url, repository) as event:
                if patient_id is not None:
                    self._patients.setdefault(unique_id, str(patient_id))
                event.about_patient(self._patients.get(unique_id, ""))
                event.about_documents([request])
                got = retrieve(client, ITI_43.action, [request], spool)
                event.end(failed=not got.documents, findings=got.findings)
                spooled = got.documents.get(unique_id)
                if spooled is None:
                    raise Unavailable(f"does not give the document{_words(got.findings)}", repository)
            yield spooled

    @contextmanager
    def instance(self, manifest: Manifest, sop_instance_uid: str, home: str = "") -> Iterator[Path]:
        """One instance of a manifest, uncompressed, in a file that is there until the block ends.

        ``home``: as of the manifest.

        Raises:
            Unavailable: see there; also where the manifest does not list it.
        """
        listed = (series for series, one in manifest.instances() if one.sop_instance_uid == sop_instance_uid)
        series = next(listed, None)
        if series is None:
            raise Unavailable("the manifest lists no such instance")
        location = series.retrieve_location_uid
        client = self._client(self.peers.source(location), home, "is not in [imaging_sources]", location)
        document = DocumentRequest(location, sop_instance_uid, home or None)
        request = InstanceRequest(manifest.study_instance_uid, series.series_instance_uid, document)
        asked = ImagingRequest((request,), (EXPLICIT_LITTLE, IMPLICIT_LITTLE))
        with Spool(self._spool) as spool:
            with self._step(RAD_69, client.url, location) as event:
                event.about_patient(self._patients.get(manifest.sop_instance_uid, ""))
                event.about_studies(asked)
                event.of_classes((i.sop_instance_uid, i.sop_class_uid) for i in series.instances)
                got = retrieve_images(client, RAD_69.action, asked, spool)
                event.end(failed=not got.documents, findings=got.findings)
            spooled = got.documents.get(sop_instance_uid)
            if spooled is None:
                raise Unavailable(f"does not give the image{_words(got.findings)}", location)
            yield spooled.path

    def _client(self, client: Client | None, home: str, otherwise: str, place: str) -> Client:
        """Who is asked: whoever is known here, else the gateway for what is of another community."""
        return _known(client or (self.peers.registry if home else None), otherwise, place)

    @contextmanager
    def _step(self, transaction: Transaction, url: str, place: str = "", called: str = "") -> Iterator[AuditEvent]:
        """One transaction that we start; its record is kept before what came of it is shown."""
        called = f"{called or place} ({url})"
        event = self._new_event(transaction, url)
        try:
            yield event
            event.end(failed=False)
        except Refused as refused:
            event.end(failed=True, findings=refused.findings)
            codes = [finding.code for finding in refused.findings]
            raise Unavailable(f"refuses{_words(refused.findings)}", place, called, codes) from None
        except NoReply as problem:
            event.end(failed=True)
            why = str(problem).removeprefix(f"{url}: ")
            raise Unavailable(f"does not answer: {why} (tried {_clock()})", place, called) from None
        except Faulted as fault:
            event.end(failed=True)
            raise Unavailable(f"does not do it: {str(fault)[:SAID]}", place, called) from None
        except ValueError:
            event.end(failed=True)
            raise Unavailable("answers what is not understood", place, called) from None
        except NotKept:
            event.end(failed=True)
            raise Unavailable("there is no room here for what came") from None
        finally:
            self._recorded(event)


def _words(findings: Sequence[Finding]) -> str:
    """What the other side says of it, in its own words."""
    said = dict.fromkeys(f"{one.code}, {one.context}"[:SAID].strip(", ") for one in findings[:3])
    return f": {'; '.join(said)}" if said else ""


def _clock() -> str:
    return f"{datetime.now(UTC):%H:%M} UTC"


def _known(client: Client | None, otherwise: str, place: str = "") -> Client:
    if client is None:
        raise Unavailable(otherwise, place)
    return client
