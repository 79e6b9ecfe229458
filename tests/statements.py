"""What the store gives to PostgreSQL in these tests, each statement held to the rules of Citus when it first comes.

The test that executes one against a rule fails, and names both.  Servers that tests start as processes of their own
execute the same code of the store, which is looked at where it runs in the tests' own.  What psycopg's COPY writes is
not seen here: it has no condition, and Citus takes it into any table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tests.places import ROOT

_TESTS, _OURS = f"{ROOT / 'tests'}/", f"{ROOT / 'xds'}/"
_PASSED_THROUGH = (f"{ROOT / 'xds/store/statements.py'}", f"{ROOT / 'xds/store/engine.py'}")
"""Where statements go through that somebody else has written."""

_BEFORE = tuple(f"{ROOT / 'xds/store/migrations/versions'}/{number:04}_" for number in range(1, 10))
"""Migrations that are done before tables are distributed, for ``xds db distribute`` wants them done: those to come are
held to the rules."""


class Recorder:
    """Statements of the store, each once however long its lists are, and those that break a rule."""

    def __init__(self) -> None:
        self._seen = set[str]()  # as they were executed
        self.statements = set[str]()
        self._broken: list[str] = []
        self._collecting: list[set[str]] = []

    def executed(self, connection: sa.Connection, _cursor: Any, text: str, *_: Any) -> None:
        """Told by SQLAlchemy, or by the store, before each statement."""
        if connection.dialect.name == "sqlite":
            return
        if not self._collecting and text in self._seen:
            return
        if not _is_of_the_store():
            return
        from tests.store.citus import RULES, broken_rules, plain

        one = plain(text)
        for collecting in self._collecting:
            collecting.add(one)
        self._seen.add(text)
        if one not in self.statements:
            self.statements.add(one)
            self._broken += [
                f"the store breaks a rule of Citus, «{rule}»: {RULES[rule]}\n  {how}\n  {one}"
                for rule, how in broken_rules(text).items()
            ]

    @contextmanager
    def collecting(self) -> Iterator[set[str]]:
        """What the store executes meanwhile."""
        found = set[str]()
        self._collecting.append(found)
        yield found
        self._collecting.remove(found)

    def hold(self) -> None:
        """
        Raises:
            AssertionError: a statement has broken a rule since this was last asked.
        """
        broken, self._broken = self._broken, []
        assert not broken, "\n".join(broken)


def _is_of_the_store() -> bool:
    """Whether the code that executes something is ours, and no test's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith((_TESTS, *_BEFORE)):
            return False
        if name.startswith(_OURS) and name not in _PASSED_THROUGH:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


RECORDER = Recorder()


def listen() -> None:
    """From now on, of every engine."""
    sa.event.listen(sa.Engine, "before_cursor_execute", RECORDER.executed)
