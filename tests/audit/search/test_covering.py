"""A search for a patient covers all that they were called, and is refused where it can find nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.endpoints.console.test_desk import seal
from tests.server.test_application import ANNA, AUTHORITY, BERT, Site, serving
from xds.audit.search.covering import covered
from xds.errors import CannotMatch
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path) as site:
        site.find(ANNA)
        site.find("4711")  # a record with what is no CX: the query is refused, and on record
        site.outcomes()
        seal(site)
        yield site


@pytest.fixture
def connection(site: Site) -> Iterator[sa.Connection]:
    with site.application.engine.begin() as connection:
        yield connection


def test_every_merged_id_is_covered_from_whichever_it_is_asked(site: Site, connection: sa.Connection) -> None:
    many = [PatientId(f"anna-{number}", AUTHORITY) for number in range(30)]
    for one in (ANNA, *many):
        patients.add(connection, DEFAULT_DOMAIN, one)
    for one in many:
        patients.merge(connection, DEFAULT_DOMAIN, one, ANNA)
    for one in (ANNA, many[7]):
        names = covered(connection, site.application.settings, str(one))
        assert names[0] == str(one)
        assert sorted(names) == sorted(map(str, (ANNA, *many)))


def test_who_is_known_or_in_a_record_can_be_asked_about(site: Site, connection: sa.Connection) -> None:
    patients.add(connection, DEFAULT_DOMAIN, BERT)
    for text in (str(ANNA), str(BERT)):
        assert covered(connection, site.application.settings, text) == [text]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anna", "This is no patient id"),
        ("Müller^Anna", "This is no patient id"),
        ("anna^^^&1.2&DNS", "This is no patient id"),
        ("", "This is no patient id"),
        ("%", "This is no patient id"),
        ("a" * 300, "This is no patient id"),
        (f"annna^^^&{AUTHORITY}&ISO", "Unknown patient"),
        ("anna^^^&1.2.9.9&ISO", f"Unknown authority: .* ids of {AUTHORITY}"),
    ],
)
def test_what_can_find_nothing_is_refused(site: Site, connection: sa.Connection, text: str, why: str) -> None:
    with pytest.raises(CannotMatch, match=why):
        covered(connection, site.application.settings, text)
