"""Which documents somebody may see or touch: decided above, applied below, in SQL and in Python alike.

A document passes a filter when every part of it permits the document; of a part the first clause that fits decides,
and what fits none is not permitted.  ``store/registry/visibility.py`` says the same in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

# What conditions may ask about.  Of a document's own attributes and of values that it may have several of.
SINGLE = (
    "class_code", "type_code", "format_code", "healthcare_facility_type_code", "practice_setting_code",
    "repository_unique_id", "unique_id", "entry_uuid", "logical_id",
)  # fmt: skip
MULTIPLE = ("confidentialityCode", "authorInstitution", "sourceId", "referenceIdList", "eventCodeList")

Wanted: TypeAlias = tuple[tuple[str, frozenset[str]], ...]
"""Attributes, each with the values that will do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions ask of one document, where it is looked at by itself."""

    single: Mapping[str, str] = field(default_factory=dict)
    multiple: Mapping[str, frozenset[str]] = field(default_factory=dict)
    patient_key: int = 0
    folders: frozenset[str] = frozenset()  # uniqueIds of those that hold it

    def text(self) -> str:
        """What is known whoever it is of, as it is kept: JSON."""
        several = {name: sorted(values) for name, values in self.multiple.items() if values}
        return json.dumps({**self.single, **several}, sort_keys=True) if self.single or several else ""

    @classmethod
    def of(cls, text: str) -> Facts:
        """From what is kept."""
        said = json.loads(text) if text else {}
        single = {name: value for name, value in said.items() if isinstance(value, str)}
        return cls(single, {name: frozenset(value) for name, value in said.items() if isinstance(value, list)})


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Those:
    """The documents that meet all of this; with nothing said, every one.

    ``single``: the attribute is one of these.  ``any_of``: one of its values is.  ``only``: it has values, and none
    that is not.  ``folders``: it is in a folder of these uniqueIds.  ``patients``: it is kept under one of these keys.
    """

    single: Wanted = ()
    any_of: Wanted = ()
    only: Wanted = ()
    folders: frozenset[str] = frozenset()
    patients: frozenset[int] = frozenset()

    @property
    def every(self) -> bool:
        """Whether that is every document."""
        return self == ALL

    def __contains__(self, document: Facts) -> bool:
        def values(attribute: str) -> frozenset[str]:
            return document.multiple.get(attribute, frozenset())

        return (
            all(document.single.get(attribute) in wanted for attribute, wanted in self.single)
            and all(values(attribute) & wanted for attribute, wanted in self.any_of)
            and all(values(attribute) and values(attribute) <= wanted for attribute, wanted in self.only)
            and (not self.folders or bool(self.folders & document.folders))
            and (not self.patients or document.patient_key in self.patients)
        )


ALL = Those()


@dataclass(frozen=True, slots=True)
class Clause:
    """Some documents, and whether they are permitted."""

    permit: bool
    those: Those = ALL


Part: TypeAlias = tuple[Clause, ...]

SMALL = 100
"""Clauses of a filter of which it is remembered what was made; one of very many patients is made anew."""


@dataclass(frozen=True, slots=True)
class Visible:
    """A filter; without parts everything passes."""

    parts: tuple[Part, ...] = ()
    _hash: int = field(init=False, compare=False, repr=False)  # each request asks for it, and it never changes

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.parts))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def by(cls, *parts: Part) -> Visible:
        """The filter of parts, shortened: what follows a clause for all, and parts that permit all, say nothing."""
        kept = dict.fromkeys(_shortened(part) for part in parts)
        kept.pop((Clause(permit=True),), None)
        return NOTHING if () in kept else cls(tuple(kept))

    @property
    def everything(self) -> bool:
        return not self.parts

    @property
    def nothing(self) -> bool:
        """Whether no document can pass."""
        return () in self.parts

    def __and__(self, other: Visible) -> Visible:
        return (_both if self.size + other.size <= SMALL else _both.__wrapped__)(self, other)

    @property
    def size(self) -> int:
        """How many clauses it has."""
        return sum(map(len, self.parts))

    def about(self, patient_keys: Collection[int]) -> Visible:
        """The same filter of documents of one patient, who is kept under these keys: it asks of patients no more."""
        keys = frozenset(patient_keys)
        return Visible.by(*(_about(part, keys) for part in self.parts))

    def shows(self, document: Facts) -> bool:
        """Whether a document passes."""
        return all(_permits(part, document) for part in self.parts)


@lru_cache(4000)
def _both(one: Visible, other: Visible) -> Visible:
    return Visible.by(*one.parts, *other.parts)


def _permits(part: Part, document: Facts) -> bool:
    return next((clause.permit for clause in part if document in clause.those), False)


def _about(part: Part, keys: frozenset[int]) -> Part:
    return tuple(
        replace(clause, those=replace(clause.those, patients=frozenset()))
        for clause in part
        if not clause.those.patients or keys & clause.those.patients
    )


def _shortened(part: Part) -> Part:
    """The clauses up to the first for all; without those at the end that deny what is denied anyhow."""
    kept = list[Clause]()
    for clause in part:
        kept.append(clause)
        if clause.those.every:
            break
    while kept and not kept[-1].permit:
        kept.pop()
    if all(clause.permit for clause in kept) and kept and kept[-1].those.every:
        return (Clause(permit=True),)
    return tuple(kept)


EVERYTHING, NOTHING = Visible(), Visible(((),))


class Consents(Protocol):
    """What patients withhold from who asks; asked for the patients that are read."""

    def of(self, connection: Any, patient_keys: Sequence[int] | None) -> Visible:
        """What the patients who are kept under these keys leave; None: all of the domain."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """What of the registry somebody may see, as the policy and each patient has it; and what they may change."""

    see: Visible = EVERYTHING
    change: Visible = EVERYTHING
    consents: Consents | None = None
    tells: bool = False  # that something is withheld, where it is

    @property
    def everything(self) -> bool:
        """Whether nothing is withheld from reading."""
        return self.see.everything and self.consents is None

    def of(self, connection: Any, patient_keys: Sequence[int] | None) -> Visible:
        """What may be seen of the patients who are kept under these keys; None: of all of the domain."""
        return self.see if self.consents is None else self.see & self.consents.of(connection, patient_keys)


FULL = Access()
