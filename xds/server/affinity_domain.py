"""One affinity domain of a deployment: its actors joined, their addresses, the audit events of both sides."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from xds.access.senders import Senders
from xds.access.users import Users
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository, NoAnswer
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.remote_registry import RemoteRegistry, settling_query
from xds.archives.dicomweb import DicomWebWay
from xds.archives.dimse import DimseWay
from xds.archives.dimse import Peer as DimsePeer
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake
from xds.archives.interface import Archive
from xds.archives.orthanc import OrthancChanges
from xds.archives.pacs import Pacs, Way
from xds.archives.patients import Patients, PatientTable
from xds.archives.web import Web
from xds.audit.messages.events import AuditEvent, Party, Side, source_of
from xds.ebxml import rim
from xds.endpoints.captures import Captures
from xds.endpoints.dicomweb.service import RAD_129, DicomWeb
from xds.endpoints.dicomweb.store import RAD_108, Storing
from xds.endpoints.fhir.search import ITI_81
from xds.endpoints.intake_records import Recording
from xds.endpoints.mllp import Feeding
from xds.endpoints.soap import Exchange
from xds.errors import Finding, Refused, Severity, Unusable
from xds.hl7.feed import FeedAction
from xds.hl7.v2 import EVENTS, Authorities, Header
from xds.imaging.entry import Defaults
from xds.imaging.group import Study
from xds.imaging.manifest import Manifest
from xds.imaging.study import manifest_of
from xds.initiating.imaging_document_consumer import Consuming, Peers
from xds.initiating.patient_identifier_consumer import CrossReferenced, manager
from xds.initiating.publisher import Publisher, Where
from xds.metadata.identifiers import Oid, is_oid
from xds.rules.code_sets import ANY, CodeSets, CodeSetsFile
from xds.settings.sections import DEFAULT_DOMAIN, Domain, Peer, Settings
from xds.store.audit import records as audit_store
from xds.store.interface import Blobs
from xds.store.work import Database
from xds.transactions import (
    iti8_patient_identity_feed,
    iti18_registry_stored_query,
    iti41_provide_and_register_document_set_b,
    iti42_register_document_set_b,
    iti43_retrieve_document_set,
    iti44_patient_identity_feed_hl7v3,
    iti51_multi_patient_stored_query,
    iti57_update_document_set,
    iti61_register_on_demand_document_entry,
    iti62_remove_metadata,
    iti86_remove_documents,
    iti92_restricted_update_document_set,
    rad69_retrieve_imaging_document_set,
)
from xds.transactions.transaction import Call, Transaction
from xds.wire.client import Client, LocalClient
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.metrics import Metrics
from xds.wire.mime import Limits
from xds.wire.soap import Message
from xds.wire.spool import Spool

SERVED: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "registry": (
        "DocumentRegistry",
        (
            iti18_registry_stored_query,
            iti42_register_document_set_b,
            iti44_patient_identity_feed_hl7v3,
            iti51_multi_patient_stored_query,
            iti57_update_document_set,
            iti61_register_on_demand_document_entry,
            iti62_remove_metadata,
            iti92_restricted_update_document_set,
        ),
    ),
    "repository": (
        "DocumentRepository",
        (iti41_provide_and_register_document_set_b, iti43_retrieve_document_set, iti86_remove_documents),
    ),
    "imaging-source": ("ImagingDocumentSource", (rad69_retrieve_imaging_document_set,)),
}
"""Each actor by the last part of its path, with its title and the transactions it answers."""

NOT_BY_DOMAIN = ("imaging-source",)
"""Actors that belong to the deployment, and have the bare path only."""


@dataclass(frozen=True, slots=True)
class Actors:
    """The actors of one process that transactions speak to."""

    registry: DocumentRegistry
    repository: DocumentRepository
    imaging_source: ImagingDocumentSource
    register: Callable[[rim.RegistryObjectList, Call], tuple[Finding, ...]]


def archive(settings: Settings) -> Archive | None:
    """The images of this deployment, where it has any.

    Raises:
        Unusable: the folder is not there, its index or the spool cannot be made, there are several archives, or one
            is malformed.
    """
    imaging = settings.imaging_source
    if sum(map(bool, (imaging.folder, imaging.dicomweb, imaging.dimse))) > 1:
        raise Unusable("imaging_source: folder, dicomweb or dimse, one of them")
    try:
        way = _way(settings)
        if way is not None:
            seconds = imaging.pacs_seconds
            return Pacs(way, settings.data / "spool", zone=imaging.timezone, known_seconds=seconds)
        if not imaging.folder:
            return None
        return FolderArchive(
            Path(imaging.folder), settings.data / "images.sqlite", settings.data / "spool", zone=imaging.timezone
        )
    except (OSError, ValueError) as problem:
        raise Unusable(f"imaging_source: {problem}") from None


def intake(settings: Settings) -> Intake:
    """What takes instances into the folder.

    Raises:
        Unusable: there is no folder.
    """
    images = archive(settings)
    if not isinstance(images, FolderArchive):
        raise Unusable("imaging_source.stow_rs and cstore_listen take instances into imaging_source.folder: set it")
    return Intake(images)


def _way(settings: Settings) -> Way | None:
    """How the PACS is spoken to, where the images are in one."""
    imaging = settings.imaging_source
    if imaging.dicomweb:
        return DicomWebWay(_web(settings, imaging.dicomweb))
    if imaging.dimse:
        title, port = imaging.retrieve_ae_title, imaging.dimse_move_port
        peer = DimsePeer.parse(imaging.dimse, own_title=title, move_port=port, seconds=imaging.pacs_seconds)
        return DimseWay(peer)
    return None


def _web(settings: Settings, url: str) -> Web:
    """A PACS' web service, called with this node's certificate."""
    tls, seconds = settings.tls, settings.imaging_source.pacs_seconds
    return Web(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted, seconds=seconds)


def code_sets(domain: Domain) -> Callable[[], CodeSets]:
    """The domain's code sets as they are at the time of each call.

    Raises:
        Unusable: the file cannot be read.
    """
    if not domain.codes or domain.codes_mode == "off":
        return lambda: ANY
    severity = Severity.ERROR if domain.codes_mode == "strict" else Severity.WARNING
    return CodeSetsFile(Path(domain.codes), severity).current


def registry_of(settings: Settings, domain: Domain) -> DocumentRegistry:
    """The Document Registry of an affinity domain.

    Raises:
        Unusable: the code sets cannot be read.
    """
    return DocumentRegistry(
        map(Oid, domain.assigning_authorities),
        open_patients=domain.patients == "open",
        most_results=settings.registry.most_results,
        most_references=settings.registry.most_references,
        refuse_unknown=settings.registry.unknown_patient == "refused",
        code_sets=code_sets(domain),
    )


def manifest_for(study: Study, settings: Settings) -> Manifest:
    """A study's manifest, as this deployment's Imaging Document Source promises it."""
    source = settings.imaging_source
    return manifest_of(
        study,
        retrieve_location_uid=source.retrieve_location_uid,
        retrieve_ae_title=source.retrieve_ae_title,
        retrieve_url=source.retrieve_url,
    )


def owner() -> str:
    """This process, so that what it leaves open can be told from what a living one has open."""
    with open("/proc/self/stat") as stat:  # noqa: PTH123
        started = stat.read().rpartition(")")[2].split()[19]
    return f"{socket.gethostname()} {os.getpid()} {started}"


class AffinityDomain:
    """One affinity domain in one process; others in the same database see nothing of it."""

    def __init__(self, settings: Settings, name: str, engine: sa.Engine, blobs: Blobs) -> None:
        self.settings, self.name = settings, name
        self.own = settings.affinity_domains[name]
        self.path = "" if name == DEFAULT_DOMAIN else f"/{name}"
        self.database = Database(engine, blobs, name, self.own.repository_unique_id)
        self.node = source_of(settings)
        self.actors = self._actors(blobs)

    def _actors(self, blobs: Blobs) -> Actors:
        settings = self.settings
        registry = registry_of(settings, self.own)
        remote = self.remote_registry()

        def register_remotely(objects: rim.RegistryObjectList, call: Call) -> tuple[Finding, ...]:
            """ITI-42 over SOAP; its record has its own outcome."""
            assert remote is not None  # noqa: S101  used only where it is set
            call.sent = True
            event = call.also(self.started(iti42_register_document_set_b.TRANSACTION, remote.url))
            event.about_objects(objects)
            try:
                warnings = remote.register(objects)
            except Refused as refused:
                event.end(failed=True, findings=refused.findings)
                raise
            except NoAnswer:
                event.end(failed=True)
                raise
            event.end(failed=False)
            return warnings

        def register(objects: rim.RegistryObjectList, call: Call) -> tuple[Finding, ...]:
            """ITI-42 to the registry in this process: a call, audited on both sides all the same."""
            for side in Side:
                event = call.also(self._in_process_event(iti42_register_document_set_b.TRANSACTION, side))
                event.about_objects(objects)
            return registry.submit(objects, call.work.registry)

        repository = DocumentRepository(
            self.own.repository_unique_id, blobs, remote=remote is not None, streams=settings.repository.streams
        )
        source = ImagingDocumentSource(
            settings.imaging_source.retrieve_location_uid, archive(settings), streams=settings.imaging_source.streams
        )
        return Actors(registry, repository, source, register if remote is None else register_remotely)

    def remote_registry(self) -> RemoteRegistry | None:
        """The registry elsewhere that ITI-42 goes to, where there is one."""
        settings = self.settings
        if self.path or not settings.repository.registry_url:  # a named domain has its registry here
            return None
        tls = settings.tls
        client = Client(
            settings.repository.registry_url,
            certificate=tls.certificate,
            key=tls.key,
            trusted=tls.trusted,
            seconds=settings.repository.registry_seconds,
        )
        return RemoteRegistry(
            client, iti42_register_document_set_b.TRANSACTION.action, iti18_registry_stored_query.TRANSACTION.action
        )

    def settle(self) -> int:
        """Settle documents whose ITI-42 was never answered; return how many.  Each question is audited."""
        remote = self.remote_registry()
        if remote is None:
            return 0

        def holds(unique_id: str) -> bool:
            event = self.started(iti18_registry_stored_query.TRANSACTION, remote.url)
            event.about_query(*settling_query(unique_id))
            try:
                found = remote.holds(unique_id)
                event.end(failed=False)
                return found
            finally:
                self.record(event)

        # Only when it cannot be under way any more.
        age = self.settings.repository.registry_seconds * 2
        return self.actors.repository.settle(holds, age, self.database.work())

    def feeding(self) -> Feeding:
        """The registry's side of ITI-8.

        Raises:
            Unusable: ``mllp.namespaces`` is malformed.
        """

        def event(head: Header, peer: str) -> AuditEvent:
            """Called by facility and application, as the messages name them (ITI TF-2: 3.8.5.1)."""
            source = Party(f"{head.sending_facility}|{head.sending_application}", peer, requestor=True)
            host = self.own.mllp_listen.rpartition(":")[0].strip("[]")
            host = socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # noqa: S104
            here = Party(f"{head.receiving_facility}|{head.receiving_application}", host, ours=True)
            action = EVENTS.get(head.event, FeedAction.REVISE)
            (audits, *_) = iti8_patient_identity_feed.AUDITS[action]
            transaction = (iti8_patient_identity_feed.NUMBER, iti8_patient_identity_feed.TITLE)
            return AuditEvent(self.node, audits.event_id, audits.action, transaction, source, here)

        return Feeding(self.actors.registry, self.database, _namespaces(self.settings, self.own), event)

    def exchanges(self, metrics: Metrics) -> dict[str, Exchange]:
        """What answers at each path of this domain's.

        Raises:
            Unusable: a sender of the settings is malformed, or the certificate that captures are sealed to.
        """
        settings, senders = self.settings, Senders(self.settings.senders)
        captures = Captures(settings.capture, self.database, senders)
        limits = Limits(settings.server.root_part_bytes, settings.server.part_bytes, settings.server.parts)
        users = Users(settings.xua) if settings.xua.trusted or settings.xua.issuers else None
        return {
            f"{self.path}/{actor}": Exchange(
                title,
                [transaction for page in pages for transaction in transactions_of(page)],
                self.actors,
                self.database,
                limits,
                self.event,
                owner(),
                metrics,
                senders,
                captures,
                users,
            )
            for actor, (title, pages) in SERVED.items()
            if actor in settings.server.actors and not (self.path and actor in NOT_BY_DOMAIN)
        }

    # Audit events.

    def event(self, transaction: Transaction, side: Side, request: HttpRequest, message: Message) -> AuditEvent:
        """The record of a transaction that has reached us, not yet about anything."""
        caller = Party(message.addressing.reply_to or request.remote_address, request.remote_address, requestor=True)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        return self._event(transaction, side, caller, here)

    def web_event(self, transaction: tuple[str, str], request: HttpRequest) -> AuditEvent:
        """The record of a DICOMweb request that has reached us, not yet about anything."""
        caller = Party(request.peer_certificate or request.remote_address, request.remote_address, requestor=True)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        if transaction == RAD_108:
            return AuditEvent(self.node, "110104", "C", transaction, caller, here)
        if transaction == RAD_129:
            return AuditEvent(self.node, "110112", "E", transaction, caller, here)
        return AuditEvent(self.node, "110104", "R", transaction, here, caller)

    def audit_searched(self, request: HttpRequest, asked: str, refused: str) -> None:
        """Record that somebody searched the audit log (ITI TF-2: 3.81.5.1): the query, and that the log was read."""
        caller = Party(request.peer_certificate or request.remote_address, request.remote_address, requestor=True)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        query = AuditEvent(self.node, "110112", "E", ITI_81, caller, here)
        query.about_search(asked)
        if refused:
            query.refused(refused)
        else:
            query.end(failed=False)
            used = AuditEvent.log_used(self.node, caller)
            used.transaction = ITI_81
            self.record(used)
        self.record(query)

    def publisher(self, spool: Spool) -> Publisher:
        """What publishes the archive's studies as they come and change.

        Raises:
            Unusable: there is no archive, or the table of patients cannot be read.
        """
        settings, imaging = self.settings, self.settings.imaging_source
        images = archive(settings)
        if images is None:
            raise Unusable("imaging_source.publish_to is set, and there are no images to publish")
        tls = settings.tls

        def client(url: str) -> Client:
            return Client(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted)

        where = Where(
            client(imaging.publish_to),
            client(imaging.publish_registry) if imaging.publish_registry else None,
            Oid(imaging.retrieve_location_uid),
            Defaults(authority=Oid(imaging.issuer or self.own.assigning_authorities[0])),
            imaging.publish_quiet_seconds,
        )
        table = Path(imaging.patients) if imaging.patients else None
        patients: Patients = PatientTable(table, self.own.assigning_authorities, imaging.issuer)
        if imaging.pix or imaging.pixm:
            patients = self._cross_referenced(patients, spool)
        engine = self.database.engine
        return Publisher(
            images, engine, patients, where, lambda study: manifest_for(study, settings), self.started, spool,
            OrthancChanges(_web(settings, imaging.orthanc)) if imaging.orthanc else None,
        )  # fmt: skip

    def _cross_referenced(self, table: Patients, spool: Spool) -> Patients:
        """Patients that a PIX Manager is asked about, where the table has none."""
        imaging = self.settings.imaging_source
        source = Oid(imaging.retrieve_location_uid)

        def question(transaction: tuple[str, str], url: str) -> AuditEvent:
            here, there = self._ends(url)
            return AuditEvent(self.node, "110112", "E", transaction, here, there)

        asked = manager(imaging.pix or imaging.pixm, not imaging.pix, self.settings.tls, spool, source)
        return CrossReferenced(table, asked, Oid(self.own.assigning_authorities[0]), question, self.record)

    def consuming(self, answer: Callable[[HttpRequest], HttpReply | None]) -> Consuming:
        """What looks for studies in the whole domain; ``answer`` is that of the actors in this process."""
        settings, server = self.settings, self.settings.server

        def local(actor: str) -> Client | None:
            def reply(request: HttpRequest) -> HttpReply:
                replied = answer(request)
                assert replied is not None  # noqa: S101  a POST to an actor that is served
                return replied

            return LocalClient(f"{self._base()}/{actor}", f"/{actor}", reply) if actor in server.actors else None

        def remote(peer: Peer | None) -> Client | None:
            if peer is None:
                return None
            return Client(peer.url, certificate=peer.certificate, key=peer.key, trusted=peer.trusted)

        def repository(uid: str) -> Client | None:
            ours = uid == settings.repository.unique_id
            return local("repository") if ours else remote(settings.repositories.get(uid))

        def source(uid: str) -> Client | None:
            ours = uid == settings.imaging_source.retrieve_location_uid
            return local("imaging-source") if ours else remote(settings.imaging_sources.get(uid))

        url, tls = settings.console.registry_url, settings.tls
        registry = remote(Peer(url, tls.certificate, tls.key, tls.trusted)) if url else local("registry")

        peers = Peers(registry, repository, source)
        return Consuming(peers, self.started, self.record, settings.data / "spool")

    def dicomweb(self, metrics: Metrics) -> DicomWeb:
        """What answers at the DICOMweb addresses."""
        source, engine, server = self.actors.imaging_source, self.database.engine, self.settings.server
        storing = None
        if self.settings.imaging_source.stow_rs:
            limits = Limits(server.root_part_bytes, server.part_bytes, server.parts)
            storing = Storing(intake(self.settings), lambda event: Recording(engine, owner(), event), limits)
        return DicomWeb(source, engine, self.web_event, owner(), metrics, storing)

    def storage_recording(self, title: str, address: str) -> Recording:
        """The record of an association that sends instances here (C-STORE)."""
        own = self.settings.imaging_source.retrieve_ae_title
        host = urlsplit(self._base()).hostname or "localhost"
        event = AuditEvent(
            self.node, "110104", "C", ("", ""), Party(title, address, requestor=True), Party(own, host, ours=True)
        )
        return Recording(self.database.engine, owner(), event)

    def stranger(self, peer: str, reason: str) -> None:
        """Record a node that could not be authenticated (ITI TF-2: 3.19)."""
        here = Party(self._base(), urlsplit(self._base()).hostname or "localhost", ours=True)
        self.record(AuditEvent.not_authenticated(self.node, here, Party(peer, peer), reason))

    def record(self, event: AuditEvent) -> None:
        with self.database.engine.begin() as connection:
            audit_store.record(connection, event.records())

    def _in_process_event(self, transaction: Transaction, side: Side) -> AuditEvent:
        base = self._base() + self.path
        host = urlsplit(base).hostname or "localhost"
        initiator = Party(f"{base}/repository", host, ours=True, requestor=True)
        return self._event(transaction, side, initiator, Party(f"{base}/registry", host, ours=True))

    def started(self, transaction: Transaction, url: str) -> AuditEvent:
        """The record of a transaction that we start."""
        return self._event(transaction, Side.INITIATOR, *self._ends(url))

    def _ends(self, url: str) -> tuple[Party, Party]:
        """Of what we start: this node, and whom it goes to."""
        base = self._base()
        here = Party(base, urlsplit(base).hostname or "localhost", ours=True, requestor=True)
        return here, Party(url, urlsplit(url).hostname or "localhost")

    def _base(self) -> str:
        return self.settings.server.public_url or f"http://{self.settings.server.listen}"

    def _event(self, transaction: Transaction, side: Side, initiator: Party, responder: Party) -> AuditEvent:
        audits = transaction.initiator_audits if side is Side.INITIATOR else transaction.responder_audits
        source, destination = (responder, initiator) if transaction.retrieve else (initiator, responder)
        # A repository's record of a retrieval names no patient (ITI TF-2: 3.43.5.1.2).
        names_patient = not (transaction.retrieve and side is Side.RESPONDER)
        title = transaction.audit_title or transaction.title
        return AuditEvent(
            self.node, audits.event_id, audits.action, (transaction.number, title), source, destination, names_patient,
        )  # fmt: skip


def transactions_of(page: Any) -> tuple[Transaction, ...]:
    """A page's transaction; of ITI-44 several, one an interaction."""
    found: tuple[Transaction, ...] = getattr(page, "TRANSACTIONS", (page.TRANSACTION,))
    return found


def _namespaces(settings: Settings, domain: Domain) -> Authorities:
    """What fills in the authorities of HL7 v2 identifiers.

    Raises:
        Unusable: an entry of mllp.namespaces is not of the form NAMESPACE=OID.
    """
    namespaces = {}
    for entry in settings.mllp.namespaces:
        namespace, _, oid = entry.partition("=")
        if not namespace or not is_oid(oid):
            raise Unusable("mllp.namespaces: each entry is of the form NAMESPACE=OID")
        namespaces[namespace] = Oid(oid)
    ours = domain.assigning_authorities
    return Authorities(namespaces, Oid(ours[0]) if len(ours) == 1 else None)
