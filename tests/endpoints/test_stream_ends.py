"""How a stream has ended is on record once, however long that cannot be written."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.store.audit.test_records import a_row
from xds.endpoints import stream_ends
from xds.endpoints.stream_ends import end_stream
from xds.store.audit import records
from xds.store.tables import audit_open, audit_record


def opened(engine: sa.Engine, *ids: str) -> None:
    with engine.begin() as connection:
        for id_ in ids:
            records.open_stream(connection, id_, "a-host 1 1", [a_row(1, outcome=8)])


def counted(engine: sa.Engine, table: sa.Table) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_an_end_is_on_record_at_once(engine: sa.Engine) -> None:
    opened(engine, "one")
    end_stream(engine, "one", [a_row(2)])
    assert (counted(engine, audit_open), counted(engine, audit_record)) == (0, 1)


def test_ends_that_cannot_be_written_are_on_record_once_they_can(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_ends, "AGAIN_SECONDS", 0.01)
    real, tries = stream_ends._end, list[str]()

    def full(of: sa.Engine, stream_id: str, said: list[records.Recorded]) -> None:
        tries.append(stream_id)
        if len(tries) < 6:
            raise sa.exc.OperationalError("INSERT", {}, Exception("disk full"))
        real(of, stream_id, said)

    monkeypatch.setattr(stream_ends, "_end", full)
    opened(engine, "one", "two")
    end_stream(engine, "one", [a_row(2)])
    end_stream(engine, "two", [a_row(3)])
    wait_for(lambda: counted(engine, audit_open) == 0)
    assert counted(engine, audit_record) == 2
    assert len(tries) >= 7


def test_of_too_many_that_wait_the_last_is_left_to_the_end_of_the_process(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def never(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("disk full"))

    waiting = stream_ends._Waiting()
    monkeypatch.setattr(stream_ends, "_waiting", waiting)
    monkeypatch.setattr(stream_ends, "_end", never)
    monkeypatch.setattr(stream_ends, "MOST", 2)
    for id_ in ("one", "two", "three"):
        end_stream(engine, id_, [])
    assert set(waiting._ends) == {"one", "two"}
    assert "stream.not_closed" in caplog.messages
    monkeypatch.setattr(stream_ends, "_end", lambda *_: None)
    wait_for(lambda: not waiting._ends)
