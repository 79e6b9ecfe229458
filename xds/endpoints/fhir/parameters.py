"""What a search of ITI-81 asks for, from its parameters.  ITI TF-2: 3.81.4.1.2; FHIR R4: 3.1.1 (search)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import of_one, sought
from xds.metadata.identifiers import PatientId, is_oid
from xds.store.audit.records import Recorded
from xds.store.audit.search import Position, Wanted

PAGE, MOST = 100, 1000
"""Resources in an answer, and the most that may be asked for."""

# Search parameters that are looked up as they are, by what they are kept under.
_VALUES = {
    "address": "address", "agent": "user", "user": "user", "agent-name": "user", "source": "source", "site": "site",
    "patient": "patient", "study": "study", "document": "document",
}  # fmt: skip
_TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?"
_DATE = re.compile(rf"(eq|ge|gt|le|lt)?(\d{{4}})(?:-(\d\d)(?:-(\d\d)(?:T{_TIME})?)?)?")


# And those that are looked at in what was found: DICOM's numbers of a thing, and the other name of who took part.
_LOOKED_AT = ("action", "altid", "entity-role", "entity-type", "type", "subtype")

APPLIED = {
    "action": "token", "address": "string", "agent": "reference", "agent-name": "string", "altid": "token",
    "date": "date", "document": "token", "entity": "reference", "entity-id": "token", "entity-role": "token",
    "entity-type": "token", "outcome": "token", "patient": "reference", "site": "token", "source": "reference",
    "study": "token", "subtype": "token", "type": "token", "user": "token",
}  # fmt: skip
"""Search parameters that are applied, and FHIR's type of each."""

_OF_THE_ANSWER = frozenset({"_count", "_before", "_format"})

# Parameters that FHIR R4 defines for AuditEvent, or for every resource, and that narrow what is found.  Without them a
# search would find what was not asked for, everybody's records where it should be one patient's: it is refused.
_NOT_APPLIED = frozenset({
    "agent-role", "entity-name", "policy", "_id", "_lastUpdated", "_tag", "_profile", "_security", "_text", "_content",
    "_list", "_has", "_type", "_query", "_filter", "_source",
})  # fmt: skip

# A reference is asked for by what identifies the thing: our records have no other names for it.
_BY_IDENTIFIER = frozenset({"agent", "entity", "patient", "source", "user"})


class BadSearch(ValueError):
    """A search that cannot be understood; the message names the parameter and holds none of its values.

    ``code`` is of FHIR's issue types.
    """

    def __init__(self, reason: str, code: str = "invalid") -> None:
        super().__init__(reason)
        self.code = code


def applied(given: Sequence[tuple[str, str]], *, strict: bool = False) -> list[tuple[str, str]]:
    """What is applied of what was given, by the parameters' plain names.

    Others are ignored (FHIR R4: 3.1.1), unless the caller is ``strict``.

    Raises:
        BadSearch: a parameter has a modifier or a chain that is not supported, or is one that would have to narrow
            what is found.
    """
    found = list[tuple[str, str]]()
    for name, value in given:
        base, more = _parts(name)
        if more in (".identifier", ":identifier") and base in _BY_IDENTIFIER:
            more = ""
        if base in _NOT_APPLIED:
            raise BadSearch(f"{base} is not supported", "not-supported")
        if base in APPLIED or base in _OF_THE_ANSWER:
            if more:
                raise BadSearch(f"{base} has a modifier or a chain that is not supported", "not-supported")
            found.append((base, value))
        elif strict:
            raise BadSearch("a parameter is not known, and Prefer is handling=strict", "not-supported")
    return found


def _parts(name: str) -> tuple[str, str]:
    """A parameter's plain name, and the modifier or chain behind it."""
    base = re.split(r"[.:]", name, maxsplit=1)[0]
    return base, name[len(base) :]


def wanted(given: Sequence[tuple[str, str]]) -> tuple[Wanted, int]:
    """What a search asks for by the parameters that are applied, and how many at once.

    Raises:
        BadSearch: ``date`` is missing, or a value is malformed.
    """
    found, most, values = Wanted(), PAGE, list[tuple[str, str]]()
    for name, value in given:
        if name == "date":
            found = _within(found, value)
        elif name in _VALUES:
            kind = _VALUES[name]
            text = _patient(name, value) if kind == "patient" else value.rpartition("|")[2]
            parts = sought(kind, text)
            values += parts
            if len(parts) > 1:
                found = replace(found, accepted=(*found.accepted, of_one(kind, text)))
        elif name in ("entity", "entity-id"):
            values.append(_entity(value))
        elif (
            name in ("type", "subtype")
            and "," not in value
            and value.rpartition("|")[2]  # of nothing there is none
            and not (found.event if name == "type" else found.transaction)
        ):
            code = value.rpartition("|")[2]
            found = replace(found, event=code) if name == "type" else replace(found, transaction=code)
        elif name in _LOOKED_AT:
            found = replace(found, accepted=(*found.accepted, _is(name, value)))
        elif name == "outcome":
            outcomes = tuple(_number(name, one.rpartition("|")[2]) for one in value.split(","))
            if found.outcomes:  # given twice, both must hold
                outcomes = tuple(one for one in found.outcomes if one in outcomes)
                found = replace(found, accepted=found.accepted if outcomes else (*found.accepted, _none))
            found = replace(found, outcomes=outcomes or found.outcomes)
        elif name == "_count":
            most = min(_number(name, value), MOST)
        elif name == "_before":
            found = replace(found, before=_position(name, value))
    if not found.since and not found.until:
        raise BadSearch("date is required (ITI TF-2: 3.81.4.1.2)")
    return replace(found, values=tuple(values)), most


def _none(_record: Recorded) -> bool:
    return False


def _is(name: str, value: str) -> Callable[[Recorded], bool]:
    """Whether a record has one of the values that are given with commas between them, each with its system or not."""
    wanted_ = {one.rpartition("|")[2] for one in value.split(",")}

    def has(record: Recorded) -> bool:
        if name in ("type", "subtype"):
            return (record.event if name == "type" else record.transaction) in wanted_
        try:
            message = read(record.message)
        except NotAuditMessage:
            return False
        action = message.event.action
        said = {
            "action": [action.value if action else ""],
            "altid": [one.alternative_user_id for one in message.participants],
            "entity-role": [str(int(one.role or 0)) for one in message.objects],
            "entity-type": [str(int(one.type_code or 0)) for one in message.objects],
        }[name]
        return not wanted_.isdisjoint(said)

    return has


def _within(found: Wanted, value: str) -> Wanted:
    """Narrowed to a date with its prefix: a date stands for its whole period (FHIR R4: 3.1.1.4.7)."""
    match = _DATE.fullmatch(value)
    if match is None:
        raise BadSearch("date is not of the form [prefix]YYYY-MM-DDThh:mm:ssZ")
    prefix, year, month, day, hour, minute, second, zone = match.groups()
    try:
        text = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
        start = datetime.fromisoformat(text + (zone or "Z").replace("Z", "+00:00"))
        end = _end(start, month, day, hour, second)
        since, until = int(start.timestamp() * 1e6), int(end.timestamp() * 1e6)
    except (ValueError, OverflowError):
        raise BadSearch("date is no date") from None
    if prefix in ("ge", None, "eq"):
        found = replace(found, since=max(found.since, since, 1))
    if prefix == "gt":
        found = replace(found, since=max(found.since, until, 1))
    limit = {"lt": since, "le": until, "eq": until, None: until}.get(prefix)
    if limit is not None:
        found = replace(found, until=min(found.until or limit, limit))
    return found


def _end(start: datetime, month: str | None, day: str | None, hour: str | None, second: str | None) -> datetime:
    """Where the period ends that begins there; no year comes after 9999."""
    last = datetime.max.year
    if start.year == last and (not month or (start.month == 12 and (not day or start.day == 31))):
        return datetime.max.replace(tzinfo=start.tzinfo)
    if second:
        return start + timedelta(seconds=1)
    if hour:
        return start + timedelta(minutes=1)
    if day:
        return start + timedelta(days=1)
    if month:
        return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return start.replace(year=start.year + 1)


def _patient(name: str, value: str) -> str:
    """``urn:oid:AUTHORITY|ID``, or a CX as records have it, as a CX."""
    system, bar, id_ = value.partition("|")
    authority = system.removeprefix("urn:oid:")
    if not bar:
        return value
    try:
        if not is_oid(authority):
            raise ValueError("no authority")
        return str(PatientId.of(id_, authority))  # type: ignore[arg-type]
    except ValueError:
        raise BadSearch(f"{name} is not of the form urn:oid:AUTHORITY|ID") from None


def _entity(value: str) -> tuple[str, str]:
    """Any thing by its id: a patient has carets in it, what else is told by what it is kept under."""
    system, _, id_ = value.rpartition("|")
    if "^^^" in id_ or is_oid(system.removeprefix("urn:oid:")):
        return "patient", _patient("entity", value)
    return "study" if system.endswith("dicom:uid") else "document", id_


def _position(name: str, value: str) -> Position:
    try:
        return Position.parse(value)
    except ValueError:
        raise BadSearch(f"{name} is not what a link of ours said") from None


def _number(name: str, value: str) -> int:
    if re.fullmatch(r"[0-9]{1,18}", value) is None:
        raise BadSearch(f"{name} is no number")
    return int(value)
