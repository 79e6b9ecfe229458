"""Statements that are written once, compiled once for each database, and then executed as the text that they are.

SQLAlchemy is where each is written; what a request executes is not built, traversed or looked up again.  What varies is
given as named parameters; a list of any length is one parameter too (``among``), so that the text stays the same.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

Process = Callable[[Any], Any]


class Among(sa.ColumnElement[bool]):
    """``column`` is one of a list that is given under a name, or none: an array on PostgreSQL, JSON on SQLite."""

    inherit_cache = False
    type = sa.Boolean()

    def __init__(self, column: Any, name: str, *, negated: bool) -> None:
        self.column, self.name, self.negated = column, name, negated

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002
        """It is a condition as it is: SQLite's planner does not look into one that is compared with 1."""
        return self


def among(column: Any, name: str) -> Among:
    """A condition that a column is one of the list ``name``."""
    return Among(column, name, negated=False)


def not_among(column: Any, name: str) -> Among:
    """A condition that a column is none of the list ``name``."""
    return Among(column, name, negated=True)


@compiles(Among, "postgresql")
def _array(element: Among, compiler: SQLCompiler, **more: Any) -> str:
    given: sa.BindParameter[Any] = sa.bindparam(element.name, type_=ARRAY(element.column.type))
    is_one = element.column != sa.all_(given) if element.negated else element.column == sa.any_(given)
    return compiler.process(is_one, **more)


@compiles(Among, "sqlite")
def _json(element: Among, compiler: SQLCompiler, **more: Any) -> str:
    given: sa.BindParameter[Any] = sa.bindparam(element.name, type_=_Json())
    listed = sa.select(sa.func.json_each(given).table_valued("value").c.value)
    is_one = element.column.not_in(listed) if element.negated else element.column.in_(listed)
    return compiler.process(is_one, **more)


class _Json(sa.types.TypeDecorator[Any]):
    """A list as JSON, for ``json_each``."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:  # noqa: ARG002
        return json.dumps(list(value))


class _Compiled:
    """A statement as the text of one database: what it is given, and how its rows are read."""

    def __init__(self, written: sa.sql.expression.ClauseElement, dialect: sa.Dialect) -> None:
        compiled: Any = written.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text: str = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._process: dict[str, Process] = {}
        for name, bind in compiled.binds.items():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                self._process[name] = process
        self._order: Sequence[str] | None = compiled.positiontup if compiled.positional else None
        for name, process in self._process.items():
            if name in self._fixed:
                self._fixed[name] = process(self._fixed[name])
        columns = written.selected_columns if isinstance(written, sa.Select) else ()
        names = [str(column.key) for column in columns]
        self.row: Any = namedtuple("Row", names, rename=True) if columns else None
        found = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._results = [(place, process) for place, process in enumerate(found) if process is not None]

    def given(self, values: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        whole = {**self._fixed, **values}
        for name, process in self._process.items():
            if name in values:
                whole[name] = process(values[name])
        return whole if self._order is None else tuple(whole[name] for name in self._order)

    def read(self, found: Iterable[Sequence[Any]]) -> list[Any]:
        """Rows by the names of their columns."""
        if not self._results:
            return list(map(self.row._make, found))
        rows = []
        for one in found:
            values = list(one)
            for place, process in self._results:
                values[place] = process(values[place])
            rows.append(self.row._make(values))
        return rows


class Statement:
    """One statement, to be executed as often as may be.  Safe with threads."""

    def __init__(self, written: sa.sql.expression.ClauseElement) -> None:
        self.written = written
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: sa.Connection, **given: Any) -> list[Any]:
        """All rows of a query, their values by name.

        Raises:
            sqlalchemy.exc.DBAPIError: as the connection's own ``execute`` does.
        """
        compiled = self._of(connection)
        return compiled.read(_executed(connection, compiled.text, compiled.given(given), fetch=True))

    def first(self, connection: sa.Connection, **given: Any) -> Any:
        """The first row of a query; None where there is none."""
        found = self.rows(connection, **given)
        return found[0] if found else None

    def values(self, connection: sa.Connection, **given: Any) -> list[Any]:
        """The first column of each row."""
        return [row[0] for row in self.rows(connection, **given)]

    def run(self, connection: sa.Connection, **given: Any) -> int:
        """Execute what changes something; return how many rows."""
        compiled = self._of(connection)
        return int(_executed(connection, compiled.text, compiled.given(given)))

    def run_each(self, connection: sa.Connection, rows: Collection[Mapping[str, Any]]) -> None:
        """The same for each of several."""
        if rows:
            compiled = self._of(connection)
            _executed(connection, compiled.text, list(map(compiled.given, rows)), many=True)

    def _of(self, connection: sa.Connection) -> _Compiled:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self.written, dialect)
        return compiled


def inserting(table: sa.Table, columns: Iterable[str] | None = None) -> Statement:
    """What inserts a row, each column under its name."""
    names = list(columns) if columns is not None else [column.name for column in table.c]
    return Statement(sa.insert(table).inline().values({name: sa.bindparam(name) for name in names}))


def _executed(connection: sa.Connection, text: str, given: Any, *, fetch: bool = False, many: bool = False) -> Any:
    """What the driver's cursor says: rows, or how many there were."""
    if not connection.in_transaction():
        connection.begin()
    cursor = connection.connection.cursor()
    events: Any = connection.engine.dispatch  # those who listen are told, as SQLAlchemy tells them
    try:
        for listener in events.before_cursor_execute:
            listener(connection, cursor, text, given, None, many)
        (cursor.executemany if many else cursor.execute)(text, given)
        return cursor.fetchall() if fetch else cursor.rowcount
    except Exception as problem:
        _told(connection, problem, text, given, cursor)
        raise
    finally:
        cursor.close()


def _told(connection: Any, problem: Exception, text: str, given: Any, cursor: Any) -> None:
    """Raise a driver's error as SQLAlchemy's own, which also lets go of a connection that is lost."""
    connection._handle_dbapi_exception(problem, text, given, cursor, None)
