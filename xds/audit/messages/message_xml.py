"""Audit messages as XML.  DICOM PS3.15: A.5.1; it has no namespace.

Strict in what is written; tolerant in what is read, because an Audit Record Repository keeps what peers send:
RFC 3881 messages with ``code`` for ``csd-code``, missing texts, unknown numbers, times without a zone, any order.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum
from typing import TypeVar

from lxml import etree

from xds.audit.messages.codes import Action, Coded, LifeCycle, NetworkAccessPointType, ObjectRole, ObjectType, Outcome
from xds.audit.messages.message import (
    ActiveParticipant,
    AuditMessage,
    AuditSource,
    Description,
    Detail,
    Event,
    NotAuditMessage,
    ParticipantObject,
    SopClass,
)
from xds.wire.syslog import content
from xds.wire.xml import Element, NotXml, local_name, parse

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_Number = TypeVar("_Number", bound=IntEnum)


def write(message: AuditMessage) -> bytes:
    """The message as UTF-8 XML, in the schema's order; what XML cannot hold is replaced by U+FFFD."""
    root = etree.Element("AuditMessage")
    _write_event(root, message.event)
    for participant in message.participants:
        _write_participant(root, participant)
    source = _element(root, "AuditSourceIdentification", AuditSourceID=message.source.source_id)
    _set(source, AuditEnterpriseSiteID=message.source.enterprise_site_id)
    for code in message.source.type_codes:
        kind = _element(source, "AuditSourceTypeCode", **{"csd-code": code.code})
        _set(kind, codeSystemName=code.system, originalText=code.text, displayName=code.display_name)
    for item in message.objects:
        _write_object(root, item)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _write_event(root: Element, event: Event) -> None:
    time = event.date_time.astimezone(UTC)
    spec = "microseconds" if time.microsecond % 1000 else "milliseconds"
    element = etree.SubElement(root, "EventIdentification")
    _set(element, EventActionCode=event.action or "")
    element.set("EventDateTime", time.isoformat(timespec=spec))
    element.set("EventOutcomeIndicator", str(int(event.outcome)))
    _write_codes(element, "EventID", [event.event_id])
    _write_codes(element, "EventTypeCode", event.type_codes)
    _text(element, "EventOutcomeDescription", event.outcome_description)
    _write_codes(element, "PurposeOfUse", event.purposes_of_use)


def _write_participant(root: Element, participant: ActiveParticipant) -> None:
    element = _element(root, "ActiveParticipant", UserID=participant.user_id)
    _set(element, AlternativeUserID=participant.alternative_user_id, UserName=participant.user_name)
    element.set("UserIsRequestor", "true" if participant.user_is_requestor else "false")
    _set(
        element,
        NetworkAccessPointID=participant.network_access_point_id,
        NetworkAccessPointTypeCode=_digits(participant.network_access_point_type),
    )
    _write_codes(element, "RoleIDCode", participant.role_ids)
    if participant.media_type:
        _write_codes(etree.SubElement(element, "MediaIdentifier"), "MediaType", [participant.media_type])


def _write_object(root: Element, item: ParticipantObject) -> None:
    element = _element(root, "ParticipantObjectIdentification", ParticipantObjectID=item.id)
    _set(
        element,
        ParticipantObjectTypeCode=_digits(item.type_code),
        ParticipantObjectTypeCodeRole=_digits(item.role),
        ParticipantObjectDataLifeCycle=_digits(item.life_cycle),
        ParticipantObjectSensitivity=item.sensitivity,
    )
    _write_codes(element, "ParticipantObjectIDTypeCode", [item.id_type])
    _text(element, "ParticipantObjectName", item.name)
    if item.query is not None:
        etree.SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(item.query).decode()
    for detail in item.details:  # of a retrieval thousands, and base64 is as XML has it
        value = base64.b64encode(detail.value).decode("ascii")
        etree.SubElement(element, "ParticipantObjectDetail", {"type": as_xml_has(detail.type), "value": value})
    if item.description:
        _write_description(etree.SubElement(element, "ParticipantObjectDescription"), item.description)


def _write_description(element: Element, description: Description) -> None:
    for uid in description.mpps:
        _element(element, "MPPS", UID=uid)
    for number in description.accessions:
        _element(element, "Accession", Number=number)
    for sop_class in description.sop_classes:
        child = etree.SubElement(element, "SOPClass")
        _set(child, UID=sop_class.uid, NumberOfInstances=str(max(0, sop_class.number_of_instances)))
        for uid in sop_class.instances:
            _element(child, "Instance", UID=uid)
    if description.study_ids:
        studies = etree.SubElement(element, "ParticipantObjectContainsStudy")
        for uid in description.study_ids:
            _element(studies, "StudyIDs", UID=uid)
    for tag, value in (("Encrypted", description.encrypted), ("Anonymized", description.anonymized)):
        if value is not None:
            _text(element, tag, "true" if value else "false")


def _write_codes(parent: Element, tag: str, codes: Iterable[Coded]) -> None:
    for code in codes:
        required = {"csd-code": code.code, "codeSystemName": code.system, "originalText": code.text}
        _set(_element(parent, tag, **required), displayName=code.display_name)


def _element(parent: Element, tag: str, **required: str) -> Element:
    return etree.SubElement(parent, tag, {name: as_xml_has(value) for name, value in required.items()})


def _set(element: Element, **optional: str) -> None:
    """Attributes that are left out when empty."""
    for name, value in optional.items():
        if value:
            element.set(name, as_xml_has(value))


def _text(parent: Element, tag: str, text: str) -> None:
    if text:
        etree.SubElement(parent, tag).text = as_xml_has(text)


def _digits(number: IntEnum | None) -> str:
    return "" if number is None else str(int(number))


def as_xml_has(text: str) -> str:
    """Text as a message has it: a record is written whatever a peer has sent."""
    return _NOT_XML.sub("\ufffd", text)


# Reading.


def read(data: bytes, most: int | None = None) -> AuditMessage:
    """A message as peers write them, with a syslog header or without; what is missing is empty, unknown is left out.

    ``most``: elements of one that comes from elsewhere; our own name every document of a request.

    Raises:
        NotAuditMessage: not XML, another root, of too many elements, or without an event that has a time.
    """
    try:
        root = parse(content(data), most)
    except NotXml as problem:
        raise NotAuditMessage(str(problem)) from None
    event = _child(root, "EventIdentification")
    if local_name(root) != "AuditMessage" or event is None:
        raise NotAuditMessage("not an AuditMessage with an EventIdentification")
    source = _child(root, "AuditSourceIdentification")
    return AuditMessage(
        _read_event(event),
        tuple(_read_participant(child) for child in _children(root, "ActiveParticipant")),
        AuditSource("") if source is None else _read_source(source),
        tuple(_read_object(child) for child in _children(root, "ParticipantObjectIdentification")),
    )


def _read_event(element: Element) -> Event:
    try:
        time = datetime.fromisoformat(element.get("EventDateTime", ""))
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotAuditMessage("EventDateTime is no time") from None
    action = element.get("EventActionCode", "")
    outcome = _number(Outcome, element.get("EventOutcomeIndicator"))
    return Event(
        (_codes(element, "EventID") or (Coded("", "", ""),))[0],
        time,
        Outcome.SERIOUS_FAILURE if outcome is None else outcome,
        Action(action) if action in set(Action) else None,
        _codes(element, "EventTypeCode"),
        _said(element, "EventOutcomeDescription"),
        _codes(element, "PurposeOfUse"),
    )


def _read_participant(element: Element) -> ActiveParticipant:
    media = _child(element, "MediaIdentifier")
    return ActiveParticipant(
        element.get("UserID", ""),
        _true(element.get("UserIsRequestor")),
        element.get("AlternativeUserID", ""),
        element.get("UserName", ""),
        element.get("NetworkAccessPointID", ""),
        _number(NetworkAccessPointType, element.get("NetworkAccessPointTypeCode")),
        _codes(element, "RoleIDCode"),
        next(iter(_codes(element if media is None else media, "MediaType")), None),
    )


def _read_source(element: Element) -> AuditSource:
    return AuditSource(
        element.get("AuditSourceID", ""),
        element.get("AuditEnterpriseSiteID", ""),
        _codes(element, "AuditSourceTypeCode"),
    )


def _read_object(element: Element) -> ParticipantObject:
    query, description = _child(element, "ParticipantObjectQuery"), _child(element, "ParticipantObjectDescription")
    details = _children(element, "ParticipantObjectDetail")
    return ParticipantObject(
        element.get("ParticipantObjectID", ""),
        (_codes(element, "ParticipantObjectIDTypeCode") or (Coded("", "", ""),))[0],
        _number(ObjectType, element.get("ParticipantObjectTypeCode")),
        _number(ObjectRole, element.get("ParticipantObjectTypeCodeRole")),
        _number(LifeCycle, element.get("ParticipantObjectDataLifeCycle")),
        element.get("ParticipantObjectSensitivity", ""),
        _said(element, "ParticipantObjectName") if query is None else "",
        None if query is None else _decoded(query.text or ""),
        tuple(Detail(child.get("type", ""), _decoded(child.get("value", ""))) for child in details),
        None if description is None else _read_description(description),
    )


def _read_description(element: Element) -> Description:
    studies = _child(element, "ParticipantObjectContainsStudy")
    flags = {tag: _child(element, tag) for tag in ("Encrypted", "Anonymized")}
    encrypted, anonymized = (None if flag is None else _true(flag.text) for flag in flags.values())
    return Description(
        tuple(child.get("UID", "") for child in _children(element, "MPPS")),
        tuple(child.get("Number", "") for child in _children(element, "Accession")),
        tuple(_read_sop_class(child) for child in _children(element, "SOPClass")),
        () if studies is None else tuple(child.get("UID", "") for child in _children(studies, "StudyIDs")),
        encrypted,
        anonymized,
    )


def _read_sop_class(element: Element) -> SopClass:
    said = element.get("NumberOfInstances", "")
    instances = tuple(child.get("UID", "") for child in _children(element, "Instance"))
    known = said.isascii() and said.isdigit() and len(said) < 10
    return SopClass(element.get("UID", ""), int(said) if known else len(instances), instances)


def _children(parent: Element, tag: str) -> list[Element]:
    return list(parent.iterchildren("{*}" + tag))


def _child(parent: Element, tag: str) -> Element | None:
    return next(parent.iterchildren("{*}" + tag), None)


def _said(parent: Element, tag: str) -> str:
    child = _child(parent, tag)
    return "" if child is None else child.text or ""


def _codes(parent: Element, tag: str) -> tuple[Coded, ...]:
    return tuple(
        Coded(
            child.get("csd-code", child.get("code", "")),  # RFC 3881 has code
            child.get("codeSystemName", child.get("codeSystem", "")),
            child.get("originalText", ""),
            child.get("displayName", ""),
        )
        for child in _children(parent, tag)
    )


def _number(kind: type[_Number], text: str | None) -> _Number | None:
    try:
        return kind(int(text or ""))
    except ValueError:
        return None


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")


def _decoded(text: str) -> bytes:
    """Some senders leave out the base64; their text is then the value."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
