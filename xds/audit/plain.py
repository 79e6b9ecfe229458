"""An audit record in plain words."""

from __future__ import annotations

import base64
import binascii

from lxml import etree

from xds.wire.xml import Element, NotXml, parse

_OUTCOMES = {"0": "it succeeded", "4": "it was refused", "8": "it failed", "12": "it failed badly"}
_ACTIONS = {
    "110100": "a program started or stopped",
    "110101": "the audit log was read",
    "110103": "images were received",
    "110104": "images were sent",
    "110106": "documents or metadata were sent",
    "110107": "documents or metadata were received",
    "110112": "a query was made",
    "110113": "a security alert was raised",
}


def summary(message: bytes) -> dict[str, str]:
    """What a list shows of a record; empty where the message does not say."""
    try:
        root = parse(message)
    except NotXml:
        return {"event": "unreadable"}
    event = root.find("EventIdentification")
    parties = root.findall("ActiveParticipant")
    return {
        "time": _of(event, "EventDateTime"),
        "event": _code(event, "EventID", "originalText"),
        "transaction": _code(event, "EventTypeCode", "csd-code"),
        "outcome": _of(event, "EventOutcomeIndicator"),
        "why": (root.findtext(".//EventOutcomeDescription") or ""),
        "source": _of(parties[0], "UserID") if parties else "",
        "destination": _of(parties[1], "UserID") if len(parties) > 1 else "",
        "patient": next((o.get("ParticipantObjectID", "") for o in _objects(root, "1")), ""),
    }


def _of(element: Element | None, attribute: str) -> str:
    return "" if element is None else element.get(attribute, "")


def _code(element: Element | None, tag: str, attribute: str) -> str:
    child = None if element is None else element.find(tag)
    return "" if child is None else child.get(attribute, "")


def _objects(root: Element, type_code: str) -> list[Element]:
    objects = root.iterfind("ParticipantObjectIdentification")
    return [o for o in objects if o.get("ParticipantObjectTypeCode") == type_code]


def words(message: bytes) -> str:
    """A few sentences that say what the record means."""
    try:
        root = parse(message)
    except NotXml:
        return "The record is not readable as an audit message."
    facts = summary(message)
    event = root.find("EventIdentification")
    what = _ACTIONS.get(_code(event, "EventID", "csd-code"), facts["event"])
    title = _code(event, "EventTypeCode", "originalText")
    outcome = _OUTCOMES.get(facts["outcome"], "its outcome is not known")
    lines = [f"At {facts['time']} {what} by {facts['transaction']} ({title}); {outcome}."]
    if facts["why"]:
        lines.append(f"Reason: {facts['why']}.")
    lines.append(f"From {facts['source']} to {facts['destination']}.")
    if facts["patient"]:
        lines.append(f"The patient is {facts['patient']}.")
    lines += [_object(item) for item in _objects(root, "2")]
    return "\n".join(lines)


def _object(item: Element) -> str:
    kind = _code(item, "ParticipantObjectIDTypeCode", "originalText")
    details = (f"{d.get('type', '')} {_decoded(d)}" for d in item.iterfind("ParticipantObjectDetail"))
    said = ", ".join(details)
    return f"Object: {kind} {item.get('ParticipantObjectID', '')}{f' ({said})' if said else ''}."


def _decoded(detail: Element) -> str:
    try:
        return base64.b64decode(detail.get("value", ""), validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return detail.get("value", "")


def indented(message: bytes) -> str:
    """The message as XML a person can read; as it is, where it is no XML."""
    try:
        root = parse(message)
    except NotXml:
        return message.decode("utf-8", "replace")
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")
