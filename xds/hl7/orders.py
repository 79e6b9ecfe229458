"""Imaging orders and appointments of HL7 v2: what is to be made, of whom, and when.

ORM^O01 (RAD TF-2: 4.2, 4.4), OMI^O23 (HL7 v2.5.1: chapter 4) and SIU (HL7 v2.5.1: chapter 10).  Only what priors are
looked for by is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import hl7

from xds.hl7.feed import NotAFeed
from xds.hl7.v2 import Authorities, field_of, header, identifiers, parsed, separators
from xds.hl7.v2_demographics import demographics
from xds.imaging.codes import is_acquisition
from xds.metadata.identifiers import PatientId

Place = tuple[str, int, int]
"""A segment, a field and a component."""

BEGINS: Sequence[Place] = (
    ("TQ1", 7, 1), ("OBR", 36, 1), ("OBR", 27, 4), ("ORC", 7, 4), ("AIS", 4, 1), ("SCH", 11, 4),
)  # fmt: skip
"""Where it stands for when it is, the first that says something."""

STUDY: Sequence[Place] = (("IPC", 3, 1), ("ZDS", 1, 1))

PROCEDURES: Sequence[Place] = (("OBR", 44, 1), ("OBR", 4, 1), ("OBR", 4, 4), ("AIS", 3, 1), ("AIS", 3, 4))
"""Codes of what is ordered; of a field with an alternative both."""

MODALITIES = {
    "NMR": "MR", "MRI": "MR", "NMS": "NM", "RUS": "US", "VUS": "US", "CUS": "US", "OUS": "US", "XR": "DX", "PET": "PT",
    "XRC": "RF", "MAM": "MG",
}  # fmt: skip
"""What systems of information call modalities, table 0074 of HL7 v2.5.1 among them, by DICOM's names (C.7.3.1.1.1)."""

CANCELLED = {
    "ORM": frozenset({"CA", "DC", "OC", "CR", "OD", "DR"}), "SIU": frozenset({"S15", "S16", "S17", "S22", "S26"})
}  # fmt: skip
"""Order controls (HL7 v2.5.1: table 0119), and events of appointments, by which nothing is to be made."""

DELETED = "D"
"""Of a segment's action (HL7 v2.5.1: table 0206)."""

ORDERS = 50
"""In one message."""

_FIRST = {"ORC", "RGS", "OBR", "AIS"}
_WHAT = {"OBR", "AIS"}

_Group = dict[str, list[hl7.Segment]]


class NotAnOrder(ValueError):
    """A message that cannot be read as one; the text names the part at fault, never what it holds."""


@dataclass(frozen=True, slots=True)
class Order:
    """One procedure that is ordered or has an appointment; what the message does not say is empty.

    ``begins`` is as it is written, in the sender's time: YYYYMMDD and more; ``born`` is a date in digits.
    """

    patient_ids: tuple[PatientId, ...]
    modalities: tuple[str, ...] = ()
    procedures: tuple[str, ...] = ()
    begins: str = ""
    study: str = ""
    born: str = ""
    sex: str = ""
    cancelled: bool = False


def read(text: str, authorities: Authorities) -> tuple[Order, ...]:
    """The orders of a message.  ``authorities``: an id that names none is of nobody whom others could know.

    Raises:
        NotAnOrder: another message, of several patients, or one that orders nothing or names no patient.
    """
    try:
        message, head = parsed(text), header(text)
        if head.message_type not in ("ORM", "OMI", "SIU"):
            raise NotAnOrder("MSH-9.1 is none of ORM, OMI and SIU")
        for segment in ("MSH", "PID"):
            if sum(str(each[0]) == segment for each in message) > 1:
                raise NotAnOrder(f"{segment} comes more than once: of several patients each has a message")
        whose = tuple(identifiers(message, "PID", 3, Authorities(authorities.namespaces)))
    except NotAFeed as problem:
        raise NotAnOrder(str(problem).partition(" (")[0]) from None
    said = demographics(lambda number: field_of(message, "PID", number), separators(message), str(message.esc))
    born, sex = ("", "") if said is None else (said.born, said.sex)
    groups = list(_groups(message))
    if not groups:
        raise NotAnOrder("nothing is ordered: there is neither OBR nor AIS")
    if len(groups) > ORDERS:
        raise NotAnOrder(f"more than {ORDERS} orders")
    return tuple(_order(_Said(group, message), whose, head.event, born, sex) for group in groups)


def _groups(message: hl7.Message) -> Iterator[_Group]:
    """The segments of each order by name; what stands before all of them is in each, and an ORC is for all its OBR."""
    common: _Group = {}
    group: _Group = {}
    for segment in message:
        name = str(segment[0])
        if name in _FIRST and (_WHAT & group.keys() or (name in group and name != "AIS")):
            if _WHAT & group.keys():
                yield group
            control = {"ORC": group["ORC"]} if name == "OBR" and "ORC" in group else {}
            group = {**_copy(common), **control}
        elif name in _FIRST and not group:
            group = _copy(common)
        (group or common).setdefault(name, []).append(segment)
    if _WHAT & group.keys():
        yield group


def _copy(group: _Group) -> _Group:
    return {name: [*segments] for name, segments in group.items()}


class _Said:
    """What one order's segments say."""

    def __init__(self, group: _Group, message: hl7.Message) -> None:
        self.segments = group
        self._repetition, self._component, _ = separators(message)

    def all(self, place: Place) -> Iterator[str]:
        """A component in each of its segments."""
        segment, field, number = place
        for each in self.segments.get(segment, ()):
            try:
                written = str(each[field])
            except (KeyError, IndexError):
                continue
            parts = written.split(self._repetition)[0].split(self._component)
            value = parts[number - 1].strip() if number <= len(parts) else ""
            if value and value != '""':
                yield value

    def first(self, *places: Place) -> str:
        """The first that says something."""
        return next((value for place in places for value in self.all(place)), "")


def _order(said: _Said, whose: tuple[PatientId, ...], event: str, born: str, sex: str) -> Order:
    names = (*said.all(("IPC", 5, 1)),) or (*said.all(("OBR", 24, 1)),)
    of_appointment = "AIS" in said.segments
    control = event if of_appointment else said.first(("ORC", 1, 1))
    cancelled = control in CANCELLED["SIU" if of_appointment else "ORM"]
    return Order(
        whose, tuple(dict.fromkeys(filter(None, map(modality, names)))),
        tuple(dict.fromkeys(value for place in PROCEDURES for value in said.all(place))),
        said.first(*BEGINS), said.first(*STUDY), born, sex, cancelled or said.first(("AIS", 2, 1)) == DELETED,
    )  # fmt: skip


def modality(name: str) -> str:
    """A modality by DICOM's name for it; empty for what is none, or of several, such as RAD."""
    known = MODALITIES.get(name.upper(), name.upper())
    return known if is_acquisition(known) else ""
