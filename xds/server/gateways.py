"""The gateways of an affinity domain, made from the settings: which communities there are, and how each is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xds.access.vouching import Voucher
from xds.actors.communities import Calls, Communities
from xds.actors.communities import Community as Known
from xds.actors.fetching import Taking
from xds.actors.initiating_gateway import InitiatingGateway
from xds.actors.patient_discovery import PatientDiscovery
from xds.actors.responding_gateway import RespondingGateway
from xds.actors.waiting import Waits
from xds.archives.patients import Patients, PatientTable
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.people import asking
from xds.errors import Unusable
from xds.initiating.patient_discovery import DiscoveredHere, DiscoveredThere, Here, There
from xds.initiating.patient_identifier_consumer import CrossReferenced, manager
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid, is_oid
from xds.server.events import Events
from xds.settings.federation import Community
from xds.settings.sections import DEFAULT_DOMAIN, Location, Settings
from xds.store.work import Database
from xds.system.disk import Reserve
from xds.transactions.own_community import Gateways
from xds.wire.client import Client
from xds.wire.memory import Memory
from xds.wire.spool import Spool
from xds.wire.xml import Element
from xds.wire.xua import passed_on

Blocks = Callable[[str, Element | None], Sequence[Element]]

IMAGES_SECONDS = 60.0
"""Whoever is asked for images may be silent for so long: each is looked at, or made, before the first is sent."""

LONGEST_HOURS = 8760
"""An answer of who a patient is somewhere is taken for true for a year at most."""

NOBODY_KNOWS = PatientTable(None, (), "")


def gateways(
    settings: Settings, domain: str, events: Events, database: Database, disk: Reserve, waits: Waits
) -> Gateways:  # fmt: skip
    """The gateways of an affinity domain.  What they fetch is staged as what is kept in a store of documents.

    Raises:
        Unusable: a community, or one of the homeCommunityIds, is not set as it must be.
    """
    own, server = settings.affinity_domains[domain], settings.server
    gateway = settings.gateway
    memory = Memory(server.body_bytes, server.share)
    taking = Taking(
        database.blobs.staging, gateway.answer_bytes, gateway.document_bytes, memory, disk, sealed=database.blobs.seals
    )  # fmt: skip
    responding = RespondingGateway(Oid(own.home_community_id), map(Oid, own.home_community_also))
    makes = Making(settings, domain, events, waits, database, taking)
    initiating = None
    if "gateway" in server.actors:
        communities = Communities(list(makes.communities()))
        initiating = InitiatingGateway(responding.homes, communities, taking, settings.registry.most_results)
    plays = {"gateway", "responding-gateway"} & set(server.actors)
    elsewhere, sources = (makes.repositories(), makes.sources()) if plays else ({}, {})
    names = settings.registry.demographics
    discovery = PatientDiscovery(map(Oid, own.assigning_authorities), keeps_demographics=names)
    return Gateways(
        responding, discovery, initiating, taking, elsewhere.get, sources.get, events.in_process, events.started
    )  # fmt: skip


def check(settings: Settings) -> None:
    """Hold the settings of gateways to what can be.

    Raises:
        Unusable: a setting keeps them from answering.
    """
    plays = [one for one in ("gateway", "responding-gateway") if one in settings.server.actors]
    if plays and "registry" not in settings.server.actors:
        raise Unusable(f"server.actors: {plays[0]} asks the registry in its own process: name registry, too")
    owners = dict[str, str]()
    for name, domain in settings.affinity_domains.items():
        for home in (domain.home_community_id, *domain.home_community_also):
            if home and not is_oid(home):
                raise Unusable(f"the homeCommunityIds of the affinity domain {name} are OIDs, without urn:oid:")
            owners[home] = f"the affinity domain {name}"
    for name, community in settings.communities.items():
        _check(settings, name, community)
        for home in community.home_community_ids:
            if home in owners:
                raise Unusable(f"communities.{name}: {home} is the homeCommunityId of {owners[home]}, too")
            owners[home] = f"communities.{name}"


def _check(settings: Settings, name: str, community: Community) -> None:
    dotted = f"communities.{name}"
    if not community.home_community_ids or not all(map(is_oid, community.home_community_ids)):
        raise Unusable(f"{dotted}.home_community_ids: one OID or several, without urn:oid:")
    if not community.query:
        raise Unusable(f"{dotted}.query: the URL of its Responding Gateway is needed")
    if community.discover and not settings.registry.demographics:
        raise Unusable(f"{dotted}.discover: who patients are is not kept here (registry.demographics)")
    if not 0 <= community.discovered_hours <= LONGEST_HOURS:
        raise Unusable(f"{dotted}.discovered_hours: 0 to {LONGEST_HOURS}")
    if community.authority and not is_oid(community.authority):
        raise Unusable(f"{dotted}.authority: an OID")
    if (community.pix or community.pixm) and not is_oid(community.authority):
        raise Unusable(f"{dotted}.authority: the OID of its patient ids, which the PIX Manager is asked for")
    if not all(map(is_oid, community.authorities)):
        raise Unusable(f"{dotted}.authorities: OIDs")
    if community.seconds <= 0 or community.retrieve_seconds <= 0:
        raise Unusable(f"{dotted}: seconds and retrieve_seconds are more than 0")
    if unknown := set(community.domains) - settings.affinity_domains.keys():
        raise Unusable(f"{dotted}.domains: there is no affinity domain {', '.join(sorted(unknown))}")


@dataclass(frozen=True, slots=True)
class Making:
    """Makes what the gateways of an affinity domain call."""

    settings: Settings
    domain: str
    events: Events
    waits: Waits
    database: Database
    taking: Taking

    def communities(self) -> Iterator[Known]:
        """The communities that the domain's Initiating Gateway asks."""
        for name, one in self.settings.communities.items():
            if not one.domains or self.domain in one.domains:
                yield self._community(name, one)

    def repositories(self) -> dict[str, Known]:
        """The repositories of this community that are elsewhere, by repositoryUniqueId."""
        own = {one.repository_unique_id for one in self.settings.affinity_domains.values()}
        places = self.settings.repositories.items()
        return {uid: self._of_ours(uid, at) for uid, at in places if uid not in own}

    def sources(self) -> dict[str, Known]:
        """The Imaging Document Sources of this community that are elsewhere, by Retrieve Location UID."""
        own = self.settings.imaging_source.retrieve_location_uid
        if self.domain != DEFAULT_DOMAIN:  # they are the deployment's, and nobody else knows whose images are
            return {}
        return {uid: self._of_ours(uid, at) for uid, at in self.settings.imaging_sources.items() if uid != own}

    def _of_ours(self, uid: str, at: Location) -> Known:
        """A repository, or a source, of this community."""
        usual = Community()
        queries, documents, of_images = self._calls()
        client, blocks = self._client(at, at.url, usual.seconds), self._blocks("assertion")
        images = (self._client(at, at.url, IMAGES_SECONDS),)
        return Known(
            uid, (), (), (client,), NOBODY_KNOWS, NOBODY_KNOWS, True, usual.seconds, usual.retrieve_seconds, queries,
            documents, blocks, images, of_images,
        )  # fmt: skip

    def _community(self, name: str, one: Community) -> Known:
        at = Location(one.query[0], one.certificate, one.key, one.trusted)
        query = [self._client(at, url, one.seconds) for url in one.query]
        retrieve = [self._client(at, url, one.seconds) for url in one.retrieve or one.query]
        images = [
            self._client(at, url, max(one.seconds, IMAGES_SECONDS)) for url in one.images or one.retrieve or one.query
        ]
        homes = tuple(home_of(Oid(home)) for home in one.home_community_ids)
        blocks = self._blocks(one.person)
        there, here = self._discovered(name, one, blocks)
        at_once = not (one.pix or one.pixm or one.discover)
        queries, documents, of_images = self._calls()
        return Known(
            name, homes, query, retrieve, there, here, at_once, one.seconds, one.retrieve_seconds, queries, documents,
            blocks, images, of_images,
        )  # fmt: skip

    def _calls(self) -> tuple[Calls, Calls, Calls]:
        """For queries, for documents, and for images."""
        most, waits = self.settings.gateway.calls, self.waits
        return Calls(most, waits.queries), Calls(most, waits.retrievals), Calls(most, waits.images)

    def _client(self, at: Location, url: str, seconds: float) -> Client:
        known = at.or_by(self.settings.tls)
        return Client(
            url, certificate=known.certificate, key=known.key, trusted=known.trusted, seconds=seconds,
            connections=2 * self.settings.gateway.calls,
        )  # fmt: skip

    def _discovered(self, name: str, one: Community, blocks: Blocks) -> tuple[Patients, Patients]:
        """Its id for a patient of ours, and ours for one of its own: as the settings say, or else as it itself does."""
        there, here = self._patients(name, one, backwards=False), self._patients(name, one, backwards=True)
        if not one.discover:
            return there, here
        at = Location(one.discover[0], one.certificate, one.key, one.trusted)
        asked = There(
            tuple(map(Oid, one.home_community_ids)), one.authority,
            [self._client(at, url, one.seconds) for url in one.discover], one.seconds, one.discovered_hours * 3600,
            self.taking, blocks,
        )  # fmt: skip
        home = Oid(self.settings.affinity_domains[self.domain].home_community_id)
        us = Here(self.domain, home, self.database.engine, self.events.started, self.events.record)
        known = DiscoveredHere(here, us, asked.home)
        return DiscoveredThere(there, known, us, asked), known

    def _patients(self, name: str, one: Community, *, backwards: bool) -> Patients:
        """Its id for a patient of ours; ``backwards``, ours for one of its own."""
        file = Path(one.patients) if one.patients else None
        table = PatientTable(file, one.authorities, "", setting=f"communities.{name}.patients", backwards=backwards)
        if not (one.pix or one.pixm):
            return table
        own = self.settings.affinity_domains[self.domain]
        wanted = own.assigning_authorities[0] if backwards else one.authority
        spool = Spool(self.settings.data / "spool")
        asked = manager(one.pix or one.pixm, not one.pix, self.settings.tls, spool, Oid(own.home_community_id))
        return CrossReferenced(table, asked, Oid(wanted), self._question, self.events.record)

    def _question(self, transaction: tuple[str, str], url: str) -> AuditEvent:
        here, there = self.events.ends(url)
        return AuditEvent(self.events.node, "110112", "E", transaction, here, there)

    def _blocks(self, says: str) -> Blocks:
        """For whom a message is sent, as that node is told it."""
        voucher = Voucher(self.settings)

        def blocks(url: str, header: Element | None) -> Sequence[Element]:
            person = asking()
            if says == "nobody" or person is None:
                return ()
            brought = passed_on(header) if says == "assertion" and person.issuer else None
            return (brought,) if brought is not None else voucher.header_blocks(url, for_others=says == "voucher")

        return blocks
