"""What other communities have answered about patients, and what is forgotten of it."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from xds.metadata.demographics import Demographics, PersonName
from xds.store import discovered_patients as discovered
from xds.store.discovered_patients import KEPT_DAYS, Discovered

SOUTH, WEST = "urn:oid:1.2.3.102", "urn:oid:1.2.3.103"
FOUND = Discovered("s-1^^^&1.2.9&ISO", "a" * 64, 1_000)
DAY = 86_400_000_000


def test_an_answer_is_of_its_community_domain_and_patient_alone(connection: sa.Connection) -> None:
    discovered.keep(connection, "default", SOUTH, "anna", FOUND)
    assert discovered.of(connection, "default", SOUTH, "anna") == FOUND
    assert discovered.ours(connection, "default", SOUTH, FOUND.theirs) == ["anna"]
    for domain, home, patient in (("x", SOUTH, "anna"), ("default", WEST, "anna"), ("default", SOUTH, "bert")):
        assert discovered.of(connection, domain, home, patient) is None
    for domain, home in (("x", SOUTH), ("default", WEST)):
        assert discovered.ours(connection, domain, home, FOUND.theirs) == []


def test_the_last_answer_is_the_one_that_counts(connection: sa.Connection) -> None:
    discovered.keep(connection, "default", SOUTH, "anna", FOUND)
    later = Discovered("", "b" * 64, 2_000)
    discovered.keep(connection, "default", SOUTH, "anna", later)
    assert discovered.of(connection, "default", SOUTH, "anna") == later
    assert discovered.ours(connection, "default", SOUTH, FOUND.theirs) == []


def test_all_whose_an_id_is_are_told(connection: sa.Connection) -> None:
    for one in ("anna", "bert"):
        discovered.keep(connection, "default", SOUTH, one, FOUND)
    assert sorted(discovered.ours(connection, "default", SOUTH, FOUND.theirs)) == ["anna", "bert"]


def test_who_is_not_known_there_is_nobody_s(connection: sa.Connection) -> None:
    discovered.keep(connection, "default", SOUTH, "anna", replace(FOUND, theirs=""))
    assert discovered.ours(connection, "default", SOUTH, "") == []


def test_what_has_not_held_for_long_is_forgotten(connection: sa.Connection) -> None:
    discovered.keep(connection, "default", SOUTH, "anna", FOUND)
    for now, left in ((FOUND.until + KEPT_DAYS * DAY, 1), (FOUND.until + KEPT_DAYS * DAY + 1, 0)):
        assert discovered.forget(connection, now) == 1 - left
        assert (discovered.of(connection, "default", SOUTH, "anna") is not None) == bool(left)


def test_demographics_are_told_from_others_by_any_part_of_them() -> None:
    anna = Demographics((PersonName("Müller", "Anna"),), "19560527", "F")
    others = (replace(anna, born="19560528"), replace(anna, sex="M"), replace(anna, telecoms=("1",)), Demographics())
    own = discovered.fingerprint(anna, "1.2")
    assert own == discovered.fingerprint(replace(anna), "1.2")
    assert own not in {discovered.fingerprint(one, "1.2") for one in others} | {discovered.fingerprint(anna, "1.3")}
