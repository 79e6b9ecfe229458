"""What patients want: directives, and what they withhold from somebody who asks.

A directive allows or withholds: all of a patient, or single documents, studies, folders, or kinds of document; for
everybody, or organisations, people, roles, purposes.  What is withheld stays so unless another directive allows it that
is at least as particular in both: whom it names (a person, an organisation, a role or purpose, everybody), and what
(documents, kinds, all).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from functools import lru_cache
from typing import Any

from xds.access.decisions import names_of, organisations_of, purposes_of, roles_of
from xds.access.peers import Peer
from xds.access.studies import references
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.visible import ALL, Clause, Part, Those, Visible

MOST_VALUES = 500
"""Documents, organisations and so on that one directive names."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive.  Dates are days of the site's, both included; documents and folders are named by uniqueId."""

    permit: bool
    # What it is about; with nothing said, all of the patient.
    documents: frozenset[str] = frozenset()
    studies: frozenset[str] = frozenset()  # Study Instance UIDs
    folders: frozenset[str] = frozenset()
    class_codes: frozenset[str] = frozenset()  # code^^scheme, as all codes
    confidentiality_codes: frozenset[str] = frozenset()
    author_organisations: frozenset[str] = frozenset()  # name, or OID
    # Whom; with nothing said, everybody.
    organisations: frozenset[str] = frozenset()  # name, or OID
    persons: frozenset[str] = frozenset()  # id, or user@issuer
    roles: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    from_: str = ""  # YYYY-MM-DD
    until: str = ""
    overridable: bool = True  # whether breaking the glass opens it
    source: str = ""  # uniqueId of the document that said it; empty: it was set by hand
    withdrawn: bool = False

    def __post_init__(self) -> None:
        for day in (self.from_, self.until):
            if day and date.fromisoformat(day).isoformat() != day:
                raise ValueError("a date is written YYYY-MM-DD")
        if self.from_ and self.until and self.until < self.from_:
            raise ValueError("it ends before it begins")
        if any(len(getattr(self, one)) > MOST_VALUES for one in _LISTS):
            raise ValueError(f"at most {MOST_VALUES} of a kind are named")

    @property
    def whom(self) -> int:
        """How particular it is in whom it names."""
        return 3 if self.persons else 2 if self.organisations else 1 if self.roles or self.purposes else 0

    @property
    def what(self) -> int:
        """How particular it is in what it is about."""
        if self.documents or self.studies or self.folders:
            return 2
        return 1 if self.class_codes or self.confidentiality_codes or self.author_organisations else 0

    def holds(self, today: date) -> bool:
        """Whether it is in force."""
        day = today.isoformat()
        return not self.withdrawn and (not self.from_ or self.from_ <= day) and (not self.until or day <= self.until)

    def concerns(self, asking: Asking) -> bool:
        """Whether it names who asks."""
        return all(
            not wanted or bool(wanted & found)
            for wanted, found in (
                (self.organisations, asking.organisations), (self.persons, asking.names),
                (self.roles, asking.roles), (self.purposes, asking.purposes),
            )
        )  # fmt: skip

    def those(self, patients: frozenset[int]) -> list[Those]:
        """The documents that it is about, of these patients: any of these."""
        kinds = [
            Those(any_of=((attribute, values),))
            for attribute, values in (("confidentialityCode", self.confidentiality_codes),
                                      ("authorInstitution", self.author_organisations))
            if values
        ]  # fmt: skip
        found = [Those(single=(("unique_id", self.documents),))] if self.documents else []
        if self.studies:
            keys = frozenset(key for uid in self.studies for key in references(uid))
            found.append(Those(any_of=(("referenceIdList", keys),)))
        found += [Those(folders=self.folders)] if self.folders else []
        found += [Those(single=(("class_code", self.class_codes),))] if self.class_codes else []
        return [replace(one, patients=patients) for one in (*found, *kinds) or (ALL,)]

    def text(self) -> str:
        """As it is kept: JSON, without what is not said."""
        said = {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(self).items()}
        return json.dumps({key: value for key, value in said.items() if value != [] and value != ""}, sort_keys=True)

    @classmethod
    @lru_cache(10_000)
    def of(cls, text: str) -> Directive:
        """From what is kept, or somebody has written.

        Raises:
            Unusable: it is no directive; the message says why.
        """
        try:
            said = json.loads(text)
            known = {f.name for f in fields(cls)}
            if not isinstance(said, dict) or not said.keys() <= known or "permit" not in said:
                raise ValueError(f"a directive has permit, and any of {', '.join(sorted(known - {'permit'}))}")
            given: dict[str, Any] = {key: frozenset(one) if key in _LISTS else one for key, one in said.items()}
            return cls(**given)
        except (ValueError, TypeError) as problem:
            raise Unusable(f"the directive: {problem}") from None

    def contradicts(self, other: Directive) -> bool:
        """Whether it says the opposite of another, of the same documents and people, at the same time."""
        same = all(getattr(self, name) == getattr(other, name) for name in _LISTS)
        meet = (not self.until or not other.from_ or other.from_ <= self.until) and (
            not other.until or not self.from_ or self.from_ <= other.until
        )
        return same and meet and self.permit is not other.permit and not (self.withdrawn or other.withdrawn)


_LISTS = tuple(f.name for f in fields(Directive) if f.type == "frozenset[str]")


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, as directives name them."""

    organisations: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    today: date = field(default=date.max)

    @classmethod
    def by(cls, peer: Peer, person: Person | None, today: date) -> Asking:
        """A person, who acts for the organisation that their assertion names or else their system's."""
        if person is None:
            return cls(peer.organisations, today=today)
        return cls(
            frozenset(organisations_of(person) - {""}) | peer.organisations, frozenset(names_of(person)),
            frozenset(roles_of(person)), frozenset(purposes_of(person)), today,
        )  # fmt: skip


def withheld(
    directives: Iterable[Directive],
    asking: Asking,
    patients: Collection[int],
    *,
    by_default: bool,
    broken: bool = False,
) -> Iterator[Part]:
    """What the directives of a patient, kept under these keys, leave to who asks: parts of a filter.

    ``by_default``: what nobody has allowed is withheld.  ``broken``: the glass is; what it opens does not hold.
    """
    keys = frozenset(patients)
    mine = [one for one in directives if one.holds(asking.today) and one.concerns(asking)]
    allowing = [one for one in mine if one.permit]
    withholding = [one for one in mine if not one.permit and not (broken and one.overridable)]
    plain = list[Clause]()  # what nothing is excepted from is one part, however many say it
    for one in withholding:
        excepted = [
            other for other in allowing if other.whom >= one.whom and other.what >= one.what and _more(other, one)
        ]
        denied = [Clause(permit=False, those=those) for those in one.those(keys)]
        if excepted:
            allowed = [Clause(permit=True, those=those) for other in excepted for those in other.those(keys)]
            yield (*allowed, *denied, Clause(permit=True))
        else:
            plain += denied
    if plain:
        yield (*_joined(plain), Clause(permit=True))
    if by_default and not broken:
        allowed = [Clause(permit=True, those=those) for other in allowing for those in other.those(keys)]
        yield (*_joined(allowed), Clause(permit=False, those=Those(patients=keys)), Clause(permit=True))


def _more(one: Directive, other: Directive) -> bool:
    return (one.whom, one.what) != (other.whom, other.what)


def _joined(clauses: Sequence[Clause]) -> Iterator[Clause]:
    """Clauses of one effect that ask about one attribute, as one that asks for any of their values."""
    joined: dict[tuple[Any, ...], set[str]] = {}
    rest = dict[Clause, None]()
    for clause in clauses:
        those = clause.those
        asked = [(kind, name, values) for kind in ("single", "any_of") for name, values in getattr(those, kind)]
        if len(asked) == 1 and not (those.only or those.folders):
            kind, name, values = asked[0]
            joined.setdefault((clause.permit, kind, name, those.patients), set()).update(values)
        else:
            rest[clause] = None
    for (permit, kind, name, patients), values in joined.items():
        given: dict[str, Any] = {kind: ((name, frozenset(values)),)}
        yield Clause(permit, Those(patients=patients, **given))
    yield from rest


def filter_of(
    by_patient: Mapping[tuple[int, ...], Sequence[Directive]], asking: Asking, *, by_default: bool,
    broken: Collection[int] = (),
) -> Visible:  # fmt: skip
    """What the directives of several patients leave, each by all keys of theirs; ``broken``: whose glass is."""
    texts = {keys: [one.text() for one in said] for keys, said in by_patient.items()}
    return left_by(texts, asking, by_default=by_default, broken=broken)


def left_by(
    by_patient: Mapping[tuple[int, ...], Sequence[str]], asking: Asking, *, by_default: bool,
    broken: Collection[int] = (),
) -> Visible:  # fmt: skip
    """The same of directives as they are kept; what a patient leaves to somebody is worked out once."""
    left = (
        _left(keys, tuple(texts), asking, by_default, any(key in broken for key in keys))
        for keys, texts in by_patient.items()
    )
    return Visible.by(*(part for visible in left for part in visible.parts))


@lru_cache(4_000)
def _left(patients: tuple[int, ...], texts: tuple[str, ...], asking: Asking, by_default: bool, broken: bool) -> Visible:
    directives = [Directive.of(text) for text in texts]
    return Visible.by(*withheld(directives, asking, patients, by_default=by_default, broken=broken))
