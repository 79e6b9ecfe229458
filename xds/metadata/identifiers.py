"""Identifiers that cannot be mixed up, right once built.

ITI TF-3: 4.2.3.1 (data types), Table 4.2.3.2-1 (formats).
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from dataclasses import dataclass
from typing import NewType

Oid = NewType("Oid", str)
"""Dotted decimal, at most 64 characters, without the ``urn:oid:`` prefix."""

EntryUuid = NewType("EntryUuid", str)
"""``urn:uuid:`` and a lower-case UUID; before registration also a symbolic id."""

UniqueId = NewType("UniqueId", str)
"""DocumentEntry.uniqueId and the like; opaque, at most 128 characters."""

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_oid(text: str) -> bool:
    """Whether it is an OID: digits and dots, no leading zero in an arc, at most 64 characters."""
    return len(text) <= 64 and _OID.fullmatch(text) is not None


def oid(text: str) -> Oid:
    """An OID from its text.

    Raises:
        ValueError: it is none.
    """
    if not is_oid(text):
        raise ValueError("not an OID of at most 64 characters")
    return Oid(text)


def new_oid() -> Oid:
    """An OID of our own making, under 2.25 (ITU-T X.667)."""
    return Oid(f"2.25.{uuid.uuid4().int}")


def new_entry_uuid() -> EntryUuid:
    return EntryUuid(f"urn:uuid:{uuid.uuid4()}")


def is_entry_uuid(text: str) -> bool:
    """Whether it is a UUID as ITI TF-3: 4.2.3.2.4 wants it, and no symbolic id."""
    return _UUID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class PatientId:
    """A patient as one assigning authority knows them: HL7 v2 CX, CX.1 and CX.4 only."""

    id: str
    authority: Oid

    @classmethod
    def parse(cls, text: str) -> PatientId:
        """Read ``id^^^&oid&ISO``; trailing empty components are ignored.

        Raises:
            ValueError: a component is missing, or one is present that XDS does not use.
        """
        match = re.fullmatch(r"([^\^&~|]+)\^\^\^&([^\^&~|]+)&ISO\^*", text)
        if match is None or not is_oid(match[2]):
            raise ValueError("not of the form id^^^&oid&ISO")  # not the value: errors reach logs
        return cls(unicodedata.normalize("NFC", match[1]), Oid(match[2]))

    def __str__(self) -> str:
        return f"{self.id}^^^&{self.authority}&ISO"
