"""Watches over people's accesses: what is out of the ordinary is put on a list, for an auditor to decide on.

A reason is a hint and no verdict: a namesake is often a stranger, and somebody works at night.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from xds.audit.messages.message import AuditMessage
from xds.audit.messages.people import called, identity, is_person, organisation_of
from xds.errors import Unusable
from xds.settings.access import Review
from xds.store.audit import records as store
from xds.store.audit import review
from xds.store.audit.review import DAY, Access, Busy, Unusual

REASONS = {
    "own record": "The person has the patient's name.",
    "same surname": "The person has the patient's surname.",
    "vip": "Every access to this patient is looked at.",
    "override": "Done as an emergency override.",
    "after hours": "Outside the hours in which people work here.",
    "many patients": "Far more patients than others of the same role on that day.",
}
PEERS = "peers"
"""The name of who compares people with their peers, among those who go through the records: its position is a day."""

LEAST_PEERS = 3
"""Others of a role, without whom nobody is compared."""

PERSONS = 20
"""People of one record whose accesses are watched."""

DAYS = 31
"""That are compared at the most, after a long standstill."""

_REMEMBERED = 20_000
_NOT_ACCESS = ("110101", "110114")  # the log itself, and signing in


def accesses(record: store.Recorded, message: AuditMessage, patients: Sequence[str]) -> Iterator[Access]:
    """A record's accesses: each person to each patient."""
    if record.event in _NOT_ACCESS:
        return
    organisation = organisation_of(message)
    for person in [one for one in message.participants if is_person(one)][:PERSONS]:
        role = person.role_ids[0].text if person.role_ids else ""
        who, name = identity(person), called(person)
        for patient in patients:
            yield Access(record.recorded, record.id, who, name, role, organisation, patient)


class Watcher:
    """One process's.

    Raises:
        Unusable: the hours, or the time zone, are malformed.
    """

    def __init__(self, settings: Review) -> None:
        self._factor, self._least = settings.peer_factor, settings.least_patients
        self._hours = _hours(settings.office_hours)
        try:
            self._zone = ZoneInfo(settings.timezone)
        except (KeyError, ValueError, OSError):
            raise Unusable(f"review.timezone: {settings.timezone} is unknown") from None
        self._names: dict[str, set[str]] = {}

    def judged(
        self, connection: sa.Connection, found: Sequence[Access], alerts: frozenset[int]
    ) -> list[Unusual]:  # fmt: skip
        """What is unusual of accesses; ``alerts`` are the records of emergency overrides."""
        return [
            Unusual(one.recorded // DAY, one.person, one.known_as, one.organisation, one.patient_id, reason, "",
                    one.record_id)
            for one in found for reason in self._reasons(connection, one, override=one.record_id in alerts)
        ]  # fmt: skip

    def _reasons(self, connection: sa.Connection, access: Access, *, override: bool) -> Iterator[str]:
        if override:
            yield "override"
            return  # what was done so is a record of its own, and looked at for itself
        person, names = _words(access.known_as), self._names_of(connection, access.patient_id)
        if _one_within(map(_plain, names), person):
            yield "own record"
        elif _one_within(map(_surname, names), person):
            yield "same surname"
        if review.is_vip(connection, access.patient_id):
            yield "vip"
        if self._is_late(access.recorded):
            yield "after hours"

    def _names_of(self, connection: sa.Connection, patient: str) -> set[str]:
        if patient not in self._names:
            if len(self._names) >= _REMEMBERED:
                self._names.clear()
            self._names[patient] = review.patient_names(connection, patient)
        return self._names[patient]

    def _is_late(self, recorded: int) -> bool:
        if self._hours is None:
            return False
        moment = datetime.fromtimestamp(recorded / 1e6, UTC).astimezone(self._zone)
        begin, end = self._hours
        return moment.weekday() >= 5 or not begin <= moment.time().replace(tzinfo=None) < end

    def compared(self, connection: sa.Connection, now: int) -> bool:
        """Whether people were compared for every day that is over."""
        return store.position(connection, PEERS) == now // DAY

    def compare(self, connection: sa.Connection, now: int) -> None:
        """Compare people with their peers, for each day that is over and was not compared yet."""
        today, last = now // DAY, store.position(connection, PEERS)
        if last == today:
            return
        for day in range(max(last or today, today - DAYS), today):
            review.note(connection, self._far_above(day, review.busy(connection, day)))
        store.move(connection, PEERS, today)

    def _far_above(self, day: int, everybody: Sequence[Busy]) -> Iterator[Unusual]:
        roles: dict[str, list[Busy]] = {}
        for one in everybody:
            roles.setdefault(one.role, []).append(one)
        for peers in roles.values():
            counts = sorted(one.patients for one in peers)
            for one in peers if len(peers) > LEAST_PEERS else ():
                usual = _median_without(counts, one.patients)
                if one.patients > max(self._least, self._factor * usual):
                    detail = f"{one.patients} patients; others of the role {usual:g}"
                    yield Unusual(day, one.person, one.known_as, one.organisation, "", "many patients", detail,
                                  one.record_id)  # fmt: skip


def _median_without(counts: Sequence[int], count: int) -> float:
    """The median of counts in their order, one of them left out."""
    at, half = bisect.bisect_left(counts, count), (len(counts) - 1) // 2

    def nth(n: int) -> int:
        return counts[n if n < at else n + 1]

    return float(nth(half)) if len(counts) % 2 == 0 else (nth(half - 1) + nth(half)) / 2


def _hours(text: str) -> tuple[time, time] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text)
    try:
        if match is None:
            raise ValueError
        return time.fromisoformat(match[1]), time.fromisoformat(match[2])
    except ValueError:
        raise Unusable("review.office_hours is written as 07:00-19:00") from None


def _surname(name: str) -> str:
    """The surname of a PN or XPN."""
    return name.split("^")[0]


def _plain(name: str) -> str:
    """Surname and given name of a PN or XPN; nothing where one is missing."""
    parts = name.split("^")
    return f"{parts[0]} {parts[1]}" if len(parts) > 1 and parts[0] and parts[1] else ""


def _one_within(names: Iterable[str], words: frozenset[str]) -> bool:
    """Whether all words of one of the names are among these."""
    return any(_words(name) and _words(name) <= words for name in names)


def _words(text: str) -> frozenset[str]:
    """The words of a name, without regard to case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return frozenset(re.findall(r"[^\W\d_]{2,}", plain.casefold()))
