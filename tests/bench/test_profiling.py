"""A profile says whose the time is, and adds up to the time of a request."""

from __future__ import annotations

import time

import pytest

from tests.bench import profiling
from tests.bench.profiling import page, part, profiled


@pytest.mark.parametrize(
    ("file", "function", "whose"),
    [
        ("/x/xds/ebxml/rim.py", "read_object", "xds.ebxml"),
        ("/x/xds/store/registry/rows.py", "rows", "xds.store"),
        ("/x/xds/errors.py", "__init__", "xds.errors"),
        ("/x/lib/python3.11/site-packages/spyne/application.py", "call", "spyne"),
        ("/x/lib/python3.11/site-packages/psycopg_binary/_psycopg.py", "wait", "psycopg and PostgreSQL"),
        ("/usr/lib/python3.11/dataclasses.py", "replace", "Python"),
        ("~", "<method 'execute' of 'sqlite3.Cursor' objects>", "SQLite"),
        ("~", "<built-in method builtins.getattr>", "Python"),
    ],
)
def test_a_function_is_counted_to_whom_it_belongs(file: str, function: str, whose: str) -> None:
    assert part(file, function) == whose


def test_the_parts_are_the_whole_and_small_ones_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "REQUESTS", 5)
    monkeypatch.setattr(profiling, "WARM", 0)
    taken: list[float] = []

    def ask() -> None:
        started = time.perf_counter()
        part("/x/xds/ebxml/rim.py", "")
        sum(range(20_000))
        taken.append((time.perf_counter() - started) * 1000)

    found = profiled(ask)
    assert sum(found.values()) == pytest.approx(sum(taken[:5]) / 5, rel=0.5)
    assert all(milliseconds >= profiling.LEAST_MS for name, milliseconds in found.items() if name != "others")


def test_the_page_draws_what_was_before_beside_what_is_now() -> None:
    text = page({"ITI-42": {"xds.<ebxml>": 1.0, "new": 2.0}}, {"ITI-42": {"xds.<ebxml>": 3.0, "gone": 1.0}})
    assert "xds.&lt;ebxml&gt;" in text
    assert "4.00 ms → 3.00 ms" in text
    assert text.count('class="old"') == text.count('class="new"') == 2
    assert 'class="old"' not in page({"ITI-42": {"a": 1.0}}, {})
