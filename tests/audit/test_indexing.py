"""What records are found by; retrievals are found under the patient whose documents and studies they are about."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from xds.audit import indexing
from xds.audit.indexing import folded, index, values
from xds.audit.message_xml import read
from xds.store import audit as store
from xds.store.audit import Recorded, Wanted, now_microseconds
from xds.store.tables import audit_value, document, locator, patient, publication

GOLDEN = Path(__file__).parent / "messages"
ANNA = "anna^^^&1.2.3.4.5&ISO"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.xml").read_bytes()


def kept(engine: sa.Engine, *messages: bytes, outcome: int = 0) -> None:
    """Records of these messages, indexed."""
    with engine.begin() as connection:
        before = store.count(connection)
        store.record(connection, [
            Recorded(message, "110112", "ITI-18", outcome, recorded=1_000_000 * (before + n))
            for n, message in enumerate(messages, 1)
        ])  # fmt: skip
        rows = store.found(connection, Wanted(), 1000)
        index(connection, [row for row in rows if row.id > before])


def found(engine: sa.Engine, *wanted: tuple[str, str], **more: object) -> list[int]:
    with engine.connect() as connection:
        folded_ = tuple((kind, folded(kind, value)) for kind, value in wanted)
        return [row.id for row in store.found(connection, Wanted(folded_, **more), 100)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def ids_from_one(engine: sa.Engine) -> None:
    """On PostgreSQL rows that are gone do not give their ids back."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER SEQUENCE audit_record_id_seq RESTART WITH 1"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("patient", ANNA),
        ("user", "https://xds.hospital.example/REGISTRY"),
        ("address", "192.0.2.7"),
        ("source", "xds.hospital.example"),
        ("site", "HOSPITAL"),
    ],
)
def test_a_record_is_found_by_what_it_names(engine: sa.Engine, kind: str, value: str) -> None:
    kept(engine, golden("iti18_responder"))
    assert found(engine, (kind, value)) == [1]
    assert found(engine, (kind, value[:-1])) == []
    assert found(engine, (kind, value), ("source", "another")) == []


def test_a_retrieval_is_found_by_its_documents_and_studies(engine: sa.Engine) -> None:
    kept(engine, golden("iti43_responder"), golden("rad69_responder"))
    assert found(engine, ("document", "2.25.8.2")) == [1]
    assert found(engine, ("study", "1.2.840.2")) == [2]


def test_a_retrieval_of_a_kept_document_is_found_under_its_patient(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(document).values(
            repository_unique_id="1.2.3.4.6", document_unique_id="2.25.8.2", state="registered", submission="", since=0,
            mime_type="", size=1, sha1="", sha256="", patient_id=ANNA,
        ))  # fmt: skip
    kept(engine, golden("iti43_responder"))
    assert found(engine, ("patient", ANNA)) == [1]


def test_a_retrieval_of_a_registered_document_is_found_under_its_patient(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(patient).values(patient_key=7, domain="default", authority="1.2.3.4.5", id="anna"))
        connection.execute(sa.insert(locator).values(
            domain="default", id="2.25.8.2", kind="unique", nth="urn:uuid:x", patient_key=7, entry_uuid="urn:uuid:x"
        ))  # fmt: skip
    kept(engine, golden("iti43_responder"))
    assert found(engine, ("patient", ANNA)) == [1]


def test_a_retrieval_of_a_published_study_is_found_under_its_patient(engine: sa.Engine) -> None:
    empty = {column.name: "" for column in publication.c if isinstance(column.type, sa.String) and not column.nullable}
    numbers = {"seen": 0, "mapped": 0, "attempts": 0, "next_try": 0}
    with engine.begin() as connection:
        row = empty | numbers | {"study_instance_uid": "1.2.840.2", "patient_id": ANNA}
        connection.execute(sa.insert(publication).values(**row))
    kept(engine, golden("rad69_responder"))
    assert found(engine, ("patient", ANNA)) == [1]


def test_what_is_no_message_is_found_by_its_time_alone(engine: sa.Engine) -> None:
    kept(engine, b"nonsense", golden("iti18_responder"))
    assert found(engine) == [2, 1]
    assert found(engine, since=1_000_000, until=2_000_000) == [1]
    assert found(engine, before=2) == [1]


def test_failures_and_kinds_are_found(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"))
    kept(engine, golden("iti18_responder"), outcome=8)
    assert found(engine, failed=True) == [2]
    assert found(engine, transaction="ITI-18", event="110112") == [2, 1]
    assert found(engine, transaction="ITI-43") == found(engine, event="110100") == []


def test_records_are_counted_by_time(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"), golden("iti18_responder"))
    kept(engine, golden("iti18_responder"), outcome=8)
    with engine.connect() as connection:
        assert store.by_time(connection, Wanted(), 2_000_000, 100) == {0: (1, 0), 2_000_000: (2, 1)}


def test_one_record_is_not_found_by_more_than_a_limit(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "VALUES", 3)
    kept(engine, golden("rad69_responder"))
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(audit_value)) == 3


def test_who_goes_through_the_records_is_remembered(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert store.position(connection, "somebody") is None
        store.move(connection, "somebody", 5)
        store.move(connection, "somebody", 7)
        assert store.position(connection, "somebody") == 7
    assert now_microseconds() > 0


@given(st.sampled_from(sorted(path.name for path in GOLDEN.iterdir())), st.text(max_size=600))
def test_no_value_is_longer_than_a_row_holds(name: str, text: str) -> None:
    for kind, value in values(read((GOLDEN / name).read_bytes())):
        assert len(folded(kind, value + text)) <= indexing.LENGTH
