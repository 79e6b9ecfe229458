"""The data types of XDS metadata as values that keep what was written.

ITI TF-3: 4.2.3.1, Table 4.2.3.1-1.  Messages of ValueError never hold the value: they reach logs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from xds.metadata.identifiers import is_oid, unescaped
from xds.system.values import value


@value(frozen=True, slots=True)
class Code:
    """A coded value; equal in the domain's eyes when code and scheme are, whatever it is called."""

    code: str
    scheme: str
    display: str

    @property
    def key(self) -> str:
        """``code^^scheme``, the form of stored-query parameters (ITI TF-2: 3.18.4.1.2.3.4)."""
        return f"{self.code}^^{self.scheme}"


@value(frozen=True, slots=True)
class Dtm:
    """A UTC time of 4 to 14 digits, ``YYYY[MM[DD[hh[mm[ss]]]]]``; it stands for its whole period."""

    text: str

    def __post_init__(self) -> None:
        if re.fullmatch(r"[0-9]{4}([0-9]{2}){0,5}", self.text) is None:
            raise ValueError("not of the form YYYY[MM[DD[hh[mm[ss]]]]]")
        self.start  # noqa: B018  a day that does not exist raises here

    @property
    def padded(self) -> str:
        """The first second of the period, 14 digits, which sorts as time does."""
        return self.text + "00000101000000"[len(self.text) :]

    @property
    def start(self) -> datetime:
        text = self.padded
        # A leap second is written as 60 by some clocks; it sorts as 59 here.
        second = min(int(text[12:14]), 59) if int(text[12:14]) == 60 else int(text[12:14])
        return datetime(
            int(text[:4]),
            int(text[4:6]),
            int(text[6:8]),
            int(text[8:10]),
            int(text[10:12]),
            second,
            tzinfo=UTC,
        )

    @classmethod
    def of(cls, time: datetime) -> Dtm:
        """An aware time, to the second."""
        time = time.astimezone(UTC)
        # Some C libraries write the year 1, which senders put where they know no date, as one digit.
        return cls(f"{time.year:04}{time:%m%d%H%M%S}")


def escape(text: str) -> str:
    """A component's text with HL7 v2 delimiters escaped (HL7 v2.5: 2.7)."""
    table = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
    return "".join(table.get(character, character) for character in text)


def trimmed(text: str) -> str:
    """An HL7 value without trailing delimiters, which mean nothing on comparing (ITI TF-3: 4.2.3.1)."""
    return text.rstrip("^&~|")


def _components(text: str, most: int) -> list[str]:
    parts = text.rstrip("^").split("^")  # trailing delimiters mean nothing
    if len(parts) > most:
        raise ValueError(f"more than {most} components")
    return parts + [""] * (most - len(parts))


def _authority(component: str, what: str) -> None:
    if not component:
        return
    parts = component.split("&")
    if len(parts) != 3 or not is_oid(parts[1]) or parts[2] != "ISO":
        raise ValueError(f"{what} is not of the form &OID&ISO")


@value(frozen=True, slots=True)
class Xcn:
    """A person: ``id^last^first^middle^suffix^prefix^^^&OID&ISO``."""

    text: str

    def __post_init__(self) -> None:
        parts = _components(self.text, 23)
        if not parts[0] and not parts[1]:
            raise ValueError("an id or a last name is required (XCN.1, XCN.2)")
        _authority(parts[8], "the assigning authority (XCN.9)")


@value(frozen=True, slots=True)
class Xon:
    """An organisation: ``name^^^^^&OID&ISO^^^^id``."""

    text: str

    def __post_init__(self) -> None:
        parts = _components(self.text, 10)
        if not parts[0]:
            raise ValueError("a name is required (XON.1)")
        _authority(parts[5], "the assigning authority (XON.6)")
        if parts[9] and not parts[5] and not is_oid(parts[9]):
            raise ValueError("an id that is no OID needs its assigning authority (XON.6, XON.10)")

    @property
    def name(self) -> str:
        """What people call it (XON.1)."""
        name = _components(self.text, 10)[0]
        try:
            return unescaped(name)
        except ValueError:  # as it is written
            return name

    @property
    def keys(self) -> frozenset[str]:
        """By what it is told: its name, and its OID, or ``id^OID`` of its assigning authority."""
        parts = _components(self.text, 10)
        authority = parts[5].split("&")[1] if parts[5] else ""
        id_ = f"{parts[9]}^{authority}" if authority and not is_oid(parts[9]) else parts[9]
        return frozenset(key for key in (parts[0], id_) if key)


@value(frozen=True, slots=True)
class Xtn:
    """A telephone or e-mail address."""

    text: str

    def __post_init__(self) -> None:
        parts = _components(self.text, 14)
        if parts[2] == "Internet":
            if not parts[3] or parts[1] not in ("", "NET"):
                raise ValueError("an e-mail address is required (XTN.4), and its use is NET (XTN.2)")
        elif not parts[2] or not (parts[6] or parts[11]):
            raise ValueError("equipment type and number are required (XTN.3, XTN.7)")


@value(frozen=True, slots=True)
class Recipient:
    """One intendedRecipient: ``XON|XCN|XTN``, at least one of the three (ITI TF-3: 4.2.3.3.7)."""

    text: str

    def __post_init__(self) -> None:
        parts = self.text.split("|")
        if len(parts) > 3 or not any(parts):
            raise ValueError("not of the form XON|XCN|XTN with at least one part")
        for kind, part in zip((Xon, Xcn, Xtn), parts, strict=False):
            if part:
                kind(part)


@value(frozen=True, slots=True)
class ReferenceId:
    """CXi: ``id^^^&OID&ISO^type``.  ITI TF-3: 4.2.3.1.7."""

    text: str

    def __post_init__(self) -> None:
        parts = trimmed(self.text).split("^")
        if len(parts) < 5 or not parts[0].strip() or not parts[4].strip():
            raise ValueError("an id and its type are required (CXi.1, CXi.5)")
        if parts[1] or parts[2]:
            raise ValueError("CXi.2 and CXi.3 must be empty")
        _, universal, kind = [*parts[3].split("&"), "", ""][:3]
        if bool(universal) != bool(kind) or (kind == "ISO" and not is_oid(universal)) or parts[3].count("&") > 2:
            raise ValueError("the assigning authority is not of the form namespace&id&type (CXi.4)")
        if len(parts) > 6:  # CXi.6, a home community, is in the 2013 text and sent by some peers
            raise ValueError("more components than CXi has")

    @classmethod
    def of(cls, id_: str, kind: str, authority: str = "") -> ReferenceId:
        return cls(f"{escape(id_)}^^^{f'&{authority}&ISO' if authority else ''}^{kind}")

    @property
    def key(self) -> str:
        """What references are compared by: the text without trailing delimiters."""
        return trimmed(self.text)


@value(frozen=True, slots=True)
class Author:
    """Who wrote a document or submission.  ITI TF-3: 4.2.3.1.4."""

    person: Xcn | None = None
    institutions: tuple[Xon, ...] = ()
    roles: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()
    telecommunications: tuple[Xtn, ...] = ()

    def __post_init__(self) -> None:
        if self.person is None and not self.institutions and not self.telecommunications:
            raise ValueError("authorPerson, authorInstitution or authorTelecommunication is required")
