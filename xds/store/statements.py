"""Statements that are written once, compiled once for each database, and then executed as the text that they are.

SQLAlchemy is where each is written; what a request executes is not built, traversed or looked up again.  What varies is
given as named parameters; a list of any length is one parameter too (``among``), so that the text stays the same.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, TypeAlias

import sqlalchemy as sa
from psycopg import RawCursor
from sqlalchemy.dialects import postgresql, sqlite
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
    given: sa.BindParameter[Any] = sa.bindparam(element.name, type_=ARRAY(_as_long_as_it_is(element.column)))
    is_one = element.column != sa.all_(given) if element.negated else element.column == sa.any_(given)
    return compiler.process(is_one, **more)


def _as_long_as_it_is(column: Any) -> Any:
    """A column's type for what is given: a cast to its own would cut what is too long for it."""
    return sa.Text() if isinstance(column.type, sa.String) else column.type


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
        # SQLite's JSON ends a text at a NUL; nothing that is kept has one.
        return json.dumps([one for one in value if not isinstance(one, str) or "\0" not in one])


class EitherDatabase(sa.ColumnElement[bool]):
    """A condition that one database is told otherwise than another."""

    inherit_cache = False
    type = sa.Boolean()

    def __init__(self, *, sqlite: Any, other: Any) -> None:
        self.sqlite, self.other = sqlite, other

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002
        """See ``Among``."""
        return self


def either_database(*, sqlite: Any, other: Any) -> EitherDatabase:
    """A condition for SQLite, and what means the same for any other."""
    return EitherDatabase(sqlite=sqlite, other=other)


@compiles(EitherDatabase, "sqlite")
def _for_sqlite(element: EitherDatabase, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.sqlite, **more)


@compiles(EitherDatabase)
def _for_others(element: EitherDatabase, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.other, **more)


class _Compiled:
    """A statement as the text of one database: what it is given, and how its rows are read."""

    def __init__(self, written: sa.sql.expression.ClauseElement, dialect: sa.Dialect) -> None:
        if dialect.name != "sqlite":  # with the database's own parameters the driver need not look through the text
            dialect = type(dialect)(paramstyle="numeric_dollar")  # type: ignore[call-arg]
        compiled: Any = written.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text: str = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._process: dict[str, Process] = {}
        for name, bind in compiled.binds.items():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                self._process[name] = process
        self._order: Sequence[str] = compiled.positiontup
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
        return tuple(map(whole.__getitem__, self._order))

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
        """All rows of a query, their values by name; none of what only changes something.

        Raises:
            sqlalchemy.exc.DBAPIError: as the connection's own ``execute`` does.
        """
        compiled = self._of(connection)
        found = _executed(connection, compiled.text, compiled.given(given), fetch=compiled.row is not None)
        return compiled.read(found) if compiled.row is not None else []

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
        compiled = self._of(connection)
        if len(rows) == 1:
            _executed(connection, compiled.text, compiled.given(next(iter(rows))))
        elif rows:
            _executed(connection, compiled.text, list(map(compiled.given, rows)), many=True)

    def _of(self, connection: sa.Connection) -> _Compiled:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self.written, dialect)
        return compiled


Asked: TypeAlias = tuple[Statement, Mapping[str, Any]]
"""A statement, with what it is given."""


def at_once(connection: sa.Connection, *asked: Asked) -> list[list[Any]]:
    """The rows of several statements, executed one after the other: on PostgreSQL in one round trip.

    Raises:
        sqlalchemy.exc.DBAPIError: as the connection's own ``execute`` does.
    """
    if connection.dialect.name == "sqlite" or len(asked) < 2:
        return [statement.rows(connection, **given) for statement, given in asked]
    return _pipelined(connection, asked)


def commit_with(connection: sa.Connection, *asked: Asked) -> None:
    """Execute statements and commit: on PostgreSQL in one round trip.

    Raises:
        sqlalchemy.exc.DBAPIError: as the connection's own ``execute`` and ``commit`` do.
    """
    if connection.dialect.name != "sqlite" and asked:
        _pipelined(connection, [*asked, (_COMMIT, {})])
    else:
        at_once(connection, *asked)
    connection.commit()  # which knows it when the transaction has ended


def _pipelined(connection: sa.Connection, asked: Sequence[Asked]) -> list[list[Any]]:
    driver = _driver(connection)
    sent: list[tuple[_Compiled, Any]] = []
    text, values, cursor = "", (), None
    try:
        with driver.pipeline():
            for statement, given in asked:
                compiled = statement._of(connection)
                text, values, cursor = compiled.text, compiled.given(given), RawCursor(driver)
                sent.append((compiled, cursor))
                _listened(connection, cursor, text, values)
                cursor.execute(text, values, binary=True)
    except Exception as problem:
        _told(connection, problem, text, values, cursor)
        raise
    return [compiled.read(cursor.fetchall()) if compiled.row else [] for compiled, cursor in sent]


_fetching = Lock()
QUICK_SECONDS = 0.01
"""How long a thread waits for another to have fetched its rows, before both do at once."""

_COMMIT = Statement(sa.text("COMMIT"))


def inserting(table: sa.Table, columns: Iterable[str] | None = None) -> Statement:
    """What inserts a row, each column under its name."""
    names = list(columns) if columns is not None else [column.name for column in table.c]
    return Statement(sa.insert(table).inline().values({name: sa.bindparam(name) for name in names}))


def insert_of(table: sa.Table, names: Iterable[str], dialect: str) -> Any:
    """An insert of a row, each column under its name, that can be told what is to be where its key is there."""
    insert: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(table).inline().values({name: sa.bindparam(name) for name in names})


@lru_cache(500)
def _ignoring(table: sa.Table, names: tuple[str, ...], dialect: str) -> Statement:
    return Statement(insert_of(table, names, dialect).on_conflict_do_nothing())


def insert_ignoring(connection: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Insert a row unless its key is there; whether it was inserted."""
    return _ignoring(table, tuple(values), connection.dialect.name).run(connection, **values) == 1


class Inserting:
    """What inserts rows into several tables: a statement a group of tables on PostgreSQL, one a table on SQLite."""

    def __init__(self, *groups: tuple[sa.Table, ...]) -> None:
        self._groups = [(tables, Statement(_of_json(tables))) for tables in groups]
        self._each = {table: inserting(table) for tables in groups for table in tables}

    def run(self, connection: sa.Connection, rows: Mapping[sa.Table, Sequence[Mapping[str, Any]]]) -> None:
        """Insert rows, by table, each with all columns.

        Raises:
            sqlalchemy.exc.IntegrityError: a key is there already.
        """
        if connection.dialect.name == "sqlite":
            for table in self._each.keys() & rows.keys():
                self._each[table].run_each(connection, rows[table])
            return
        at_once(connection, *(
            (statement, {table.name: json.dumps(rows.get(table, ()), default=_hexadecimal) for table in tables})
            for tables, statement in self._groups
            if any(rows.get(table) for table in tables)
        ))  # fmt: skip


def _hexadecimal(value: bytes) -> str:
    """Bytes as PostgreSQL reads them from a text."""
    return f"\\x{value.hex()}"


def _of_json(tables: Sequence[sa.Table]) -> sa.Select[Any]:
    """Every table's rows, of each from one text of JSON: the driver has one parameter to write, not one a value."""
    parts = []
    for table in tables:
        names = [sa.column(column.name, _as_long_as_it_is(column)) for column in table.c]
        given = sa.func.json_to_recordset(sa.cast(sa.bindparam(table.name, type_=sa.Text), sa.JSON))
        found = given.table_valued(*names, name=f"new_{table.name}").render_derived(with_types=True)
        insert = sa.insert(table).inline().from_select([column.name for column in table.c], sa.select(*found.c))
        parts.append(insert.cte(f"into_{table.name}"))
    return sa.select(sa.literal(1)).add_cte(*parts)


def _executed(connection: sa.Connection, text: str, given: Any, *, fetch: bool = False, many: bool = False) -> Any:
    """What the driver's cursor says: rows, or how many there were."""
    driver, is_sqlite = _driver(connection), connection.dialect.name == "sqlite"
    cursor = driver.cursor() if is_sqlite else RawCursor(driver)
    try:
        _listened(connection, cursor, text, given, many=many)
        if many:
            cursor.executemany(text, given)
        elif is_sqlite:
            cursor.execute(text, given)
        else:
            cursor.execute(text, given, binary=True)
        if fetch:
            return _fetched(cursor) if is_sqlite else cursor.fetchall()
        return cursor.rowcount
    except Exception as problem:
        _told(connection, problem, text, given, cursor)
        raise
    finally:
        cursor.close()


def _fetched(cursor: Any) -> Any:
    """All rows of SQLite's: its driver lets others in after each of them, and then waits for its own turn again.

    With several threads that cost more than the rows themselves.  So one fetches at a time, as long as it is quick.
    """
    mine = _fetching.acquire(timeout=QUICK_SECONDS)
    try:
        return cursor.fetchall()
    finally:
        if mine:
            _fetching.release()


def _driver(connection: sa.Connection) -> Any:
    """The driver's connection, in a transaction that is begun here as SQLAlchemy would begin it."""
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.driver_connection


def _listened(connection: sa.Connection, cursor: Any, text: str, given: Any, *, many: bool = False) -> None:
    """Tell those who listen, as SQLAlchemy tells them."""
    events: Any = connection.engine.dispatch
    for listener in events.before_cursor_execute:
        listener(connection, cursor, text, given, None, many)


def _told(connection: Any, problem: Exception, text: str, given: Any, cursor: Any) -> None:
    """Raise a driver's error as SQLAlchemy's own, which also lets go of a connection that is lost."""
    connection._handle_dbapi_exception(problem, text, given, cursor, None)
