"""Nothing answers without a decision: every transaction that is served has a row, and every row a test."""

from __future__ import annotations

import pytest

from tests.hostile.decisions import FILE, ROWS, Row, written
from tests.hostile.test_who_may_what import ACTIONS
from tests.places import ROOT
from xds.access.policy import TRANSACTIONS
from xds.server.actors import SERVED, transactions_of


def test_every_transaction_that_is_served_has_its_row() -> None:
    served = {t.number for _, pages in SERVED.values() for page in pages for t in transactions_of(page)}
    assert served <= {row.action for row in ROWS}
    assert set(TRANSACTIONS) <= {row.action for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.endpoint} {row.action}")
def test_no_cell_is_empty_and_the_test_is_there(row: Row) -> None:
    assert all(row)
    path, _, name = row.test.partition("::")
    text = (ROOT / "tests" / path).read_text("utf-8")
    function, _, action = name.partition("[")
    assert not function or f"def {function}(" in text
    assert not action or action.removesuffix("]") in ACTIONS


def test_the_table_is_as_it_was_written() -> None:
    assert FILE.read_text("utf-8") == written()
