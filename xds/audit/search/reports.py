"""An auditor's questions, answered from records: who saw a patient, what somebody saw, what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from xds.audit.messages.codes import DESTINATION, EVENT_TYPES, OVERRIDE, TRANSACTIONS, Outcome
from xds.audit.messages.message import ActiveParticipant, AuditMessage, NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.messages.people import called, is_person, organisation_of
from xds.store.audit.records import Recorded
from xds.wire.addressing import ANONYMOUS

OVERRIDDEN = "Emergency override"


@dataclass(slots=True)
class Line:
    """One line of a report: records that belong together, newest first.  Times in microseconds since 1970, UTC."""

    key: str
    beside: str = ""  # an organisation or address
    is_person: bool = False
    count: int = 0
    failed: int = 0
    first: int = 0
    last: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    purposes: dict[str, int] = field(default_factory=dict)
    newest: int = 0  # the record's id
    times: list[int] = field(default_factory=list)

    def add(self, record: Recorded, message: AuditMessage) -> None:
        self.count += 1
        self.failed += record.outcome > 0
        self.newest = self.newest if self.last >= record.recorded else record.id
        self.first = min(self.first or record.recorded, record.recorded)
        self.last = max(self.last, record.recorded)
        self.times.append(record.recorded)
        kind = what(message)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        for purpose in message.event.purposes_of_use:
            self.purposes[purpose.text] = self.purposes.get(purpose.text, 0) + 1

    def as_json(self) -> dict[str, Any]:
        return {
            "who" if self.is_person else "what": self.key, "at": self.beside, "records": self.count,
            "failed": self.failed, "kinds": self.kinds, "purposes": self.purposes,
        }  # fmt: skip


Keys = Callable[[Recorded, AuditMessage], Iterable[tuple[str, str, bool]]]


def who_saw(records: Iterable[Recorded]) -> list[Line]:
    """Who did something with a patient's data: people, and machines where no person is known."""
    return _grouped(records, lambda _, message: actors(message))


def what_was_seen(records: Iterable[Recorded]) -> list[Line]:
    """Whose data somebody did something with; what names no patient stands under an empty key."""

    def patients(record: Recorded, message: AuditMessage) -> Iterator[tuple[str, str, bool]]:
        for patient in message.patients or [record.patient_id]:
            yield patient, "", False

    return _grouped(records, patients)


def failures(records: Iterable[Recorded]) -> list[Line]:
    """What failed, by its reason and by whom."""

    def reasons(record: Recorded, message: AuditMessage) -> Iterator[tuple[str, str, bool]]:
        why = message.event.outcome_description or Outcome(record.outcome).name.replace("_", " ").lower()
        who = next(actors(message), ("", "", False))[0]
        yield f"{what(message)}: {why}", who, False

    return _grouped((one for one in records if one.outcome > 0), reasons)


def overrides(records: Iterable[Recorded]) -> list[Line]:
    """Emergency overrides, by who made them."""
    return _grouped(records, lambda _, message: actors(message) if what(message) == OVERRIDDEN else ())


def _grouped(records: Iterable[Recorded], keys: Keys) -> list[Line]:
    """The most records first."""
    lines: dict[tuple[str, str], Line] = {}
    for record in records:
        try:
            message = read(record.message)
        except NotAuditMessage:
            continue
        for key, beside, person in dict.fromkeys(keys(record, message)):
            line = lines.setdefault((key, beside), Line(key, beside, person))
            line.add(record, message)
    return sorted(lines.values(), key=lambda line: (-line.count, line.key))


def actors(message: AuditMessage) -> Iterator[tuple[str, str, bool]]:
    """Who did it, where they belong, and whether they are people: those who asked, else the machine that did."""
    people = [one for one in message.participants if is_person(one)]
    if not people:
        machine = _machine(message)
        if machine is not None:
            yield _machine_name(machine), message.source.source_id, False
        return
    organisation = organisation_of(message)
    for person in people:
        name = called(person)
        more = f" ({person.user_id})" if person.user_id != name else ""
        yield f"{name}{more}", organisation, True


def _machine(message: AuditMessage) -> ActiveParticipant | None:
    """The machine that asked; of a retrieval, who got the data."""
    asked = next((one for one in message.participants if one.user_is_requestor), None)
    got = next((one for one in message.participants if DESTINATION in one.role_ids), None)
    return asked or got or next(iter(message.participants), None)


def _machine_name(machine: ActiveParticipant) -> str:
    named = machine.user_name or ("" if machine.user_id == ANONYMOUS else machine.user_id)
    return named or machine.network_access_point_id or "not named"


def what(message: AuditMessage) -> str:
    """What was done: a transaction by its number and title, another event by its type or name."""
    code = next(iter(message.event.type_codes), None)
    if code is None:
        return message.event.event_id.text
    if code.code == OVERRIDE.code:
        return OVERRIDDEN
    if code.code in TRANSACTIONS:
        return f"{code.code} {TRANSACTIONS[code.code].title}"
    return EVENT_TYPES[code.code].text if code.code in EVENT_TYPES else code.text or code.code


class Report(NamedTuple):
    """A report: what it is called, what it needs to be told, and how it is made of which records."""

    title: str
    lead: str
    needs: str  # the kind of value that records are found by; empty: none
    heads: tuple[str, str]
    make: Callable[[Iterable[Recorded]], list[Line]]
    event: str = ""
    failed: bool = False


REPORTS = {
    "patient": Report(
        "Who saw this patient", "Everybody who asked for, fetched or changed something of a patient.", "patient",
        ("Who", "Where"), who_saw,
    ),
    "person": Report(
        "What did this person see", "Every patient whose data a person or system had to do with.", "user",
        ("Patient", ""), what_was_seen,
    ),
    "failures": Report(
        "What went wrong", "Everything that failed or was refused, by its reason.", "", ("What", "By"),
        failures, failed=True,
    ),
    "overrides": Report(
        "Emergency overrides", "Who went past what a patient has consented to, in an emergency.", "", ("Who", "Where"),
        overrides, event="110113",
    ),
}  # fmt: skip
