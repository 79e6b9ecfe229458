"""Who a patient is, as a Patient Identity Feed says: by what people look for one.

ITI TF-2: 3.8.4.1.2.3 (PID), 3.44.4.1.2; HL7 v2 tables 0001 and 0200.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TEXT_LENGTH = 200
"""Characters of one part of a name or an address; what is longer is cut."""

NAMES, TELECOMS, WORDS = 10, 10, 24
"""Of one patient: names, telephone numbers and addresses, words of all names together; more are left out."""

WORD_LENGTH = 64
SEXES = frozenset("FMOUAN")

_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")
# Letters that are no other letter with a sign on it, and how people write them who have not got them.
_PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i"})
_WIDE = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


@dataclass(frozen=True, slots=True)
class PersonName:
    """A name: family and given names, each as one text."""

    family: str = ""
    given: str = ""
    prefix: str = ""
    suffix: str = ""

    def __str__(self) -> str:
        named = " ".join(filter(None, (self.prefix, self.given)))
        whole = ", ".join(filter(None, (self.family, named)))
        return f"{whole} {self.suffix}".strip()


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody lives."""

    street: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Demographics:
    """A patient's.  ``born``: YYYY, YYYYMM or YYYYMMDD; ``sex``: a code of HL7's table 0001; empty: not said."""

    names: tuple[PersonName, ...] = ()
    born: str = ""
    sex: str = ""
    mothers_maiden_name: str = ""
    address: Address = field(default_factory=Address)
    telecoms: tuple[str, ...] = ()

    def or_else(self, known: Demographics) -> Demographics:
        """With what is known where this does not say anything (HL7 v2: an empty field deletes nothing)."""
        return Demographics(
            self.names or known.names, self.born or known.born, self.sex or known.sex,
            self.mothers_maiden_name or known.mothers_maiden_name,
            known.address if self.address == Address() else self.address, self.telecoms or known.telecoms,
        )  # fmt: skip

    def words(self) -> frozenset[str]:
        """What the patient is found by: the words of all names, as ``folded`` gives them."""
        texts = (text for name in self.names for text in (name.family, name.given))
        return frozenset(list(dict.fromkeys(word for text in texts for word in folded(text)))[:WORDS])

    def as_json(self) -> dict[str, Any]:
        """Its fields, those that are empty left out."""
        told: dict[str, Any] = {
            "names": [_filled(name) for name in self.names], "born": self.born, "sex": self.sex,
            "mothers_maiden_name": self.mothers_maiden_name, "address": _filled(self.address),
            "telecoms": list(self.telecoms),
        }  # fmt: skip
        return {key: value for key, value in told.items() if value}

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> Demographics:
        """What ``as_json`` gave."""
        return cls(
            tuple(PersonName(**name) for name in told.get("names", ())), told.get("born", ""), told.get("sex", ""),
            told.get("mothers_maiden_name", ""), Address(**told.get("address", {})), tuple(told.get("telecoms", ())),
        )  # fmt: skip


def _filled(part: PersonName | Address) -> dict[str, str]:
    values = {name: getattr(part, name) for name in part.__slots__}
    return {name: value for name, value in values.items() if value}


def spellings(text: str) -> Iterator[tuple[str, ...]]:
    """The words of a text without case and signs, each as it may be written (Müller: muller, mueller)."""
    lowered = unicodedata.normalize("NFC", text).casefold()
    for word in _WORD.findall(lowered):
        yield tuple(dict.fromkeys(_plain(written)[:WORD_LENGTH] for written in (word, word.translate(_WIDE))))


def folded(text: str) -> Iterator[str]:
    """The same, every spelling of every word."""
    for word in spellings(text):
        yield from word


def _plain(word: str) -> str:
    """A word's letters without what stands above, below or through them."""
    apart = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c))).translate(_PLAIN)


def cut(text: str) -> str:
    """A part as it is kept: printable, on one line, and no longer than may be."""
    plain = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text))
    return " ".join(plain.split())[:TEXT_LENGTH]


def birth_date(text: str) -> str:
    """YYYY[MM[DD]] of a date or time of HL7; empty where it is none."""
    match = re.match(r"(\d{4})(\d{2})?(\d{2})?", text.strip())
    if match is None:
        return ""
    year, month, day = match.groups()
    if month is not None and not "01" <= month <= "12":
        return ""
    if day is not None and not "01" <= day <= "31":
        return ""
    return "".join(filter(None, (year, month, day)))


def sex(code: str) -> str:
    """A code of HL7's table 0001, or of AdministrativeGender (UN: O); empty where it is none."""
    code = code.strip().upper()
    return code if code in SEXES else {"UN": "O"}.get(code, "")
