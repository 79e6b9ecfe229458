"""Write ``rules.md``."""

from tests.conformance.table import FILE, table

FILE.write_text(table(), "utf-8")
