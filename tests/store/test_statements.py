"""Statements are compiled once, and say what SQLAlchemy would have said each time."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_unique_id
from tests.extent import examples
from xds.store.statements import (
    Inserting,
    Statement,
    among,
    at_once,
    commit_with,
    insert_ignoring,
    inserting,
    not_among,
)
from xds.store.tables import document_entry_value, locator, patient

IDS = Statement(sa.select(locator.c.id, locator.c.nth).where(
    locator.c.domain == sa.bindparam("domain"), among(locator.c.id, "ids")
).order_by(locator.c.id))  # fmt: skip
OTHERS = Statement(
    sa.select(locator.c.id)
    .where(locator.c.domain == sa.bindparam("domain"), not_among(locator.c.id, "ids"))
    .order_by(locator.c.id)
)
PLACES = inserting(locator)
BOTH = Inserting((document_entry_value,), (locator,))


def place(id_: str, domain: str = "d", **more: Any) -> dict[str, Any]:
    return {"domain": domain, "id": id_, "kind": "DE", "nth": "", "patient_key": 1, "entry_uuid": "u", **more}


def test_a_row_has_its_columns_by_name_and_a_list_may_have_any_length(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        PLACES.run_each(connection, [place("a", nth="1"), place("b"), place("c"), place("a", domain="e")])
        assert [(row.id, row.nth) for row in IDS.rows(connection, domain="d", ids=["a", "c", "z"])] == [
            ("a", "1"), ("c", ""),
        ]  # fmt: skip
        assert IDS.rows(connection, domain="d", ids=[]) == []
        assert IDS.values(connection, domain="d", ids=[*map(str, range(5000)), "b"]) == ["b"]
        assert OTHERS.values(connection, domain="d", ids=["a"]) == ["b", "c"]
        assert OTHERS.values(connection, domain="d", ids=[]) == ["a", "b", "c"]
        assert IDS.first(connection, domain="f", ids=["a"]) is None


def test_what_is_too_long_for_a_column_is_not_cut_to_fit(engine: sa.Engine) -> None:
    """A cast to the column's own type would: another id would be found."""
    with engine.connect() as connection:
        PLACES.run(connection, **place("x" * 128))
        assert IDS.rows(connection, domain="d", ids=["x" * 129]) == []
        assert len(IDS.rows(connection, domain="d", ids=["x" * 128])) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_has_a_nul_is_nowhere(engine: sa.Engine) -> None:
    """JSON on SQLite ends a text there; PostgreSQL takes no such parameter at all."""
    with engine.connect() as connection:
        PLACES.run(connection, **place("abc"))
        assert IDS.rows(connection, domain="d", ids=["abc\0def"]) == []


def test_what_the_database_refuses_is_an_error_of_sqlalchemys(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        PLACES.run(connection, **place("a"))
        with pytest.raises(sa.exc.IntegrityError) as refused:
            PLACES.run(connection, **place("a"))
        assert "'a'" not in str(refused.value)  # rows hold patient data


def test_nothing_is_there_before_a_commit_and_all_after_it(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        PLACES.run(connection, **place("a"))  # begins a transaction, as the connection's own would
        connection.rollback()
        assert IDS.rows(connection, domain="d", ids=["a"]) == []
        connection.rollback()
        PLACES.run(connection, **place("a"))
        connection.commit()
    with engine.connect() as connection:
        assert len(IDS.rows(connection, domain="d", ids=["a"])) == 1


def test_statements_at_once_see_what_those_before_have_done(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        asked = {"domain": "d", "ids": ["a"]}
        before, _, after = at_once(connection, (IDS, asked), (PLACES, place("a")), (IDS, asked))
        assert (len(before), len(after)) == (0, 1)
        with pytest.raises(sa.exc.IntegrityError):
            at_once(connection, (IDS, asked), (PLACES, place("a")), (IDS, asked))
        connection.rollback()
        assert IDS.rows(connection, **asked) == []  # and the connection goes on


def test_what_is_committed_with_its_last_statements_is_there_for_others(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        PLACES.run(connection, **place("a"))
        commit_with(connection, (PLACES, place("b")), (PLACES, place("c")))
        assert not connection.in_transaction()
        with engine.connect() as another:
            assert IDS.values(another, domain="d", ids=["a", "b", "c"]) == ["a", "b", "c"]
        PLACES.run(connection, **place("d"))
        commit_with(connection)
        with engine.connect() as another:
            assert IDS.values(another, domain="d", ids=["d"]) == ["d"]


def test_when_one_of_the_last_statements_is_refused_nothing_is_committed(engine: sa.Engine) -> None:
    for last in ([place("a")], [place("b"), place("a")], [place("a"), place("b")]):
        with engine.connect() as connection:
            PLACES.run(connection, **place("a"))
            with pytest.raises(sa.exc.IntegrityError):
                commit_with(connection, *((PLACES, row) for row in last))
        with engine.connect() as another:
            assert IDS.values(another, domain="d", ids=["a", "b"]) == []


def test_a_transaction_that_has_failed_is_not_committed(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        PLACES.run(connection, **place("a"))
        with pytest.raises(sa.exc.IntegrityError):
            PLACES.run(connection, **place("a"))
        if engine.dialect.name != "sqlite":  # which goes on
            with pytest.raises(sa.exc.DBAPIError):
                commit_with(connection, (PLACES, place("b")))
            connection.rollback()
            assert IDS.values(connection, domain="d", ids=["a", "b"]) == []


def test_a_row_that_is_there_is_left_as_it_is(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        who = {"domain": "d", "authority": "1.2", "id": a_unique_id()}
        assert [insert_ignoring(connection, patient, **who) for _ in range(2)] == [True, False]


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(texts, texts), unique=True, max_size=5), st.lists(texts, unique=True, max_size=5))
def test_rows_of_several_tables_come_back_as_they_were(
    engine: sa.Engine, values: list[tuple[str, str]], ids: list[str]
) -> None:
    rows = [
        {"patient_key": 1, "attribute": one[:20], "value": two, "entry_uuid": f"u{n}"}
        for n, (one, two) in enumerate(values)
    ]
    with engine.connect() as connection:
        BOTH.run(connection, {document_entry_value: rows, locator: [place(id_) for id_ in ids]})
        found = connection.execute(sa.select(document_entry_value)).all()
        assert sorted(map(tuple, found)) == sorted(tuple(row.values()) for row in rows)
        assert set(connection.scalars(sa.select(locator.c.id))) == set(ids)
        connection.rollback()
