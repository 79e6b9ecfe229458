"""The processes beside the web: each runs until it is told to stop, or the supervisor is gone."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import time
from collections.abc import Sequence
from threading import Event

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.access.gate import Gate
from xds.access.quotas import Quota, Quotas
from xds.actors.document_repository import NoAnswer
from xds.archives.interface import Gone, NotAnswering
from xds.archives.leftovers import private_folder
from xds.audit.log.keys import log_certificates
from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.messages.parties import Party
from xds.endpoints.audit_sources import AuditSources
from xds.endpoints.syslog import AuditReceiver
from xds.errors import Refused
from xds.initiating.alerts import Alerts
from xds.initiating.audit_forwarder import Forwarder
from xds.initiating.audit_storing import AuditStoring
from xds.initiating.witnesses import Witnessing, witness_at
from xds.server.application import Application
from xds.server.archives import archive
from xds.server.clients import called
from xds.settings.addresses import address
from xds.settings.sections import DEFAULT_DOMAIN, Loaded, Settings
from xds.store import discovered_patients, passed_manifests
from xds.store.audit.records import now_microseconds, record
from xds.store.documents.folder import NotReachable
from xds.store.documents.stores import open_blobs
from xds.store.engine import make_engine
from xds.system.clock import Checked
from xds.wire import calls
from xds.wire.client import client_context
from xds.wire.contexts import server_context
from xds.wire.listener_places import Refusals
from xds.wire.metrics import Metrics
from xds.wire.mllp import Listener
from xds.wire.spool import Spool

CONSENT_SECONDS = 2.0
"""How often it is looked whether a consent document is to be read."""

log = logging.getLogger("xds.server.workers")

DESCRIPTORS = 4096
"""Of a process that listens."""

SWEEP_EVERY_SECONDS = 600.0
"""Between two looks for documents that were staged and never named."""


def follow_archive(loaded: Loaded) -> None:
    """Keep the index of the images up to date."""
    images, parent = archive(loaded.settings), os.getppid()
    assert images is not None  # noqa: S101  started only where there is a folder
    engine, told = make_engine(loaded.settings.database_url, connections=1), set[str]()
    while os.getppid() == parent:
        try:
            found = images.refresh().mixing
            _tell_of_mixing(loaded.settings, engine, [study for study in found if study not in told])
            told.update(found)
        except OSError:
            log.exception("archive.unreadable")
        except SQLAlchemyError:
            log.exception("database.unreachable")
        time.sleep(loaded.settings.imaging_source.refresh_seconds)


def _tell_of_mixing(settings: Settings, engine: sa.Engine, studies: Sequence[str]) -> None:
    """An alert for each study that a file of another patient was put into by hand; the file stays where it is."""
    who, said = Party("archive", "localhost", ours=True), "left out: of another patient than the study shows"
    for study in studies[:100]:
        log.warning("archive.anothers_study", extra={"study": study})
        event = AuditEvent.security_alert(source_of(settings), "110132", who, f"urn:oid:{study}", said)
        with engine.begin() as connection:
            record(connection, event.records())


def _told_to_stop() -> Event:
    """What is set when this process is told to stop, and so may end what it does first."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    return stopping


def _many_descriptors() -> None:
    """Room for all connections that a listener has places for, and for those that are being opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def mllp(loaded: Loaded, name: str) -> None:
    """Take an affinity domain's Patient Identity Feed until told to stop (ITI-8)."""
    _many_descriptors()
    stopping = _told_to_stop()
    application, parent = Application(loaded), os.getppid()
    tls = loaded.settings.tls
    context = server_context(tls.certificate, tls.key, tls.trusted) if tls.certificate else None
    domain = application.domains[name]
    passed = application.metrics.passed_over.labels("mllp").inc
    at = address(domain.own.mllp_listen)
    refusals = Refusals("mllp", application.metrics.refused_connection)
    listener = Listener(
        *at, domain.feeding(application.metrics).answer, context, domain.events.stranger, passed, refusals
    )
    listener.serve(lambda: not stopping.is_set() and os.getppid() == parent)
    application.close()


def cstore(loaded: Loaded) -> None:
    """Take instances by C-STORE until told to stop."""
    from xds.endpoints.cstore import StorageScp  # late: its library is this process' alone

    _many_descriptors()
    stopping = _told_to_stop()
    application, parent = Application(loaded), os.getppid()
    imaging, tls, domain = loaded.settings.imaging_source, loaded.settings.tls, application.domains[DEFAULT_DOMAIN]
    taking, _ = domain.intake, domain.apart  # at the start, so that what was left half done is finished
    temporary = private_folder(taking.incoming)  # of pynetdicom, which writes instances as they come
    senders = domain.storage_senders
    scp = StorageScp(
        taking,
        imaging.retrieve_ae_title,
        address(imaging.cstore_listen),
        domain.storage_recording,
        senders=imaging.cstore_from,
        context=server_context(tls.certificate, tls.key, tls.trusted) if tls.certificate else None,
        tell=domain.events.stranger,
        refusals=Refusals("cstore", application.metrics.refused_connection),
        instance_bytes=loaded.settings.server.part_bytes,
        sender=senders.sender,
        rejects=senders.reason,
        counted=domain.counted,
        answered=application.metrics.answered,
    )
    while os.getppid() == parent and not stopping.wait(0.5):
        pass
    scp.close()
    shutil.rmtree(temporary, ignore_errors=True)
    application.close()


def syslog(loaded: Loaded) -> None:
    """Take other nodes' audit records until told to stop (ITI-20)."""
    _many_descriptors()
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine, node = make_engine(settings.database_url, connections=3), source_of(settings)
    at = {
        name: address(getattr(settings.syslog, name))
        for name in ("tls", "tcp", "udp")
        if getattr(settings.syslog, name)
    }
    tls = settings.tls
    here = Party("xds", at["tls"][0] if "tls" in at else "localhost", ours=True)

    def alert(peer: str, reason: str) -> AuditEvent:
        return AuditEvent.not_authenticated(node, here, Party(peer, peer), reason)

    context = server_context(tls.certificate, tls.key, tls.trusted) if "tls" in at else None
    metrics = Metrics()
    refusals = Refusals("syslog", metrics.refused_connection)
    ours = settings.audit.source_id
    sources = AuditSources(Gate(settings, engine))
    quotas = Quotas(engine, Quota())
    receiver = AuditReceiver(
        engine, metrics, alert, context=context, ours=ours, refusals=refusals, speaks_for=sources,
        admits=sources.refusal, spend=quotas.spend, **at,
    )  # fmt: skip
    while os.getppid() == parent and not stopping.wait(0.5):
        pass
    receiver.close()
    quotas.close()
    engine.dispose()


def forward(loaded: Loaded, url: str) -> None:
    """Send the audit log on to another repository until told to stop (ITI-20)."""
    stopping, tls, parent = _told_to_stop(), loaded.settings.tls, os.getppid()
    engine = make_engine(loaded.settings.database_url, connections=1)
    context = client_context(tls.certificate, tls.key, tls.trusted) if url.startswith("tls:") else None
    Forwarder(engine, url, context).run(lambda seconds: os.getppid() == parent and not stopping.wait(seconds))
    engine.dispose()


def clock(loaded: Loaded) -> None:
    """Compare the clock with a time server's until told to stop."""
    stopping, audit, parent = _told_to_stop(), loaded.settings.audit, os.getppid()
    engine = make_engine(loaded.settings.database_url, connections=1)

    def alert(text: str) -> None:
        with engine.begin() as connection:
            record(connection, AuditEvent.clock_wrong(source_of(loaded.settings), text).records())

    checked = Checked(audit.time_server, audit.most_offset_seconds, alert)
    while os.getppid() == parent:
        try:
            checked.step()
        except SQLAlchemyError:
            log.exception("database.unreachable")
        if stopping.wait(audit.time_seconds):
            break
    engine.dispose()


def tell_of_overrides(loaded: Loaded) -> None:
    """Tell of broken glass at once, until told to stop."""
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine = make_engine(settings.database_url, connections=1)
    calls.count(Metrics().asked, called(settings))
    alerts = Alerts(engine, settings.policy, settings.tls)
    alerts.run(lambda seconds: os.getppid() == parent and not stopping.wait(seconds))
    engine.dispose()


def show(loaded: Loaded, where: str) -> None:
    """Show a witness the audit log's checkpoints until told to stop."""
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine = make_engine(settings.database_url, connections=1)
    calls.count(Metrics().asked, called(settings))
    witness = witness_at(where, settings.tls, lambda: log_certificates(settings))
    showing = Witnessing(engine, settings.data / "audit", where, witness, source_of(settings))
    going_on = lambda seconds: os.getppid() == parent and not stopping.wait(seconds)  # noqa: E731
    showing.run(settings.audit.witness_seconds, going_on)
    engine.dispose()


def store_audit(loaded: Loaded) -> None:
    """Put the audit log into an object store until told to stop, and then what is sealed by then."""
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine, stored = make_engine(settings.database_url, connections=1), Metrics().audit_stored
    storing = AuditStoring(engine, settings, settings.data / "audit", lambda outcome: stored.labels(outcome).inc())
    storing.run(
        settings.audit.object_store_seconds,
        lambda seconds: os.getppid() == parent and not stopping.wait(seconds),
    )
    engine.dispose()


def settle(loaded: Loaded) -> None:
    """Ask the registry elsewhere about registrations that it never answered."""
    application, parent = Application(loaded), os.getppid()
    while os.getppid() == parent:
        try:
            application.domains[DEFAULT_DOMAIN].settle()
        except (Refused, NoAnswer):
            log.warning("registry.not_available")
        except SQLAlchemyError:
            log.exception("database.unreachable")
        time.sleep(min(30.0, loaded.settings.repository.registry_seconds))


def fetch_consents(loaded: Loaded) -> None:
    """Read the consent documents that are kept elsewhere, until told to stop."""
    stopping = _told_to_stop()
    application, parent = Application(loaded), os.getppid()
    fetching = [domain.consent_fetching(domain.consuming(application.reply)) for domain in application.domains.values()]
    while os.getppid() == parent:
        try:
            tried = [one.step() for one in fetching]
        except SQLAlchemyError:
            log.exception("database.unreachable")
            tried = []
        if stopping.wait(0 if any(tried) else CONSENT_SECONDS):
            break
    application.close()


def publish(loaded: Loaded) -> None:
    """Let publishing follow the archive."""
    application, parent = Application(loaded), os.getppid()
    with Spool(loaded.settings.data / "spool") as spool:
        publisher = application.domains[DEFAULT_DOMAIN].publisher(spool)
        while os.getppid() == parent:
            try:
                publisher.step()
            except (NotAnswering, Gone):
                log.warning("archive.not_answering")
            except SQLAlchemyError:
                log.exception("database.unreachable")
            time.sleep(min(loaded.settings.imaging_source.refresh_seconds, 10.0))


def sweep(loaded: Loaded) -> None:
    """Remove what was staged or put and never named: what a process that died has left; and what nobody has fetched
    for long of the manifests that gateways have passed on, nor asked other communities of patients.
    """
    engine, parent, swept = make_engine(loaded.settings.database_url, connections=2), os.getppid(), 0.0
    blobs = open_blobs(loaded.settings, engine)
    while os.getppid() == parent:
        if not swept or time.monotonic() - swept > SWEEP_EVERY_SECONDS:
            swept = time.monotonic()
            try:
                removed = blobs.sweep(engine)
                if removed:
                    log.info("documents.swept", extra={"removed": removed})
                with engine.begin() as connection:
                    passed_manifests.forget(connection)
                    discovered_patients.forget(connection, now_microseconds())
            except NotReachable:
                log.warning("documents.not_reachable")
            except SQLAlchemyError:
                log.exception("database.unreachable")
        time.sleep(1.0)
