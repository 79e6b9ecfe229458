"""ITI-8 and ITI-44: who may be made known, and who may go on as whom.  ITI TF-2: 3.8, 3.44."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.builders import ANNA, BERT
from tests.conformance.rule import Desk, Rule, stranger
from tests.hl7.test_v2 import adt
from tests.hl7.test_v3 import body, device, ii, interaction
from xds.errors import ErrorCode
from xds.metadata.identifiers import Oid, PatientId
from xds.wire.xml import parse

ITI_8, ITI_44, BOTH = ("ITI-8",), ("ITI-44",), ("ITI-8", "ITI-44")
FEED = "ITI TF-2: 3.8.4"
FOREIGN = PatientId("x", Oid("1.9.9"))


def fed(text: str) -> Callable[[Desk, str], None]:
    return lambda desk, _: desk.feed(text)


def said(name: str, **parts: str) -> Callable[[Desk, str], None]:
    return lambda desk, _: desk.feed(body(name, **parts))


def altered(part: str, other: str) -> Callable[[Desk, str], None]:
    return lambda desk, _: desk.feed(parse(interaction().replace(part, other).encode()))


def _swapped(text: str) -> str:
    first, event, patient, *others = text.split("\r")
    return "\r".join([first, patient, event, *others])


RECEIVER = f'<receiver typeCode="RCV">{device("1.2.8")}</receiver>'


def _another_interaction(desk: Desk, _: str) -> None:
    desk.feed(parse(interaction("PRPA_IN201303UV02").encode()))


def _no_event(desk: Desk, _: str) -> None:
    desk.feed(parse(interaction().replace("registrationEvent", "registrationOther").encode()))


def _two_subsumed(desk: Desk, number: str) -> None:
    if number == "ITI-8":
        desk.feed(adt("A40", pid=str(BERT), mrg=f"{ANNA}~{stranger()}"))
    else:
        desk.feed(body("PRPA_IN201304UV02", ids=ii(BERT), prior=ii(ANNA) + ii(stranger())))


def added(who: PatientId) -> Callable[[Desk, str], None]:
    def attempt(desk: Desk, number: str) -> None:
        desk.feed(adt(pid=str(who)) if number == "ITI-8" else body("PRPA_IN201301UV02", ids=ii(who)))

    return attempt


def merged(
    subsumed: PatientId, surviving: PatientId, before: tuple[PatientId, PatientId] | None = None
) -> Callable[[Desk, str], None]:
    """One goes on as the other, maybe after a merge before."""

    def attempt(desk: Desk, number: str) -> None:
        if before is not None:
            desk.site(lambda store: store.merge(*before))
        if number == "ITI-8":
            desk.feed(adt("A40", pid=str(surviving), mrg=str(subsumed)))
        else:
            desk.feed(body("PRPA_IN201304UV02", ids=ii(surviving), prior=ii(subsumed)))

    return attempt


RULES = (
    Rule(ITI_8, "A message is of one patient", FEED, fed(adt("A40", mrg=str(ANNA)) + f"MRG|{BERT}\r"), "100", "MRG"),
    Rule(ITI_8, "An id has no escapes but those of delimiters", "HL7 v2.5: 2.7.1",
         fed(adt(pid="a\\Z1\\^^^&1.2.3.4.5&ISO")), "102", "PID-3.1"),
    Rule(ITI_44, "An id is text", "ITI TF-2: 3.44.4", said("PRPA_IN201301UV02", ids=ii(replace(ANNA, id="x" * 300))),
         "207", "extension"),
    Rule(BOTH, "One patient is subsumed in a message", "ITI TF-2: 3.8.4.2.2", _two_subsumed,
         ErrorCode.UNKNOWN_PATIENT_ID, "one patient is subsumed"),
    Rule(ITI_8, "A message begins with MSH", "HL7 v2.3.1: 2.24.1", fed("PID|||x\r"), "100", "MSH"),
    Rule(ITI_8, "A message names its delimiters", "HL7 v2.3.1: 2.7", fed("MSH&|&MSHP|00|"), "100", "MSH-2"),
    Rule(ITI_8, "A message has 200 segments at the most", "HL7 v2.3.1: 2.10", fed(adt() + "NTE|1\r" * 300), "100",
         "200 segments"),
    Rule(ITI_8, "A message has 20,000 fields, repetitions and components at the most", "HL7 v2.3.1: 2.10",
         fed(adt() + "NTE|1|" + "^" * 20_000 + "\r"), "100", "fields"),
    Rule(ITI_8, "A patient has 30 ids at the most", f"{FEED}.1.2", fed(adt(pid="~".join([str(ANNA)] * 31))), "102",
         "PID-3"),
    Rule(ITI_44, "A patient has 30 ids at the most", "ITI TF-2: 3.44.4",
         said("PRPA_IN201301UV02", ids=ii(ANNA) * 31), "207", "/id"),
    Rule(ITI_8, "The message type is ADT", FEED, fed(adt(type="ORU^R01")), "200", "MSH-9.1"),
    Rule(ITI_8, "The event is A01, A04, A05, A08 or A40", FEED, fed(adt("A02")), "201", "MSH-9.2"),
    Rule(ITI_8, "The version is 2.x", FEED, fed(adt(version="3")), "203", "MSH-12"),
    Rule(ITI_8, "The processing id is P, T or D", "HL7 v2.3.1: table 0103", fed(adt().replace("|P|", "|X|")), "202",
         "MSH-11"),
    Rule(ITI_8, "Segments are in their order", f"{FEED}.1.2", fed(_swapped(adt())), "100", "EVN"),
    Rule(ITI_44, "interactionId is the message's own", "ITI TF-2: 3.44.4",
         altered('extension="PRPA_IN201301UV02"', 'extension="PRPA_IN201304UV02"'), "207", "interactionId"),
    Rule(ITI_44, "The processing mode is T", "ITI TF-2: 3.44.4",
         altered('processingModeCode code="T"', 'processingModeCode code="R"'), "207", "processingModeCode"),
    Rule(ITI_44, "A message has one receiver", "ITI TF-2: 3.44.4", altered(RECEIVER, RECEIVER * 2), "207",
         "receiver"),
    Rule(ITI_8, "A message has a control id", "HL7 v2.3.1: 2.24.1", fed(adt(control="")), "101", "MSH-10"),
    Rule(ITI_8, "PID-3 is required", f"{FEED}.1.2", fed(adt(pid="")), "101", "PID-3"),
    Rule(ITI_8, "PID-3.1 is required", f"{FEED}.1.2", fed(adt(pid="^^^&1.2&ISO")), "101", "PID-3.1"),
    Rule(ITI_8, "A merge has MRG-1", f"{FEED}.1.2", fed(adt("A40")), "101", "MRG-1"),
    Rule(ITI_44, "The interaction is add, revise or merge", "ITI TF-2: 3.44.4", _another_interaction, "207",
         "interaction"),
    Rule(ITI_44, "An interaction has one registrationEvent", "ITI TF-2: 3.44.4.1.2",
         _no_event, "207", "registrationEvent"),
    Rule(ITI_44, "A registrationEvent has a patient id", "ITI TF-2: 3.44.4", said("PRPA_IN201301UV02", ids=""), "207",
         "id is required"),
    Rule(ITI_44, "A merge has one priorRegistration", "ITI TF-2: 3.44.4.2.2", said("PRPA_IN201304UV02"), "207",
         "priorRegistration"),
    Rule(BOTH, "An identifier is of the domain's assigning authority", FEED, added(FOREIGN),
         ErrorCode.UNKNOWN_PATIENT_ID, "assigning authority"),
    Rule(BOTH, "A merge is of two patients of the domain's", FEED, merged(FOREIGN, ANNA),
         ErrorCode.UNKNOWN_PATIENT_ID, "subsumed"),
    Rule(BOTH, "A patient is not merged with itself", "ITI TF-2: 3.8.4.2.3", merged(ANNA, ANNA),
         ErrorCode.UNKNOWN_PATIENT_ID, "itself"),
    Rule(BOTH, "The subsumed patient is known", "ITI TF-2: 3.8.4.2.3", merged(stranger(), ANNA),
         ErrorCode.UNKNOWN_PATIENT_ID, "subsumed"),
    Rule(BOTH, "The surviving patient is known", "ITI TF-2: 3.8.4.2.3", merged(ANNA, stranger()),
         ErrorCode.UNKNOWN_PATIENT_ID, "surviving"),
    Rule(BOTH, "A patient is subsumed once", "ITI TF-2: 3.8.4.2.3", merged(ANNA, BERT, (ANNA, BERT)),
         ErrorCode.UNKNOWN_PATIENT_ID, "subsumed"),
)  # fmt: skip
