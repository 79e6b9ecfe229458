"""Nothing that the review tried is forgotten: each group has its row, each row its tests, and floods their size."""

from __future__ import annotations

import pytest

from tests.hostile.attacks import ATTACKS, FILE, SCRIPTS, Attack, written
from tests.hostile.test_who_may_what import ACTIONS
from tests.places import ROOT


def test_every_script_has_its_rows() -> None:
    assert {row.script for row in ATTACKS} == set(SCRIPTS)
    assert [f"{number:02}" for number in range(1, 19)] == sorted(SCRIPTS)
    assert len({(row.script, row.attack) for row in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: f"{row.script} {row.attack}")
def test_no_cell_is_empty_and_the_tests_are_there(row: Attack) -> None:
    assert all(cell.strip() for cell in row)
    assert row.held_by()
    for test in row.held_by():
        path, _, name = test.partition("::")
        text = (ROOT / "tests" / (path if "/" in path else f"hostile/{path}")).read_text("utf-8")
        function, _, action = name.partition("[")
        assert f"def {function}(" in text, test
        assert not action or action.removesuffix("]") in ACTIONS, test
        if row.size != "one":  # then it runs in make test-long, too
            assert "pytest.mark.large" in text, test


def test_the_table_is_as_it_was_written() -> None:
    assert FILE.read_text("utf-8") == written()
