"""ADT messages of HL7 v2.3.1.  ITI TF-2: 3.8.4, Appendix C.2; HL7 v2.5 table 0357."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import hl7

from xds.errors import Unusable
from xds.hl7.feed import CROSS_REFERENCED, IDENTIFIERS, Feed, FeedAction, NotAFeed
from xds.hl7.v2_demographics import demographics
from xds.metadata.identifiers import Oid, PatientId, is_oid, unescaped

EVENTS = {
    "A01": FeedAction.ADD,
    "A04": FeedAction.ADD,
    "A05": FeedAction.ADD,
    "A08": FeedAction.REVISE,
    "A40": FeedAction.MERGE,
}

# HL7 v2.5: table 0357, as far as we answer with it.
ERRORS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "207": "Application internal error",
}

_NULL = '""'  # HL7 v2.3.1: 2.6: the value is to be deleted

PROCESSING_IDS = frozenset({"P", "T", "D", ""})
"""HL7 v2.3.1: table 0103; senders of old leave it out."""

_ORDER = ("MSH", "EVN", "PID", "MRG", "PV1")
"""Of the segments of ITI TF-2: 3.8.4.1.2; others may stand between them."""

_LINE_END = re.compile(r"\r\n|\r|\n")

PARTS = 20_000
"""Fields, repetitions and components of one message: some hundreds are in an ADT, and to take apart each costs."""

SEGMENTS = 200
"""Segments of one message; an ADT has fewer than twenty."""


@dataclass(frozen=True, slots=True)
class Header:
    """MSH: who sends what to whom."""

    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    message_type: str = ""
    event: str = ""
    control_id: str = ""
    processing_id: str = ""
    version: str = "2.3.1"
    character_set: str = ""


@dataclass(frozen=True, slots=True)
class Authorities:
    """What fills in an identifier's authority: its namespace's OID, and the one of those that have neither."""

    namespaces: Mapping[str, Oid]
    only: Oid | None = None

    @classmethod
    def of(cls, namespaces: Iterable[str], ours: Sequence[str]) -> Authorities:
        """``namespaces``: each NAMESPACE=OID; ``ours``: the affinity domain's, of which a single one is understood.

        Raises:
            Unusable: one of the namespaces is not of that form.
        """
        known = {}
        for entry in namespaces:
            namespace, _, oid = entry.partition("=")
            if not namespace or not is_oid(oid):
                raise Unusable("mllp.namespaces: each entry is of the form NAMESPACE=OID")
            known[namespace] = Oid(oid)
        return cls(known, Oid(ours[0]) if len(ours) == 1 else None)


def header(text: str) -> Header:
    """The message's MSH.

    Raises:
        NotAFeed: it does not begin with one.
    """
    message = parsed(_LINE_END.split(text.lstrip("\r\n"), 1)[0])  # of the rest nothing is needed
    _, component, _ = separators(message)
    type_, event = (*field_of(message, "MSH", 9).split(component), "", "")[:2]
    return Header(
        sending_application=field_of(message, "MSH", 3),
        sending_facility=field_of(message, "MSH", 4),
        receiving_application=field_of(message, "MSH", 5),
        receiving_facility=field_of(message, "MSH", 6),
        message_type=type_,
        event=event,
        control_id=field_of(message, "MSH", 10),
        processing_id=field_of(message, "MSH", 11).split(component)[0],
        version=field_of(message, "MSH", 12),
        character_set=field_of(message, "MSH", 18),
    )


def read(text: str, authorities: Authorities) -> Feed:
    """The feed that an ADT message is.

    Raises:
        NotAFeed: another message, or a segment or field that is missing or malformed.
    """
    message, head = parsed(text), header(text)
    if head.message_type != "ADT":
        raise NotAFeed("MSH-9.1 is not ADT (ITI TF-2: 3.8.4)", "200", rejected=True)
    if head.event not in EVENTS:
        raise NotAFeed("MSH-9.2 is none of A01 A04 A05 A08 A40 (ITI TF-2: 3.8.4)", "201", rejected=True)
    if head.processing_id not in PROCESSING_IDS:
        raise NotAFeed("MSH-11 is none of P T D (HL7 v2.3.1: table 0103)", "202", rejected=True)
    if not head.version.startswith("2."):
        raise NotAFeed("MSH-12 is not 2.3.1 (ITI TF-2: 3.8.4)", "203", rejected=True)
    if not head.control_id:
        raise NotAFeed("MSH-10 is required (HL7 v2.3.1: 2.24.1)", "101")
    action = EVENTS[head.event]
    for segment in ("PID", "MRG"):
        if sum(str(each[0]) == segment for each in message) > 1:
            raise NotAFeed(f"{segment} may come once: of several patients each has a message (ITI TF-2: 3.8.4)", "100")
    _in_order(message)
    subsumed = (
        tuple(identifiers(message, "MRG", 1, authorities, most=IDENTIFIERS)) if action is FeedAction.MERGE else ()
    )
    patient_ids = tuple(identifiers(message, "PID", 3, authorities, most=IDENTIFIERS))
    said = demographics(lambda number: field_of(message, "PID", number), separators(message), str(message.esc))
    return Feed(head.control_id, action, patient_ids, subsumed, said)


def _in_order(message: hl7.Message) -> None:
    """Segments are in their message's order; EVN and PV1, of which nothing is read, may be missing.

    Raises:
        NotAFeed: one stands before another that comes first.
    """
    known = [name for name in (str(each[0]) for each in message) if name in _ORDER]
    for before, after in pairwise(known):
        if _ORDER.index(before) > _ORDER.index(after):
            raise NotAFeed(f"{after} comes before {before} (ITI TF-2: 3.8.4.1.2)", "100")


def parsed(text: str) -> hl7.Message:
    lines = [line for line in _LINE_END.split(text) if line]
    if not lines or not lines[0].startswith("MSH") or len(lines[0]) < 9:
        raise NotAFeed("the message does not begin with MSH (HL7 v2.3.1: 2.24.1)", "100", rejected=True)
    if len(lines) > SEGMENTS:
        raise NotAFeed(f"more than {SEGMENTS} segments (HL7 v2.3.1: 2.10)", "100", rejected=True)
    delimiters = lines[0][3] + lines[0][4:].split(lines[0][3], 1)[0]
    if re.fullmatch(r"[^\w\s]{5,6}", delimiters) is None or len(set(delimiters)) < len(delimiters):
        raise NotAFeed("MSH-1 and MSH-2 are no delimiters (HL7 v2.3.1: 2.7)", "100", rejected=True)
    if sum(text.count(one) for one in delimiters) > PARTS:
        raise NotAFeed(f"more than {PARTS} fields, repetitions and components (HL7 v2.3.1: 2.10)", "100", rejected=True)
    # Whatever else is in it, the library takes it apart.
    return hl7.parse("\r".join(lines) + "\r")


def separators(message: hl7.Message) -> list[str]:
    """What is between repetitions, components and their parts."""
    given = message.separators
    return list(given[2:5] if len(given) == 5 else "~^&")


def field_of(message: hl7.Message, segment: str, number: int) -> str:
    """A field as it is written; empty where it is not."""
    try:
        return str(message.segment(segment)[number])
    except (KeyError, IndexError):
        return ""


def identifiers(
    message: hl7.Message, segment: str, number: int, authorities: Authorities, *, most: int = CROSS_REFERENCED
) -> Iterator[PatientId]:
    """The identifiers of a field; those whose authority is no OID are passed over.

    Raises:
        NotAFeed: the segment or the field is missing, an identifier has no id, or there are over ``most``.
    """
    name = f"{segment}-{number}"
    repetition, component, part = separators(message)
    # Some end a field with the sign between two.
    repeated = [each for each in field_of(message, segment, number).split(repetition) if each]
    if not repeated:
        raise NotAFeed(f"{name} is required (ITI TF-2: 3.8.4.1.2)", "101")
    if len(repeated) > most:
        raise NotAFeed(f"{name} has more than {most} repetitions, which no patient has (ITI TF-2: 3.8.4.1.2)", "102")
    for each in repeated:
        parts = [*each.split(component), "", "", "", ""]
        id_ = parts[0].strip()
        if not id_ or id_ == _NULL:
            raise NotAFeed(f"{name}.1 is required (ITI TF-2: 3.8.4.1.2)", "101")
        namespace, oid, kind = [*parts[3].split(part), "", "", ""][:3]
        authority = oid if kind in ("ISO", "") else ""
        authority = authority or authorities.namespaces.get(namespace, "")
        if not parts[3] and authorities.only:
            authority = authorities.only
        if is_oid(authority):
            try:
                yield PatientId.of(unescaped(id_.replace(str(message.esc), "\\")), Oid(authority))
            except ValueError as problem:
                raise NotAFeed(f"{name}.1: {problem} (ITI TF-2: 3.8.4.1.2)", "102") from None
