"""Patient registry messages of HL7 v3 and their acknowledgement.

ITI TF-2: 3.44.4; HL7 v3, edition NE2008: MCCI_MT000200UV01.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from xds.hl7.feed import CROSS_REFERENCED, IDENTIFIERS, Feed, FeedAction, NotAFeed
from xds.hl7.v3_demographics import demographics
from xds.metadata.identifiers import Oid, PatientId, is_oid
from xds.wire.xml import NAMESPACES, Element, local_name, name

INTERACTIONS = {
    "PRPA_IN201301UV02": FeedAction.ADD,
    "PRPA_IN201302UV02": FeedAction.REVISE,
    "PRPA_IN201304UV02": FeedAction.MERGE,
}
INTERACTION_ID = "2.16.840.1.113883.1.6"
_EVENT = "hl7:controlActProcess/hl7:subject/hl7:registrationEvent"
PATIENT = "hl7:subject1/hl7:patient"
_PRIOR = "hl7:replacementOf/hl7:priorRegistration/hl7:subject1/hl7:priorRegisteredRole"


def read(body: Element) -> Feed:
    """The feed that an interaction is.

    Raises:
        NotAFeed: a part that is needed is missing or malformed; the text names it.
    """
    action = INTERACTIONS.get(local_name(body))
    if action is None:
        raise NotAFeed("the interaction is none of ITI-44's (ITI TF-2: 3.44.4)")
    _wrapped_rightly(body)
    events = found(body, _EVENT)
    if len(events) != 1:
        raise NotAFeed("exactly one registrationEvent is required (ITI TF-2: 3.44.4.1.2)")
    patient_ids = tuple(identifiers(events[0], PATIENT, most=IDENTIFIERS))
    subsumed: tuple[PatientId, ...] = ()
    if action is FeedAction.MERGE:
        if len(found(events[0], _PRIOR)) != 1:
            raise NotAFeed("exactly one priorRegistration is required (ITI TF-2: 3.44.4.2.2)")
        subsumed = tuple(identifiers(events[0], _PRIOR, most=IDENTIFIERS))
    (patient, *_) = found(events[0], PATIENT)
    return Feed(message_id(body), action, patient_ids, subsumed, demographics(patient))


def _wrapped_rightly(body: Element) -> None:
    """What is around the event is ITI-44's; what is not there says nothing.

    Raises:
        NotAFeed: another interaction or processing mode is named, or the message goes to several.
    """
    interaction, mode = (body.find(name(f"hl7:{tag}")) for tag in ("interactionId", "processingModeCode"))
    if interaction is not None and interaction.get("extension") not in (None, local_name(body)):
        raise NotAFeed("interactionId is not the message's own (ITI TF-2: 3.44.4)")
    if mode is not None and mode.get("code") not in (None, "T"):
        raise NotAFeed("processingModeCode is T (ITI TF-2: 3.44.4)")
    if len(found(body, "hl7:receiver")) > 1:
        raise NotAFeed("a message has one receiver (ITI TF-2: 3.44.4)")


def message_id(body: Element) -> str:
    """The message's id as ``root^extension``, or what there is of it."""
    element = body.find(name("hl7:id"))
    parts = () if element is None else (element.get("root", ""), element.get("extension", ""))
    return "^".join(part for part in parts if part)[:256]


def acknowledgement(body: Element, own: Oid, problem: str = "") -> Element:
    """MCCI_IN000002UV01: the message is accepted (CA), or refused for a reason (CE).

    The sender of the acknowledgement is the device that the message names as its receiver; where that is no OID, as
    IHE wants device ids to be (ITI TF-2: Table O.1.2-1), ``own``.
    """
    root = answering(body, own, "MCCI_IN000002UV01")
    acknowledged = add(root, "acknowledgement")
    add(acknowledged, "typeCode", code="CE" if problem else "CA")
    add(add(acknowledged, "targetMessage"), "id", **id_of(body))
    if problem:
        detail = add(acknowledged, "acknowledgementDetail", typeCode="E")
        add(detail, "text").text = problem
    return root


def begun(interaction: str, accept_ack: str) -> Element:
    """A message of an interaction as far as what it is; ``accept_ack``: whether it is to be acknowledged (AL, NE)."""
    nsmap: Any = {None: NAMESPACES["hl7"]}  # the default, whatever the stub says
    root = etree.Element(name(f"hl7:{interaction}"), nsmap=nsmap, ITSVersion="XML_1.0")
    add(root, "id", root=str(uuid.uuid4()))
    add(root, "creationTime", value=datetime.now(UTC).strftime("%Y%m%d%H%M%S"))
    add(root, "interactionId", root=INTERACTION_ID, extension=interaction)
    add(root, "processingCode", code="P")
    add(root, "processingModeCode", code="T")
    add(root, "acceptAckCode", code=accept_ack)
    return root


def answering(body: Element, own: Oid, interaction: str) -> Element:
    """Begin a message that answers another: its id, and from whom to whom it goes (see ``acknowledgement``)."""
    root = begun(interaction, "NE")
    sender = body.find("/".join(map(name, ("hl7:sender", "hl7:device", "hl7:id"))))
    device(root, "receiver", "RCV", attributes_of(sender))
    addressed = body.find("/".join(map(name, ("hl7:receiver", "hl7:device", "hl7:id"))))
    named = addressed is not None and is_oid(addressed.get("root", ""))
    device(root, "sender", "SND", attributes_of(addressed) if named else {"root": own})
    return root


def id_of(body: Element) -> dict[str, str]:
    """A message's own id, as another names it."""
    return attributes_of(body.find(name("hl7:id")))


def attributes_of(id_: Element | None) -> dict[str, str]:
    """The root and extension of an id, where it has them."""
    found = {} if id_ is None else {key: id_.get(key, "") for key in ("root", "extension")}
    return {key: value for key, value in found.items() if value} or {"nullFlavor": "UNK"}


def device(root: Element, tag: str, type_code: str, id_: dict[str, str], *, home: Oid | None = None) -> None:
    """The device that sends or receives; ``home``: the community whose it is, where that is to be said."""
    device = add(add(root, tag, typeCode=type_code), "device", classCode="DEV", determinerCode="INSTANCE")
    add(device, "id", **id_)
    if home is not None:
        agent = add(device, "asAgent", classCode="AGNT")
        organisation = add(agent, "representedOrganization", classCode="ORG", determinerCode="INSTANCE")
        add(organisation, "id", root=home)


def add(parent: Element, tag: str, **attributes: str) -> Element:
    return etree.SubElement(parent, name(f"hl7:{tag}"), attributes)


def found(element: Element, path: str) -> list[Element]:
    return element.findall("/".join(map(name, path.split("/"))))


def identifiers(event: Element, path: str, *, most: int = CROSS_REFERENCED) -> Iterator[PatientId]:
    """The ids of a role, ``root`` an OID and ``extension`` the id; those of other forms are passed over.

    Raises:
        NotAFeed: there is none, there are over ``most``, or one is malformed.
    """
    ids = found(event, f"{path}/hl7:id")
    if not ids:
        raise NotAFeed(f"{path.replace('hl7:', '')}/id is required (ITI TF-2: 3.44.4)")
    if len(ids) > most:
        where = path.replace("hl7:", "")
        raise NotAFeed(f"{where}/id comes more than {most} times, which no patient has (ITI TF-2: 3.44.4)")
    for each in ids:
        root, extension = each.get("root", ""), each.get("extension", "").strip()
        if is_oid(root) and extension:
            try:
                yield PatientId.of(extension, Oid(root))
            except ValueError as problem:
                where = f"{path.replace('hl7:', '')}/id/@extension"
                raise NotAFeed(f"{where}: {problem} (ITI TF-2: 3.44.4)") from None
