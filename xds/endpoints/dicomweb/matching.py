"""What the value of a QIDO-RS key matches, and which values are none.  PS3.4: C.2.2.2; PS3.18: 8.3.4.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from xds.imaging.reading import is_uid
from xds.imaging.text import Name

_DATE = r"[0-9]{8}"
_TIME = r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?"
_FIRST, _LAST = "000000.000000", "235959.999999"

EMPTY = '""'
"""Two quotation marks: what has no value.  PS3.4: C.2.2.2.7."""


def wrong(vr: str, value: str) -> str:
    """Why nothing can be meant by a value; empty where something can."""
    if vr in ("DA", "TM"):
        one = _DATE if vr == "DA" else _TIME
        if re.fullmatch(f"({one})|({one})-|-({one})|({one})-({one})", value) is None:
            form = "YYYYMMDD" if vr == "DA" else "HHMMSS.FFFFFF or a beginning of it"
            return f"is {form}, or two of them with - between, of which one may be absent (PS3.4: C.2.2.2.5)"
    if vr == "UI" and not is_uid(value):
        return "is a UID (PS3.5: 9.1)"
    if vr == "IS" and re.fullmatch(r"[+-]?[0-9]{1,11}", value) is None:
        return "is an integer"
    return ""


def like(text: str, asked: str) -> bool:
    """``*`` and ``?`` stand for anything; all else for itself (PS3.4: C.2.2.2.4)."""
    pattern = re.sub(r"\[", "[[]", asked)
    return fnmatchcase(text, pattern) if set(asked) & set("*?") else text == asked


def _named(text: str, asked: str) -> bool:
    """The whole name or any one of its groups, without regard to case.

    The choice is the implementation's (PS3.4: C.2.2.2.1.1, C.2.2.2.4): who searches types one group.
    """
    asked = asked.lower()
    groups = [group for group in Name.parse(text.lower()) if group]
    return any(like(one, asked) for one in {text.lower(), *groups})


def _date(text: str, asked: str) -> bool:
    """A date, or ``from-to`` with either end open (PS3.4: C.2.2.2.5.1)."""
    if "-" not in asked:
        return text == asked
    begin, _, end = asked.partition("-")
    return bool(text) and (not begin or text >= begin) and (not end or text <= end)


def _time(text: str, asked: str) -> bool:
    """A time, or ``from-to`` with either end open, never past midnight (PS3.4: C.2.2.2.5.2).

    A time without seconds is not precise to them (PS3.5: Table 6.2-1, TM): it is any time of that minute, and is
    within a range that has one of those.
    """
    if "-" not in asked:
        return text == asked
    begin, _, end = asked.partition("-")
    if not text:
        return False
    return (not begin or _latest(text) >= _earliest(begin)) and (not end or _earliest(text) <= _latest(end))


def _earliest(time: str) -> str:
    return time + _FIRST[len(time) :]


def _latest(time: str) -> str:
    return time + _LAST[len(time) :]


def _integer(text: str, asked: str) -> bool:
    return bool(text) and int(text) == int(asked)


MATCHERS: Mapping[str, Callable[[str, str], bool]] = {"PN": _named, "DA": _date, "TM": _time, "IS": _integer}
"""How each VR is compared; all others by ``like``."""
