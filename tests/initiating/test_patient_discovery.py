"""Another community is asked for a patient by ITI-55: whom it names must be whom it was asked for, and no guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, BERT
from tests.hl7.test_v2 import adt
from tests.journeys.test_patient_discovery import fed
from tests.regions import NORTH, SOUTH, WEST, a_gateway, region
from tests.server.test_application import Site
from xds.actors.communities import sent_for
from xds.archives.interface import NotAnswering
from xds.hl7 import discovery
from xds.hl7.discovery import Discovery, Outcome
from xds.initiating import patient_discovery
from xds.metadata.demographics import Address, Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId
from xds.store.registry import patients
from xds.store.tables import audit_record, discovered_patient
from xds.wire.xml import Element

THEIRS = PatientId("S-1", Oid("1.2.3.60"))
ANOTHER = b"<subject1><patient><id root='1.2' extension='x'/></patient></subject1>"
HERS = Demographics((PersonName("Müller", "Anna"),), "19560527", "F")
"""Anna, as the feed of these tests says; she lives where ``tests.hl7.test_v2`` has her live."""


@dataclass
class South:
    """A Responding Gateway that says what a test wants, and what it was asked."""

    url: str
    says: Callable[[Discovery], Outcome] = lambda _: Outcome(THEIRS, HERS)
    home: Oid = SOUTH
    spoil: Callable[[bytes], bytes] = lambda body: body
    asked: list[Discovery] = field(default_factory=list)

    def reply(self, message: Element) -> bytes:
        self.asked.append(discovery.read(message))
        said = discovery.answer(message, self.home, self.home, self.says(self.asked[-1]))
        return self.spoil(etree.tostring(said))


@pytest.fixture
def south(tmp_path: Path) -> Iterator[South]:
    with a_gateway(tmp_path / "stub") as gateway:
        found = South(gateway.url)
        gateway.answer = found.reply
        yield found


@dataclass
class North:
    """A region that asks South for its patients; Anna is known to it by a feed."""

    site: Site

    def theirs(self, patient: PatientId = ANNA) -> PatientId | None:
        return self._community.patients.mapped(patient)  # type: ignore[no-any-return]

    def ours(self, theirs: PatientId) -> PatientId | None:
        return self._community.ours.mapped(theirs)  # type: ignore[no-any-return]

    @property
    def _community(self):  # type: ignore[no-untyped-def]
        return self.site.application.domains["default"].actors.gateways.initiating.communities.all[0]

    def records(self) -> list[tuple[int, str]]:
        columns = (audit_record.c.outcome, audit_record.c.patient_id)
        asked = sa.select(*columns).where(audit_record.c.transaction == "ITI-55").order_by(audit_record.c.id)
        with self.site.application.engine.connect() as connection:
            return [(outcome, patient) for outcome, patient in connection.execute(asked)]

    def let_time_pass(self) -> None:
        with self.site.application.engine.begin() as connection:
            connection.execute(sa.update(discovered_patient).values(until=1))


@contextmanager
def north_of(folder: Path, template: Path, urls: str, more: str = "") -> Iterator[North]:
    text = (
        f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "http://127.0.0.1:9/"\n'
        f"discover = {urls}\nseconds = 60.0\n{more}"
    )
    with region(folder, template, NORTH, text) as site:
        fed(site, adt())
        yield North(site)


@pytest.fixture
def north(south: South, tmp_path: Path, sqlite_template: Path) -> Iterator[North]:
    with north_of(tmp_path, sqlite_template, f'"{south.url}"') as found:
        yield found


def test_a_patient_is_asked_for_by_name_birth_date_and_sex_alone(north: North, south: South) -> None:
    assert north.theirs() == THEIRS
    (asked,) = south.asked
    assert asked == Discovery(Demographics(asked.demographics.names, HERS.born, HERS.sex), ())
    assert str(asked.demographics.names[0]) == "Müller, Anna"
    assert north.records() == [(0, "")]  # whom it is about, the question says (ITI TF-2: 3.55.5.1)


def test_what_was_answered_is_not_asked_again_until_its_time_is_over(north: North, south: South) -> None:
    assert [north.theirs(), north.theirs()] == [THEIRS, THEIRS]
    assert len(south.asked) == 1
    north.let_time_pass()
    south.says = lambda _: Outcome()
    assert [north.theirs(), north.theirs()] == [None, None]
    assert len(south.asked) == 2


def test_a_patient_whose_name_has_changed_is_asked_for_anew(north: North, south: South) -> None:
    north.theirs()
    fed(north.site, adt("A08").replace("Müller^Anna", "Schmidt^Anna"))
    south.says = lambda _: Outcome()
    assert north.theirs() is None
    assert str(south.asked[-1].demographics.names[0]) == "Schmidt, Anna"


def test_whose_an_id_of_theirs_is_is_known_afterwards_by_all_processes(north: North) -> None:
    with pytest.raises(NotAnswering):
        north.ours(THEIRS)
    north.theirs()
    assert north.ours(THEIRS) == ANNA


def test_whom_nobody_knows_here_nobody_is_asked_about(north: North, south: South) -> None:
    assert north.theirs(BERT) is None
    assert south.asked == []


def test_of_whom_no_name_is_known_it_says_so_and_asks_nobody(north: North, south: South) -> None:
    fed(north.site, adt(pid=str(BERT)).replace("Müller^Anna", ""))
    with pytest.raises(NotAnswering, match="name and birth date"):
        north.theirs(BERT)
    assert south.asked == []


def test_what_is_wanted_too_is_told_in_a_second_question_where_it_is_known(north: North, south: South) -> None:
    def says(asked: Discovery) -> Outcome:
        told = asked.demographics.address != Address()
        return Outcome(THEIRS, HERS) if told else Outcome(wanted=["PatientAddressRequested"])

    south.says = says
    fed(north.site, adt("A08").replace("|F\r", "|F|||Am Dom 1^^Köln^^50667\r"))
    assert north.theirs() == THEIRS
    assert [one.demographics.address.postal_code for one in south.asked] == ["", "50667"]
    assert north.records() == [(0, ""), (0, "")]


@pytest.mark.parametrize("wanted", ["MothersMaidenNameRequested", "LivingSubjectBirthPlaceNameRequested", "x"])
def test_what_is_wanted_and_not_known_here_is_told(north: North, south: South, wanted: str) -> None:
    south.says = lambda _: Outcome(wanted=[wanted])
    with pytest.raises(NotAnswering, match="more of the patient than is known here"):
        north.theirs()
    assert len(south.asked) == 1


@pytest.mark.parametrize(
    "who",
    [
        replace(HERS, born="19560528"), replace(HERS, sex="M"), replace(HERS, names=(PersonName("Müller", "Anne"),)),
        replace(HERS, names=()), replace(HERS, born=""),
    ],
)  # fmt: skip
def test_another_patient_than_was_asked_for_is_nobody_s(north: North, south: South, who: Demographics) -> None:
    south.says = lambda _: Outcome(THEIRS, who)
    with pytest.raises(NotAnswering, match="another name or birth date"):
        north.theirs()
    with pytest.raises(NotAnswering):
        north.ours(THEIRS)


def test_a_patient_of_another_community_is_none_of_this_one_s(north: North, south: South) -> None:
    south.home = WEST
    assert north.theirs() is None


def twice(body: bytes) -> bytes:
    """With the patient named once more, under another id."""
    begin, end = body.index(b"<subject "), body.index(b"</subject>") + len(b"</subject>")
    again = body[begin:end].replace(b'extension="S-1"', b'extension="S-2"')
    return body[:end] + again + body[end:]


def second_of(
    body: bytes, change: Callable[[bytes], bytes], first: Callable[[bytes], bytes] = lambda one: one
) -> bytes:
    """With the patient named once more, as ``change`` has them."""
    one, _, other = twice(body).partition(b"</subject>")
    return first(one) + b"</subject>" + change(other)


@pytest.mark.parametrize("sex", [b"F", b"M"], ids=["alike", "of another sex, and nothing speaks for the first"])
def test_of_two_patients_there_nobody_is_taken(north: North, south: South, sex: bytes) -> None:
    said = b'<administrativeGenderCode code="F"/>'
    south.spoil = lambda body: second_of(
        body, lambda other: other.replace(said, said.replace(b"F", sex)), lambda one: one.replace(said, b"")
    )  # fmt: skip
    with pytest.raises(NotAnswering, match="several patients may be meant"):
        north.theirs()


def test_of_two_patients_there_the_one_is_taken_that_something_more_speaks_for(north: North, south: South) -> None:
    south.spoil = lambda body: second_of(body, lambda other: other.replace(b'Code code="F"', b'Code code="M"'))
    assert north.theirs() == THEIRS


def test_of_two_patients_there_the_one_with_an_id_that_is_wanted_is_not_taken_for_that(
    south: South, tmp_path: Path, sqlite_template: Path
) -> None:
    wanted = f'root="{THEIRS.authority}"'.encode()
    south.spoil = lambda body: second_of(body, lambda other: other.replace(wanted, b'root="1.2.3.61"'))
    with (
        north_of(tmp_path, sqlite_template, f'"{south.url}"', f'authority = "{THEIRS.authority}"\n') as north,
        pytest.raises(NotAnswering, match="several patients may be meant"),
    ):
        north.theirs()


def test_of_two_here_who_are_alike_neither_is_asked_for(north: North, south: South) -> None:
    fed(north.site, adt(pid=str(BERT)))
    for one in (ANNA, BERT):
        with pytest.raises(NotAnswering, match="several patients here"):
            north.theirs(one)
    assert south.asked == []


def test_of_two_here_something_must_speak_for_the_one(north: North, south: South) -> None:
    fed(north.site, adt(pid=str(BERT)).replace("|F\r", "|M\r"))
    assert north.theirs() == THEIRS
    south.says = lambda _: Outcome(PatientId("S-2", THEIRS.authority), replace(HERS, sex=""))
    with pytest.raises(NotAnswering, match="several patients may be meant"):
        north.theirs(BERT)


def test_an_id_that_is_another_s_here_is_not_taken(south: South, tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "table.csv").write_text(f"{BERT},{THEIRS}\n")
    with north_of(tmp_path / "n", sqlite_template, f'"{south.url}"', f'patients = "{tmp_path}/table.csv"\n') as north:
        with pytest.raises(NotAnswering, match="another patient's here"):
            north.theirs()
        assert north.ours(THEIRS) == BERT


def test_whoever_was_merged_away_is_nobody_for_an_id_of_theirs(north: North) -> None:
    north.theirs()
    fed(north.site, adt(pid=str(BERT)).replace("19560527", "19560528"))
    with north.site.application.engine.begin() as connection:
        patients.merge(connection, "default", ANNA, BERT)
    with pytest.raises(NotAnswering):
        north.ours(THEIRS)


def test_it_is_told_for_whom_it_is_asked_as_the_query_is(north: North) -> None:
    theirs, told = north._community.patients, list[object]()

    def blocks(_url: str, header: object) -> tuple[()]:
        told.append(header)
        return ()

    theirs._there = replace(theirs._there, blocks=blocks)
    header = etree.Element("header")
    with sent_for(header):
        north.theirs()
    assert told == [header]


def test_that_nobody_is_known_is_not_remembered_where_a_person_asks(
    north: North, south: South, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be so for them alone."""
    south.says = lambda _: Outcome()
    monkeypatch.setattr(patient_discovery, "asking", lambda: "vera")
    assert [north.theirs(), north.theirs()] == [None, None]
    assert len(south.asked) == 2


def test_of_several_ids_the_one_of_the_authority_that_is_set_is_taken(
    south: South, tmp_path: Path, sqlite_template: Path
) -> None:
    more = f'authority = "{THEIRS.authority}"\n'
    with north_of(tmp_path, sqlite_template, f'"{south.url}"', more) as north:
        other = f'<id root="1.2.3.61" extension="x"/><id root="{THEIRS.authority}" extension="S-1"/>'
        south.spoil = lambda body: body.replace(
            f'<id root="{THEIRS.authority}" extension="S-1"/>'.encode(), other.encode()
        )
        assert north.theirs() == THEIRS
        north.let_time_pass()
        south.spoil = lambda body: body.replace(f'root="{THEIRS.authority}"'.encode(), b'root="1.2.3.61"')
        with pytest.raises(NotAnswering, match="no id of the authority"):
            north.theirs()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda body: body.replace(b"PRPA_IN201306UV02", b"PRPA_IN201310UV02"), "no PRPA_IN201306UV02"),
        (lambda body: body.replace(b"<queryAck><queryId root", b"<queryAck><queryId extension"), "to another query"),
        (lambda body: body.replace(b'queryResponseCode code="OK"', b'queryResponseCode code="QE"'), "could not answer"),
        (lambda body: body.replace(b"</subject1>", b"</subject1>" + ANOTHER), "of one patient"),
        (lambda body: body.replace(b"custodian", b"custodia"), "whose patient it is"),
        (lambda body: body.replace(b'extension="S-1"', b'extension="' + b"S" * 500 + b'"'), "malformed"),
        (lambda body: body.replace(b"<subject1", b"<subject2").replace(b"</subject1", b"</subject2"), "malformed"),
        (lambda body: twice(body) if body.count(b"</subject>") > 150 else many(body), "over 100 patients"),
    ],
)
def test_what_is_no_answer_is_told_and_a_failure_on_record(
    north: North, south: South, spoil: Callable[[bytes], bytes], says: str
) -> None:
    south.spoil = spoil
    with pytest.raises(NotAnswering, match=says):
        north.theirs()
    ((outcome, _),) = north.records()
    assert outcome > 0


def many(body: bytes) -> bytes:
    for _ in range(101):
        body = twice(body)
    return body


def test_an_error_is_told_by_its_code(north: North, south: South) -> None:
    south.says = lambda _: Outcome(error="ResponderBusy", text="Müller is busy")
    with pytest.raises(NotAnswering, match="ResponderBusy") as told:
        north.theirs()
    assert "Müller" not in str(told.value)


def test_where_one_gateway_is_silent_the_next_is_asked(south: South, tmp_path: Path, sqlite_template: Path) -> None:
    with north_of(tmp_path, sqlite_template, f'["http://127.0.0.1:9/rg", "{south.url}"]') as north:
        assert north.theirs() == THEIRS
        assert [outcome > 0 for outcome, _ in north.records()] == [True, False]


def test_nobody_is_remembered_where_none_answers(tmp_path: Path, sqlite_template: Path) -> None:
    with north_of(tmp_path, sqlite_template, '"http://127.0.0.1:9/rg"') as north:
        for _ in range(2):
            with pytest.raises(NotAnswering):
                north.theirs()
        assert [outcome > 0 for outcome, _ in north.records()] == [True, True]


def test_the_table_is_right_where_it_says_somebody(south: South, tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "table.csv").write_text(f"{ANNA},x^^^&1.2.3.60&ISO\n")
    with north_of(tmp_path / "n", sqlite_template, f'"{south.url}"', f'patients = "{tmp_path}/table.csv"\n') as north:
        assert north.theirs() == PatientId("x", Oid("1.2.3.60"))
    assert south.asked == []
