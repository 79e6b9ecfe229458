"""Every rule of the table is kept, whoever sends what breaks it, and no refusal of the registry is without a rule."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import xds
from tests.conformance.rule import Desk, Rule, refusal
from tests.conformance.table import FILE, RULES, table
from tests.store.databases import shared_engine
from xds import errors
from xds.errors import ErrorCode
from xds.hl7 import feed

__all__ = ["shared_engine"]

PACKAGE = Path(xds.__file__).parent
TRIED = [(rule, number) for rule in RULES for number in rule.transactions]
# Where the registry's refusals are made, and by which names.
MODULES = (
    "metadata/reading.py", "metadata/from_ebxml.py", "rules/code_sets.py", "rules/document_entry.py",
    "rules/on_demand.py", "rules/submission.py", "queries/find.py", "queries/get.py", "queries/parameters.py",
    "queries/returns.py", "actors/document_registry.py", "actors/outside.py", "actors/metadata_update.py",
    "actors/update_operations.py", "actors/update_rules.py", "actors/metadata_removal.py", "hl7/v2.py", "hl7/v3.py",
)  # fmt: skip
MAKERS = {"Finding", "wrong", "_wrong", "_finding", "NotAFeed"}


@pytest.fixture
def desk(shared_engine: sa.Engine) -> Desk:
    return Desk(shared_engine)


@pytest.mark.parametrize(("rule", "number"), TRIED, ids=[f"{number}-{rule.title}" for rule, number in TRIED])
def test_rule(desk: Desk, rule: Rule, number: str) -> None:
    findings = refusal(desk, rule, number)
    met = [finding for finding in findings if finding.code == rule.code and rule.names in finding.context]
    assert met, f"refused, but with {[(f.code, f.context) for f in findings]}"
    if not rule.prescribed:
        assert any(rule.clause in finding.context for finding in met), [f.context for f in met]


@pytest.mark.parametrize(
    "number", sorted({n for r in RULES for n in r.transactions} & {"ITI-42", "ITI-61", "ITI-57", "ITI-92"})
)
def test_what_is_spoilt_was_good_before(desk: Desk, number: str) -> None:
    desk.send(number, desk.good(number))


def test_the_table_is_the_rules() -> None:
    assert FILE.read_text("utf-8") == table(), "python -m tests.conformance"


def test_nothing_in_the_table_is_empty_and_no_rule_is_there_twice() -> None:
    for rule in RULES:
        assert rule.transactions
        assert rule.sentence
        assert rule.clause
        assert rule.code
    keys = [(rule.sentence, number) for rule, number in TRIED]
    assert sorted(keys) == sorted(set(keys))


def test_every_code_is_one_that_the_framework_has() -> None:
    assert {rule.code for rule in RULES if not rule.code.isdigit()} <= set(ErrorCode)


def sites() -> Iterator[tuple[str, int, int]]:
    """Every place that makes a refusal: file, first line, last line."""
    for module in MODULES:
        for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                maker = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if maker in MAKERS and "Severity.WARNING" not in ast.unparse(node):
                    yield module, node.lineno, node.end_lineno or node.lineno


@pytest.mark.parametrize("shared_engine", ["sqlite"], indirect=True)  # which code is reached is no database's
def test_no_refusal_of_the_registry_is_without_a_rule(
    shared_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place in the code that makes one is reached by an attempt of the table."""
    reached: set[tuple[str, int]] = set()

    def noted(made: type, init: Any) -> None:
        def noting(self: Any, *given: Any, **more: Any) -> None:
            frame = sys._getframe(1)
            while frame is not None:
                path = Path(frame.f_code.co_filename)
                if PACKAGE in path.parents:
                    reached.add((str(path.relative_to(PACKAGE)), frame.f_lineno))
                frame = frame.f_back  # type: ignore[assignment]
            init(self, *given, **more)

        monkeypatch.setattr(made, "__init__", noting)

    noted(errors.Finding, errors.Finding.__init__)
    noted(feed.NotAFeed, feed.NotAFeed.__init__)
    for rule in RULES:
        refusal(Desk(shared_engine), rule, rule.transactions[0])
    missed = [
        f"{module}:{first}"
        for module, first, last in sites()
        if not any((module, line) in reached for line in range(first, last + 1))
    ]
    assert missed == []
