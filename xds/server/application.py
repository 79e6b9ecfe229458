"""The WSGI application of one process: every affinity domain's addresses, and the pages beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from xds.access.bearers import Bearers
from xds.access.gate import Gate, NotPermitted
from xds.access.migrating import only_authority
from xds.access.quotas import Quota, Quotas
from xds.access.vouching import own_key, visitor
from xds.actors.waiting import Waits
from xds.audit.messages.people import asked_by, asking
from xds.endpoints import console
from xds.endpoints.console import (
    auditing,
    consents,
    finding,
    glass,
    guides,
    merging,
    priors,
    reporting,
    reviewing,
    sealing,
    setting_apart,
    signing_in,
)  # fmt: skip
from xds.endpoints.console.desk import AuditDesk, Desk
from xds.endpoints.console.region import Knows
from xds.endpoints.console.region import Places as Locations
from xds.endpoints.console.region import pages as region_pages
from xds.endpoints.console.sealing import Sealer
from xds.endpoints.fhir import search
from xds.initiating import witnesses
from xds.metadata.identifiers import PatientId
from xds.rules.relevant_priors import read_file
from xds.server import expiry
from xds.server.affinity_domain import AffinityDomain
from xds.server.clients import called
from xds.server.counted import Counted
from xds.server.readiness import Readiness
from xds.settings.addresses import names_of_places
from xds.settings.sections import DEFAULT_DOMAIN, Loaded
from xds.store.deployment import console_key
from xds.store.documents.stores import open_blobs
from xds.store.documents.timed import Timed
from xds.store.engine import make_engine, reading
from xds.store.grouping import Batches, Group
from xds.store.peer_use import seconds_left
from xds.store.registry import patients
from xds.store.registry.sql_reader import NOBODY
from xds.store.registry.standing import Standing, elsewhere, standing
from xds.store.replicas import are_used, replicas_of
from xds.wire import calls, tracing
from xds.wire.bearer import NotBelieved
from xds.wire.cors import Cors
from xds.wire.guarded import guarded
from xds.wire.hosts import Hosts
from xds.wire.http import HttpReply, HttpRequest, TextReply
from xds.wire.memory import Memory
from xds.wire.metrics import Metrics
from xds.wire.peers import KEY, serving
from xds.wire.peers import served as served_peer
from xds.wire.places import Places
from xds.wire.proxied import NotForwarded, Proxies
from xds.wire.refusals import Reason
from xds.wire.strangers import Strangers
from xds.wire.wsdl import served

log = logging.getLogger("xds.server.application")


class Application:
    """Everything that one process answers; to be made after the fork."""

    def __init__(self, loaded: Loaded) -> None:
        settings = self.settings = loaded.settings
        self.engine = make_engine(settings.database_url)
        self.metrics = Metrics()
        self.metrics.begin(Reason)
        calls.count(self.metrics.asked, called(settings))
        tracing.start(settings.tracing, settings.audit.source_id, self.metrics.traced)
        blobs = Timed(open_blobs(settings, self.engine), self.metrics.store_took)
        self.gate = gate = Gate(settings, self.engine)
        quota = Quota(settings.server.peer_records, settings.server.peer_bytes)
        self.quotas = quotas = Quotas(
            self.engine,
            quota,
            lambda peer, said: events.over_quota(peer, said),
            lambda: self.metrics.refused.labels(Reason.QUOTA).inc(),
        )
        shared: Group | Batches | None = None
        if settings.server.group_commit:
            is_sqlite = self.engine.dialect.name == "sqlite"
            shared = Group(self.engine) if is_sqlite else Batches(self.engine)
        self.replicas = replicas_of(settings, self.engine, lambda name: self.metrics.queries.labels(name).inc())
        counts = self.replicas is not None or are_used(self.engine)
        waits = Waits(Places.alone(settings.server.threads, settings.server.share).total)
        self.domains = {
            name: AffinityDomain(
                settings, name, self.engine, blobs, gate, quotas, shared, self.replicas, waits=waits, counts=counts
            )
            for name in settings.affinity_domains
        }
        self.database = self.domains[DEFAULT_DOMAIN].database
        self._cors, self._hosts = Cors(settings.server.cors_origins), Hosts.of(settings)
        self._proxies = Proxies.of(settings)
        memory = self._memory = Memory(settings.server.body_bytes, settings.server.share)
        events = self.domains[DEFAULT_DOMAIN].events
        self._strangers = Strangers(events.stranger)
        self._bearers = Bearers(settings, self.engine, events.node, events.record)
        self._endpoints = {
            path: exchange
            for domain in self.domains.values()
            for path, exchange in domain.exchanges(self.metrics, memory).items()
        }
        default = self.domains[DEFAULT_DOMAIN]
        self._dicomweb = default.dicomweb(self.metrics) if "imaging-source" in settings.server.actors else None
        numbers = {path: exchange.numbers for path, exchange in self._endpoints.items()}
        ask = None if self._dicomweb is None else self._dicomweb.answer
        consumer = default.consuming(self.reply)
        secure = self._secure = settings.server.public_url.startswith("https:") or bool(settings.tls.certificate)
        if settings.console.vouches:
            own_key(settings)  # made at first start, so that others can be told of it
        desk = Desk(self.engine, default.events.node, default.events.record, settings.console.second_factor)
        sealer = Sealer(lambda: console_key(self.engine))
        audit_desk = AuditDesk(self.engine, settings, default.events.node, default.events.record)
        blueprints = [
            signing_in.pages(
                desk,
                partial(visitor, settings),
                secure=secure,
                provider=settings.oidc.name if settings.oidc.issuer else "",
            ),
            sealing.pages(sealer),
            auditing.pages(audit_desk, sealer),
            reporting.pages(audit_desk),
            reviewing.pages(audit_desk),
            guides.pages(),
            glass.pages(default.glass, self.engine, sealer),
            consents.pages(self.engine, default.events.node, sealer, gate.today),
        ]
        if settings.imaging_source.folder:
            blueprints.append(setting_apart.pages(default.apart))
        if settings.merges:
            blueprints.append(merging.pages(self.engine, tuple(settings.merges)))
        if consumer.peers.registry is not None:
            places = Locations(names_of_places(settings), settings.imaging_source.retrieve_location_uid)
            authorities, knows = _known(loaded, self.engine, gate)
            blueprints.append(region_pages(consumer, places, knows, authorities, default.glass))
            rules = read_file(settings.priors.rules)
            blueprints.append(priors.pages(consumer, places, knows, authorities, default.glass, rules))
            if settings.registry.demographics and not settings.console.registry_url:
                blueprints.append(finding.pages(self.engine, default.events.node, partial(_may_know, gate)))
        if settings.oidc.issuer:
            from xds.endpoints.console import openid  # late: few have a provider

            provider = openid.Provider(settings.oidc)
            blueprints.append(openid.pages(desk, provider, settings.server.public_url))
        if settings.audit.witness_of:
            blueprints.append(
                witnesses.pages(self.engine, settings.audit.witness_of, default.events.node, default.events.record)
            )
        if settings.audit.readers or not gate.alone:
            reads = partial(_may_read, gate, settings.audit.readers, settings.tls.trusted)
            blueprints.append(search.pages(reads, audit_desk.page, audit_desk.one, default.events.audit_searched))
        readiness = Readiness(settings, self.database, default.disk, gate.wrong)
        self._counted = Counted(settings)
        warned = lambda: expiry.warnings(settings)  # noqa: E731
        self._pages: Any = console.make(
            settings,
            numbers,
            readiness.report,
            self.metrics,
            ask,
            default.actors.imaging_source,
            blueprints,
            self._counted.text,
            warned,
        )

    def close(self) -> None:
        """End what this process has open; what it has counted is kept."""
        tracing.stop()
        self._counted.close()
        self.quotas.close()
        if self.replicas is not None:
            self.replicas.close()
        self.engine.dispose()

    def places(self) -> Iterator[tuple[str, Places]]:
        """What peers share in this process, beside its threads: bytes of bodies, and replies under way."""
        yield "body-bytes", self._memory.places
        yield "repository-streams", self.domains[DEFAULT_DOMAIN].actors.repository.streams.places
        yield "image-streams", self.domains[DEFAULT_DOMAIN].actors.imaging_source.streams.places

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response = guarded(start_response, secure=self._secure)
        misdirected = self._hosts.refusal(environ)
        if misdirected is not None:
            return misdirected.wsgi(start_response)
        try:
            environ = self._proxies.told(environ)
        except NotForwarded as problem:
            self._strangers.tell(environ.get("REMOTE_ADDR", "") or "unknown", str(problem))
            return TextReply(400, "text/plain; charset=utf-8", f"{problem}\n").http().wsgi(start_response)
        request = HttpRequest.of(environ, self.settings.server.public_url)
        if request.turned_away:
            return self._endpoints[request.path.rstrip("/")].answer(request).wsgi(start_response)
        with serving(environ.get(KEY, "") or request.remote_address, self.quotas.spend):
            reply, person = self._cors.preflight(environ), None
            if reply is None:
                try:
                    peer = self.gate.peer(request.certificate, request.remote_address)
                    person = self._bearers.person(request, issuers=peer.issuers)
                except NotBelieved as problem:
                    reply = self._bearers.refused(request, problem)
            with asked_by(person):
                return self._replied(environ, start_response, reply or self.reply(request))

    def _replied(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any], reply: HttpReply | None
    ) -> Iterable[bytes]:
        if reply is None:
            pages: Iterable[bytes] = self._pages(environ, start_response)
            return pages
        self._cors.mark(environ, reply)
        return reply.wsgi(start_response)

    def reply(self, request: HttpRequest) -> HttpReply | None:
        """The answer of a SOAP or DICOMweb address, as part of the trace; None when the request is for none."""
        path = request.path.rstrip("/")
        if path not in self._endpoints and not request.path.startswith(("/dicomweb/", "/wado")):
            return None
        with tracing.answering(request.traceparent, request.tracestate, lambda: bool(self._name(request))):
            return self._answered(request)

    def _name(self, request: HttpRequest) -> str:
        return self.gate.peer(request.certificate, request.remote_address, ours=request.ours).name

    def _answered(self, request: HttpRequest) -> HttpReply | None:
        exchange = self._endpoints.get(path := request.path.rstrip("/"))
        if exchange is not None:
            if request.method == "POST":
                return exchange.answer(request)
            return served(path.rpartition("/")[2], request.query, request.url).http()
        if self._dicomweb is not None and (request.path == "/wado" or request.path.startswith("/dicomweb/")):
            return self._over_quota(request) or self._dicomweb.answer(request)
        return None

    def _over_quota(self, request: HttpRequest) -> HttpReply | None:
        """The refusal of who has used up what it may in a day; SOAP addresses have their own."""
        if request.ours:
            return None
        name = self.gate.peer(request.certificate, request.remote_address).name
        over = self.quotas.over(served_peer(), name, keeps=request.method == "POST")
        if not over:
            return None
        again = [("Retry-After", str(seconds_left()))]
        return TextReply(503, "text/plain; charset=utf-8", f"{over}\n", again).http()


def _may_read(gate: Gate, readers: Sequence[str], trusted: str, caller: HttpRequest) -> str:
    """Why somebody may not search the audit log by ITI-81: they are none of its readers, by entry or by policy."""
    peer = gate.peer(caller.certificate, caller.remote_address)
    if readers and (peer.alone or not peer.name):  # who is named by the older setting needs no entry
        # Of several authorities each may have given the name to somebody else.
        told = readers if only_authority(trusted) or not caller.certificate else ()
        return "" if search.allowed(told, caller) else "not permitted: audit.readers"
    try:
        gate.ask(peer, "ITI-81", DEFAULT_DOMAIN)
    except NotPermitted as denied:
        return str(denied)
    return ""


def _known(loaded: Loaded, engine: sa.Engine, gate: Gate) -> tuple[Sequence[str], Knows]:
    """What this node knows of the patients of the registry that its pages ask: all, where that is its own."""
    settings, authorities = loaded.settings, loaded.settings.domain.assigning_authorities
    if settings.console.registry_url:
        made = loaded.sources.get("domain.assigning_authorities", "default") in ("default", "made at first start")
        told = () if made else authorities
        return told, lambda patient_id: (elsewhere(told, patient_id), "")

    def knows(patient_id: PatientId) -> tuple[Standing, str]:
        with reading(engine) as connection:
            found, survivor = standing(connection, DEFAULT_DOMAIN, authorities, patient_id)
            whose = PatientId.parse(survivor) if survivor else patient_id
            # Of whom nothing may be told is answered like one whom nobody knows; of whom it is asked all the same.
            told = _may_know(gate, connection, whose)
            return (found, survivor) if told or found is Standing.FOREIGN else (Standing.UNKNOWN, "")

    return authorities, knows


def _may_know(gate: Gate, connection: sa.Connection, patient_id: PatientId) -> bool:
    """Whether who is asking may know of a patient: of whom nothing may be told nobody hears."""
    keys = patients.chain(connection, DEFAULT_DOMAIN, patient_id) or NOBODY
    return bool(gate.answers(connection, asking(), DEFAULT_DOMAIN, keys))
