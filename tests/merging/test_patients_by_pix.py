"""Who a source's patients are here, a PIX Manager says where the table has nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT
from tests.initiating.test_patient_identifier_consumer import by_http
from tests.merging.south import DORA, EMIL, Merging, a_history, states
from xds.merging.patient import NOBODY
from xds.metadata.identifiers import Oid, PatientId
from xds.store.tables import audit_record

SAYS = {DORA: ANNA}


def fhir(path: str, _request: bytes) -> tuple[int, str, bytes]:
    system, _, value = parse_qs(urlsplit(path).query)["sourceIdentifier"][0].partition("|")
    found = SAYS.get(PatientId(value, Oid(system.removeprefix("urn:oid:"))))
    if found is None:
        return 404, "application/fhir+json", b'{"resourceType": "OperationOutcome"}'
    identifier = {"system": f"urn:oid:{found.authority}", "value": found.id}
    said = {"resourceType": "Parameters", "parameter": [{"name": "targetIdentifier", "valueIdentifier": identifier}]}
    return 200, "application/fhir+json", json.dumps(said).encode()


@contextmanager
def asking(merging: Merging, url: str) -> Iterator[Merging]:
    """With a PIX Manager in the settings, whose table says nothing."""
    merging.names()
    merging.config.write_text(f'{merging.config.read_text()}pixm = "{url}"\n')
    (merging.folder / "all").write_text(f"{DORA}\n{EMIL}\n")
    yield merging


@pytest.fixture
def known(merging: Merging) -> Iterator[Merging]:
    a_history(merging)
    with by_http(fhir) as url, asking(merging, url) as found:
        yield found


def test_a_patient_is_who_the_pix_manager_says_and_who_it_does_not_know_waits(known: Merging) -> None:
    done = known.run("copy", "--patients", known.folder / "all")
    assert done.code == 0
    assert set(known.everything(known.here, ANNA)) == set(known.everything(known.south, DORA))
    assert known.everything(known.here, BERT) == {}
    assert states(known, EMIL) == {("waiting", NOBODY)}


def test_each_question_to_the_pix_manager_is_on_record(known: Merging) -> None:
    known.run("survey", "--patients", known.folder / "all")
    with known.here.application.engine.connect() as connection:
        rows = connection.execute(sa.select(audit_record).where(audit_record.c.transaction == "ITI-83")).all()
    assert sorted((row.event, row.outcome, row.patient_id) for row in rows) == [
        ("110112", 0, str(DORA)), ("110112", 0, str(EMIL)),
    ]  # fmt: skip


def test_the_table_is_right_where_it_says_something_else(known: Merging) -> None:
    known.names((DORA, BERT))
    known.run("copy", "--patients", known.folder / "all")
    assert known.everything(known.here, ANNA) == {}
    assert set(known.everything(known.here, BERT)) == set(known.everything(known.south, DORA))


def test_a_pix_manager_that_is_away_is_told_and_nothing_is_copied_until_it_answers(merging: Merging) -> None:
    a_history(merging)
    with asking(merging, "http://127.0.0.1:9/pix"):
        done = merging.run("copy", "--patients", merging.folder / "all")
        assert (done.code, "2 patients not told whole" in done.out) == (1, True)
        assert "the PIX Manager does not answer" in merging.run("report").out
    assert merging.everything(merging.here, ANNA) == {}
