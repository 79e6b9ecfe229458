"""Two regions of ours, each with both gateways: a patient of the South is seen from the North, and it is on record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
import zeep
from lxml import etree

from tests.actors.test_responding_gateway import only
from tests.assertions import Claims, an_issuer, signed
from tests.builders import ANNA
from tests.journeys.test_zeep_client import Transport
from tests.regions import (
    ANNA_IN_SOUTH,
    NORTH,
    SOUTH,
    asked,
    community,
    contents,
    fetch,
    find,
    homes,
    kept,
    outcome,
    region,
    said,
)
from tests.server.test_application import APPROVED, Site
from xds.access import vouching
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.access.gate import Granted
from xds.access.peers import STRANGER
from xds.actors.communities import Unavailable
from xds.audit.messages.message_xml import read
from xds.audit.messages.people import is_person
from xds.ebxml import rs
from xds.errors import ErrorCode, Status
from xds.metadata.homes import home_of
from xds.queries import catalogue
from xds.settings.federation import Gateway
from xds.settings.sections import DEFAULT_DOMAIN, Server, Settings
from xds.store.audit.search import Wanted, found
from xds.store.registry import patients
from xds.store.tables import audit_record
from xds.wire.stored_query_client import _Addressing
from xds.wire.xml import name
from xds.wire.xua import header_block

N, S = home_of(NORTH), home_of(SOUTH)
QUERY, IMPORT, EXPORT = "110112", "110107", "110106"


class Regions:
    """North asks South; each has a document of Anna's."""

    def __init__(self, north: Site, south: Site) -> None:
        self.north, self.south = north, south
        self.in_north, self.in_south = kept(north, b"of the north"), kept(south, b"of the south", ANNA_IN_SOUTH)

    @property
    def both(self) -> tuple[tuple[Any, str, str], ...]:
        return (
            (NORTH, self.north.repository_unique_id, self.in_north.unique_id),
            (SOUTH, self.south.repository_unique_id, self.in_south.unique_id),
        )  # fmt: skip


@contextmanager
def regions_of(folder: Path, template: Path, north: str = "", south: str = "", **settings: Any) -> Iterator[Regions]:
    with region(folder / "south", template, SOUTH, south) as there:
        known = community("south", SOUTH, f"{there.url}/responding-gateway", folder, **settings)
        with region(folder / "north", template, NORTH, north + known) as here:
            yield Regions(here, there)


@pytest.fixture(scope="module")
def regions(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    with regions_of(tmp_path_factory.mktemp("regions"), sqlite_template) as both:
        yield both


def since(site: Site, leaves: int) -> list[tuple[str, str, int]]:
    return site.outcomes()[leaves:]


@pytest.mark.parametrize("as_mtom", [True, False])
def test_a_patient_s_documents_are_found_and_fetched_through_two_gateways(regions: Regions, as_mtom: bool) -> None:
    found_ = find(regions.north)
    assert said(found_) == (Status.SUCCESS, [])
    assert homes(found_) == {regions.in_north.unique_id: N, regions.in_south.unique_id: S}
    got = fetch(regions.north, *regions.both, as_mtom=as_mtom)
    assert outcome(got) == (Status.SUCCESS, [])
    if as_mtom:
        assert contents(got) == {
            regions.in_north.unique_id: b"of the north", regions.in_south.unique_id: b"of the south",
        }  # fmt: skip


def test_images_that_are_being_fetched_keep_no_documents_from_coming(sqlite_template: Path, tmp_path: Path) -> None:
    with regions_of(tmp_path, sqlite_template) as both:
        domain, over = both.north.application.domains[DEFAULT_DOMAIN], threading.Event()
        (south,) = domain.actors.gateways.initiating.communities.all
        for _ in range(Gateway().calls):
            south.image_retrievals.start(lambda: over.wait(60))
        with pytest.raises(Unavailable):
            south.image_retrievals.start(lambda: over.wait(60))
        assert list(contents(fetch(both.north, both.both[1])).values()) == [b"of the south"]
        over.set()


def test_references_come_with_their_home_and_lead_back_to_what_they_are_of(regions: Regions) -> None:
    references = homes(find(regions.north, asked(return_type="ObjectRef", **{
        "XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED,
    })))  # fmt: skip
    assert sorted(references.values(), key=str) == [N, S]
    for uuid, home in references.items():
        ids = {"XDSDocumentEntryEntryUUID": f"('{uuid}')"}
        (answered,) = homes(find(regions.north, asked(catalogue.GET_DOCUMENTS.id, home=home, **ids))).values()
        assert answered == home


def test_a_query_is_on_record_at_each_gateway_and_registry(regions: Regions) -> None:
    """ITI TF-2: 3.38.5; federation: a gateway is a registry to who asks it, and a consumer to whom it asks."""
    before = [len(site.outcomes()) for site in (regions.north, regions.south)]
    find(regions.north)
    assert sorted(since(regions.north, before[0])) == [
        ("ITI-18", QUERY, 0), ("ITI-18", QUERY, 0), ("ITI-18", QUERY, 0), ("ITI-38", QUERY, 0),
    ]  # fmt: skip
    assert sorted(since(regions.south, before[1])) == [
        ("ITI-18", QUERY, 0), ("ITI-18", QUERY, 0), ("ITI-38", QUERY, 0),
    ]  # fmt: skip


def test_a_retrieval_is_on_record_at_each_gateway_and_repository(regions: Regions) -> None:
    before = [len(site.outcomes()) for site in (regions.north, regions.south)]
    fetch(regions.north, *regions.both)
    assert sorted(since(regions.north, before[0])) == [
        ("ITI-39", IMPORT, 0), ("ITI-43", EXPORT, 0), ("ITI-43", EXPORT, 0), ("ITI-43", IMPORT, 0),
    ]  # fmt: skip
    assert sorted(since(regions.south, before[1])) == [
        ("ITI-39", EXPORT, 0), ("ITI-43", EXPORT, 0), ("ITI-43", IMPORT, 0),
    ]  # fmt: skip


def test_of_documents_that_are_not_all_given_the_records_say_which_are_not(regions: Regions) -> None:
    before = [len(site.outcomes()) for site in (regions.north, regions.south)]
    missing = (SOUTH, regions.south.repository_unique_id, "2.25.404")
    got = fetch(regions.north, *regions.both, missing)
    assert outcome(got) == (Status.PARTIAL_SUCCESS, [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{S} 2.25.404")])
    assert sorted(since(regions.north, before[0])) == [
        ("ITI-39", IMPORT, 0), ("ITI-39", IMPORT, 4), ("ITI-43", EXPORT, 0), ("ITI-43", EXPORT, 0),
        ("ITI-43", EXPORT, 4), ("ITI-43", IMPORT, 0),
    ]  # fmt: skip
    with regions.north.application.engine.connect() as connection:
        records = [read(one.message) for one in found(connection, Wanted(), 6)]
    failed = [one for one in records if one.event.outcome]
    assert [[thing.id for thing in one.objects] for one in failed] == [["2.25.404"]] * 2


def test_zeep_asks_both_gateways_by_their_wsdl(regions: Regions) -> None:
    for site, path, operation, patient in (
        (regions.north, "gateway", "InitiatingGateway_RegistryStoredQuery", ANNA),
        (regions.south, "responding-gateway", "RespondingGateway_CrossGatewayQuery", ANNA_IN_SOUTH),
    ):
        service, transport = by_wsdl(site, path)
        slots = {"$XDSDocumentEntryPatientId": f"'{patient}'", "$XDSDocumentEntryStatus": APPROVED}
        service[operation](
            ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
            AdhocQuery={
                "id": catalogue.FIND_DOCUMENTS.id,
                "Slot": [{"name": key, "ValueList": {"Value": [value]}} for key, value in slots.items()],
            },
        )
        answer = transport.answer.find(f"{name('soap:Body')}/*")
        assert (said(answer), homes(answer)[regions.in_south.unique_id]) == ((Status.SUCCESS, []), S)
    for site, path, operation in (
        (regions.north, "gateway", "InitiatingGateway_RetrieveDocumentSet"),
        (regions.south, "responding-gateway", "RespondingGateway_CrossGatewayRetrieve"),
    ):
        service, transport = by_wsdl(site, path)
        transport.as_mtom = True
        service[operation](DocumentRequest=[{
            "HomeCommunityId": S, "RepositoryUniqueId": regions.south.repository_unique_id,
            "DocumentUniqueId": regions.in_south.unique_id,
        }])  # fmt: skip
        response = transport.answer.find(f".//{name('rs:RegistryResponse')}")
        assert rs.read_response(response) == (Status.SUCCESS, ())
        (received,) = transport.received.values()
        assert received.path.read_bytes() == b"of the south"


def by_wsdl(site: Site, path: str) -> tuple[Any, Any]:
    """zeep as the running gateway's own WSDL makes it."""
    transport = Transport(site.spool)
    client = zeep.Client(f"{site.url}/{path}?wsdl", transport=transport, plugins=[_Addressing()])
    client.settings.raw_response = True
    return client.service, transport


def test_the_front_page_names_the_gateways(regions: Regions) -> None:
    with urlopen(regions.north.url + "/") as page:  # noqa: S310
        rows = etree.HTML(page.read()).xpath("//tbody/tr")
    listed = {row.findtext("td[1]"): row.findtext("td[2]") for row in rows}
    assert listed["Initiating Gateway"] == "ITI-18, ITI-43, RAD-69"
    assert listed["Responding Gateway"] == "ITI-38, ITI-39, ITI-55, RAD-75"


def test_what_the_policy_of_the_north_withholds_is_absent_also_of_the_south_s(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The South would give it: its own decision is about the North."""
    granted = Granted(STRANGER, "a test", only("none"))
    monkeypatch.setattr(regions.north.application.gate, "ask", lambda *_, **__: granted)
    for return_type in ("LeafClass", "ObjectRef"):
        query_ = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
        found_ = find(regions.north, asked(return_type=return_type, **query_))
        assert (said(found_), homes(found_)) == ((Status.SUCCESS, []), {})
    got = fetch(regions.north, *regions.both)
    status, errors = outcome(got)
    assert (status, contents(got)) == (Status.FAILURE, {})
    assert {code for code, _ in errors} == {ErrorCode.DOCUMENT_UNIQUE_ID}


def test_what_the_policy_of_the_north_permits_of_the_south_s_is_found_and_fetched(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = regions.in_south.class_code
    granted = Granted(STRANGER, "a test", only(f"{code.code}^^{code.scheme}"))
    monkeypatch.setattr(regions.north.application.gate, "ask", lambda *_, **__: granted)
    query_ = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    references = homes(find(regions.north, asked(return_type="ObjectRef", **query_)))
    assert len(references) == 2
    assert set(references.values()) == {N, S}
    assert len(contents(fetch(regions.north, *regions.both))) == 2


def test_what_the_patient_withholds_in_the_north_is_absent_also_of_the_south_s(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """Found by the patient, by an id of the South, or fetched: its patient is known as ours by the table."""
    with regions_of(tmp_path, sqlite_template) as both:
        application = both.north.application
        with application.engine.begin() as connection:
            key = patients.key_of(connection, DEFAULT_DOMAIN, ANNA)
            assert key is not None
            set_directive(connection, key, Directive(permit=False), "her")
        application.gate._looked = 0.0
        assert (said(answer := find(both.north)), homes(answer)) == ((Status.SUCCESS, []), {})
        ids = {"XDSDocumentEntryUniqueId": f"('{both.in_south.unique_id}')"}
        for return_type in ("LeafClass", "ObjectRef"):
            by_id = find(both.north, asked(catalogue.GET_DOCUMENTS.id, return_type, home=S, **ids))
            assert (said(by_id), homes(by_id)) == ((Status.SUCCESS, []), {})
        assert contents(fetch(both.north, *both.both)) == {}


# For whom.

IDP, NORTH_S_REPOSITORY = "https://idp.hospital.example", "1.2.3.4.5.6"
SAYS = {
    "assertion": f"am<anna.meier@{IDP}>",
    "voucher": f"<anna.meier@{IDP}@urn:oid:{NORTH_S_REPOSITORY}>",
    "nobody": "",
}


@pytest.mark.parametrize("says", SAYS)
def test_for_whom_it_is_goes_on_as_it_came_or_by_the_gateway_s_own_word(
    says: str, tmp_path: Path, sqlite_template: Path
) -> None:
    """The South believes the person's issuer, and the North's own word."""
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    keys = Settings(server=Server(data=str(tmp_path / "north" / "data")))
    vouching.own_key(keys)
    xua = f'[xua]\ntrusted = "{tmp_path}/idp.pem"\n'
    north = f'[repository]\nunique_id = "{NORTH_S_REPOSITORY}"\n{xua}'
    south = f'{xua}issuers = ["urn:oid:{NORTH_S_REPOSITORY}={vouching.certificate_file(keys)}"]\n'
    with regions_of(tmp_path, sqlite_template, north, south, person=says) as both:
        both.north.header_blocks = (header_block(signed(Claims(id=f"_{time.monotonic_ns()}"))),)
        assert said(find(both.north)) == (Status.SUCCESS, [])
        with both.south.application.engine.connect() as connection:
            of_gateway = sa.select(audit_record.c.message).where(audit_record.c.transaction == "ITI-38")
            (message,) = connection.scalars(of_gateway).all()
    named = [one.user_name for one in read(message).participants if is_person(one)]
    assert named == [SAYS[says]] * bool(SAYS[says])
