"""All rules, and the table that is written from them."""

from __future__ import annotations

from pathlib import Path

from tests.conformance import attributes, feeds, queries, submissions, updates
from tests.conformance.rule import Rule

RULES: tuple[Rule, ...] = (
    *attributes.RULES,
    *submissions.RULES,
    *updates.RULES,
    *queries.RULES,
    *feeds.RULES,
)
FILE = Path(__file__).with_name("rules.md")

HEAD = """\
# Rules of the registry's transactions

Written by `python -m tests.conformance`; a test holds it to the rules.  Each row is tried on SQLite and on PostgreSQL:
a message that is good but for this rule is refused with this code, naming what is wrong and, unless the code prescribes
what its context holds, the clause.  Where no text names a code, the table says who has it.  The tests are
`tests/conformance/test_rules.py::test_rule[…]`.

| Transaction | Rule | Clause | Refused with | Test |
|---|---|---|---|---|
"""


def table() -> str:
    """The text of ``rules.md``."""
    lines = [
        f"| {number} | {rule.sentence} | {rule.clause} | {_code(rule)} | `{number}-{rule.title}` |\n"
        for number in _numbers()
        for rule in RULES
        if number in rule.transactions
    ]
    return HEAD + "".join(lines)


def _code(rule: Rule) -> str:
    return f"{rule.code} (no text names it; {rule.code_of})" if rule.code_of else rule.code


def _numbers() -> list[str]:
    found = {number for rule in RULES for number in rule.transactions}
    return sorted(found, key=lambda number: int(number.rpartition("-")[2]))
