"""Cross Gateway Patient Discovery: whom another community looks for, and under which id this one knows them.

ITI TF-2: 3.55 (PRPA_IN201305UV02 and PRPA_IN201306UV02 of HL7 v3, edition NE2008).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from xds.hl7 import v3
from xds.hl7.v3_demographics import address, person_name, telecom
from xds.metadata.demographics import NAMES, TELECOMS, Address, Demographics, birth_date, sex
from xds.metadata.identifiers import Oid, PatientId, is_oid
from xds.wire.xml import Element, local_name, name

QUERY, ANSWER = "PRPA_IN201305UV02", "PRPA_IN201306UV02"
_BY_PARAMETER = "hl7:controlActProcess/hl7:queryByParameter"
_REQUESTED, _ERRORS = "1.3.6.1.4.1.19376.1.2.27.1", "1.3.6.1.4.1.19376.1.2.27.3"
_LOCATOR = "1.3.6.1.4.1.19376.1.2.27.2"
NOT_AVAILABLE = "AnswerNotAvailable"
"""A code of 1.3.6.1.4.1.19376.1.2.27.3: it cannot be answered, or not so."""

IDS = 30
"""Identifiers of one patient that a query may name."""


class NotAQuery(ValueError):
    """A message that is no query that can be answered; the text names the part at fault, never what it holds."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Whom somebody looks for: by demographics, by identifiers, or by both."""

    demographics: Demographics
    ids: tuple[PatientId, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is answered: a patient of this community; or what more must be said (codes of 1.3.6.1.4.1.19376.1.2.27.1).

    Neither: nobody is found.  ``error``: a code of 1.3.6.1.4.1.19376.1.2.27.3, and ``text`` why.
    """

    patient: PatientId | None = None
    demographics: Demographics | None = None
    wanted: Sequence[str] = ()
    error: str = ""
    text: str = ""


def read(body: Element) -> Discovery:
    """The query that a message is.

    Raises:
        NotAQuery: see there.
    """
    if local_name(body) != QUERY:
        raise NotAQuery(f"the message is no {QUERY} (ITI TF-2: 3.55.4.1)")
    queries = v3.found(body, _BY_PARAMETER)
    if len(queries) != 1:
        raise NotAQuery("exactly one queryByParameter is required (ITI TF-2: 3.55.4.1.2)")
    parameters = queries[0].find(name("hl7:parameterList"))
    if parameters is None:
        raise NotAQuery("parameterList is required (ITI TF-2: 3.55.4.1.2.2)")

    def values(parameter: str, most: int) -> list[Element]:
        return v3.found(parameters, f"hl7:{parameter}/hl7:value")[:most]

    def attribute(parameter: str, of: str) -> str:
        found = values(parameter, 1)
        return str(found[0].get(of, "")) if found else ""

    names = tuple(one for one in map(person_name, values("livingSubjectName", NAMES)) if str(one))
    mothers = values("mothersMaidenName", 1)
    said = Demographics(
        names, birth_date(attribute("livingSubjectBirthTime", "value")),
        sex(attribute("livingSubjectAdministrativeGender", "code")),
        person_name(mothers[0]).family if mothers else "", address(next(iter(values("patientAddress", 1)), None)),
        tuple(filter(None, map(telecom, values("patientTelecom", TELECOMS)))),
    )  # fmt: skip
    ids = _ids(values("livingSubjectId", IDS + 1))
    if not ids and not (said.names and said.born):
        rule = "LivingSubjectName and LivingSubjectBirthTime, or a LivingSubjectId, are required"
        raise NotAQuery(f"{rule} (ITI TF-2: 3.55.4.1.2.1)")
    return Discovery(said, ids)


def _ids(elements: Sequence[Element]) -> tuple[PatientId, ...]:
    """Those whose root is an OID.

    Raises:
        NotAQuery: there are too many, or one is malformed.
    """
    if len(elements) > IDS:
        raise NotAQuery(f"livingSubjectId comes more than {IDS} times, which no patient has (ITI TF-2: 3.55.4.1.2.1)")
    found = []
    for one in elements:
        root, extension = one.get("root", ""), one.get("extension", "").strip()
        if is_oid(root) and extension:
            try:
                found.append(PatientId.of(extension, Oid(root)))
            except ValueError as problem:
                raise NotAQuery(f"livingSubjectId: {problem} (ITI TF-2: 3.55.4.1.2.1)") from None
    return tuple(found)


def answer(body: Element, own: Oid, home: Oid, outcome: Outcome) -> Element:
    """PRPA_IN201306UV02 to a message; ``own`` is the device that answers, ``home`` the community that it is of."""
    root = v3.answering(body, own, ANSWER)
    acknowledgement = v3.add(root, "acknowledgement")
    v3.add(acknowledgement, "typeCode", code="AE" if outcome.error else "AA")
    v3.add(v3.add(acknowledgement, "targetMessage"), "id", **v3.id_of(body))
    if outcome.error:
        detail = v3.add(acknowledgement, "acknowledgementDetail", typeCode="E")
        v3.add(detail, "code", code=outcome.error, codeSystem=_ERRORS)
        v3.add(detail, "text").text = outcome.text
    act = v3.add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    v3.add(act, "code", code="PRPA_TE201306UV02", codeSystem=v3.INTERACTION_ID)
    if outcome.patient is not None:
        _registration(act, outcome.patient, outcome.demographics or Demographics(), home)
    for code in outcome.wanted:
        _asked_for(act, code)
    _query_ack(act, body, _code(outcome))
    return root


def _code(outcome: Outcome) -> str:
    """HL7's QueryResponse: found, an error, or nobody; who wants to know more has found something."""
    if outcome.error:
        return "AE"
    return "OK" if outcome.patient is not None or outcome.wanted else "NF"


def _registration(act: Element, patient: PatientId, said: Demographics, home: Oid) -> None:
    """The event that says under which id the patient is known, with what tells that it is the right one."""
    subject = v3.add(act, "subject", typeCode="SUBJ", contextConductionInd="false")
    event = v3.add(subject, "registrationEvent", classCode="REG", moodCode="EVN")
    v3.add(event, "statusCode", code="active")
    role = v3.add(v3.add(event, "subject1", typeCode="SBJ"), "patient", classCode="PAT")
    v3.add(role, "id", root=patient.authority, extension=patient.id)
    v3.add(role, "statusCode", code="active")
    person = v3.add(role, "patientPerson", classCode="PSN", determinerCode="INSTANCE")
    for one in said.names:
        element = v3.add(person, "name")
        _parts(element, prefix=one.prefix, given=one.given, family=one.family, suffix=one.suffix)
    if not said.names:
        v3.add(person, "name", nullFlavor="UNK")
    if said.sex:
        v3.add(person, "administrativeGenderCode", code={"O": "UN"}.get(said.sex, said.sex))
    if said.born:
        v3.add(person, "birthTime", value=said.born)
    observed = v3.add(v3.add(role, "subjectOf1"), "queryMatchObservation", classCode="COND", moodCode="EVN")
    v3.add(observed, "code", code="IHE_PDQ")
    kind = {f"{{{_XSI}}}type": "INT"}
    etree.SubElement(observed, name("hl7:value"), {**kind, "value": "100"})
    custodian = v3.add(v3.add(event, "custodian", typeCode="CST"), "assignedEntity", classCode="ASSIGNED")
    v3.add(custodian, "id", root=home)
    v3.add(custodian, "code", code="NotHealthDataLocator", codeSystem=_LOCATOR)


_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def _asked_for(act: Element, code: str) -> None:
    """What must be said, too, before anybody is named."""
    reason = v3.add(act, "reasonOf", typeCode="RSON")
    issue = v3.add(reason, "detectedIssueEvent", classCode="ALRT", moodCode="EVN")
    v3.add(issue, "code", code="ActAdministrativeDetectedIssueCode", codeSystem="2.16.840.1.113883.5.4")
    trigger = v3.add(issue, "triggerFor", typeCode="TRIG")
    order = v3.add(trigger, "actOrderRequired", classCode="ACT", moodCode="RQO")
    v3.add(order, "code", code=code, codeSystem=_REQUESTED)


def _query_ack(act: Element, body: Element, code: str) -> None:
    """What became of the query, and the query itself as it came (ITI TF-2: 3.55.4.2.2)."""
    (query, *_) = (*v3.found(body, _BY_PARAMETER), None)
    ack = v3.add(act, "queryAck")
    id_ = None if query is None else query.find(name("hl7:queryId"))
    v3.add(ack, "queryId", **v3.attributes_of(id_))
    v3.add(ack, "queryResponseCode", code=code)
    if query is not None:
        act.append(copy.deepcopy(query))


def message(sought: Discovery, own: Oid, receiver: Oid, home: Oid | None = None) -> Element:
    """PRPA_IN201305UV02: ask another community for a patient; ``home`` is ours, where we answer as well."""
    root = v3.begun(QUERY, "AL")
    v3.device(root, "receiver", "RCV", {"root": receiver})
    v3.device(root, "sender", "SND", {"root": own}, home=home)
    act = v3.add(root, "controlActProcess", classCode="CACT", moodCode="EVN")
    v3.add(act, "code", code="PRPA_TE201305UV02", codeSystem=v3.INTERACTION_ID)
    query = v3.add(act, "queryByParameter")
    v3.add(query, "queryId", root=str(uuid.uuid4()))
    v3.add(query, "statusCode", code="new")
    v3.add(query, "responsePriorityCode", code="I")
    parameters = v3.add(query, "parameterList")
    said = sought.demographics
    if code := _GENDERS.get(said.sex, ""):
        _parameter(parameters, "livingSubjectAdministrativeGender", "LivingSubject.administrativeGender", code=code)
    if said.born:
        _parameter(parameters, "livingSubjectBirthTime", "LivingSubject.birthTime", value=said.born)
    for one in sought.ids:
        _parameter(parameters, "livingSubjectId", "LivingSubject.id", root=one.authority, extension=one.id)
    for named in said.names[:1]:
        value = _parameter(parameters, "livingSubjectName", "LivingSubject.name")
        _parts(value, given=named.given, family=named.family)
    if said.mothers_maiden_name:
        mother = _parameter(parameters, "mothersMaidenName", "Person.MothersMaidenName")
        v3.add(mother, "family").text = said.mothers_maiden_name
    _where(parameters, said)
    return root


def _where(parameters: Element, said: Demographics) -> None:
    """Where a patient lives, and is called."""
    lives = said.address
    if lives != Address():
        value = _parameter(parameters, "patientAddress", "Patient.addr")
        _parts(
            value, streetAddressLine=lives.street, city=lives.city, state=lives.state, postalCode=lives.postal_code,
            country=lives.country,
        )  # fmt: skip
    if said.telecoms:
        parameter = v3.add(parameters, "patientTelecom")
        for one in said.telecoms:
            v3.add(parameter, "value", value=f"mailto:{one}" if "@" in one else f"tel:{one}")
        v3.add(parameter, "semanticsText").text = "Patient.telecom"


_GENDERS = {"F": "F", "M": "M", "O": "UN"}
"""AdministrativeGender by the codes of HL7's table 0001; it has no others."""


def _parts(element: Element, **texts: str) -> None:
    """The parts of a name or an address that there are, in their order."""
    for tag, text in texts.items():
        if text:
            v3.add(element, tag).text = text


def _parameter(parameters: Element, tag: str, semantics: str, **value: str) -> Element:
    element = v3.add(parameters, tag)
    found = v3.add(element, "value", **value)
    v3.add(element, "semanticsText").text = semantics
    return found
