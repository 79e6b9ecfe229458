"""Units of work that share a commit: each is there or not by itself, and none is told before it is durable."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from xds.store.engine import make_engine
from xds.store.grouping import Batches, Group
from xds.store.statements import Asked, Statement, commit_with


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = make_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def there(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT n FROM t ORDER BY n")))


def written(group: Group, number: int, *, then: Callable[[], object] = lambda: None) -> None:
    unit = group.join()
    try:
        unit.connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})
        then()
        unit.commit()
    finally:
        unit.close()


class Together:
    """Units that are all in one transaction: the first waits until the others wait for it."""

    def __init__(self, group: Group, pool: ThreadPoolExecutor) -> None:
        self.group, self.pool, self.go = group, pool, threading.Event()
        self.done: list[Future[None]] = [pool.submit(written, group, 0, then=lambda: self.go.wait(30))]
        wait_for(lambda: group._batch is not None)

    def run(self, *units: Callable[[], None]) -> list[Future[None]]:
        """Let these come in this order, then let the first end; return what becomes of all."""
        for unit in units:
            waiting = self.group._waiting
            self.done.append(self.pool.submit(unit))
            wait_for(lambda before=waiting: self.group._waiting == before + 1)  # type: ignore[misc]
        self.go.set()
        return self.done


@pytest.fixture
def commits(engine: sa.Engine) -> list[int]:
    """What is there at each commit."""
    found: list[int] = []
    sa.event.listen(engine, "commit", lambda _connection: found.append(1))
    return found


def test_units_that_come_at_once_share_one_commit(engine: sa.Engine, commits: list[int]) -> None:
    with ThreadPoolExecutor(8) as pool:
        group = Group(engine, seconds=60)
        together = Together(group, pool)
        done = together.run(*(lambda n=n: written(group, n) for n in range(1, 5)))  # type: ignore[misc]
        assert [one.result(30) for one in done] == [None] * 5
    assert there(engine) == [0, 1, 2, 3, 4]
    assert len(commits) == 1


def test_one_alone_is_committed_at_once(engine: sa.Engine) -> None:
    written(Group(engine, seconds=60), 7)
    assert there(engine) == [7]


def test_a_unit_that_fails_takes_nobody_with_it(engine: sa.Engine) -> None:
    def fails() -> None:
        written(group, 2, then=lambda: 1 / 0)

    with ThreadPoolExecutor(8) as pool:
        group = Group(engine, seconds=60)
        done = Together(group, pool).run(lambda: written(group, 1), fails, lambda: written(group, 0))
        assert done[1].result(30) is None
        with pytest.raises(ZeroDivisionError):
            done[2].result(30)
        with pytest.raises(sa.exc.IntegrityError):  # a key that another unit of the same transaction has
            done[3].result(30)
    assert there(engine) == [0, 1]


def test_no_unit_is_told_before_the_commit(engine: sa.Engine) -> None:
    told: list[list[bool]] = []
    with ThreadPoolExecutor(8) as pool:
        together = Together(Group(engine, seconds=60), pool)
        sa.event.listen(engine, "commit", lambda _connection: told.append([one.done() for one in together.done]))
        for one in together.run(*(lambda n=n: written(together.group, n) for n in (1, 2))):  # type: ignore[misc]
            one.result(30)
    assert told == [[False, False, False]]


def test_a_commit_that_fails_is_told_to_all_and_nothing_is_there(engine: sa.Engine) -> None:
    def fails(_connection: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with ThreadPoolExecutor(8) as pool:
        group = Group(engine, seconds=60)
        together = Together(group, pool)
        sa.event.listen(engine, "commit", fails)
        done = together.run(lambda: written(group, 1))
        for one in done:
            with pytest.raises(sqlite3.OperationalError):
                one.result(30)
        sa.event.remove(engine, "commit", fails)
        written(group, 5)
    assert there(engine) == [5]


def test_a_transaction_that_the_database_has_ended_is_told_to_all(engine: sa.Engine) -> None:
    def lost() -> None:
        unit = group.join()
        unit.connection.connection.driver_connection.execute("ROLLBACK")  # type: ignore[union-attr]
        unit.close()

    with ThreadPoolExecutor(8) as pool:
        group = Group(engine, seconds=60)
        done = Together(group, pool).run(lost, lambda: written(group, 2))
        with pytest.raises((sa.exc.OperationalError, sqlite3.OperationalError)):
            done[0].result(30)
        assert done[2].result(30) is None  # in the next
    assert there(engine) == [2]


def test_a_transaction_is_committed_when_enough_is_in_it_whoever_waits(engine: sa.Engine, commits: list[int]) -> None:
    with ThreadPoolExecutor(8) as pool:
        group = Group(engine, most=2, seconds=60)
        done = Together(group, pool).run(*(lambda n=n: written(group, n) for n in range(1, 5)))  # type: ignore[misc]
        for one in done:
            one.result(30)
    assert len(commits) == 3
    assert there(engine) == [0, 1, 2, 3, 4]


def test_others_of_the_engine_write_between_the_groups_transactions(engine: sa.Engine) -> None:
    group = Group(engine)

    def alone(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(alone if n % 2 else lambda number: written(group, number), n) for n in range(100)]
        for one in done:
            one.result(60)
    assert there(engine) == list(range(100))


def test_who_gives_up_waiting_commits_what_was_left_to_them(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves sees somebody wait, who gives up just then: nobody else would commit."""
    group = Group(engine, seconds=60)
    take, tried = group._turns.take, list[float]()

    def gives_up(seconds: float) -> bool:
        tried.append(seconds)
        return len(tried) != 2 and take(seconds)

    group._count(1)  # somebody seems to wait
    monkeypatch.setattr(group._turns, "take", gives_up)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(written, group, 1)
        wait_for(lambda: group._batch is not None and group._batch.units == 1 and not group._turns._taken)
        group._count(-1)
        with pytest.raises(sa.exc.TimeoutError):
            group.join()
        first.result(30)
    assert there(engine) == [1]


def test_who_leaves_just_as_the_last_who_waits_gives_up_commits(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiter finds the turn still taken, and the leaver has seen somebody wait."""
    group = Group(engine, seconds=60)
    is_full = group._is_full

    def gives_up(batch: object) -> bool:
        full = is_full(batch)  # type: ignore[arg-type]
        group._count(-1)  # now, while the turn is taken
        return full

    monkeypatch.setattr(group, "_is_full", gives_up)
    unit = group.join()
    unit.connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    group._count(1)
    unit.commit()
    assert there(engine) == [1]


# Rows that are inserted together.


INTO_T = Statement(sa.insert(sa.table("t", sa.column("n", sa.Integer))).values(n=sa.bindparam("n")))


def row(number: int) -> Asked:
    return INTO_T, {"n": number}


class Inserting:
    """Inserts numbers; the first insertion waits until it is told to go on, and what is refused is refused."""

    def __init__(self) -> None:
        self.go, self.batches = threading.Event(), list[list[int]]()

    def __call__(self, connection: sa.Connection, *rows: Asked) -> None:
        self.batches.append([given["n"] for _, given in rows])
        if len(self.batches) == 1:
            assert self.go.wait(30)
        commit_with(connection, *rows)


def added(batches: Batches, pool: ThreadPoolExecutor, *numbers: int) -> list[Future[None]]:
    """What becomes of these, when all but the first come while the first is being inserted."""
    done = [pool.submit(batches.add, [row(numbers[0])])]
    wait_for(lambda: batches._led and not batches._waiting)
    for place, number in enumerate(numbers[1:], 1):
        done.append(pool.submit(batches.add, [row(number)]))
        wait_for(lambda place=place: len(batches._waiting) == place)  # type: ignore[misc]
    return done


def test_rows_that_come_while_others_are_committed_are_in_the_next_commit_together(engine: sa.Engine) -> None:
    inserting = Inserting()
    with ThreadPoolExecutor(8) as pool:
        done = added(Batches(engine, inserting), pool, 1, 2, 3, 4)
        inserting.go.set()
        assert [one.result(30) for one in done] == [None] * 4
    assert inserting.batches == [[1], [2, 3, 4]]
    assert there(engine) == [1, 2, 3, 4]


def test_of_rows_together_only_those_that_are_refused_are_not_there(engine: sa.Engine) -> None:
    inserting = Inserting()
    with ThreadPoolExecutor(8) as pool:
        done = added(Batches(engine, inserting), pool, 1, 2, 1, 3)  # a key that is there already
        inserting.go.set()
        assert [one.exception(30) is None for one in done] == [True, True, False, True]
    assert there(engine) == [1, 2, 3]


def test_what_is_wrong_with_the_database_is_told_to_all_at_once_and_not_tried_again(engine: sa.Engine) -> None:
    """It may have been committed; and who comes later would wait for as many tries."""
    inserting, tries = Inserting(), list[int]()

    def lost(_connection: sa.Connection) -> None:
        tries.append(1)
        if len(tries) > 1:
            raise sa.exc.OperationalError("COMMIT", None, Exception("the connection is lost"))

    with ThreadPoolExecutor(8) as pool:
        done = added(Batches(engine, inserting), pool, 1, 2, 3, 4)
        sa.event.listen(engine, "commit", lost)
        inserting.go.set()
        assert [one.exception(30) is None for one in done] == [True, False, False, False]
    assert inserting.batches == [[1], [2, 3, 4]]


def test_after_a_failure_others_go_on(engine: sa.Engine) -> None:
    batches = Batches(engine, Inserting())
    batches._commit_with.go.set()  # type: ignore[attr-defined]
    batches.add([row(1)])
    with pytest.raises(sa.exc.IntegrityError):
        batches.add([row(1)])
    batches.add([row(2)])
    assert there(engine) == [1, 2]


def test_many_who_come_as_they_like_are_all_there(engine: sa.Engine) -> None:
    inserting = Inserting()
    inserting.go.set()
    batches = Batches(engine, inserting)
    with ThreadPoolExecutor(16) as pool:
        for one in [pool.submit(batches.add, [row(n)]) for n in range(500)]:
            one.result(60)
    assert there(engine) == list(range(500))
    assert not batches._led
