"""Setting what a patient wants: another version each time, and nothing that contradicts what holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import sqlalchemy as sa

from xds.access.consent import Directive
from xds.errors import Unusable
from xds.store import consents
from xds.store.consents import Kept

MOST = 200
"""Directives of one patient that are in force."""


def set_directive(
    connection: sa.Connection, patient_key: int, said: Directive, who: str, id_: str = ""
) -> Kept:  # fmt: skip
    """Keep a directive of a patient, or with ``id_`` another version of one.

    Raises:
        Unusable: there is none of the id, there are too many, or one that is in force says the opposite.
    """
    held = consents.held(connection, [patient_key])
    mine = _mine(held, id_) if id_ else None
    others = [Directive.of(one.text) for one in held if one.id != id_]
    if sum(not other.withdrawn for other in others) >= MOST and not id_:
        raise Unusable(f"a patient has at most {MOST} directives")
    if any(said.contradicts(other) for other in others):
        raise Unusable("a directive that is in force says the opposite of the same; withdraw it first")
    return consents.keep(connection, mine.patient_key if mine else patient_key, said.text(), who, id_)


def withdraw(connection: sa.Connection, patient_key: int, id_: str, who: str) -> Kept:
    """Let a directive hold no more.

    Raises:
        Unusable: there is none of the id.
    """
    mine = _mine(consents.held(connection, [patient_key]), id_)
    said = replace(Directive.of(mine.text), withdrawn=True)
    return consents.keep(connection, mine.patient_key, said.text(), who, id_)


def _mine(held: Iterable[Kept], id_: str) -> Kept:
    mine = next((one for one in held if one.id == id_), None)
    if mine is None:
        raise Unusable(f"there is no directive {id_[:64]} of this patient")
    return mine


# How each part of a directive is said.
_WHAT = {
    "documents": "document", "studies": "study", "folders": "folder", "class_codes": "documents of class",
    "confidentiality_codes": "documents of confidentiality", "author_organisations": "what was written at",
}  # fmt: skip
_WHOM = {"organisations": "organisation", "persons": "person", "roles": "role", "purposes": "purpose"}


def in_words(said: Directive) -> str:
    """A directive as people say it."""
    what = [f"{word} {one}" for name, word in _WHAT.items() for one in sorted(getattr(said, name))]
    whom = [f"{word} {one}" for name, word in _WHOM.items() for one in sorted(getattr(said, name))]
    text = f"{'allows' if said.permit else 'withholds'} {', '.join(what) or 'everything'}"
    text += f" {'to' if said.permit else 'from'} {', '.join(whom) or 'everybody'}"
    text += f", from {said.from_}" if said.from_ else ""
    text += f", until {said.until}" if said.until else ""
    if not said.permit and not said.overridable:
        text += ", in an emergency too"
    return text + (f" (document {said.source})" if said.source else "") + (", withdrawn" if said.withdrawn else "")
