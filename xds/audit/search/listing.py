"""Records as a list to take away: CSV for a spreadsheet, JSON lines for a program, PDF for paper."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import category

from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from xds.audit.messages.plain import meaning, summary, visible, words
from xds.store.audit.records import Recorded

COLUMNS = ("record", "number", "time", "event", "transaction", "outcome", "why", "person", "source", "destination",
           "patient", "origin")  # fmt: skip

CELL = 400
"""Characters of a cell; no row may be longer than a page."""

TAKEN = 4000
"""Characters of a value in a line for spreadsheets; no valid one is longer."""

_CUTS = ";\t\r\n|"

# Full-width and small forms, and the minus of mathematics: spreadsheets of the Far East and some others take them too.
_FORMULAS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"

MOST_ON_PAPER = 2000
"""Records in a PDF; some thirty to the page."""

# Where Debian keeps a font of many scripts; the one that reportlab brings has the Latin ones.
_FONTS = ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf")


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


def as_pdf(records: Sequence[Recorded], title: str, asked: str) -> bytes:
    """Pages to print and sign: what was asked, when, and each record."""
    out, font = io.BytesIO(), _font()
    cell = ParagraphStyle("cell", fontName=font, fontSize=7, leading=9, wordWrap="CJK")
    head = ParagraphStyle("head", parent=cell, textColor=colors.HexColor("#5b6b8c"))
    big = ParagraphStyle("big", parent=cell, fontSize=15, leading=20)
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    shown = records[:MOST_ON_PAPER]
    more = f", of {len(records)}: a PDF holds no more" if len(records) > len(shown) else ""
    story: list[Any] = [
        _paragraph(title, big),
        _paragraph(f"{_lines(asked) or 'Everything'}. {len(shown)} records{more}. Made at {now}.", head),
        Spacer(1, 4 * mm),
    ]
    listed = [[_paragraph(text, head) for text in ("Time (UTC)", "What", "Who and where", "Patient", "Outcome")]]
    for record in shown:
        said = row(record)
        who = _lines(
            said["person"], said["source"], said["destination"], said["origin"] and f"sent by {said['origin']}"
        )
        what = _lines(said["event"], meaning(said["transaction"]))
        outcome = _lines(*_outcome(said["outcome"], said["why"]))
        texts = (f"{record.time:%Y-%m-%d %H:%M:%S}", what, who, _lines(said["patient"]), outcome)
        listed.append([_paragraph(text, cell) for text in texts])
    table = LongTable(listed, colWidths=[28 * mm, 45 * mm, 100 * mm, 60 * mm, 40 * mm], repeatRows=1)
    table.setStyle(TableStyle([
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor("#dbe3f0")), ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]))  # fmt: skip
    story.append(table)
    document = SimpleDocTemplate(
        out, pagesize=landscape(A4), title=title, author="xds", leftMargin=12 * mm, rightMargin=12 * mm,
        topMargin=12 * mm, bottomMargin=14 * mm,
    )  # fmt: skip
    document.build(story, onFirstPage=_numbered(font), onLaterPages=_numbered(font))
    return out.getvalue()


def _numbered(font: str) -> Callable[[Any, Any], None]:
    def footer(canvas: Any, document: Any) -> None:
        canvas.setFont(font, 7)
        canvas.drawRightString(landscape(A4)[0] - 12 * mm, 8 * mm, str(document.page))

    return footer


def _lines(*values: str) -> str:
    """Values under one another; each is one line, whatever it holds."""
    return "\n".join(visible(value.replace("\n", " ")) for value in values if value)


def _outcome(code: str, why: str) -> tuple[str, str]:
    if code in ("", "0"):
        return ("success" if code else "", "")
    return f"failed ({code})", why


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    """Text of anybody's as it is: no mark-up, no control characters; no longer than fits on a page."""
    text = text if len(text) <= CELL else f"{text[:CELL]}…"
    return Paragraph(html.escape(visible(text)).replace("\n", "<br/>"), style)


@cache
def _font() -> str:
    for path in (*_FONTS, str(Path(rl_config.__file__).parent / "fonts" / "Vera.ttf")):
        try:
            pdfmetrics.registerFont(TTFont("xds", path))
        except (TTFError, OSError):
            continue
        return "xds"
    return "Helvetica"
