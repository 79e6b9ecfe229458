"""A list of audit records as pages to print and sign."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from xds.audit.messages.plain import meaning, visible
from xds.audit.search.listing import MOST_ON_PAPER, row
from xds.store.audit.records import Recorded

CELL = 400
"""Characters of a cell; no row may be longer than a page."""

# Where Debian keeps a font of many scripts; the one that reportlab brings has the Latin ones.
_FONTS = ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf")


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
