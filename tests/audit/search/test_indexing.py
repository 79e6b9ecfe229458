"""What records are found by; retrievals are found under the patient whose documents and studies they are about."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.places import GOLDEN
from xds.audit.messages.message import ActiveParticipant
from xds.audit.messages.message_xml import read, write
from xds.audit.search import indexing
from xds.audit.search.indexing import by_values, folded, indexed, values
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded, now_microseconds
from xds.store.audit.search import HOUR, Position, Wanted
from xds.store.tables import (
    audit_cursor,
    audit_hour,
    audit_record,
    audit_value,
    document,
    locator,
    metadata,
    patient,
    publication,
)

ANNA = "anna^^^&1.2.3.4.5&ISO"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.xml").read_bytes()


def kept(engine: sa.Engine, *messages: bytes, outcome: int = 0) -> None:
    """Records of these messages, indexed."""
    with engine.begin() as connection:
        before = store.count(connection)
        store.record(connection, [
            Recorded(message, "110112", "ITI-18", outcome, recorded=HOUR * (before + n))
            for n, message in enumerate(messages, 1)
        ])  # fmt: skip
        rows = search.found(connection, Wanted(), 1000)
        indexed(connection, [row for row in rows if row.id > before]).keep(connection)


def found(engine: sa.Engine, *wanted: tuple[str, str], **more: object) -> list[int]:
    with engine.connect() as connection:
        folded_ = tuple((kind, folded(kind, value)) for kind, value in wanted)
        return [row.id for row in search.found(connection, Wanted(folded_, **more), 100)]  # type: ignore[arg-type]


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
    assert found(engine, since=HOUR, until=2 * HOUR) == [1]
    assert found(engine, before=Position(2 * HOUR, 2)) == [1]


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
        assert search.by_time(connection, Wanted(), 2 * HOUR, 100) == {0: (1, 0), 2 * HOUR: (2, 1)}


def test_records_that_have_a_value_are_counted_by_time(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"), golden("iti43_responder"))
    kept(engine, golden("iti18_responder"), outcome=8)
    of_anna = Wanted((("patient", ANNA),))
    with engine.connect() as connection:
        assert search.by_time(connection, of_anna, 2 * HOUR, 100) == {0: (1, 0), 2 * HOUR: (1, 1)}
        assert search.by_time(connection, of_anna, 2 * HOUR, 1) == {2 * HOUR: (1, 1)}


def test_words_are_of_one_person_and_not_of_several_together(engine: sa.Engine) -> None:
    def of(*names: str) -> bytes:
        message = read(golden("iti18_responder"))
        people = tuple(ActiveParticipant(f"u{n}", True, user_name=name) for n, name in enumerate(names))
        return write(replace(message, participants=(*message.participants, *people)))

    kept(engine, of("Dr. Anna Meier", "Bert Kovac"), of("Anna Kovac"), of("Kovac, Anna Maria"))
    with engine.connect() as connection:
        for asked, ids in (("anna kovac", [3, 2]), ("Kovac", [3, 2, 1]), ("Meier Anna", [1]), ("anna ann", [])):
            assert [row.id for row in search.found(connection, by_values({"user": asked}), 9)] == ids


def test_what_came_on_another_day_is_found_by_the_day_that_it_tells_of(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"))  # of 2026-03-01, and recorded in 1970
    assert found(engine, ("day", "2026-03-01")) == [1]
    with engine.begin() as connection:
        late = store.one(connection, 1)
        assert late is not None
        message = read(late.message)
        assert ("day", "2026-03-01") not in indexing.said(message, int(message.event.date_time.timestamp() * 1e6))


def test_text_is_found_in_any_case_and_with_its_escapes(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"), b"<AuditMessage>Miller &amp; Sons</AuditMessage>")
    assert found(engine, text="miller & SONS") == [2]
    kept(engine, "<AuditMessage>Jörg Čović</AuditMessage>".encode())
    assert found(engine, text="JÖRG čović") == [3]
    assert found(engine, text="hospital", transaction="ITI-18") == [1]
    assert found(engine, ("patient", ANNA), text="nobody") == []


def test_text_and_a_value_and_a_kind_are_all_met(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FEW", 1)
    kept(engine, golden("iti18_responder"), golden("iti43_responder"))
    kept(engine, golden("iti18_responder"), outcome=8)
    assert found(engine, ("patient", ANNA), text="hospital", failed=True) == [3]
    assert found(engine, ("document", "2.25.8.2"), text="hospital", transaction="ITI-18") == [2]


def test_text_is_looked_for_among_records_of_a_kind_and_no_others(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"))
    kept(engine, golden("iti18_responder"), outcome=8)
    assert found(engine, text="hospital", failed=True) == [2]
    assert found(engine, text="hospital", transaction="ITI-43") == []
    assert found(engine, ("patient", ANNA), text="hospital", failed=True) == [2]


def test_two_values_of_one_hash_stop_nothing(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "term", lambda *_: 7)
    kept(engine, golden("iti18_responder"))
    assert found(engine, ("patient", ANNA)) == [1]


@pytest.mark.parametrize("length", [512, 513, 5000])
def test_a_patient_id_of_any_length_is_kept_as_far_as_there_is_room(engine: sa.Engine, length: int) -> None:
    with engine.begin() as connection:
        store.record(connection, [Recorded(b"x", "1" * 20, "2" * 20, 0, "p" * length, origin="o" * 600)])
        (one,) = search.found(connection, Wanted(), 9)
    assert (len(one.patient_id), len(one.event), len(one.origin)) == (512, 16, 512)


def test_a_search_whose_time_is_over_says_where_to_go_on(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_TEXTS", 2)
    kept(engine, *[golden("iti18_responder")] * 4, b"needle")
    seen, before, pages = [], None, 0
    with engine.connect() as connection:
        while pages == 0 or before:
            page = search.page(connection, Wanted(text="AuditMessage", before=before), 10, seconds=0)
            seen += [one.id for one in page.records]
            before, pages = page.end, pages + 1
    assert seen == [4, 3, 2, 1]
    assert pages > 2


def test_what_is_not_indexed_yet_is_found_by_its_kind(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder"))
    with engine.begin() as connection:
        store.record(connection, [Recorded(golden("iti18_responder"), "110112", "ITI-18", 8)])
    assert len(found(engine, transaction="ITI-18")) == 2
    assert len(found(engine, failed=True)) == 1


_KINDS = st.tuples(st.integers(0, 5), st.sampled_from(["110112", "110106"]), st.sampled_from([0, 0, 0, 8]),
                   st.sets(st.sampled_from("abc")))  # fmt: skip


@given(st.lists(_KINDS, max_size=40), st.sets(st.sampled_from("abc")), st.integers(0, 3), st.integers(0, 6),
       st.sampled_from(["", "110112"]), st.booleans(), st.integers(1, 7))  # fmt: skip
def test_pages_hold_every_record_as_wanted_once_and_in_order(
    records: list[tuple[int, str, int, set[str]]], wanted_values: set[str], since: int, until: int, event: str,
    failed: bool, most: int,
) -> None:  # fmt: skip
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [audit_record, audit_value, audit_hour, audit_cursor])
    wanted = Wanted(tuple(("user", v) for v in sorted(wanted_values)), since * HOUR, until * HOUR, event, failed=failed)
    with engine.begin() as connection:
        store.record(connection, [Recorded(b"", event_, "", outcome, recorded=hour * HOUR + 5)
                                  for hour, event_, outcome, _ in records])  # fmt: skip
        rows = sorted(search.found(connection, Wanted(), 100), key=lambda row: row.id)
        search.count_hours(connection, rows)
        both = [(row, held) for row, (*_, held) in zip(rows, records, strict=True)]
        search.keep_values(
            connection, [search.Value("user", v, row.id, row.recorded) for row, held in both for v in held]
        )
        expected = [
            row.id for row, held in both
            if wanted_values <= held and row.recorded >= wanted.since and (not until or row.recorded < wanted.until)
            and event in ("", row.event) and (row.outcome > 0 or not failed)
        ]  # fmt: skip
        seen, end = [], None
        while not seen or end:
            page = search.page(connection, replace(wanted, before=end), most)
            seen += [(one.recorded, one.id) for one in page.records]
            end = page.end
            if not page.records:
                break
    engine.dispose()
    assert sorted(id_ for _, id_ in seen) == sorted(expected)
    assert seen == sorted(seen, reverse=True)


def test_a_patient_is_one_however_their_id_ends(engine: sa.Engine) -> None:
    kept(engine, golden("iti18_responder").replace(b"&amp;ISO", b"&amp;ISO^^"))
    assert found(engine, ("patient", ANNA)) == found(engine, ("patient", f"{ANNA}^")) == [1]


def test_of_too_many_values_whose_data_it_was_and_who_it_did_are_kept(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "VALUES", 3)
    kept(engine, golden("iti18_responder"))
    assert found(engine, ("patient", ANNA)) == found(engine, ("user", "https://xds.hospital.example/registry")) == [1]
    assert found(engine, ("source", "xds.hospital.example")) == []


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
