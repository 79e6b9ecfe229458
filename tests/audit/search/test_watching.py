"""What is unusual of people's accesses: each reason for itself, once a day, and a decision stays."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.search.test_reports import a_record
from xds.audit.messages.message import ActiveParticipant
from xds.audit.messages.message_xml import read
from xds.audit.messages.people import identity
from xds.audit.search import watching
from xds.audit.search.indexing import indexed
from xds.audit.search.watching import PEERS, Watcher
from xds.errors import Unusable
from xds.settings.access import Review
from xds.store.audit import records as store
from xds.store.audit import review, search
from xds.store.audit.review import DAY, Access, Unusual
from xds.store.audit.search import Wanted
from xds.store.tables import metadata

ANNA = "anna^^^&1.2.3.4.5&ISO"


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
        connection.rollback()


def an_access(record: int = 1, *, who: str = "Dr. Anna Meier", patient: str = ANNA, at: int = 0) -> Access:
    return Access(at or 3 * DAY, record, who.lower(), who, "Doctor", "North", patient)


def seen(
    connection: sa.Connection, *accesses: Access, settings: Review = Review(), names: tuple[str, ...] = (),  # noqa: B008
    alerts: frozenset[int] = frozenset(),
) -> list[str]:  # fmt: skip
    """The reasons for which these accesses are shown."""
    watcher = Watcher(settings)
    watcher._names[ANNA] = set(names)
    review.keep_accesses(connection, accesses)
    review.note(connection, watcher.judged(connection, accesses, alerts))
    return sorted(one.reason for one in review.unusual(connection))


@pytest.mark.parametrize(("name", "reasons"), [
    ("Meier^Johanna", ["same surname"]),
    ("MEIER^Anna^^^Dr.", ["own record"]),
    ("Méier^Johanna", ["same surname"]),
    ("Meier", ["same surname"]),
    ("Meierhofer^Johanna", []),
    ("Müller^Anna", []),
    ("^", []),
    ("", []),
])  # fmt: skip
def test_a_person_with_the_patients_name_is_shown(connection: sa.Connection, name: str, reasons: list[str]) -> None:
    assert seen(connection, an_access(), names=(name,)) == reasons


def test_each_access_to_a_watched_patient_is_shown_until_it_is_not_watched_more(connection: sa.Connection) -> None:
    assert review.set_vip(connection, ANNA, vip=True)
    assert not review.set_vip(connection, ANNA, vip=True)
    assert seen(connection, an_access(), an_access(2, patient="bert^^^&1.2&ISO")) == ["vip"]
    assert review.vips(connection) == [ANNA]
    assert review.set_vip(connection, ANNA, vip=False)
    assert seen(connection, an_access(3, at=9 * DAY)) == ["vip"]


@pytest.mark.parametrize(("moment", "late"), [
    ("2026-11-25T08:00", False),  # a Wednesday
    ("2026-11-25T05:30", True),  # 06:30 in Zagreb
    ("2026-11-25T18:30", True),
    ("2026-11-28T11:00", True),  # a Saturday
])  # fmt: skip
def test_an_access_outside_the_hours_of_the_place_is_shown(connection: sa.Connection, moment: str, late: bool) -> None:
    at = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000
    settings = Review(office_hours="07:00-19:00", timezone="Europe/Zagreb")
    assert seen(connection, an_access(at=at), settings=settings) == (["after hours"] if late else [])
    assert seen(connection, an_access(2, at=at)) == (["after hours"] if late else [])


def test_an_emergency_override_is_shown_for_that_alone(connection: sa.Connection) -> None:
    review.set_vip(connection, ANNA, vip=True)
    assert seen(connection, an_access(7), names=("Meier^Anna",), alerts=frozenset({7})) == ["override"]


def test_the_same_of_a_day_is_one_line_that_counts_and_a_decision_on_it_stands(connection: sa.Connection) -> None:
    seen(connection, an_access(1), an_access(2), names=("Meier^J",))
    (one,) = review.unusual(connection)
    assert (one.count, one.record_id, one.day) == (2, 1, 3)
    decided = review.decide(connection, one.id, "justified", "her own", "audrey")
    assert decided is not None
    assert decided.decided_by == "audrey"
    seen(connection, an_access(3), names=("Meier^J",))
    assert review.unusual(connection) == []
    (one,) = review.unusual(connection, decided=True)
    assert (one.count, one.note) == (3, "her own")
    assert review.decide(connection, 10**6, "misuse", "", "audrey") is None


def peers(connection: sa.Connection, *patients: int) -> list[Unusual]:
    """How many patients each of some people accessed on the third day; compared on the next."""
    watcher = Watcher(Review(peer_factor=3, least_patients=5))
    watcher.compare(connection, 3 * DAY)
    review.keep_accesses(connection, [
        an_access(100 * who + n, who=f"Person {who}", patient=f"{n}^^^&1.2&ISO")
        for who, count in enumerate(patients) for n in range(count)
    ])  # fmt: skip
    watcher.compare(connection, 3 * DAY + 5)
    assert review.unusual(connection) == []  # the day is not over
    watcher.compare(connection, 4 * DAY)
    watcher.compare(connection, 4 * DAY + 5)
    return review.unusual(connection)


def test_who_sees_far_more_patients_than_others_of_the_role_is_shown_once_the_day_is_over(
    connection: sa.Connection,
) -> None:
    (one,) = peers(connection, 2, 3, 2, 20)
    assert (one.known_as, one.reason, one.patient_id, one.count) == ("Person 3", "many patients", "", 1)
    assert one.detail == "20 patients; others of the role 2"
    assert store.position(connection, PEERS) == 4


@pytest.mark.parametrize("patients", [(2, 20), (1, 1, 1, 5), (8, 9, 10, 20)])
def test_nobody_is_compared_without_peers_nor_shown_for_a_few(
    connection: sa.Connection, patients: tuple[int, ...]
) -> None:
    assert peers(connection, *patients) == []


@given(st.lists(st.integers(0, 50), min_size=4, max_size=30))
def test_the_usual_of_others_is_their_median(counts: list[int]) -> None:
    for n, count in enumerate(counts):
        others = counts[:n] + counts[n + 1 :]
        assert watching._median_without(sorted(counts), count) == statistics.median(others)


def test_many_people_in_one_record_are_watched_as_far_as_a_number(connection: sa.Connection) -> None:
    message = read(a_record(1).message)
    people = tuple(ActiveParticipant(f"u{n}", True, "", "n") for n in range(500))
    found = list(watching.accesses(a_record(1), replace(message, participants=people), [ANNA]))
    assert len(found) == watching.PERSONS


def test_records_of_people_are_accesses_and_those_of_machines_are_none(connection: sa.Connection) -> None:
    store.record(connection, [a_record(1, person="Anna"), a_record(2), a_record(3, "iti43_responder", person="Bert")])
    records = search.found(connection, Wanted(), 9)
    indexed(connection, records, Watcher(Review())).keep(connection)
    (anna,) = review.busy(connection, 0)
    assert (anna.known_as, anna.role, anna.organisation, anna.patients) == ("Anna", "Doctor", "North", 1)


@pytest.mark.parametrize(("user_name", "who"), [
    ("am<anna@https://one.example>", "anna@https://one.example"), ("<anna@two>", "anna@two"), ("Anna", "a"), ("", "a"),
    ("<@two>", "a"), ("<anna@>", "a"), ("<anna>", "a"), ("anna@two>", "a"), ("<" + "@" * 1_000_000, "a"),
])  # fmt: skip
def test_users_of_two_issuers_are_two_persons_whatever_they_are_called(user_name: str, who: str) -> None:
    assert identity(ActiveParticipant("a", True, user_name=user_name)) == who


@pytest.mark.parametrize("settings", [
    Review(office_hours="7-19"), Review(office_hours="07:00-25:00"), Review(timezone="Nowhere/At_All"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: Review) -> None:
    with pytest.raises(Unusable):
        Watcher(settings)


def test_long_names_are_kept_as_far_as_an_index_can_hold_them(connection: sa.Connection) -> None:
    long = "é" * 2000
    seen(connection, Access(DAY, 1, long, long, long, long, long))
    review.note(connection, [Unusual(1, long, long, long, long, "vip", long, 1)])
    assert len(review.unusual(connection)) == 1


def test_searches_are_kept_by_account_and_name_up_to_a_number(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "SEARCHES", 2)
    assert review.save_search(connection, "anna", "one", "a=1")
    assert review.save_search(connection, "anna", "one", "a=2")
    assert review.save_search(connection, "anna", "two", "b=1")
    assert not review.save_search(connection, "anna", "three", "c=1")
    assert review.save_search(connection, "bert", "one", "d=1")
    kept = review.searches(connection, "anna")
    assert [(one.name, one.query) for one in kept] == [("one", "a=2"), ("two", "b=1")]
    review.forget_search(connection, "bert", kept[0].id)
    review.forget_search(connection, "anna", kept[1].id)
    assert [one.name for one in review.searches(connection, "anna")] == ["one"]
