"""ITI-81 Retrieve ATNA Audit Event: a search of the audit log by FHIR, for those whom the settings name.

ITI TF-2: 3.81; FHIR R4: 3.1.1 (search).  Each search is itself on record.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, json, request

from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import of_one, sought
from xds.endpoints.fhir.audit_event import resource
from xds.metadata.identifiers import PatientId, is_oid
from xds.store.audit.records import Recorded
from xds.store.audit.search import Page, Position, Wanted
from xds.wire.http import HttpRequest, attributes

ITI_81 = ("ITI-81", "Retrieve ATNA Audit Event")
PAGE, MOST = 100, 1000
"""Resources in an answer, and the most that may be asked for."""

JSON = "application/fhir+json"

# Search parameters that are looked up as they are, by what they are kept under.
_VALUES = {
    "address": "address", "agent": "user", "user": "user", "agent-name": "user", "source": "source", "site": "site",
    "patient": "patient", "patient.identifier": "patient", "study": "study", "document": "document",
}  # fmt: skip
_TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?"
_DATE = re.compile(rf"(eq|ge|gt|le|lt)?(\d{{4}})(?:-(\d\d)(?:-(\d\d)(?:T{_TIME})?)?)?")


# And those that are looked at in what was found: DICOM's numbers of a thing, and the other name of who took part.
_LOOKED_AT = ("action", "altid", "entity-role", "entity-type", "type", "subtype")
APPLIED = frozenset({*_VALUES, *_LOOKED_AT, "date", "entity", "entity-id", "outcome", "_count", "_before", "_format"})
"""Parameters that are known; others are ignored, and not repeated as if they were not (FHIR R4: 3.1.1.2)."""


class BadSearch(ValueError):
    """A search that cannot be understood; the message names the parameter and holds none of its values."""


def wanted(given: Sequence[tuple[str, str]]) -> tuple[Wanted, int]:
    """What a search asks for, and how many at once.

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
            and not (found.event if name == "type" else found.transaction)
        ):
            code = value.rpartition("|")[2]
            found = replace(found, event=code) if name == "type" else replace(found, transaction=code)
        elif name in _LOOKED_AT:
            found = replace(found, accepted=(*found.accepted, _is(name, value)))
        elif name == "outcome":
            outcomes = tuple(_number(name, one.rpartition("|")[2]) for one in value.split(","))
            found = replace(found, outcomes=outcomes)
        elif name == "_count":
            most = min(_number(name, value), MOST)
        elif name == "_format" and "json" not in value.lower():
            raise BadSearch("_format is not json, and there is no other here")
        elif name == "_before":
            found = replace(found, before=_position(name, value))
    if not found.since and not found.until:
        raise BadSearch("date is required (ITI TF-2: 3.81.4.1.2)")
    return replace(found, values=tuple(values)), most


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


def allowed(readers: Sequence[str], caller: HttpRequest) -> bool:
    """Whether somebody may read the log: by the subject of their certificate, or by their address or network."""
    subject = attributes(caller.peer_certificate)
    named = bool(subject) and any(attributes(one) == subject for one in readers)
    return named or any(_is_in(caller.remote_address, one) for one in readers)


def _is_in(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def pages(
    readers: Sequence[str],
    find: Callable[[Wanted, int], Page],
    one: Callable[[int], Recorded | None],
    looked: Callable[[HttpRequest, str, str], None],
) -> Blueprint:
    """The resource's addresses; ``looked`` records a search and what became of it, before it is answered."""
    blueprint = Blueprint("fhir", __name__)

    @blueprint.get("/fhir/AuditEvent")
    def search() -> Response:
        caller = HttpRequest.of(request.environ)
        asked = f"{caller.url}?{caller.query}"
        if not allowed(readers, caller):
            looked(caller, asked, "not allowed")
            return _outcome(403, "forbidden", "audit.readers does not name this caller")
        try:
            what, most = wanted(list(request.args.items(multi=True)))
        except BadSearch as problem:
            looked(caller, asked, "not understood")
            return _outcome(400, "invalid", str(problem))
        found = find(what, most) if most else Page([], None)
        looked(caller, asked, "")
        return _json(200, _bundle(found, caller))

    @blueprint.get("/fhir/AuditEvent/<int:id_>")
    def read_one(id_: int) -> Response:
        caller = HttpRequest.of(request.environ)
        if not allowed(readers, caller):
            looked(caller, caller.url, "not allowed")
            return _outcome(403, "forbidden", "audit.readers does not name this caller")
        found = one(id_)
        looked(caller, caller.url, "" if found else "not found")
        return _json(200, resource(found)) if found else _outcome(404, "not-found", "there is no such AuditEvent")

    return blueprint


def _bundle(found: Page, caller: HttpRequest) -> dict[str, Any]:
    applied = [(name, value) for name, value in request.args.items(multi=True) if name in APPLIED]
    links = [{"relation": "self", "url": f"{caller.url}?{urlencode(applied)}"}]
    if found.end:
        kept = [(name, value) for name, value in applied if name != "_before"]
        links.append({"relation": "next", "url": f"{caller.url}?{urlencode([*kept, ('_before', str(found.end))])}"})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if found.records:  # FHIR has no empty lists
        bundle["entry"] = list(_entries(found.records, caller.url))
    return bundle


def _entries(found: Sequence[Recorded], base: str) -> Iterator[dict[str, Any]]:
    for record in found:
        yield {"fullUrl": f"{base}/{record.id}", "resource": resource(record), "search": {"mode": "match"}}


def _outcome(status: int, code: str, text: str) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def _json(status: int, value: Any) -> Response:
    return Response(json.dumps(value), status, content_type=f"{JSON}; charset=utf-8")
