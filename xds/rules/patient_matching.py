"""Whether two descriptions are of one patient: rules that are written down, and no guess.

ITI TF-2: 3.55.4.1.3 leaves it to the community; ours is exact, as a wrong patient is worse than none:

| what is said | agrees |
|---|---|
| birth date | the whole day is known of both, and the same |
| name | a name of either has the same family and first given name, without case and signs (Müller, Mueller) |
| further given names | where both have any in full, one in common |
| sex | where both say female or male, the same |
| mother's maiden name, postal code, telephone | where both have one, the same |

What one of them does not say speaks neither for nor against.  Where several have the name and the birth date, whoever
is left because something speaks against the others is not the one for that: something more must speak for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from xds.metadata.demographics import Demographics, PersonName, spellings

DAY = 8
"""Digits of a whole birth date."""

_SAID = frozenset("FM")


class Attribute(Enum):
    """What could tell patients apart that agree in all that was said: codes of 1.3.6.1.4.1.19376.1.2.27.1."""

    SEX = "LivingSubjectAdministrativeGenderRequested"
    ADDRESS = "PatientAddressRequested"
    TELECOM = "PatientTelecomRequested"
    MAIDEN_NAME = "MothersMaidenNameRequested"


def _sex(one: Demographics) -> frozenset[str]:
    return frozenset({one.sex}) & _SAID


def _maiden_name(one: Demographics) -> frozenset[str]:
    return frozenset(word for spelled in spellings(one.mothers_maiden_name) for word in spelled)


def _postal_code(one: Demographics) -> frozenset[str]:
    code = re.sub(r"\W", "", one.address.postal_code).casefold()
    return frozenset({code} if code else ())


def _telecoms(one: Demographics) -> frozenset[str]:
    """The last digits of each number: who calls from afar dials more."""
    digits = (re.sub(r"\D", "", number)[-7:] for number in one.telecoms)
    return frozenset(number for number in digits if number)


VALUES: Mapping[Attribute, Callable[[Demographics], frozenset[str]]] = {
    Attribute.SEX: _sex,
    Attribute.ADDRESS: _postal_code,
    Attribute.TELECOM: _telecoms,
    Attribute.MAIDEN_NAME: _maiden_name,
}
"""What of each attribute is compared: with any of these in common two agree."""


def is_alike(asked: Demographics, known: Demographics) -> bool:
    """Whether name and birth date are those that are asked for."""
    born = len(asked.born) == DAY and asked.born == known.born
    return born and any(_same_name(one, other) for one in asked.names for other in known.names)


def shares(asked: Demographics, known: Demographics) -> bool:
    """Whether something beside name and birth date is said by both, and the same."""
    return any(value(asked) & value(known) for value in VALUES.values())


def contradicts(asked: Demographics, known: Demographics) -> bool:
    """Whether something that both say is said otherwise, be it a part of the birth date."""
    digits = min(len(asked.born), len(known.born))
    if asked.born[:digits] != known.born[:digits]:
        return True
    if asked.names and known.names and not any(_same_name(one, two) for one in asked.names for two in known.names):
        return True
    pairs = ((value(asked), value(known)) for value in VALUES.values())
    return any(one and other and not one & other for one, other in pairs)


def _same_name(one: PersonName, other: PersonName) -> bool:
    """The family name and the first given name; and further ones, where both have them in full."""
    given, others = one.given.split(), other.given.split()
    if not given or not others or not _same_words(one.family, other.family) or not _same_words(given[0], others[0]):
        return False
    more = [[name for name in names[1:] if len(name.strip(".")) > 1] for names in (given, others)]
    return not all(more) or any(_same_words(first, second) for first in more[0] for second in more[1])


def _same_words(one: str, other: str) -> bool:
    """Whether texts have the same words, in whichever spelling; of nothing they have not."""
    words, others = list(spellings(one)), list(spellings(other))
    return bool(words) and len(words) == len(others) and all(
        set(word) & set(another) for word, another in zip(words, others, strict=True)
    )  # fmt: skip


def telling_apart(asked: Demographics, alike: Sequence[Demographics]) -> list[Attribute]:
    """What was not said, and would tell those apart who are alike in all that was."""
    return [
        attribute
        for attribute, value in VALUES.items()
        if not value(asked) and _differ(value(one) for one in alike)
    ]  # fmt: skip


def _differ(values: Iterable[frozenset[str]]) -> bool:
    """Whether all have one, and no two have the same."""
    seen = set[str]()
    for value in values:
        if not value or value & seen:
            return False
        seen |= value
    return True
