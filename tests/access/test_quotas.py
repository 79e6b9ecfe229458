"""What a peer may bring about in a day: counted in memory, kept in the database, the same for all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from xds.access import quotas
from xds.access.quotas import OTHERS, Quota, Quotas
from xds.store import peer_use
from xds.store.deployment import migrate
from xds.store.engine import make_engine, reading
from xds.store.peer_use import Use

Process: TypeAlias = Callable[..., Quotas]


@pytest.fixture
def process(engine: sa.Engine) -> Iterator[Process]:
    """What a process counts with; each call is another's."""
    made = list[Quotas]()

    def another(quota: Quota, *more: Any, **rest: Any) -> Quotas:
        made.append(Quotas(engine, quota, *more, **rest))
        return made[-1]

    yield another
    for one in made:
        one.close()


def kept(engine: sa.Engine, key: str, day: int | None = None) -> Use:
    with reading(engine) as connection:
        found = peer_use.of_peers(connection, peer_use.today() if day is None else day, [key])
    return found.get(key, Use())


def test_records_are_counted_by_every_request_and_bytes_by_those_that_keep_something() -> None:
    quota = Quota(records=3, size_bytes=100)
    assert quota.over(Use(2, 99), keeps=True) == ""
    assert "3 audit records" in quota.over(Use(3, 0), keeps=False)
    assert "100 bytes" in quota.over(Use(0, 100), keeps=True)
    assert quota.over(Use(0, 100), keeps=False) == ""
    assert Quota().over(Use(10**12, 10**15), keeps=True) == ""


def test_what_is_counted_is_written_in_a_while_and_not_at_each_request(engine: sa.Engine, process: Process) -> None:
    statements = list[str]()
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counting = process(Quota())
    for _ in range(1000):
        assert counting.over("a", "north", keeps=True) == ""
        counting.spend("a", 2, 10)
    assert statements == []
    wait_for(lambda: kept(engine, "a") == Use(2000, 10_000, "north"))
    assert len([one for one in statements if one.startswith("INSERT")]) == 1


def test_who_is_over_is_refused_in_every_process_and_after_a_restart(engine: sa.Engine, process: Process) -> None:
    one, other = (process(Quota(records=10)) for _ in range(2))
    for counting in (one, other):
        assert counting.over("a", keeps=False) == ""
        counting.spend("a", 5, 0)
        assert counting.over("a", keeps=False) == ""
    one.write()
    other.write()
    assert one.over("a", keeps=False) == ""  # a second old
    one.write()
    assert one.over("a", keeps=False)
    assert other.over("a", keeps=False)
    assert process(Quota(records=10)).over("a", keeps=False)
    assert one.over("b", keeps=False) == ""


def test_what_one_process_has_counted_holds_at_once(engine: sa.Engine, process: Process) -> None:
    counting = process(Quota(records=2))
    assert counting.over("a", keeps=False) == ""
    counting.spend("a", 2, 0)
    assert counting.over("a", keeps=False)


def test_a_new_day_begins_at_nothing(engine: sa.Engine, process: Process) -> None:
    day = [20_000]
    counting = process(Quota(records=1), day=lambda: day[0])
    counting.spend("a", 1, 7)
    assert counting.over("a", keeps=False)
    counting.write()
    day[0] += 1
    assert counting.over("a", keeps=False) == ""
    assert kept(engine, "a", 20_000) == Use(1, 7)
    counting.spend("a", 1, 7)
    day[0] += peer_use.KEPT_DAYS
    counting.write()
    assert kept(engine, "a", 20_000) == Use()  # forgotten


def test_it_is_told_now_and_then_that_somebody_is_over(engine: sa.Engine, process: Process) -> None:
    told = list[tuple[str, str]]()
    counting = process(Quota(records=1), lambda *what: told.append(what))
    counting.spend("a", 1, 0)
    for _ in range(50):
        assert counting.over("a", "north", keeps=True)
    assert [peer for peer, _ in told] == ["north"]
    assert "1 audit records" in told[0][1]


def test_without_its_database_nothing_is_lost_and_nobody_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/xds.sqlite"
    engine = make_engine(url)  # without tables
    counting = Quotas(engine, Quota(records=5))
    counting.spend("a", 3, 0)
    assert counting.over("a", keeps=False) == ""
    counting.write()
    counting.spend("a", 1, 0)
    with engine.begin() as connection:
        migrate(connection)
    counting.write()
    assert kept(engine, "a") == Use(4, 0)
    engine.dispose()


def test_a_crowd_of_strangers_is_counted_as_one(
    engine: sa.Engine, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "MOST", 3)
    counting = process(Quota(records=100))
    for number in range(50):
        counting.over(f"10.0.0.{number}", keeps=False)
        counting.spend(f"10.0.0.{number}", 1, 0)
    counting.write()
    assert kept(engine, OTHERS).records >= 40
    with reading(engine) as connection:
        assert len(peer_use.most(connection, peer_use.today(), 100)) <= 5
