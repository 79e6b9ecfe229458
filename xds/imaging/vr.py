"""Value representations: how long their length field is, what their bytes are.  PS3.5: 6.2, Tables 6.2-1 and 7.1-1."""

from __future__ import annotations

LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
"""Those whose length takes four bytes, after two that are reserved.  PS3.5: Table 7.1-1."""

LONG_BYTES = frozenset(vr.encode() for vr in LONG)
"""The same as they stand in a file."""

BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
"""Those whose values are bytes to whoever does not know the attribute."""

NUMBERS = {
    "FL": "f", "FD": "d", "SS": "h", "US": "H", "SL": "i", "UL": "I", "SV": "q", "UV": "Q", "AT": "HH",
}  # fmt: skip
"""Binary numbers, each as ``struct`` has it."""

WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of one word, which big endian turns round.  PS3.5: 7.3."""

ONE_TEXT = frozenset(("LT", "ST", "UR", "UT"))
"""Texts in which a backslash separates nothing."""

"""Texts in the character sets of (0008,0005).  PS3.5: 6.1.2.3."""
