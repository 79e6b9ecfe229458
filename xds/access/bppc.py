"""Reads a BPPC document: the policies of the affinity domain that a patient has agreed to, and from when to when.

ITI TF-3: 5.1 (Basic Patient Privacy Consents).  What agreeing to a policy means is the domain's to say:
``[consent_policies]``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from xds.access.consent import Directive
from xds.access.document_parts import NotRead, named, not_read
from xds.metadata.identifiers import Oid, PatientId
from xds.settings.access import ConsentPolicy
from xds.wire.xml import Element, NotXml, name, parse

# ITI TF-3: 5.1: templates of a document without a scanned part, of one with it, and of the serviceEvent.
CONSENT, WITH_SCAN = "1.3.6.1.4.1.19376.1.5.3.1.1.7", "1.3.6.1.4.1.19376.1.5.3.1.1.7.1"
SERVICE_EVENT = "1.3.6.1.4.1.19376.1.5.3.1.2.6"
PATIENT_CONSENT = ("57016-8", "2.16.840.1.113883.6.1")  # LOINC

MOST_POLICIES = 50
"""Policies that one document names."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a document says: each policy as its code and as CODE^^SYSTEM, and the days on which it holds."""

    policies: tuple[tuple[str, str], ...]
    from_: str
    until: str


def read(data: bytes, patients: Collection[PatientId]) -> Agreed:
    """What a BPPC document says, which has to be about one of these, who are one patient.

    Raises:
        NotRead: it is none, or a part of it is not understood.
    """
    try:
        root = parse(data)
    except NotXml as problem:
        raise NotRead(str(problem)) from None
    if root.tag != name("hl7:ClinicalDocument"):
        raise NotRead("it is no ClinicalDocument of urn:hl7-org:v3")
    if not _templates(root) & {CONSENT, WITH_SCAN}:
        raise NotRead(f"ClinicalDocument/templateId: neither {CONSENT} nor {WITH_SCAN}")
    code = _one(root, "code")
    if (code.get("code"), code.get("codeSystem")) != PATIENT_CONSENT:
        raise NotRead(f"ClinicalDocument/code: it is {PATIENT_CONSENT[0]} of LOINC")
    if not set(_recorded(root)) & set(patients):
        raise NotRead("ClinicalDocument/recordTarget: it is not of the patient of its DocumentEntry")
    events = [_one(one, "serviceEvent") for one in root.findall(name("hl7:documentationOf"))]
    if not 0 < len(events) <= MOST_POLICIES:
        raise NotRead(f"ClinicalDocument/documentationOf: there are 1 to {MOST_POLICIES}")
    agreed = [(_policy(event), _days(event)) for event in events]
    days = {one for _, one in agreed}
    if len(days) > 1:
        raise NotRead("ClinicalDocument/documentationOf: effectiveTime is the same in all of a document")
    return Agreed(tuple(dict.fromkeys(policy for policy, _ in agreed)), *days.pop())


def directives(agreed: Agreed, policies: Mapping[str, ConsentPolicy], source: str) -> list[Directive]:
    """What the policies that were agreed to mean; ``source``: uniqueId of the document.

    Raises:
        NotRead: a policy is none of the domain's, or holds the wrong way round.
    """
    known = {policy.policy: policy for policy in policies.values()}
    found = []
    for code, coded in agreed.policies:
        policy = known.get(coded) or known.get(code)
        if policy is None:
            raise NotRead(f"the policy {named(code)} is none of this affinity domain: [consent_policies]")
        found.append(_directive(policy, agreed, source))
    return list(dict.fromkeys(found))


def _directive(policy: ConsentPolicy, agreed: Agreed, source: str) -> Directive:
    def of(values: Iterable[str]) -> frozenset[str]:
        return frozenset(values)

    try:
        return Directive(
            policy.permit,
            class_codes=of(policy.class_codes), confidentiality_codes=of(policy.confidentiality_codes),
            author_organisations=of(policy.author_organisations), organisations=of(policy.organisations),
            persons=of(policy.persons), roles=of(policy.roles), purposes=of(policy.purposes),
            from_=agreed.from_, until=agreed.until, overridable=policy.overridable, source=source,
        )  # fmt: skip
    except ValueError as problem:
        raise NotRead(f"serviceEvent/effectiveTime: {problem}") from None


def _policy(event: Element) -> tuple[str, str]:
    if (event.get("classCode"), event.get("moodCode")) != ("ACT", "EVN"):
        raise not_read(event, "its classCode is ACT, its moodCode EVN")
    if SERVICE_EVENT not in _templates(event):
        raise not_read(event, f"it is no consent, {SERVICE_EVENT}", "templateId")
    code = _one(event, "code").get("code", "")
    if not code or event.get("nullFlavor") or event.get("negationInd"):
        raise not_read(event, "it names no policy", "code")
    return code, f"{code}^^{_one(event, 'code').get('codeSystem', '')}"


def _days(event: Element) -> tuple[str, str]:
    time = _one(event, "effectiveTime")
    low, high = (_ends(time, end) for end in ("low", "high"))
    if not low or len(low) > 1 or len(high) > 1 or len(time) > len(low) + len(high) or time.get("value"):
        raise not_read(time, "it has a low, and may have a high, and nothing else")
    return _day(low[0]), _day(high[0]) if high else ""


def _ends(time: Element, end: str) -> Sequence[Element]:
    return time.findall(name(f"hl7:{end}"))


def _day(end: Element) -> str:
    """The day of an end; a directive holds for whole days, the first and the last included."""
    if end.get("nullFlavor") and not end.get("value") and end.tag == name("hl7:high"):
        return ""  # it is not known when it ends
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d{2,6}(\.\d{1,4})?([+-]\d{4})?)?", end.get("value", ""), re.ASCII)
    try:
        if match is None or end.get("inclusive", "true") != "true":
            raise ValueError
        return date(*map(int, match.groups()[:3])).isoformat()
    except ValueError:
        raise not_read(end, "it is a day, YYYYMMDD, and part of the time") from None


def _recorded(root: Element) -> Iterator[PatientId]:
    for id_ in root.iterfind(f"{name('hl7:recordTarget')}/{name('hl7:patientRole')}/{name('hl7:id')}"):
        try:
            yield PatientId.of(id_.get("extension", ""), Oid(id_.get("root", "")))
        except ValueError:
            continue  # of another kind, such as one without an extension


def _templates(element: Element) -> set[str]:
    return {one.get("root", "") for one in element.iterfind(name("hl7:templateId"))}


def _one(element: Element, child: str) -> Element:
    found = element.findall(name(f"hl7:{child}"))
    if len(found) != 1:
        raise not_read(element, f"there is one {child} in it")
    return found[0]
