"""What a record is searched by, taken from the record itself; beside it, whose the documents and studies are.

A repository's record of ITI-43 and a source's of RAD-69 name no patient (ITI TF-2: 3.43.5.1.2): «who saw this patient»
would miss every retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from xds.audit.messages.codes import (
    IHE_TRANSACTIONS,
    ORGANISATION,
    OVERRIDE,
    REPORT_NUMBER,
    STUDY_INSTANCE_UID,
    SUBMISSION_SET,
    ObjectRole,
)
from xds.audit.messages.message import AuditMessage, NotAuditMessage, ParticipantObject
from xds.audit.messages.message_xml import read
from xds.audit.messages.objects import ARCHIVE_ID
from xds.audit.messages.people import is_person
from xds.audit.search import watching
from xds.audit.search.watching import Watcher
from xds.store.audit import records as store
from xds.store.audit import review, search
from xds.store.audit.records import Recorded
from xds.store.audit.review import Access, Unusual
from xds.store.audit.search import Value, Wanted
from xds.wire.addressing import ANONYMOUS

LENGTH = 512
"""Characters of a value that are kept."""

VALUES = 1000
"""Values of one record."""

WORDS, _AROUND = 8, ".,;:!?()[]{}<>\"'"
"""Words of one name that are kept, and what may stand around them."""

_IDS = {
    (STUDY_INSTANCE_UID.code, STUDY_INSTANCE_UID.system): "study",
    (REPORT_NUMBER.code, REPORT_NUMBER.system): "document",
    (SUBMISSION_SET.code, SUBMISSION_SET.system): "set",
}


_CX = re.compile(r"([^^]*)\^\^\^&([0-9.]+)&ISO\^*")

# In this order values are kept where there are too many: whose data it was, and who did it, before what it was.
_ORDER = ("patient", "user", "organisation", "day", "source", "site", "address", "set", "study", "document")


def folded(kind: str, value: str) -> str:
    """A value as it is kept and looked for: ids as they are, a CX without empty parts, names without regard to case."""
    if kind == "patient" and (cx := _CX.fullmatch(value)):
        value = f"{cx[1]}^^^&{cx[2]}&ISO"
    return (value if kind in ("patient", "study", "document", "set") else value.casefold())[:LENGTH]


def sought(kind: str, value: str) -> list[tuple[str, str]]:
    """What a record must all have for a value to be looked for in it: of names each of their words."""
    return [(kind, one) for one in _parts(kind, value)]


def _parts(kind: str, value: str) -> list[str]:
    """A value as it is kept: of names each of their words, so that people are found by any of them."""
    whole = folded(kind, value)
    if kind not in ("user", "organisation"):
        return [whole]
    words = (word.strip(_AROUND) or word for word in whole.split())
    return list(dict.fromkeys(words))[:WORDS] or [whole]


def by_values(given: Mapping[str, str]) -> Wanted:
    """A search for records that have each of these values, by their kinds."""
    found = tuple(part for kind, value in given.items() for part in sought(kind, value))
    several = (kind for kind, value in given.items() if len(_parts(kind, value)) > 1)
    return Wanted(found, accepted=tuple(of_one(kind, given[kind]) for kind in several))


def of_one(kind: str, value: str) -> Callable[[Recorded], bool]:
    """Whether it is one person or system of a record whose name has all words of a value, and not several together."""
    words = set(_parts(kind, value))

    def has(record: Recorded) -> bool:
        try:
            message = read(record.message)
        except NotAuditMessage:
            return False
        return any(key == kind and words <= set(_parts(kind, text)) for key, text in values(message))

    return has


def filed(message: AuditMessage, *, ours: bool) -> tuple[str, str, int, str]:
    """Kind, transaction, outcome and patient that a message is filed as: of ours only IHE's codes are transactions."""
    event, patients_ = message.event, message.patients
    codes = (one.code for one in event.type_codes if not ours or one.system == IHE_TRANSACTIONS)
    patient = patients_[0][:512] if patients_ else ""
    return event.event_id.code[:16], next(codes, "")[:16], int(event.outcome), patient


def said(message: AuditMessage, recorded: int) -> set[tuple[str, str]]:
    """Kinds and values that a message is found by, as they are kept; also the day of which it is, if it came later."""
    found = {(kind, part) for kind, value in values(message) if value for part in _parts(kind, value)}
    day, came = message.event.date_time.astimezone(UTC).date(), datetime.fromtimestamp(recorded / 1e6, UTC).date()
    return found if day == came else {*found, ("day", day.isoformat())}


def values(message: AuditMessage) -> Iterator[tuple[str, str]]:
    """Kind and value of everything that a message can be found by."""
    for item in message.objects:
        if item.role is ObjectRole.PATIENT:
            yield "patient", item.id
            yield from (("patient", detail.text) for detail in item.details if detail.type == ARCHIVE_ID)
        elif kind := _IDS.get((item.id_type.code, item.id_type.system)):
            yield kind, item.id
    for participant in message.participants:
        kind = "organisation" if ORGANISATION in participant.role_ids else "user"
        yield kind, participant.user_name
        if is_person(participant):
            yield "user", participant.alternative_user_id
        if participant.user_id != ANONYMOUS:
            yield kind, participant.user_id
        yield "address", participant.network_access_point_id
    yield "source", message.source.source_id
    yield "site", message.source.enterprise_site_id
    yield "organisation", message.source.enterprise_site_id


@dataclass(frozen=True, slots=True)
class Indexed:
    """What records are searched by, with the accesses that they tell of, and what is unusual of these."""

    records: Sequence[Recorded]
    values: Sequence[Value]
    accesses: Sequence[Access]
    unusual: Sequence[Unusual]

    def keep(self, connection: sa.Connection) -> None:
        """Write it; to be called once for each record."""
        search.keep_values(connection, self.values)
        search.count_hours(connection, self.records)
        review.keep_accesses(connection, self.accesses)
        review.note(connection, self.unusual)


def indexed(connection: sa.Connection, records: Sequence[Recorded], watcher: Watcher | None = None) -> Indexed:
    """What records are searched by; nothing is written, and nobody who writes waits meanwhile."""
    found, accesses, alerts = list[Value](), list[Access](), set[int]()
    for record in records:
        assert record.id  # noqa: S101  it comes from the table
        try:
            message = read(record.message)
        except NotAuditMessage:
            continue
        kept = _kept(connection, message, record.recorded)
        found += [Value(kind, value, record.id, record.recorded) for kind, value in kept]
        accesses += watching.accesses(record, message, [value for kind, value in kept if kind == "patient"])
        if any(code.code == OVERRIDE.code for code in message.event.type_codes):
            alerts.add(record.id)
    if watcher is None:
        return Indexed(records, found, (), ())
    return Indexed(records, found, accesses, watcher.judged(connection, accesses, frozenset(alerts)))


def terms(connection: sa.Connection, record: Recorded) -> list[int]:
    """What a record is found by, as it is kept."""
    try:
        message = read(record.message)
    except NotAuditMessage:
        return []
    return [search.term(kind, value) for kind, value in _kept(connection, message, record.recorded)]


def _kept(connection: sa.Connection, message: AuditMessage, recorded: int) -> list[tuple[str, str]]:
    """Kinds and values that a message is found by, with whose its documents and studies are."""
    kept = said(message, recorded)
    if not any(kind == "patient" for kind, _ in kept):
        kept |= {("patient", one) for one in _patients(connection, message)}
    return sorted(kept, key=lambda one: (_ORDER.index(one[0]), one[1]))[:VALUES]


def patients(connection: sa.Connection, record: Recorded) -> list[str]:
    """Whom a record is about: as it says, else whose its documents and studies are."""
    try:
        message = read(record.message)
    except NotAuditMessage:
        return []
    return message.patients or sorted(_patients(connection, message))


def _patients(connection: sa.Connection, message: AuditMessage) -> set[str]:
    """Whose the documents and studies of a message are, as far as this node knows."""
    documents, studies = [], []
    for item in message.objects:
        kind = _IDS.get((item.id_type.code, item.id_type.system))
        if kind == "document":
            documents.append((_repository(item), item.id))
        elif kind == "study":
            studies.append(item.id)
    return store.patients_of(connection, documents[:VALUES], studies[:VALUES]) if documents or studies else set()


def _repository(item: ParticipantObject) -> str:
    details = (d.text for d in item.details if d.type.casefold() == "repository unique id")
    return next(details, "").replace("\0", "")  # it was base64, and no database takes one
