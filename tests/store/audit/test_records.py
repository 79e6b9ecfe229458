"""Audit records as rows: numbered once, without gaps, in one order whoever numbers them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.audit.databases import database_url, engine, shared_postgres
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Value, Wanted
from xds.store.tables import audit_record

__all__ = ["database_url", "engine", "shared_postgres"]  # fixtures


def a_row(n: int, **changes: object) -> Recorded:
    row = Recorded(b"<AuditMessage n='%d'/>" % n, "110112", "ITI-18", 0, "anna^^^&1.2&ISO", 1_772_352_000_000_000 + n)
    return replace(row, **changes)  # type: ignore[arg-type]


def rows(begin: int, end: int) -> list[Recorded]:
    return [a_row(n) for n in range(begin, end)]


def keep(engine: sa.Engine, records: list[Recorded]) -> None:
    with engine.begin() as connection:
        store.record(connection, records)


def number(engine: sa.Engine, most: int = 1000) -> list[Recorded]:
    with engine.begin() as connection:
        count = store.number(connection, most)
        return store.numbered_from(connection, store.head(connection) - count, count)


def numbered(engine: sa.Engine, **more: int) -> list[Recorded]:
    with engine.connect() as connection:
        return list(store.all_numbered(connection, **more))


def plain(records: list[Recorded]) -> list[Recorded]:
    """Without what the database gives."""
    return [replace(record, id=0, leaf_number=None) for record in records]


def test_a_record_comes_back_as_it_was(engine: sa.Engine) -> None:
    record = a_row(1, message=bytes(range(256)), outcome=8)
    keep(engine, [record])
    with engine.connect() as connection:
        (found,) = search.found(connection, Wanted(), 10)
        assert replace(found, id=0) == record
        assert store.one(connection, found.id) == found
        assert store.one(connection, found.id + 1) is None
        assert store.count(connection) == 1


def test_a_record_without_a_time_is_of_now(engine: sa.Engine) -> None:
    before = store.now_microseconds()
    keep(engine, [a_row(1, recorded=0)])
    with engine.connect() as connection:
        (found,) = search.found(connection, Wanted(), 10)
    assert before <= found.recorded <= store.now_microseconds()


def test_no_records_are_no_statement(engine: sa.Engine) -> None:
    keep(engine, [])
    assert number(engine) == []
    with engine.connect() as connection:
        assert (store.count(connection), store.head(connection)) == (0, 0)


def test_a_record_is_kept_only_if_its_transaction_is(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        store.record(connection, rows(0, 3))
        connection.rollback()
    assert number(engine) == []


def test_rows_are_numbered_once_and_without_gaps(engine: sa.Engine) -> None:
    keep(engine, rows(0, 5))
    assert [record.leaf_number for record in number(engine, 3)] == [0, 1, 2]
    assert [record.leaf_number for record in number(engine, 3)] == [3, 4]
    assert number(engine, 3) == []
    keep(engine, rows(5, 7))
    assert [record.leaf_number for record in number(engine)] == [5, 6]
    assert plain(numbered(engine)) == rows(0, 7)
    with engine.connect() as connection:
        assert store.head(connection) == 7


def test_numbers_that_were_rolled_back_are_given_again(engine: sa.Engine) -> None:
    keep(engine, rows(0, 3))
    with engine.connect() as connection:
        store.number(connection, 10)
        connection.rollback()
    assert [record.leaf_number for record in number(engine)] == [0, 1, 2]


def test_a_transaction_that_commits_late_is_not_skipped(engine: sa.Engine) -> None:
    """Its rows have lower ids than those numbered before it.  SQLite has one writer, so there it comes second."""
    late = engine.connect()
    if engine.dialect.name == "sqlite":
        keep(engine, rows(1, 3))
        assert len(number(engine)) == 2
        store.record(late, rows(0, 1))
    else:
        store.record(late, rows(0, 1))
        keep(engine, rows(1, 3))
        assert len(number(engine)) == 2
    late.commit()
    late.close()
    (found,) = number(engine)
    assert (found.leaf_number, found.message) == (2, a_row(0).message)
    assert [record.leaf_number for record in numbered(engine)] == [0, 1, 2]


def test_many_who_number_at_once_make_one_order(engine: sa.Engine) -> None:
    most, found, lock = 60, list[int](), threading.Lock()
    gate = threading.Barrier(4)

    def write_and_number(part: int) -> None:
        gate.wait()
        for n in range(part * 15, part * 15 + 15):
            keep(engine, [a_row(n)])
            given = [record.leaf_number or 0 for record in number(engine, 4)]
            with lock:
                found.extend(given)

    threads = [threading.Thread(target=write_and_number, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while more := number(engine, 4):
        found += [record.leaf_number or 0 for record in more]
    assert sorted(found) == list(range(most))
    assert [record.leaf_number for record in numbered(engine)] == list(range(most))
    assert {record.message for record in numbered(engine)} == {a_row(n).message for n in range(most)}


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_numbered_records_are_read_in_order_whatever_the_batch(engine: sa.Engine, batch: int) -> None:
    keep(engine, rows(0, 7))
    number(engine)
    keep(engine, rows(7, 9))  # not numbered
    assert plain(numbered(engine, batch=batch)) == rows(0, 7)
    assert plain(numbered(engine, batch=batch, begin=4)) == rows(4, 7)
    with engine.connect() as connection:
        assert plain(store.numbered_from(connection, 3, 2)) == rows(3, 5)


def test_the_newest_are_listed_first_and_by_transaction_and_patient(engine: sa.Engine) -> None:
    other = a_row(9, transaction="ITI-43", patient_id="bert^^^&1.2&ISO")
    keep(engine, [*rows(0, 3), other])
    with engine.begin() as connection:
        everyone = search.found(connection, Wanted(), 9)
        search.keep_values(connection, [Value("patient", one.patient_id, one.id, one.recorded) for one in everyone])
    of_anna = (("patient", "anna^^^&1.2&ISO"),)
    with engine.connect() as connection:
        assert [r.message for r in search.found(connection, Wanted(), 2)] == [other.message, a_row(2).message]
        assert [r.message for r in search.found(connection, Wanted(transaction="ITI-43"), 9)] == [other.message]
        assert len(search.found(connection, Wanted(of_anna), 9)) == 3
        assert search.found(connection, Wanted(of_anna, transaction="ITI-43"), 9) == []


def test_how_long_the_oldest_record_has_waited_is_known(engine: sa.Engine) -> None:
    def waits() -> float:
        with engine.connect() as connection:
            return store.oldest_unnumbered_seconds(connection)

    assert waits() == 0
    keep(engine, [a_row(0, recorded=store.now_microseconds() - 40_000_000), a_row(1, recorded=0)])
    assert 40 <= waits() < 60
    number(engine)
    assert waits() == 0


# Streams.


def test_a_stream_that_ends_leaves_its_records_and_is_open_no_more(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        store.open_stream(connection, "one", "host 1 2", [a_row(0, outcome=8), a_row(1, message=b"\xff\x00")])
        store.open_stream(connection, "two", "host 1 2", [])
    with engine.begin() as connection:
        found = {id_: (owner, records) for id_, owner, records in store.streams(connection)}
        assert found == {
            "one": ("host 1 2", [a_row(0, outcome=8), a_row(1, message=b"\xff\x00")]),
            "two": ("host 1 2", []),
        }
        assert store.close_stream(connection, "one", [a_row(0)])
    with engine.connect() as connection:
        assert [id_ for id_, _, _ in store.streams(connection)] == ["two"]
        assert [r.outcome for r in search.found(connection, Wanted(), 9)] == [0]


def test_a_stream_is_ended_once(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        store.open_stream(connection, "one", "host 1 2", [])
        assert store.close_stream(connection, "one", [a_row(0)])
        assert not store.close_stream(connection, "one", [a_row(1)])
        assert store.count(connection) == 1


# Checkpoints.


def test_the_last_checkpoint_is_the_largest_and_the_first_of_a_size_stays(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert store.last_checkpoint(connection) is None
        for size, signed in ((10, b"ten"), (100, b"hundred"), (9, b"nine"), (100, b"again")):
            store.keep_checkpoint(connection, size, signed)
        assert store.last_checkpoint(connection) == (100, b"hundred")


def test_numbers_are_unique_in_the_database_itself(engine: sa.Engine) -> None:
    keep(engine, rows(0, 2))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(audit_record).values(leaf_number=1))
