"""The way to a decision, for people: each rule and what of it is not so, what the patient wants, what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from xds.access.consent import Asking, Directive, filter_of
from xds.access.decisions import Effect, Question, decide, documents, unmet
from xds.access.gate import Gate
from xds.access.peers import Peer
from xds.audit.messages.people import Person
from xds.errors import CannotMatch, Unusable
from xds.metadata.identifiers import PatientId
from xds.metadata.visible import ALL, Access, Visible
from xds.store import consents
from xds.store.engine import reading
from xds.store.registry.sql_reader import SqlReader


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be explained; ``patient`` is a CX, ``document`` a uniqueId, either may be empty."""

    peer: Peer
    transaction: str
    domain: str
    person: Person | None = None
    override: bool = False
    patient: str = ""
    document: str = ""


def explained(gate: Gate, engine: sa.Engine, asked: Asked, by_default: bool) -> tuple[list[str], str]:
    """The lines of the way, and the answer.

    Raises:
        CannotMatch: patient or document are unknown.
        Unusable: the patient id is malformed.
    """
    today = gate.today()
    question = Question(asked.peer, asked.transaction, asked.domain, asked.person, override=asked.override, today=today)
    decision = decide(gate.policy, question)
    lines = _rules(gate, question)
    visible = decision.visible
    with reading(engine) as connection:
        reader = SqlReader(connection, asked.domain)
        keys = _keys(reader, asked)
        if keys:
            asking = Asking.by(asked.peer, asked.person, today)
            kept = consents.held(connection, keys)
            said = [Directive.of(one.text) for one in kept]
            lines += [_directive(one.id, directive, asking) for one, directive in zip(kept, said, strict=True)]
            broken = keys if asked.override else ()
            visible &= filter_of({tuple(keys): said}, asking, by_default=by_default, broken=broken)
        shown = _shown(reader, visible, asked.document)
    if decision.effect is Effect.DENY:
        return lines, f"denied by {decision.rule}"
    if asked.document:
        return lines, "the document is shown" if shown else "the document is withheld: as one that is not there"
    return lines, f"{'permitted' if visible.everything else 'permitted what passes'} by {decision.rule}"


def _rules(gate: Gate, question: Question) -> list[str]:
    lines = []
    for rule in gate.policy.rules:
        missing = list(unmet(rule, question))
        about = list(documents(rule, gate.policy, question.peer))
        if missing:
            lines.append(f"- {rule.name}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not so")
        elif ALL in about:
            lines.append(f"* {rule.name}: {'permits' if rule.permit else 'denies'} all that is left")
            break
        else:
            what = "some documents" if about else "nothing: the peer has no source or repository of its own"
            lines.append(f"* {rule.name}: {'permits' if rule.permit else 'denies'} {what}")
    return lines


def _keys(reader: SqlReader, asked: Asked) -> list[int]:
    if asked.patient:
        try:
            keys = list(reader.chain(PatientId.parse(asked.patient)))
        except ValueError as problem:
            raise Unusable(f"the patient id is {problem}") from None
        if not keys:
            raise CannotMatch("there is no such patient in this affinity domain")
        return keys
    if asked.document:
        found = reader.documents_by_unique_id([asked.document])
        if not found:
            raise CannotMatch("there is no such document in this affinity domain")
        return sorted({one.patient_key for one in found})
    return []


def _directive(id_: str, directive: Directive, asking: Asking) -> str:
    says = "allows" if directive.permit else "withholds"
    if not directive.holds(asking.today):
        return f"- directive {id_}: {says}, and is not in force"
    return f"* directive {id_}: {says}" if directive.concerns(asking) else f"- directive {id_}: is about somebody else"


def _shown(reader: SqlReader, visible: Visible, document: str) -> bool:
    if not document:
        return False
    seen = SqlReader(reader.connection, reader.domain, whole=False, seen=Access(visible))
    return bool(seen.documents_by_unique_id([document]))
