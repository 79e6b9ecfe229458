"""That a consent document cannot be read: by the name and place of the part that is why, and without naming anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xds.wire.xml import Element, local_name


class NotRead(Exception):
    """A consent document is not read as a whole; the message names the part that is why, and nobody."""


def not_read(at: Element, rule: str, below: str = "") -> NotRead:
    """What is wrong, with its place: of an element, or of what is below it."""
    return NotRead(f"{path_of(at)}{below and '/'}{below}: {rule}")


def path_of(element: Element) -> str:
    """``PolicySet/Policy[2]/Rule``: the names down to an element, numbered where one of several."""
    return "/".join(reversed(list(_steps(element))))


def _steps(element: Element) -> Iterator[str]:
    one: Element | None = element
    while one is not None:
        parent = one.getparent()
        alike = [] if parent is None else [other for other in parent if other.tag == one.tag]
        yield local_name(one) + (f"[{alike.index(one) + 1}]" if len(alike) > 1 else "")
        one = parent


def named(text: str) -> str:
    """An identifier of a document's, as an error may have it: short, and of what identifiers are made of."""
    return re.sub(r"[^A-Za-z0-9:./#_^-]", "?", text[:128]) or "nothing"
