"""Which community an object is of: the ``home`` of what goes between communities.  ITI TF-2: 3.38.4.1.3."""

from __future__ import annotations

import re

from xds.metadata.identifiers import Oid, is_oid
from xds.wire.xml import name

PREFIX = "urn:oid:"

OBJECTS = frozenset(map(name, ("rim:ExtrinsicObject", "rim:RegistryPackage", "rim:ObjectRef")))
"""What must say of which community it is; an association need not."""

_HOME = re.compile(rb'\shome="[^"]*"')
_AT_HOME = (b"<rim:ExtrinsicObject", b"<rim:RegistryPackage", b"<rim:ObjectRef")


def home_of(oid: Oid) -> str:
    """A homeCommunityId as messages have it."""
    return f"{PREFIX}{oid}"


def is_home(text: str) -> bool:
    """Whether a text is of that form: ``urn:oid:`` and an OID of at most 64 characters."""
    return text.startswith(PREFIX) and is_oid(text.removeprefix(PREFIX))


def at_home(fragment: bytes, home: str) -> bytes:
    """A fragment of an answer, as ``rim_writing`` and lxml write them, with the ``home`` that is given and no other.

    It is not parsed: neither leaves a «>» or a quotation mark in an attribute's value.  ``home`` is as ``home_of``
    makes it.  What needs none stays as it is.
    """
    if not fragment.startswith(_AT_HOME):
        return fragment
    end = fragment.index(b">")
    start = _HOME.sub(b"", fragment[:end])
    element, space, attributes = start.partition(b" ")
    return b'%b home="%b"%b%b%b' % (element, home.encode(), space, attributes, fragment[end:])
