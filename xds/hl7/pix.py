"""Queries to a PIX Manager and their answers: under which id another authority knows a patient.

ITI TF-2: 3.9 (HL7 v2.5), 3.45 (HL7 v3), 3.83 (FHIR R4).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from lxml import etree

from xds.hl7 import charset, v2, v3
from xds.hl7.feed import NotAFeed
from xds.metadata.identifiers import Oid, PatientId
from xds.wire.xml import NAMESPACES, Element, local_name, name

QUERY, ANSWER = "PRPA_IN201309UV02", "PRPA_IN201310UV02"
_REGISTRATION = "hl7:controlActProcess/hl7:subject/hl7:registrationEvent"
_CONTROL_ACT = "hl7:controlActProcess"
_UNKNOWN = ("204", "NF")


class NotUnderstood(ValueError):
    """An answer that is none to the query, or says that the manager has failed; the text holds none of its values."""


@dataclass(frozen=True, slots=True)
class V2Query:
    """A QBP^Q23: its control id and its bytes."""

    control_id: str
    message: bytes


@dataclass(frozen=True, slots=True)
class V3Query:
    """A PRPA_IN201309UV02: the id and the bytes of its queryByParameter, and its own bytes."""

    id: str
    parameters: bytes
    message: bytes


def v2_query(patient: PatientId, wanted: Oid, sender: str, receiver: str) -> V2Query:
    """Ask under which id an authority knows a patient; ``sender`` and ``receiver`` as FACILITY|APPLICATION."""
    control_id = uuid.uuid4().hex[:20]
    facility, _, application = sender.partition("|")
    their_facility, _, their_application = receiver.partition("|")
    time = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    msh = ["MSH", "^~\\&", application, facility, their_application, their_facility, time, "",
           "QBP^Q23^QBP_Q21", control_id, "P", "2.5"]  # fmt: skip
    if not str(patient).isascii():
        msh += [""] * 5 + [charset.UTF_8]  # MSH-18
    parameters = f"QPD|IHE PIX Query|{control_id}|{patient}|^^^&{wanted}&ISO"
    return V2Query(control_id, f"{'|'.join(msh)}\r{parameters}\rRCP|I\r".encode())


def v2_answer(data: bytes, query: V2Query, wanted: Oid) -> PatientId | None:
    """The id that a RSP^K23 gives; None where the manager has none.

    Raises:
        NotUnderstood: see there.
    """
    try:
        text = charset.decoded(data)
        head, message = v2.header(text), v2.parsed(text)
        if head.message_type != "RSP" or v2.field_of(message, "MSA", 2) != query.control_id:
            raise NotUnderstood("the answer is none to the query (ITI TF-2: 3.9.4.2)")
        status = v2.field_of(message, "QAK", 2)
        if status == "OK":
            return _of(wanted, v2.identifiers(message, "PID", 3, v2.Authorities({})))
        # An id that the manager does not know is an error of the message by the text, and NF by some.
        # Its code stands in ERR-3, or in the fourth component of ERR-1 where a manager answers as of v2.3.1.
        _, component, part = v2.separators(message)
        of_old = [*v2.field_of(message, "ERR", 1).split(component), "", "", ""][3].partition(part)[0]
        error = v2.field_of(message, "ERR", 3).partition(component)[0] or of_old
        if status in _UNKNOWN or error in _UNKNOWN:
            return None
    except NotAFeed as problem:
        raise NotUnderstood(str(problem)) from None
    raise NotUnderstood("the PIX Manager could not answer (ITI TF-2: 3.9.4.2.2)")


def _of(wanted: Oid, found: Any) -> PatientId | None:
    return next((one for one in found if one.authority == wanted), None)


def v3_query(patient: PatientId, wanted: Oid, sender: Oid, receiver: Oid) -> V3Query:
    """PRPA_IN201309UV02: ask under which id an authority knows a patient; ``sender`` and ``receiver`` are devices."""
    root = etree.Element(name(f"hl7:{QUERY}"), nsmap={None: NAMESPACES["hl7"]}, ITSVersion="XML_1.0")  # type: ignore[dict-item]
    v3.add(root, "id", root=str(uuid.uuid4()))
    v3.add(root, "creationTime", value=f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    v3.add(root, "interactionId", root=v3.INTERACTION_ID, extension=QUERY)
    for tag, code in (("processingCode", "P"), ("processingModeCode", "T"), ("acceptAckCode", "AL")):
        v3.add(root, tag, code=code)
    v3.device(root, "receiver", "RCV", {"root": receiver})
    v3.device(root, "sender", "SND", {"root": sender})
    act = v3.add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    v3.add(act, "code", code="PRPA_TE201309UV02", codeSystem=v3.INTERACTION_ID)
    query, id_ = v3.add(act, "queryByParameter"), str(uuid.uuid4())
    v3.add(query, "queryId", root=id_)
    v3.add(query, "statusCode", code="new")
    v3.add(query, "responsePriorityCode", code="I")
    parameters = v3.add(query, "parameterList")
    source = v3.add(parameters, "dataSource")
    v3.add(source, "value", root=wanted)
    v3.add(source, "semanticsText").text = "DataSource.id"
    identifier = v3.add(parameters, "patientIdentifier")
    v3.add(identifier, "value", root=patient.authority, extension=patient.id)
    v3.add(identifier, "semanticsText").text = "Patient.id"
    return V3Query(id_, etree.tostring(query), etree.tostring(root))


def v3_answer(body: Element, wanted: Oid) -> PatientId | None:
    """The id that a PRPA_IN201310UV02 gives; None where the manager has none.

    Raises:
        NotUnderstood: see there.
    """
    if local_name(body) != ANSWER:
        raise NotUnderstood("the answer is no PRPA_IN201310UV02 (ITI TF-2: 3.45.4.2)")
    codes = v3.found(body, f"{_CONTROL_ACT}/hl7:queryAck/hl7:queryResponseCode")
    code = codes[0].get("code", "") if codes else ""
    if code == "OK":
        try:
            events = v3.found(body, _REGISTRATION)
            return _of(wanted, (one for event in events for one in v3.identifiers(event, v3.PATIENT)))
        except NotAFeed as problem:
            raise NotUnderstood(str(problem)) from None
    if code == "NF" or (code == "AE" and _names_unknown_key(body)):
        return None
    raise NotUnderstood("the PIX Manager could not answer (ITI TF-2: 3.45.4.2.3)")


def _names_unknown_key(body: Element) -> bool:
    """An id that is not known is an error that says 204 (ITI TF-2: 3.45.4.2.3, case 3)."""
    details = v3.found(body, "hl7:acknowledgement/hl7:acknowledgementDetail/hl7:code")
    return any(detail.get("code") == "204" for detail in details)


def fhir_query(patient: PatientId, wanted: Oid) -> str:
    """What is asked of ``Patient/$ihe-pix`` (ITI TF-2: 3.83.4.1)."""
    source = f"urn:oid:{patient.authority}|{patient.id}"
    asked = {"sourceIdentifier": source, "targetSystem": f"urn:oid:{wanted}", "_format": "json"}
    return f"/Patient/$ihe-pix?{urlencode(asked)}"


def fhir_answer(resource: Any, wanted: Oid) -> PatientId | None:
    """The id that a Parameters resource gives; None where the manager has none.

    Raises:
        NotUnderstood: see there.
    """
    if not isinstance(resource, Mapping) or resource.get("resourceType") != "Parameters":
        raise NotUnderstood("the answer is no Parameters resource (ITI TF-2: 3.83.4.2)")
    parameters = resource.get("parameter", [])
    for one in parameters if isinstance(parameters, list) else []:
        value = one.get("valueIdentifier") if isinstance(one, Mapping) else None
        if not isinstance(value, Mapping) or one.get("name") != "targetIdentifier":
            continue
        if value.get("system") == f"urn:oid:{wanted}" and isinstance(value.get("value"), str):
            try:
                return PatientId.of(value["value"], wanted)
            except ValueError as problem:
                raise NotUnderstood(f"targetIdentifier: {problem} (ITI TF-2: 3.83.4.2)") from None
    return None
