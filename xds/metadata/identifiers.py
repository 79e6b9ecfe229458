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


ESCAPES = {"\\E\\": "\\", "\\F\\": "|", "\\S\\": "^", "\\R\\": "~", "\\T\\": "&"}
"""HL7 v2.5: 2.7.1, those of delimiters; of no other escape is it known what it means in an id."""

PATIENT_ID_LENGTH = 256
"""Characters of an id, its authority not counted."""


def unescaped(text: str) -> str:
    """Text of an HL7 v2 component without its escapes.

    Raises:
        ValueError: it has another escape than those of delimiters, or one that does not end.
    """
    plain, rest = "", text
    while "\\" in rest:
        before, _, after = rest.partition("\\")
        code, ended, rest = after.partition("\\")
        if not ended or f"\\{code}\\" not in ESCAPES:
            raise ValueError("an escape that is none of a delimiter (HL7 v2.5: 2.7.1)")
        plain += before + ESCAPES[f"\\{code}\\"]
    return plain + rest


def escaped(text: str) -> str:
    """Text as an HL7 v2 component."""
    for escape, character in ESCAPES.items():
        text = text.replace(character, escape)
    return text


_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, order=True)
class PatientId:
    """A patient as one assigning authority knows them: HL7 v2 CX, CX.1 and CX.4 only; ``id`` without escapes."""

    id: str
    authority: Oid

    @classmethod
    def of(cls, text: str, authority: Oid) -> PatientId:
        """An id as its sender means it.

        Raises:
            ValueError: it is empty, too long, or holds what cannot be printed.
        """
        id_ = unicodedata.normalize("NFC", text)
        if not id_.strip() or len(id_) > PATIENT_ID_LENGTH or _NOT_TEXT.search(id_):
            raise ValueError(f"not an id of 1 to {PATIENT_ID_LENGTH} characters that can be printed")
        return cls(id_, authority)

    @classmethod
    def parse(cls, text: str) -> PatientId:
        """Read ``id^^^&oid&ISO``; trailing empty components are ignored.

        Raises:
            ValueError: a component is missing or malformed, or one is present that XDS does not use.
        """
        match = re.fullmatch(r"([^\^&~|]+)\^\^\^&([^\^&~|]+)&ISO\^*", text)
        if match is None or not is_oid(match[2]):
            raise ValueError("not of the form id^^^&oid&ISO")  # not the value: errors reach logs
        return cls.of(unescaped(match[1]), Oid(match[2]))

    def __str__(self) -> str:
        return f"{escaped(self.id)}^^^&{self.authority}&ISO"
