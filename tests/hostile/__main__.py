"""Writes the table of decisions."""

from tests.hostile.decisions import FILE, written

FILE.write_text(written(), "utf-8")
