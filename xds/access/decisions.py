"""May they: one pure function of who asks, for whom, for what, and of the policy; its answer is a filter and a rule.

The answer is permit, permit what passes a filter, or deny.  Whoever asks it applies the filter to everything that they
read, so that what is withheld cannot be told from what does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

from xds.access.peers import Peer
from xds.access.policy import ANYBODY, Policy, Rule
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.visible import ALL, NOTHING, Clause, Part, Those, Visible
from xds.settings.access import ANY, PeerEntry


class Effect(StrEnum):
    """What a decision says."""

    PERMIT = "permit"
    FILTER = "permit what passes"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: ``transaction`` by its number, of an affinity domain, of one patient or several or all."""

    peer: Peer
    transaction: str
    domain: str
    person: Person | None = None
    every_patient: bool = False
    override: bool = False
    today: date = date.max

    @classmethod
    def by(cls, peer: Peer, transaction: str, domain: str, person: Person | None, **more: Any) -> Question:
        """With what rules ask of a person and nothing else: each assertion is another, who brings it is the same."""
        if person is not None:
            person = Person(
                person.id, person.name, roles=person.roles, organisations=person.organisations,
                organisation_ids=person.organisation_ids, purposes=person.purposes,
            )  # fmt: skip
        return cls(peer, transaction, domain, person, **more)

    def of(self, transaction: str) -> Question:
        """The same question of another transaction."""
        return replace(self, transaction=transaction)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: ``rule`` decided, the first that permits anything or else the one that denies; ``part`` filters."""

    effect: Effect
    rule: str
    part: Part = ()
    visible: Visible = NOTHING  # the filter that the part is


def decide(policy: Policy, question: Question) -> Decision:
    """What the policy says to a request, whoever it may be about."""
    if not question.peer.takes_part_in(question.domain):
        return Decision(Effect.DENY, "the peer takes no part in this affinity domain")
    clauses, permitting, denying = list[Clause](), "", ""
    for rule in policy.rules:
        if not fits(rule, question):
            continue
        found = list(documents(rule, policy, question.peer))
        clauses += [Clause(rule.permit, those) for those in found]
        if rule.permit and found:
            permitting = permitting or rule.name
        if ALL in found:
            denying = "" if rule.permit else rule.name
            break
    visible = Visible.by(tuple(clauses))
    if visible.nothing or not permitting:
        return Decision(Effect.DENY, denying or policy.rules[-1].name)
    effect = Effect.PERMIT if visible.everything else Effect.FILTER
    return Decision(effect, permitting, tuple(clauses), visible)


def checked(policy: Policy) -> Policy:
    """A policy that leaves somebody who can put things right.

    Raises:
        Unusable: no Document Administrator may change metadata.
    """
    administrator = Peer("administrator", PeerEntry(roles=("document-administrator",)))
    if any(decide(policy, Question(administrator, one, "")).effect is Effect.DENY for one in ("ITI-57", "ITI-62")):
        raise Unusable(
            "the policy leaves no administrator: a peer of role document-administrator may not use ITI-57, 62"
        )
    return policy


def fits(rule: Rule, question: Question) -> bool:
    """Whether what a rule says of requests is so."""
    return not any(unmet(rule, question))


def unmet(rule: Rule, question: Question) -> Iterator[str]:
    """What a rule says of requests that is not so, by its key."""
    peer, person = question.peer, question.person
    asked: tuple[tuple[str, frozenset[str], Iterable[str]], ...] = (
        ("peers", rule.peers, (peer.name,)),
        ("organisations", rule.organisations, peer.organisations),
        ("peer_roles", rule.peer_roles, peer.roles),
        ("persons", rule.persons, names_of(person)),
        ("person_organisations", rule.person_organisations, organisations_of(person)),
        ("person_roles", rule.person_roles, roles_of(person)),
        ("purposes", rule.purposes, purposes_of(person)),
        ("transactions", rule.transactions, (question.transaction,)),
        ("domains", rule.domains, (question.domain,)),
    )
    for key, wanted, found in asked:
        present = {one for one in found if one}
        if wanted and not (wanted & present or (ANYBODY in wanted and present)):
            yield key
    for key, expected, is_so in (
        ("every_patient", rule.every_patient, question.every_patient), ("override", rule.override, question.override),
    ):  # fmt: skip
        if expected is not None and expected is not is_so:
            yield key
    if rule.from_ is not None and question.today < rule.from_:
        yield "from"
    if rule.until is not None and question.today > rule.until:
        yield "until"


def documents(rule: Rule, policy: Policy, peer: Peer) -> Iterator[Those]:
    """The documents that a rule is about: any of these."""
    only = [policy.up_to(rule.confidentiality)] if rule.confidentiality else []
    single = (
        ("class_code", rule.class_codes), ("type_code", rule.type_codes), ("format_code", rule.format_codes),
        ("repository_unique_id", rule.repositories),
    )  # fmt: skip
    several = (
        ("confidentialityCode", rule.confidentiality_codes), ("authorInstitution", rule.author_organisations),
    )  # fmt: skip
    those = Those(
        single=tuple((name, values) for name, values in single if values),
        any_of=tuple((name, values) for name, values in several if values),
        only=tuple(("confidentialityCode", codes) for codes in only),
    )
    if not rule.own:
        yield those
        return
    sources, repositories = frozenset(peer.entry.source_ids), frozenset(peer.entry.repository_ids)
    if ANY in sources | repositories:
        yield those
        return
    if sources:
        yield replace(those, any_of=(*those.any_of, ("sourceId", sources)))
    if repositories:
        yield replace(those, single=(*those.single, ("repository_unique_id", repositories)))


def roles_of(person: Person | None) -> set[str]:
    """The codes of a person's roles, by themselves and with their systems."""
    return (
        set() if person is None else {text for one in person.roles for text in (one.code, f"{one.code}^^{one.system}")}
    )


def purposes_of(person: Person | None) -> set[str]:
    """The codes of a person's purposes, likewise."""
    if person is None:
        return set()
    return {text for one in person.purposes for text in (one.code, f"{one.code}^^{one.system}")}


def names_of(person: Person | None) -> set[str]:
    return set() if person is None else {person.id, person.user} - {""}


def organisations_of(person: Person | None) -> set[str]:
    if person is None:
        return set()
    return {*person.organisations, *(one.removeprefix("urn:oid:") for one in person.organisation_ids)}
