"""One database of each kind for a whole module; its tests keep apart by their affinity domains."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, AUTHORITY, BERT
from tests.conftest import copied
from xds.actors.document_registry import DocumentRegistry
from xds.metadata.submission import Submission
from xds.store.engine import make_engine
from xds.store.registry.sql_registry import SqlRegistry

T = TypeVar("T")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A database with our tables."""
    engine = make_engine(copied(request, tmp_path_factory.mktemp("database")))
    yield engine
    engine.dispose()


class Domain:
    """An affinity domain of its own, a transaction a call."""

    def __init__(self, engine: sa.Engine, *, name: str = "", open_patients: bool = True) -> None:
        self.engine, self.name = engine, name or f"d{uuid.uuid4().hex[:12]}"
        self.registry = DocumentRegistry([AUTHORITY], open_patients=open_patients, most_results=1000)

    def __call__(self, do: Callable[[SqlRegistry], T]) -> T:
        with self.engine.begin() as connection:
            return do(SqlRegistry(connection, self.name))

    def register(self, submission: Submission) -> Submission:
        return self(lambda store: self.registry.register(submission, store))

    def rows(self, statement: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(statement))


@pytest.fixture
def domain(shared_engine: sa.Engine) -> Domain:
    """With Anna and Bert known."""
    domain = Domain(shared_engine)
    domain(lambda store: [store.add_patient(ANNA), store.add_patient(BERT)])
    return domain


def at_once(work: Iterable[Callable[[], T]], threads: int = 8) -> list[T | Exception]:
    """What each call gives or raises; the first ``threads`` of them start together."""
    calls = list(work)
    barrier = threading.Barrier(min(threads, len(calls)))
    started = iter(range(barrier.parties))
    lock = threading.Lock()

    def run(call: Callable[[], T]) -> T | Exception:
        with lock:
            first = next(started, None) is not None
        if first:
            barrier.wait(30)
        try:
            return call()
        except Exception as problem:
            return problem

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, calls))
