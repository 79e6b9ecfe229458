"""PID of HL7 v2 as demographics: what cannot be read is left out, and nobody's feed is refused for it.

HL7 v2.3.1: 3.3.2 (PID), 2.8 (XPN, XAD, XTN).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xds.metadata.demographics import (
    NAMES,
    TELECOMS,
    Address,
    Demographics,
    PersonName,
    birth_date,
    cut,
    sex,
)
from xds.metadata.identifiers import unescaped

_NULL = '""'

Field = Callable[[int], str]
"""A field of PID by its number, as it is written."""


def demographics(field: Field, separators: list[str], escape: str) -> Demographics | None:
    """What PID says of the patient; None where it has neither name nor birth date nor sex."""
    read = _Read(separators, escape)
    names = tuple(filter(str, map(read.name, read.repeated(field(5)))))[:NAMES]
    maiden = next(map(read.name, read.repeated(field(6))), PersonName())
    found = Demographics(
        names, birth_date(field(7)), sex(field(8)), maiden.family,
        next(map(read.address, read.repeated(field(11))), Address()),
        tuple(dict.fromkeys(filter(None, (read.telecom(one) for n in (13, 14) for one in read.repeated(field(n))))))[
            :TELECOMS
        ],
    )  # fmt: skip
    return found if names or found.born or found.sex else None


class _Read:
    """The data types of one message."""

    def __init__(self, separators: list[str], escape: str) -> None:
        self._repetition, self._component, self._part = separators
        self._escape = escape

    def repeated(self, field: str) -> Iterator[list[str]]:
        """The components of each repetition."""
        for each in field.split(self._repetition)[: NAMES + TELECOMS]:
            if each and each != _NULL:
                yield [*each.split(self._component), *[""] * 8]

    def _text(self, component: str) -> str:
        """A component's first part as text; empty where it is null, or has an escape that is none of a delimiter."""
        text = component.split(self._part)[0]
        try:
            return "" if text == _NULL else cut(unescaped(text.replace(self._escape, "\\")))
        except ValueError:
            return cut(text.replace(self._escape, ""))

    def name(self, parts: list[str]) -> PersonName:
        """XPN: family, given, middle, suffix, prefix; a prefix of the family name stands before it."""
        _, _, own_prefix = parts[0].partition(self._part)
        prefix, family = self._text(own_prefix), self._text(parts[0])
        if prefix and not family.casefold().startswith(f"{prefix.casefold()} "):  # as of v2.5 some say it twice
            family = f"{prefix} {family}"
        given = " ".join(filter(None, map(self._text, parts[1:3])))
        return PersonName(family, given, self._text(parts[4]), self._text(parts[3]))

    def address(self, parts: list[str]) -> Address:
        """XAD: street, other designation, city, state, postal code, country."""
        street = ", ".join(filter(None, map(self._text, parts[0:2])))
        return Address(street, *map(self._text, parts[2:6]))

    def telecom(self, parts: list[str]) -> str:
        """XTN: the number as it is dialled, or the address in its fourth component."""
        return self._text(parts[0]) or self._text(parts[3])
