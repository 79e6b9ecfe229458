"""One affinity domain of a deployment: its actors joined, their addresses, the audit events of both sides."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from xds.access.consent_documents import ConsentDocuments
from xds.access.consent_fetching import ConsentFetching, NotFetched
from xds.access.gate import Gate
from xds.access.overriding import Glass
from xds.access.quotas import Quotas
from xds.access.senders import Senders
from xds.access.studies import Studies
from xds.access.users import Users
from xds.actors.document_repository import DocumentRepository, NoAnswer
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.remote_registry import RemoteRegistry, settling_query
from xds.actors.study_patients import StudyPatients
from xds.actors.waiting import Waits
from xds.archives.intake import Intake
from xds.archives.orthanc import OrthancChanges
from xds.archives.patients import Patients, PatientTable
from xds.archives.senders import Sender
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Side
from xds.ebxml import rim
from xds.endpoints.apart import Apart
from xds.endpoints.captures import Captures
from xds.endpoints.counted import Counted
from xds.endpoints.cstore_senders import StorageSenders
from xds.endpoints.dicomweb.deciding import Deciding
from xds.endpoints.dicomweb.service import DicomWeb
from xds.endpoints.dicomweb.store import Storing, sender_of
from xds.endpoints.failures import Failures
from xds.endpoints.intake_records import Recording
from xds.endpoints.mllp import Feeding
from xds.endpoints.soap import Exchange
from xds.errors import Finding, Refused, Unusable
from xds.hl7.v2 import Authorities, Header
from xds.imaging.entry import Defaults
from xds.initiating.imaging_document_consumer import Consuming, Unavailable
from xds.initiating.patient_identifier_consumer import CrossReferenced, manager
from xds.initiating.publisher import Publisher, Where
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.visible import Facts
from xds.server import archives
from xds.server.actors import NOT_BY_DOMAIN, SERVED, Actors, registry_of, transactions_of
from xds.server.archives import archive, manifest_for, web
from xds.server.clients import client, peers, remote_registry
from xds.server.events import Events
from xds.server.gateways import gateways
from xds.settings.sections import DEFAULT_DOMAIN, Settings
from xds.store import study_patients
from xds.store.engine import reading
from xds.store.grouping import Batches, Group
from xds.store.interface import Blobs
from xds.store.replicas import Replicas
from xds.store.work import Database
from xds.system.disk import Reserve
from xds.transactions import (
    iti18_registry_stored_query,
    iti42_register_document_set_b,
)
from xds.transactions.bounds import Bounds
from xds.transactions.transaction import Call
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.memory import Memory
from xds.wire.metrics import Metrics
from xds.wire.mime import Limits
from xds.wire.spool import Spool, Spooled


def owner() -> str:
    """This process, so that what it leaves open can be told from what a living one has open."""
    with open("/proc/self/stat") as stat:  # noqa: PTH123
        started = stat.read().rpartition(")")[2].split()[19]
    return f"{socket.gethostname()} {os.getpid()} {started}"


class AffinityDomain:
    """One affinity domain in one process; others in the same database see nothing of it."""

    def __init__(
        self, settings: Settings, name: str, engine: sa.Engine, blobs: Blobs, gate: Gate, quotas: Quotas,
        shared: Group | Batches | None = None, replicas: Replicas | None = None, *, waits: Waits,
        counts: bool = False,
    ) -> None:  # fmt: skip
        self.settings, self.name, self.gate, self._quotas = settings, name, gate, quotas
        self.counted = Counted(gate, quotas)
        self.own = settings.affinity_domains[name]
        self.path = "" if name == DEFAULT_DOMAIN else f"/{name}"
        own = self.own.repository_unique_id
        self.database = Database(engine, blobs, name, own, shared, replicas, counts=counts)
        self.events = Events(settings, self.path, engine, gate)
        self.glass = Glass(engine, self.events.node, gate, settings.policy.override_hours)
        self.failures = Failures(settings.audit.failures_per_minute, self.events.failing)
        self.consents = ConsentDocuments(settings.consent, settings.consent_policies, self.events.node)
        self.disk = Reserve(settings.server.least_free_bytes, settings.data, blobs.staging)
        self.actors = self._actors(blobs, waits)

    def _actors(self, blobs: Blobs, waits: Waits) -> Actors:
        settings = self.settings
        registry = registry_of(settings, self.own)
        remote = self._remote_registry()

        def register_remotely(objects: rim.RegistryObjectList, call: Call) -> tuple[Finding, ...]:
            """ITI-42 over SOAP; its record has its own outcome."""
            assert remote is not None  # noqa: S101  used only where it is set
            call.sent = True
            event = call.also(self.events.started(iti42_register_document_set_b.TRANSACTION, remote.url))
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
                event = call.also(self.events.in_process(iti42_register_document_set_b.TRANSACTION, side))
                event.about_objects(objects)
            submission, findings = registry.judged(objects)
            registry.register(submission, call.work.registry, findings)
            return findings

        share, ours = settings.server.share, self.own.repository_unique_id
        streams = settings.repository.streams
        also = () if self.path else settings.repository.also
        repository = DocumentRepository(ours, blobs, remote=remote is not None, streams=streams, share=share, also=also)
        location, streams = settings.imaging_source.retrieve_location_uid, settings.imaging_source.streams
        source = ImagingDocumentSource(
            location, archive(settings), streams=streams, share=share, also=settings.imaging_source.also
        )  # fmt: skip
        patients = StudyPatients(source.patient, self._published_as, self._patient_table())
        register_ = register if remote is None else register_remotely
        studies = Studies(
            self.database, lambda uids: {uid: one.id for uid, one in patients.of(uids).items()}, self._usual_facts()
        )  # fmt: skip
        device, consents = Oid(self.own.home_community_id), None if remote else self.consents
        known = gateways(settings, self.name, self.events, self.database, self.disk, waits)
        return Actors(registry, repository, source, patients, studies, register_, device, consents, known)

    def _usual_facts(self) -> Facts:
        """What decisions ask of a manifest of this source's."""
        imaging, code = self.settings.imaging_source, Defaults(Oid("1.2")).confidentiality_code
        source, organisation = imaging.retrieve_location_uid, self.settings.audit.enterprise_site_id
        return Facts({}, {
            "confidentialityCode": frozenset({code.key}), "sourceId": frozenset({source}),
            "authorInstitution": frozenset({organisation} - {""}),
        })  # fmt: skip

    def _published_as(self, study_instance_uid: str) -> str:
        with reading(self.database.engine) as connection:
            return study_patients.of(connection, study_instance_uid)

    def _patient_table(self) -> PatientTable:
        """Whose the archive's ids are.

        Raises:
            Unusable: the table of patients cannot be read.
        """
        imaging = self.settings.imaging_source
        table = Path(imaging.patients) if imaging.patients else None
        return PatientTable(table, self.own.assigning_authorities, imaging.issuer)

    def _remote_registry(self) -> RemoteRegistry | None:
        """The registry elsewhere that ITI-42 goes to; a named domain has its registry here."""
        return None if self.path else remote_registry(self.settings)

    def settle(self) -> int:
        """Settle documents whose ITI-42 was never answered; return how many.  Each question is audited."""
        remote = self._remote_registry()
        if remote is None:
            return 0

        def holds(unique_id: str) -> bool:
            event = self.events.started(iti18_registry_stored_query.TRANSACTION, remote.url)
            event.about_query(*settling_query(unique_id))
            try:
                found = remote.holds(unique_id)
                event.end(failed=False)
                return found
            finally:
                self.events.record(event)

        # Only when it cannot be under way any more.
        age = self.settings.repository.registry_seconds * 2
        return self.actors.repository.settle(holds, age, self.database.work())

    def feeding(self, metrics: Metrics | None = None) -> Feeding:
        """The registry's side of ITI-8.

        Raises:
            Unusable: ``mllp.namespaces`` is malformed.
        """
        names = Authorities.of(self.settings.mllp.namespaces, self.own.assigning_authorities)
        return Feeding(
            self.actors.registry, self.database, names, self._fed, self.gate, self.failures, self.disk, self.counted,
            metrics,
        )  # fmt: skip

    def _fed(self, head: Header, peer: str, peer_der: bytes = b"") -> AuditEvent:
        return self.events.fed(head, peer, self.own.mllp_listen, peer_der)

    def exchanges(self, metrics: Metrics, memory: Memory) -> dict[str, Exchange]:
        """What answers at each path of this domain's.

        Raises:
            Unusable: a sender of the settings is malformed, or the certificate that captures are sealed to.
        """
        settings, senders = self.settings, Senders(self.settings.senders, lambda: self.gate.peers)
        captures = Captures(settings.capture, self.database, senders)
        limits = Limits(settings.server.root_part_bytes, settings.server.part_bytes, settings.server.parts, memory)
        users = Users(settings.xua, self.database.engine) if settings.xua.trusted or settings.xua.issuers else None
        return {
            f"{self.path}/{actor}": Exchange(
                title,
                [transaction for page in pages for transaction in transactions_of(page)],
                self.actors,
                self.database,
                limits,
                self.events.event,
                owner(),
                metrics,
                senders,
                captures,
                self.gate,
                users,
                most=Bounds.of(settings),
                failures=self.failures,
                glass=self.glass,
                consents=self.consents,
                disk=self.disk,
                quotas=self._quotas,
            )
            for actor, (title, pages) in SERVED.items()
            if actor in settings.server.actors and not (self.path and actor in NOT_BY_DOMAIN)
        }

    def publisher(self, spool: Spool) -> Publisher:
        """What publishes the archive's studies as they come and change.

        Raises:
            Unusable: there is no archive, or the table of patients cannot be read.
        """
        settings, imaging = self.settings, self.settings.imaging_source
        images = archive(settings, cached=False)  # each image is looked at once: it would only fill the cache
        if images is None:
            raise Unusable("imaging_source.publish_to is set, and there are no images to publish")
        where = Where(
            client(settings, imaging.publish_to),
            client(settings, imaging.publish_registry) if imaging.publish_registry else None,
            Oid(imaging.retrieve_location_uid),
            Defaults(authority=Oid(imaging.issuer or self.own.assigning_authorities[0])),
            imaging.publish_quiet_seconds,
        )
        patients: Patients = self._patient_table()
        if imaging.pix or imaging.pixm:
            patients = self._cross_referenced(patients, spool)
        engine = self.database.engine
        return Publisher(
            images, engine, patients, where, lambda study: manifest_for(study, settings), self.events.started, spool,
            OrthancChanges(web(settings, imaging.orthanc)) if imaging.orthanc else None,
        )  # fmt: skip

    def _cross_referenced(self, table: Patients, spool: Spool) -> Patients:
        """Patients that a PIX Manager is asked about, where the table has none."""
        imaging = self.settings.imaging_source
        source = Oid(imaging.retrieve_location_uid)

        def question(transaction: tuple[str, str], url: str) -> AuditEvent:
            here, there = self.events.ends(url)
            return AuditEvent(self.events.node, "110112", "E", transaction, here, there)

        asked = manager(imaging.pix or imaging.pixm, not imaging.pix, self.settings.tls, spool, source)
        return CrossReferenced(table, asked, Oid(self.own.assigning_authorities[0]), question, self.events.record)

    def consuming(self, answer: Callable[[HttpRequest], HttpReply | None]) -> Consuming:
        """What looks for studies in the whole domain; ``answer`` is that of the actors in this process."""
        found = peers(self.settings, answer, self.events.base)
        return Consuming(found, self.events.started, self.events.record, self.settings.data / "spool")

    def consent_fetching(self, consumer: Consuming) -> ConsentFetching:
        """What fetches the consent documents that were registered here and are kept elsewhere."""

        @contextmanager
        def fetched(repository: str, unique_id: str, whose: PatientId | None) -> Iterator[Spooled]:
            try:
                with consumer.document(repository, unique_id, whose) as spooled:
                    yield spooled
            except Unavailable as problem:
                raise NotFetched(str(problem)) from None

        return ConsentFetching(self.consents, self.database, self.events.node, fetched)

    def dicomweb(self, metrics: Metrics) -> DicomWeb:
        """What answers at the DICOMweb addresses."""
        source, engine, server = self.actors.imaging_source, self.database.engine, self.settings.server
        storing = None
        if self.settings.imaging_source.stow_rs:
            limits = Limits(server.root_part_bytes, server.part_bytes, server.parts)
            apart = self.apart
            recording = lambda event: Recording(engine, owner(), event, apart)  # noqa: E731
            storing = Storing(self.intake, recording, limits, self._sender)
        deciding = Deciding(self.gate, self.name, self.actors.studies)
        patients = self.actors.study_patients
        return DicomWeb(
            source, engine, self.events.web_event, owner(), metrics, patients, deciding, storing, self.failures,
        )  # fmt: skip

    def storage_recording(self, title: str, address: str, peer_der: bytes = b"") -> Recording:
        """The record of an association that sends instances here (C-STORE), by a peer with this certificate."""
        event = self.events.stored(title, address, peer_der)
        for said in self.storage_senders.decided(title, address, peer_der).said:
            event.noted(said)
        return Recording(self.database.engine, owner(), event, self.apart)

    @cached_property
    def intake(self) -> Intake:
        """What takes instances into the folder.

        Raises:
            Unusable: there is no folder.
        """
        return archives.intake(self.settings)

    @cached_property
    def apart(self) -> Apart:
        """What is set apart from the folder.

        Raises:
            Unusable: there is no folder.
        """
        return archives.apart(self.settings, self.database.engine, self.intake)

    @cached_property
    def storage_senders(self) -> StorageSenders:
        """Who may send by C-STORE."""
        return StorageSenders(self.gate, self.events.stranger, self.settings.imaging_source.cstore_from)

    def _sender(self, request: HttpRequest) -> Sender:
        """Who sends by STOW-RS, as studies remember it."""
        peer = self.gate.peer(request.certificate, request.remote_address, ours=request.ours)
        return replace(sender_of(request), is_administrator=peer.administers)
