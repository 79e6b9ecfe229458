"""Records as a list to take away: CSV for a spreadsheet, JSON lines for a program, PDF for paper."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import category

from xds.audit.messages.plain import summary, words
from xds.store.audit.records import Recorded

COLUMNS = ("record", "number", "time", "event", "transaction", "outcome", "why", "person", "source", "destination",
           "patient", "origin")  # fmt: skip

TAKEN = 4000
"""Characters of a value in a line for spreadsheets; no valid one is longer."""

_CUTS = ";\t\r\n|"

# Full-width and small forms, and the minus of mathematics: spreadsheets of the Far East and some others take them too.
_FORMULAS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"

MOST_ON_PAPER = 2000
"""Records in a PDF; some thirty to the page."""


def row(record: Recorded) -> dict[str, str]:
    """What a list has of a record, by column."""
    said = {**summary(record.message), "time": record.time.isoformat(timespec="milliseconds")}
    number = "" if record.leaf_number is None else str(record.leaf_number)
    found = {**said, "record": str(record.id), "number": number, "patient": said.get("patient") or record.patient_id,
             "origin": record.origin}  # fmt: skip
    return {column: found.get(column, "") for column in COLUMNS}


def as_csv(records: Iterable[Recorded]) -> Iterator[bytes]:
    """With a header line; UTF-8 with the mark by which spreadsheets know it."""
    yield "\ufeff".encode()
    yield _line(COLUMNS)
    for record in records:
        yield _line([_harmless(value) for value in row(record).values()])


def _line(values: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(values)
    return out.getvalue().encode("utf-8", "replace")


def _harmless(value: str) -> str:
    """A value that no spreadsheet takes for a formula, wherever it cuts: what peers send may be meant to be one."""
    value = value if len(value) <= TAKEN else f"{value[:TAKEN]}…"
    if value[:1] in ("\t", "\r", "\n"):
        value = f"'{value}"
    found, dangerous = list[str](), False
    for character in reversed(value):  # a sign that begins a formula, and blanks before it, make their cell one
        if dangerous and character in _CUTS:
            found.append("'")
            dangerous = False
        found.append(character)
        dangerous = character in _FORMULAS or (dangerous and (character.isspace() or category(character) == "Cf"))
    return "'" * dangerous + "".join(reversed(found))


def as_json_lines(records: Iterable[Recorded]) -> Iterator[bytes]:
    """One object a line: the columns, the record in words, and its message as it was sealed."""
    for record in records:
        message = record.message.decode("utf-8", "replace")
        said: dict[str, str] = {**row(record), "words": words(record.message, record.origin), "message": message}
        yield json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
