"""An audit record in plain words, for an auditor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from lxml import etree
from pydicom.uid import UID

from xds.audit.messages.codes import DESTINATION, EVENT_TYPES, SOURCE, TRANSACTIONS, Coded, ObjectRole, Outcome
from xds.audit.messages.message import ActiveParticipant, AuditMessage, NotAuditMessage, ParticipantObject
from xds.audit.messages.message_xml import read
from xds.audit.messages.people import called, is_person
from xds.wire.addressing import ANONYMOUS
from xds.wire.syslog import content
from xds.wire.xml import NotXml, parse

UNREADABLE = "The record is not readable as an audit message."


def summary(data: bytes) -> dict[str, str]:
    """What a list shows of a record; empty where the message does not say."""
    try:
        message = read(data)
    except NotAuditMessage:
        return {"event": "unreadable"}
    event, parties = message.event, message.participants
    patients = message.patients
    return {
        "time": event.date_time.isoformat(timespec="milliseconds"),
        "event": event.event_id.text,
        "transaction": event.type_codes[0].code if event.type_codes else "",
        "outcome": str(int(event.outcome)),
        "why": event.outcome_description,
        "person": _list(called(p) for p in parties if is_person(p)),
        "source": _machine(parties[0]) if parties else "",
        "destination": _machine(parties[1]) if len(parties) > 1 else "",
        "patient": patients[0] if patients else "",
    }


def meaning(code: str) -> str:
    """A transaction's number, or what the code of another kind of event means."""
    return EVENT_TYPES[code].text if code in EVENT_TYPES else code


def visible(text: str) -> str:
    """Text with what nobody sees made seen: ``[U+202E]`` for what turns the direction, and any control character."""
    return "".join(c if c.isprintable() or c == "\n" else f"[U+{ord(c):04X}]" for c in text)


def one_line(text: str) -> str:
    """The same in one line, whatever it holds."""
    return visible(text).replace("\n", "[U+000A]")


def _machine(participant: ActiveParticipant) -> str:
    """What a system calls itself; its address where it says no more than that the reply goes back to it."""
    return participant.network_access_point_id if participant.user_id == ANONYMOUS else participant.user_id


def indented(data: bytes) -> str:
    """The message as XML a person can read; as it is, where it is no XML."""
    try:
        root = parse(content(data), most=None)
    except NotXml:
        return data.decode("utf-8", "replace")
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


# What other events mean, where no transaction says it: DICOM PS3.15: A.5.3.
_EVENTS = {
    "110100": "the application {who} reported: {type}",
    "110101": "the audit log was read by {who}",
    "110102": "{who} began to send images",
    "110103": "{who} accessed images",
    "110104": "{who} sent images",
    "110105": "{who} deleted a study",
    "110106": "{who} gave out patient data",
    "110107": "{who} took in patient data",
    "110108": "{who} joined or left the network",
    "110109": "{who} worked on an order",
    "110110": "{who} worked on a patient's record",
    "110111": "{who} worked on a procedure's record",
    "110112": "{who} made a query",
    "110113": "a security alert was raised by {who}: {type}",
    "110114": "a user authentication by {who}: {type}",
}
_OUTCOMES = {
    Outcome.SUCCESS: "It succeeded.",
    Outcome.MINOR_FAILURE: "It was refused or failed in part",
    Outcome.SERIOUS_FAILURE: "It failed",
    Outcome.MAJOR_FAILURE: "It failed and made something unusable",
}
_MOST_OBJECTS = 5


def words(data: bytes, origin: str = "") -> str:
    """The record in one paragraph of English; control characters in its values are shown as such.

    ``origin`` is where it came from: what it says is then another node's word.
    """
    came = f" Another node has sent it: {origin}. What it says is that node's word." if origin else ""
    try:
        message = read(data)
    except NotAuditMessage:
        return one_line(UNREADABLE + came)
    event = message.event
    said = [f"At {event.date_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC {_what(message)}."]
    people = [p for p in message.participants if is_person(p)]
    if people:
        said.append(f"It was asked for by {_list(map(_person, people))}.")
    if event.purposes_of_use:
        said.append(f"The purpose was {_list(c.text or c.code for c in event.purposes_of_use)}.")
    patients = message.patients
    if patients:
        said.append(f"The patient is {_list(patients)}." if len(patients) == 1 else f"Patients: {_list(patients)}.")
    others = [_thing(o) for o in message.objects if o.role is not ObjectRole.PATIENT]
    if others:
        said.append(f"It was about {_list(others)}.")
    why = f": {event.outcome_description}." if event.outcome_description else "."
    said.append(_OUTCOMES[event.outcome] if event.outcome is Outcome.SUCCESS else _OUTCOMES[event.outcome] + why)
    said.append(f"Recorded by {message.source.source_id or 'a node that is not named'}.")
    return one_line(" ".join(said) + came)


def _what(message: AuditMessage) -> str:
    code = next((c for c in message.event.type_codes if c.code in TRANSACTIONS), None)
    if code is None:
        kind = message.event.type_codes[0].text if message.event.type_codes else "no more is said"
        words = _EVENTS.get(message.event.event_id.code, "{who} reported: {type}")
        return words.format(who=_who(message.participants), type=kind)
    words_ = TRANSACTIONS[code.code]
    source, destination = (_in_role(message, role) for role in (SOURCE, DESTINATION))
    return (
        f"the {words_.source}{_at(source)} {words_.did} the {words_.destination}{_at(destination)} "
        f"({code.code}, {words_.title})"
    )


def _in_role(message: AuditMessage, role: Coded) -> ActiveParticipant | None:
    """Some senders put the role's text alone, as the tables of ITI TF-2 print it."""
    short = role.text.split()[0].lower()
    for participant in message.participants:
        if any(c.code == role.code or c.text.lower() == short for c in participant.role_ids):
            return participant
    return None


def _at(participant: ActiveParticipant | None) -> str:
    if participant is None:
        return ""
    return f" at {participant.network_access_point_id or participant.user_id or 'an address not said'}"


def _who(participants: Iterable[ActiveParticipant]) -> str:
    return _list(f"{p.user_name or p.user_id or 'somebody'}{_at(p)}" for p in participants)


def _person(participant: ActiveParticipant) -> str:
    """``Dr. Anna Meier (anna.meier, Radiologist)``."""
    roles = [code.text or code.code for code in participant.role_ids]
    known = called(participant)
    more = ", ".join(dict.fromkeys([*([participant.user_id] if participant.user_id != known else []), *roles]))
    return f"{known} ({more})" if more else known


def _thing(item: ParticipantObject) -> str:
    kind = "query" if item.role is ObjectRole.QUERY else item.id_type.text or item.id_type.code or "object"
    details = [f"{d.type} {d.text}" for d in item.details if d.type != "QueryEncoding"]
    classes = item.description.sop_classes if item.description else ()
    details = [*(f"{one.number_of_instances} {UID(one.uid).name}" for one in classes), *details]
    said = f" ({_list(details)})" if details else ""
    return f"{kind} {item.id}{f', {item.name}' if item.name and item.name != item.id else ''}{said}"


def _list(items: Iterable[str]) -> str:
    """``a, b and 3 more``."""
    found = list(items)
    if not found:
        return ""
    shown, more = found[:_MOST_OBJECTS], len(found) - _MOST_OBJECTS
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
