"""Another community looks for a patient by ITI-55, and finds them by name and birth date, or is asked for more.

And this one looks for its own there, where no table says under which id they are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, AUTHORITY, BERT
from tests.hl7.test_v2 import adt
from tests.regions import contents, fetch, find, homes, kept, region, said
from tests.server.test_application import Site, serving
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.errors import Status
from xds.hl7 import discovery, v3
from xds.hl7.discovery import Discovery
from xds.metadata.demographics import Demographics, PersonName
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid, PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients
from xds.store.tables import audit_record
from xds.transactions.iti55_cross_gateway_patient_discovery import TRANSACTION as ITI_55
from xds.wire.client import Faulted
from xds.wire.xml import Element

HOME, SOUTH = Oid("1.2.3.77"), Oid("1.2.3.88")
ANNAS = Demographics((PersonName("Mueller", "Anna"),), "19560527")
"""As another writes her; the feed of these tests says Müller^Anna, 19560527, F."""
CODE = "hl7:controlActProcess/hl7:queryAck/hl7:queryResponseCode"
EVENT = "hl7:controlActProcess/hl7:subject/hl7:registrationEvent"


@pytest.fixture
def north(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A community that a feed has told who Anna is."""
    text = f'[server]\nactors = ["registry", "responding-gateway"]\n[domain]\nhome_community_id = "{HOME}"\n'
    with serving(database_url, tmp_path, text) as site:
        assert b"MSA|AA" in fed(site, adt())
        yield site


def fed(site: Site, message: str) -> bytes:
    return site.application.domains["default"].feeding().answer(message.encode(), "192.0.2.7", b"")


def asked(site: Site, sought: Discovery) -> Element:
    body = etree.tostring(discovery.message(sought, Oid("1.2.3.1"), Oid("1.2.3.2"), SOUTH))
    return site.send("/responding-gateway", ITI_55.action, [body], mtom=False).body


def code(said: Element) -> str:
    (found,) = v3.found(said, CODE)
    return found.get("code", "")


def records(site: Site) -> list[tuple[str, int, str]]:
    columns = (audit_record.c.transaction, audit_record.c.outcome, audit_record.c.patient_id)
    with site.application.engine.connect() as connection:
        every = connection.execute(sa.select(*columns).order_by(audit_record.c.id)).all()
    return [(number, outcome, patient) for number, outcome, patient in every if number == "ITI-55"]


def test_a_patient_of_the_feed_is_found_by_name_and_birth_date(north: Site) -> None:
    said = asked(north, Discovery(ANNAS, ()))
    assert code(said) == "OK"
    (event,) = v3.found(said, EVENT)
    assert list(v3.identifiers(event, v3.PATIENT)) == [ANNA]
    (home,) = v3.found(event, "hl7:custodian/hl7:assignedEntity/hl7:id")
    assert home.get("root") == HOME
    assert records(north) == [("ITI-55", 0, str(ANNA))]


@pytest.mark.parametrize(
    "sought",
    [
        Discovery(Demographics(ANNAS.names, "19560528"), ()),
        Discovery(Demographics((PersonName("Müller", "Anne"),), ANNAS.born), ()),
        Discovery(Demographics(ANNAS.names, ANNAS.born, "M"), ()),
        Discovery(Demographics(), (BERT,)),
    ],
)
def test_who_is_not_meant_is_nobody_and_on_record(north: Site, sought: Discovery) -> None:
    said = asked(north, sought)
    assert code(said) == "NF"
    assert v3.found(said, EVENT) == []
    assert records(north) == [("ITI-55", 0, "")]


def test_a_revised_name_is_found_and_the_old_one_no_more(north: Site) -> None:
    fed(north, adt("A08").replace("Müller^Anna", "Schmidt^Anna"))
    assert code(asked(north, Discovery(ANNAS, ()))) == "NF"
    assert code(asked(north, Discovery(Demographics((PersonName("Schmidt", "Anna"),), ANNAS.born), ()))) == "OK"


def test_of_two_who_agree_what_tells_them_apart_is_asked_for(north: Site) -> None:
    fed(north, adt(pid=str(BERT)).replace("|F\r", "|M\r"))
    said = asked(north, Discovery(ANNAS, ()))
    assert code(said) == "OK"
    assert v3.found(said, EVENT) == []
    orders = "hl7:reasonOf/hl7:detectedIssueEvent/hl7:triggerFor/hl7:actOrderRequired/hl7:code"
    wanted = [one.get("code") for one in v3.found(said, f"hl7:controlActProcess/{orders}")]
    assert wanted == ["LivingSubjectAdministrativeGenderRequested"]


def test_what_cannot_be_looked_for_is_an_error_and_a_failure_on_record(north: Site) -> None:
    said = asked(north, Discovery(Demographics(ANNAS.names), ()))
    assert code(said) == "AE"
    (detail,) = v3.found(said, "hl7:acknowledgement/hl7:acknowledgementDetail")
    assert "LivingSubjectBirthTime" in etree.tostring(detail).decode()
    assert [(number, outcome > 0) for number, outcome, _ in records(north)] == [("ITI-55", True)]


def test_a_message_of_another_kind_is_none(north: Site) -> None:
    with pytest.raises(Faulted):
        north.send("/responding-gateway", ITI_55.action, [b"<other xmlns='urn:hl7-org:v3'/>"], mtom=False)


SOUTHS = PatientId("s-4711", AUTHORITY)


@pytest.fixture
def regions(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Site, Site]]:
    """North, whose gateway asks South; feeds have told both who Anna is, each by an id of its own."""
    with region(tmp_path / "south", sqlite_template, SOUTH) as south:
        at = f"{south.url}/responding-gateway"
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "{at}"\ndiscover = "{at}"\nseconds = 60.0\n'
        )
        with region(tmp_path / "north", sqlite_template, HOME, text) as north:
            fed(north, adt())
            fed(south, adt(pid=str(SOUTHS)).replace("Müller^Anna", "Mueller^Anna^Maria"))
            yield north, south


def test_a_patient_s_documents_are_found_where_no_table_says_under_which_id(regions: tuple[Site, Site]) -> None:
    north, south = regions
    there = kept(south, b"from the south", SOUTHS)
    assert list(homes(find(north)).items()) == [(there.unique_id, home_of(SOUTH))]
    assert list(homes(find(north))) == [there.unique_id]
    assert (len(records(north)), len(records(south))) == (1, 1)  # it is remembered


def test_whom_the_other_does_not_know_by_name_nobody_there_is_shown(regions: tuple[Site, Site]) -> None:
    north, south = regions
    kept(south, b"of another Anna", SOUTHS)
    fed(south, adt("A08", pid=str(SOUTHS)).replace("19560527", "19560528"))
    answer = find(north)
    assert (said(answer), homes(answer)) == ((Status.SUCCESS, []), {})


def test_of_whom_nothing_may_be_told_nobody_else_is_told(regions: tuple[Site, Site]) -> None:
    north, south = regions
    with north.application.engine.begin() as connection:
        key = patients.key_of(connection, DEFAULT_DOMAIN, ANNA)
        assert key is not None
        set_directive(connection, key, Directive(permit=False), "her")
    north.application.gate._looked = 0.0
    answer = find(north)
    assert (said(answer), homes(answer)) == ((Status.SUCCESS, []), {})
    assert (records(north), records(south)) == ([], [])


def test_what_she_withholds_is_not_fetched_either_by_who_knows_its_id(regions: tuple[Site, Site]) -> None:
    """Whose it is was never asked there: of nobody's document nobody knows what they want."""
    north, south = regions
    there = kept(south, b"from the south", SOUTHS)
    place = (SOUTH, south.repository_unique_id, there.unique_id)
    assert list(contents(fetch(north, place)).values()) == [b"from the south"]  # nothing is withheld from anybody
    with north.application.engine.begin() as connection:
        key = patients.key_of(connection, DEFAULT_DOMAIN, ANNA)
        assert key is not None
        set_directive(connection, key, Directive(permit=False), "her")
    north.application.gate._looked = 0.0
    assert contents(fetch(north, place)) == {}
