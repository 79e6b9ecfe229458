"""Which manifests gateways have passed on, by each study that they are of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from xds.ebxml.xdsb import DocumentRequest
from xds.store import passed_manifests as passed

SOUTH, WEST = "urn:oid:1.2.3.102", "urn:oid:1.2.3.103"
MANIFEST = DocumentRequest("1.2.3.7", "2.25.1", SOUTH)


def test_a_manifest_is_known_by_its_community_and_study_alone(connection: sa.Connection) -> None:
    passed.keep(connection, "default", MANIFEST, "1.2.9", "anna")
    assert passed.of(connection, "default", SOUTH, "1.2.9") == [MANIFEST]
    for domain, home, study in (("other", SOUTH, "1.2.9"), ("default", WEST, "1.2.9"), ("default", SOUTH, "1.2.8")):
        assert passed.of(connection, domain, home, study) == []


def test_one_that_is_fetched_again_is_known_once_and_by_its_repository_now(connection: sa.Connection) -> None:
    moved = replace(MANIFEST, repository_unique_id="1.2.3.8")
    for one in (MANIFEST, MANIFEST, moved):
        passed.keep(connection, "default", one, "1.2.9", "anna")
    assert passed.of(connection, "default", SOUTH, "1.2.9") == [moved]


def test_those_fetched_last_come_first_and_no_more_than_are_looked_at(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(passed.MOST + 5):
        monkeypatch.setattr(passed, "today", lambda number=number: number)
        passed.keep(connection, "default", replace(MANIFEST, document_unique_id=f"2.25.{number}"), "1.2.9", "anna")
    listed = [one.document_unique_id for one in passed.of(connection, "default", SOUTH, "1.2.9")]
    assert listed == [f"2.25.{passed.MOST + 4 - place}" for place in range(passed.MOST)]


def test_whom_a_study_shows_is_said_where_its_manifests_agree(connection: sa.Connection) -> None:
    def said() -> str:
        return passed.patient_of(connection, "default", SOUTH, "1.2.9")

    passed.keep(connection, "default", replace(MANIFEST, home_community_id=WEST), "1.2.9", "another's word")
    assert said() == ""
    passed.keep(connection, "default", MANIFEST, "1.2.9", "anna")
    assert said() == "anna"
    passed.keep(connection, "default", replace(MANIFEST, document_unique_id="2.25.2"), "1.2.9", "bert")
    assert said() == ""


def test_what_nobody_has_fetched_for_long_is_forgotten(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = passed.today()
    passed.keep(connection, "default", MANIFEST, "1.2.9", "anna")
    for later, left in ((passed.KEPT_DAYS, 1), (passed.KEPT_DAYS + 1, 0)):
        monkeypatch.setattr(passed, "today", lambda later=later: day + later)
        passed.forget(connection)
        assert len(passed.of(connection, "default", SOUTH, "1.2.9")) == left
