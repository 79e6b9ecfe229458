"""Who patients are, and those whose names and birth date are like what is looked for."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from xds.metadata.demographics import Demographics, PersonName, spellings
from xds.metadata.identifiers import Oid, PatientId
from xds.store.registry import patients
from xds.store.statements import at_once
from xds.store.tables import demographics, patient, patient_word

MOST = 20
"""Candidates that are given; who has more must say more."""

MOST_ALIKE = 200
"""Of one day and name that are looked at."""

WORDS, LEAST_LETTERS = 5, 2
"""Of a search: words that are looked for, and letters of each."""

_END = "\U0010ffff"
"""After every word that begins with what stands before it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patient who may be the one: under which name they go on, and what is known of them."""

    patient_id: PatientId
    demographics: Demographics


def keep(connection: sa.Connection, domain: str, patient_keys: Collection[int], said: Demographics) -> None:
    """What a feed says of a patient takes the place of what was said before; what it does not say stays.

    The patients are locked until the commit, in the order of all: messages about one are kept one after the other.
    """
    if connection.dialect.name != "sqlite":
        at_once(connection, *patients.locking(patient_keys))
    known = of_patients(connection, list(patient_keys))
    for key in sorted(set(patient_keys)):
        _keep(connection, domain, key, said.or_else(known.get(key, Demographics())))


def _keep(connection: sa.Connection, domain: str, patient_key: int, said: Demographics) -> None:
    for table in (demographics, patient_word):
        connection.execute(sa.delete(table).where(table.c.patient_key == patient_key))
    told = json.dumps(said.as_json(), ensure_ascii=False)
    row = {"patient_key": patient_key, "born": said.born, "said": told, "changed": time.time_ns() // 1000}
    connection.execute(sa.insert(demographics), row)
    words = [{"patient_key": patient_key, "word": word, "domain": domain, "born": said.born} for word in said.words()]
    if words:
        connection.execute(sa.insert(patient_word), words)


def of_patients(connection: sa.Connection, patient_keys: Sequence[int]) -> dict[int, Demographics]:
    """What is known of patients, by their keys."""
    known = demographics.c.patient_key.in_(list(patient_keys))
    rows = connection.execute(sa.select(demographics.c.patient_key, demographics.c.said).where(known))
    return {int(row.patient_key): Demographics.of_json(json.loads(row.said)) for row in rows}


def known(connection: sa.Connection, domain: str, patient_id: PatientId) -> Demographics | None:
    """What is known of an active patient, or else of one who was merged into them; None: nobody of the id is active."""
    keys = patients.chain(connection, domain, patient_id)[:MOST_ALIKE]
    known = of_patients(connection, keys) if keys else {}
    return next((known[key] for key in keys if key in known), Demographics()) if keys else None


def alike(
    connection: sa.Connection, domain: str, names: Iterable[PersonName], born: str
) -> tuple[list[Candidate], bool]:  # fmt: skip
    """Patients born on a day who have all words of one of the names; whether there are more than can be looked at.

    Whoever was merged is who they go on as, as for ``find``.
    """
    keys = dict[int, None]()
    for name in names:
        words = list(spellings(f"{name.family} {name.given.partition(' ')[0]}"))[:WORDS]
        if words:
            statement = _finding(domain, words, born, MOST_ALIKE + 1, whole=True)
            keys |= dict.fromkeys(row.patient_key for row in connection.execute(statement))
    return _current(connection, domain, list(keys)[:MOST_ALIKE]), len(keys) > MOST_ALIKE


class TooLittle(ValueError):
    """What is looked for would be found of too many; the message says what lacks."""


def find(connection: sa.Connection, domain: str, name: str, born: str = "") -> tuple[list[Candidate], bool]:
    """Patients of whom each word of ``name`` begins a word of their names; whether there are more.

    ``born``: YYYY[MM[DD]] that their birth date begins with.  Whoever was merged is found as who they go on as, with
    what is known of that one.  Nobody is chosen, and nobody more likely than another: they are in the order of names.

    Raises:
        TooLittle: no word has letters enough.
    """
    words = _words(name)
    if not words:
        raise TooLittle(f"a name of {LEAST_LETTERS} letters at least is needed")
    keys = [row.patient_key for row in connection.execute(_finding(domain, words, born, MOST * 2 + 1))]
    found = _current(connection, domain, keys[: MOST * 2])
    return found[:MOST], len(found) > MOST or len(keys) > MOST * 2


def _words(name: str) -> list[tuple[str, ...]]:
    """What is looked for, each word as it may be written."""
    found = [word for word in spellings(name) if len(word[0]) >= LEAST_LETTERS]
    return list(dict.fromkeys(found))[:WORDS]


def _finding(
    domain: str, words: Sequence[Sequence[str]], born: str, most: int, *, whole: bool = False
) -> sa.Select[Any]:  # fmt: skip
    """The keys: of those who have the first word the ones who have the others, too; ``whole``: no more of each."""
    aliases = [patient_word.alias(f"w{number}") for number in range(len(words))]
    first, *others = aliases
    joined: sa.FromClause = first
    for other in others:
        joined = joined.join(other, other.c.patient_key == first.c.patient_key)
    statement = sa.select(first.c.patient_key).distinct().select_from(joined)
    for alias, word in zip(aliases, words, strict=True):
        begins = (sa.and_(alias.c.word >= one, alias.c.word < one + _END) for one in word)
        met = alias.c.word.in_(list(word)) if whole else sa.or_(*begins)
        statement = statement.where(alias.c.domain == domain, met)
        if born:
            statement = statement.where(alias.c.born >= born, alias.c.born < born + _END)
    return statement.order_by(first.c.patient_key).limit(most)


def _current(connection: sa.Connection, domain: str, keys: Sequence[int]) -> list[Candidate]:
    """Whom patients go on as, each once, in the order of their names."""
    merged = patients.survivors(connection, keys)
    standing = list(dict.fromkeys(merged[key].patient_key if key in merged else key for key in keys))
    known = of_patients(connection, standing)
    named = patient.c.patient_key.in_(standing), patient.c.domain == domain
    rows = connection.execute(sa.select(patient.c.patient_key, patient.c.id, patient.c.authority).where(*named))
    nothing = Demographics()
    found = [Candidate(PatientId(row.id, Oid(row.authority)), known.get(int(row.patient_key), nothing)) for row in rows]
    return sorted(found, key=_by_name)


def _by_name(one: Candidate) -> tuple[str, str]:
    return str(next(iter(one.demographics.names), "")).casefold(), str(one.patient_id)
