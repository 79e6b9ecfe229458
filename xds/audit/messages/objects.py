"""What an event is about, as participant objects; each within bounds, whatever a peer has sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from xds.audit.messages.codes import (
    PATIENT_NUMBER,
    URI,
    Coded,
    ObjectRole,
    ObjectType,
)
from xds.audit.messages.message import (
    Detail,
    ParticipantObject,
)
from xds.system.values import value

DOCUMENT_DETAIL, HOME_DETAIL = "Document Unique ID", "urn:ihe:iti:xca:2010:homeCommunityId"


ARCHIVE_ID = "Patient ID"
"""The detail of a patient that holds what an archive calls them, (0010,0020), beside the affinity domain's id."""

OBJECTS, DETAILS = 500, 5000
"""Of one record; and details of one object."""


LENGTH = 1024
"""Characters of an id, a name or a detail that is kept: no valid one is longer."""


@value(frozen=True, slots=True)
class StudyPatient:
    """Whom a study shows: the affinity domain's id, and the archive's; either may be unknown."""

    id: str = ""
    archive_id: str = ""

    @property
    def known_as(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The id of a record's patient, and details of it."""
        other = self.archive_id if self.id and self.archive_id != self.id else ""
        return self.id or self.archive_id, ((ARCHIVE_ID, other),) if other else ()


def in_parts(item: ParticipantObject) -> Iterator[ParticipantObject]:
    """An object with so many details as a record holds, as often as it needs."""
    for begin in range(0, max(len(item.details), 1), DETAILS):
        yield replace(item, details=item.details[begin : begin + DETAILS])


def decided(notes: Sequence[str]) -> Iterator[ParticipantObject]:
    """What was decided of whether something may be done, where there is something to say of that."""
    if notes:
        details = as_details([("Decision", note) for note in dict.fromkeys(notes)])
        yield thing("urn:xds:policy", URI, ObjectRole.SECURITY_RESOURCE, details=details)


def thing(
    id_: str,
    kind: Coded,
    role: ObjectRole = ObjectRole.REPORT,
    *,
    name: str = "",
    query: bytes | None = None,
    details: tuple[Detail, ...] = (),
) -> ParticipantObject:
    type_ = ObjectType.SYSTEM_OBJECT
    return ParticipantObject(id_[:LENGTH], kind, type_, role, name=name[:LENGTH], query=query, details=details)


def patient_object(patient_id: str, pairs: Iterable[tuple[str, str]]) -> Iterator[ParticipantObject]:
    if patient_id:
        yield ParticipantObject(
            patient_id[:LENGTH], PATIENT_NUMBER, ObjectType.PERSON, ObjectRole.PATIENT, details=as_details(pairs)
        )


def as_details(pairs: Iterable[tuple[str, str]]) -> tuple[Detail, ...]:
    """Values as UTF-8; what no text can hold is replaced, because a record is written whatever a peer has sent."""
    return tuple(Detail(kind, value[:LENGTH].encode("utf-8", "replace")) for kind, value in pairs)


def without(item: ParticipantObject, details: Collection[Detail]) -> ParticipantObject:
    return replace(item, details=tuple(d for d in item.details if d not in details)) if details else item


def quoted(text: str) -> str:
    """The first value of ``'value'`` or ``('value', …)``, quotes in it doubled (ITI TF-2: 3.18.4.1.2.3.4)."""
    found = re.search(r"'((?:[^']|'')*)'", text)
    return found[1].replace("''", "'") if found else text.strip().strip("()").strip()
