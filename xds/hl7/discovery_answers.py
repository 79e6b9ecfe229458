"""What another community answers whom it was asked for: under which ids it knows them, or what it must be told first.

ITI TF-2: 3.55.4.2 (PRPA_IN201306UV02 of HL7 v3, edition NE2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xds.hl7 import v3
from xds.hl7.discovery import ANSWER
from xds.hl7.feed import NotAFeed
from xds.hl7.v3_demographics import demographics
from xds.metadata.demographics import Demographics
from xds.metadata.identifiers import PatientId
from xds.wire.xml import Element, local_name

_ACT = "hl7:controlActProcess"
_REQUESTED = "hl7:reasonOf/hl7:detectedIssueEvent/hl7:triggerFor/hl7:actOrderRequired/hl7:code"
_ERRORS = frozenset({"ResponderBusy", "AnswerNotAvailable", "InternalError"})
"""Codes of 1.3.6.1.4.1.19376.1.2.27.3."""

EVENTS = 100
"""Patients that one answer may name, and attributes that it may want."""


class NotAnAnswer(ValueError):
    """A message that is no answer to the query, or says that there is none; the text holds none of its values."""


@dataclass(frozen=True, slots=True)
class Match:
    """A patient whom a community names: its homeCommunityId (an OID), its ids, and who it says that they are."""

    home: str
    ids: tuple[PatientId, ...]
    demographics: Demographics


@dataclass(frozen=True, slots=True)
class Answer:
    """Those who are named; and what must be said before anybody is (codes of 1.3.6.1.4.1.19376.1.2.27.1)."""

    matches: tuple[Match, ...] = ()
    wanted: frozenset[str] = frozenset()


def read(body: Element, query_id: str) -> Answer:
    """The answer that a message is to the query of that id; nobody, where it says that nobody is found.

    Raises:
        NotAnAnswer: see there.
    """
    if local_name(body) != ANSWER:
        raise NotAnAnswer(f"the answer is no {ANSWER} (ITI TF-2: 3.55.4.2)")
    asked = [one.get("root", "") for one in v3.found(body, f"{_ACT}/hl7:queryAck/hl7:queryId")]
    if asked != [query_id]:
        raise NotAnAnswer("the answer is to another query: queryAck/queryId (ITI TF-2: 3.55.4.2.2)")
    codes = [one.get("code", "") for one in v3.found(body, f"{_ACT}/hl7:queryAck/hl7:queryResponseCode")]
    if codes not in (["OK"], ["NF"]):
        said = v3.found(body, "hl7:acknowledgement/hl7:acknowledgementDetail/hl7:code")
        known = sorted(_ERRORS & {one.get("code", "") for one in said[:EVENTS]})
        raise NotAnAnswer(f"it could not answer{f' ({known[0]})' if known else ''} (ITI TF-2: 3.55.4.2.3)")
    if codes == ["NF"]:
        return Answer()
    events = v3.found(body, f"{_ACT}/hl7:subject/hl7:registrationEvent")
    if len(events) > EVENTS:
        raise NotAnAnswer(f"over {EVENTS} patients are named (ITI TF-2: 3.55.4.2.2)")
    wanted = (one.get("code", "") for one in v3.found(body, f"{_ACT}/{_REQUESTED}")[:EVENTS])
    return Answer(tuple(map(_match, events)), frozenset(filter(None, wanted)))


def _match(event: Element) -> Match:
    try:
        ids = tuple(v3.identifiers(event, v3.PATIENT))
    except NotAFeed:
        raise NotAnAnswer("a patient's id is malformed, or there is none (ITI TF-2: 3.55.4.2.2)") from None
    homes = [one.get("root", "") for one in v3.found(event, "hl7:custodian/hl7:assignedEntity/hl7:id")]
    if len(homes) != 1:
        rule = "custodian/assignedEntity/id must say whose patient it is, once"
        raise NotAnAnswer(f"{rule} (ITI TF-2: 3.55.4.2.2.1)")
    roles: Sequence[Element] = v3.found(event, v3.PATIENT)
    if len(roles) != 1:
        raise NotAnAnswer("a registrationEvent is of one patient (ITI TF-2: 3.55.4.2.2)")
    return Match(homes[0], ids, demographics(roles[0]) or Demographics())
