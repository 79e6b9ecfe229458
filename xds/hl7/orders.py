"""Imaging orders and appointments of HL7 v2: what is to be made, of whom, and when.

ORM^O01 (RAD TF-2: 4.2, 4.4), OMI^O23 (HL7 v2.5.1: chapter 4) and SIU (HL7 v2.5.1: chapter 10).  Only what priors are
looked for by is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import hl7

from xds.hl7.feed import NotAFeed
from xds.hl7.v2 import Authorities, header, identifiers, parsed, separators
from xds.metadata.identifiers import PatientId

Place = tuple[str, int, int]
"""A segment, a field and a component."""

PATHS: Mapping[str, Sequence[Place]] = {
    "accession": (("OBR", 18, 1), ("IPC", 1, 1)),
    "study": (("IPC", 3, 1), ("ZDS", 1, 1)),
    "modality": (("IPC", 5, 1), ("OBR", 24, 1)),
    "begins": (("TQ1", 7, 1), ("OBR", 27, 4), ("ORC", 7, 4), ("AIS", 4, 1), ("SCH", 11, 4)),
}
"""Where each stands, the first that says something: IHE's places before those that HL7 had in versions before."""

PROCEDURES: Sequence[Place] = (("OBR", 44, 1), ("OBR", 4, 1), ("OBR", 4, 4), ("AIS", 3, 1), ("AIS", 3, 4))
"""Codes of what is ordered; of a field with an alternative both."""

MODALITIES = {"NMR": "MR", "NMS": "NM", "RUS": "US", "VUS": "US", "CUS": "US"}
"""HL7 v2.5.1: table 0074, Diagnostic Service Section, as DICOM's modalities (PS3.3: C.7.3.1.1.1)."""

GENERAL = frozenset({"RAD", "RX", "IMG"})
"""Of that table, what is of no one modality."""

CANCELLED = {"ORM": frozenset({"CA", "DC", "OC", "CR", "OD", "DR"}), "SIU": frozenset({"S15", "S16", "S17", "S26"})}
"""Order controls (HL7 v2.5.1: table 0119), and events of appointments, by which nothing is to be made."""

CODE = 16
"""Characters of a modality at most (PS3.5: 6.2, CS)."""

ORDERS = 50
"""In one message."""

_BEGINS = {"ORC", "RGS", "OBR", "AIS"}


class NotAnOrder(ValueError):
    """A message that cannot be read as one; the text names the part at fault, never what it holds."""


@dataclass(frozen=True, slots=True)
class Order:
    """One procedure that is ordered or has an appointment; what the message does not say is empty.

    ``begins`` is as it is written, in the sender's time: YYYYMMDD and more.
    """

    patient_ids: tuple[PatientId, ...]
    modality: str = ""
    procedures: tuple[str, ...] = ()
    begins: str = ""
    accession: str = ""
    study: str = ""
    cancelled: bool = False


def read(text: str, authorities: Authorities) -> tuple[Order, ...]:
    """The orders of a message.

    Raises:
        NotAnOrder: another message, or one that orders nothing or names no patient.
    """
    try:
        message, head = parsed(text), header(text)
        if head.message_type not in ("ORM", "OMI", "SIU"):
            raise NotAnOrder("MSH-9.1 is none of ORM, OMI and SIU")
        whose = tuple(identifiers(message, "PID", 3, authorities))
    except NotAFeed as problem:
        raise NotAnOrder(str(problem).partition(" (")[0]) from None
    orders = [_order(group, message, whose, head.event) for group in _groups(message)]
    if not orders:
        raise NotAnOrder("nothing is ordered: there is neither OBR nor AIS")
    if len(orders) > ORDERS:
        raise NotAnOrder(f"more than {ORDERS} orders")
    return tuple(orders)


def _groups(message: hl7.Message) -> Iterator[dict[str, hl7.Segment]]:
    """The segments of each order by their names; what stands before all of them is in each."""
    common: dict[str, hl7.Segment] = {}
    group: dict[str, hl7.Segment] = {}
    for segment in message:
        name = str(segment[0])
        if name in _BEGINS and (name in group or {"OBR", "AIS"} & group.keys()):
            yield group
            group = dict(common)
        (group if group or name in _BEGINS else common).setdefault(name, segment)
        if name in _BEGINS and len(group) == 1:
            group = {**common, **group}
    if {"OBR", "AIS"} & group.keys():
        yield group


def _order(group: Mapping[str, hl7.Segment], message: hl7.Message, whose: tuple[PatientId, ...], event: str) -> Order:
    _, component, _ = separators(message)

    def said(place: Place) -> str:
        segment, field, number = place
        try:
            written = str(group[segment][field])
        except (KeyError, IndexError):
            return ""
        parts = written.split(separators(message)[0])[0].split(component)
        value = parts[number - 1].strip() if number <= len(parts) else ""
        return "" if value == '""' else value

    values = {name: next(filter(None, map(said, places)), "") for name, places in PATHS.items()}
    modality = values["modality"].upper()
    known = modality.isalnum() and len(modality) <= CODE and modality not in GENERAL
    values["modality"] = MODALITIES.get(modality, modality) if known else ""
    control = event if "AIS" in group else said(("ORC", 1, 1))
    cancelled = control in CANCELLED["SIU" if "AIS" in group else "ORM"]
    procedures = tuple(dict.fromkeys(filter(None, map(said, PROCEDURES))))
    return Order(whose, procedures=procedures, cancelled=cancelled, **values)
