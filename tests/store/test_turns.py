"""Writers in the order in which they came."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from xds.store import engine as engines
from xds.store.engine import make_engine
from xds.store.turns import Turns


def begun(turns: Turns, order: list[int], number: int, end: threading.Event) -> threading.Thread:
    def write() -> None:
        assert turns.take(60)
        order.append(number)
        assert end.wait(60)
        turns.give()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_who_waits_longest_is_next() -> None:
    turns, order, end = Turns(), list[int](), threading.Event()
    assert turns.take(0)
    threads = []
    for number in range(5):
        threads.append(begun(turns, order, number, end))
        wait_for(lambda: len(turns._waiting) == len(threads))
    end.set()
    turns.give()
    for thread in threads:
        thread.join(60)
    assert order == [0, 1, 2, 3, 4]
    assert turns.take(0)


def test_who_gives_up_is_not_waited_for() -> None:
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0.01)
    turns.give()
    assert turns.take(0)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = make_engine(f"sqlite:///{tmp_path}/x.sqlite")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER UNIQUE)"))
    return engine


def commits(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))


def rolls_back(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.begin()
        connection.rollback()


def fails(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (2), (2)"))


def is_left_open(engine: sa.Engine) -> None:
    connection = engine.connect()
    connection.begin()
    connection.close()


def is_invalidated(engine: sa.Engine) -> None:
    connection = engine.connect()
    connection.begin()
    connection.invalidate()
    connection.close()


@pytest.mark.parametrize("end", [commits, rolls_back, fails, is_left_open, is_invalidated])
def test_however_a_transaction_ends_the_next_can_write(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, end: Callable[[sa.Engine], None]
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.5)
    end(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (7)"))
    engine.dispose()


def test_a_reader_waits_for_no_writer(engine: sa.Engine) -> None:
    with engine.begin() as writer:
        writer.execute(sa.text("INSERT INTO t VALUES (1)"))
        with engines.reading(engine) as reader:
            assert reader.scalar(sa.text("SELECT count(*) FROM t")) == 0
    engine.dispose()
