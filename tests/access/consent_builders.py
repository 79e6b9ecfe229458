"""Consent documents of our own writing, for tests to spoil: BPPC as CDA, APPC as XACML 3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.builders import ANNA
from xds.metadata.identifiers import PatientId

OPT_OUT = "1.2.3.4.77.1"


def a_bppc(
    *policies: str, patient: PatientId = ANNA, low: str = "20260101", high: str = "", scanned: bool = False
) -> bytes:
    """A BPPC document by which a patient agrees to policies."""
    templates = "1.3.6.1.4.1.19376.1.5.3.1.1.7.1" if scanned else "1.3.6.1.4.1.19376.1.5.3.1.1.7"
    end = f'<high value="{high}"/>' if high else ""
    events = "".join(
        f"""<documentationOf typeCode="DOC"><serviceEvent classCode="ACT" moodCode="EVN">
        <templateId root="1.3.6.1.4.1.19376.1.5.3.1.2.6"/><id root="1.2.3.4.78.{n}"/>
        <code code="{policy}" codeSystem="1.2.3.4.77" displayName="a policy"/>
        <effectiveTime><low value="{low}"/>{end}</effectiveTime></serviceEvent></documentationOf>"""
        for n, policy in enumerate(policies or (OPT_OUT,), 1)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
    <ClinicalDocument xmlns="urn:hl7-org:v3">
      <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
      <templateId root="1.3.6.1.4.1.19376.1.5.3.1.1.1"/><templateId root="{templates}"/>
      <id root="1.2.3.4.79.1"/>
      <code code="57016-8" codeSystem="2.16.840.1.113883.6.1" displayName="Patient privacy acknowledgment"/>
      <title>Consent</title><effectiveTime value="20260101"/>
      <recordTarget><patientRole><id root="{patient.authority}" extension="{patient.id}"/></patientRole></recordTarget>
      {events}
      <component><nonXMLBody><text>As agreed.</text></nonXMLBody></component>
    </ClinicalDocument>""".encode()


SUBJECT = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject"
RESOURCE = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource"
ENVIRONMENT = "urn:oasis:names:tc:xacml:3.0:attribute-category:environment"
XSD = "http://www.w3.org/2001/XMLSchema#"
FUNCTION = "urn:oasis:names:tc:xacml:1.0:function:"
DENY_OVERRIDES = "urn:oasis:names:tc:xacml:3.0:{}-combining-algorithm:deny-overrides"


@dataclass(frozen=True)
class Match:
    """A Match of a target: an attribute has a value."""

    attribute: str
    category: str
    type: str
    function: str
    value: str  # XML

    def xml(self) -> str:
        return (
            f'<Match MatchId="{self.function}"><AttributeValue DataType="{self.type}">{self.value}</AttributeValue>'
            f'<AttributeDesignator Category="{self.category}" AttributeId="{self.attribute}" DataType="{self.type}"'
            ' MustBePresent="false"/></Match>'
        )


def _text(attribute: str, category: str, value: str, kind: str = "string") -> Match:
    return Match(attribute, category, XSD + kind, f"{FUNCTION}{kind}-equal", value)


def _coded(attribute: str, category: str, code: str, system: str) -> Match:
    value = f'<CodedValue xmlns="urn:hl7-org:v3" code="{code}" codeSystem="{system}"/>'
    return Match(attribute, category, "urn:hl7-org:v3#CV", "urn:hl7-org:v3:function:CV-equal", value)


def _instance(attribute: str, root: str, extension: str = "") -> Match:
    more = f' extension="{extension}"' if extension else ""
    value = f'<InstanceIdentifier xmlns="urn:hl7-org:v3" root="{root}"{more}/>'
    return Match(attribute, RESOURCE, "urn:hl7-org:v3#II", "urn:hl7-org:v3:function:II-equal", value)


def of_patient(patient: PatientId = ANNA) -> Match:
    return _instance("urn:oasis:names:tc:xacml:2.0:resource:resource-id", patient.authority, patient.id)


def document(unique_id: str) -> Match:
    return _text("urn:oasis:names:tc:xacml:1.0:resource:resource-id", RESOURCE, unique_id)


def of_class(code: str, system: str) -> Match:
    return _coded("urn:ihe:iti:appc:2016:document-entry:class-code", RESOURCE, code, system)


def confidential(code: str, system: str = "2.16.840.1.113883.5.25") -> Match:
    return _coded("urn:ihe:iti:appc:2016:document-entry:confidentiality-code", RESOURCE, code, system)


def written_at(root: str) -> Match:
    return _instance("urn:ihe:iti:appc:2016:author-institution:id", root)


def organisation(oid: str) -> Match:
    return _text("urn:oasis:names:tc:xspa:1.0:subject:organization-id", SUBJECT, f"urn:oid:{oid}", "anyURI")


def person(id_: str) -> Match:
    return _text("urn:oasis:names:tc:xacml:1.0:subject:subject-id", SUBJECT, id_)


def role(code: str, system: str = "roles") -> Match:
    return _coded("urn:oasis:names:tc:xacml:2.0:subject:role", SUBJECT, code, system)


def purpose(code: str, system: str = "p") -> Match:
    return _coded("urn:oasis:names:tc:xspa:1.0:subject:purposeofuse", SUBJECT, code, system)


def day(day_: str, *, until: bool = False) -> Match:
    function = FUNCTION + ("date-greater-than-or-equal" if until else "date-less-than-or-equal")
    return Match("urn:oasis:names:tc:xacml:1.0:environment:current-date", ENVIRONMENT, XSD + "date", function, day_)


def target(*any_ofs: Iterable[Iterable[Match]]) -> str:
    """All of these, each of which is any of some conjunctions."""
    inside = "".join(
        "<AnyOf>" + "".join(f"<AllOf>{''.join(m.xml() for m in all_of)}</AllOf>" for all_of in any_of) + "</AnyOf>"
        for any_of in any_ofs
    )
    return f"<Target>{inside}</Target>"


def a_rule(effect: str, *any_ofs: Iterable[Iterable[Match]], more: str = "") -> str:
    return f'<Rule RuleId="urn:x:rule" Effect="{effect}">{target(*any_ofs)}{more}</Rule>'


def one_of(*matches: Match) -> list[list[Match]]:
    """An AnyOf of single matches."""
    return [[match] for match in matches]


def all_of(*matches: Match) -> list[list[Match]]:
    """An AnyOf of one conjunction."""
    return [list(matches)]


def an_appc(*rules: str, patient: PatientId = ANNA, more: str = "") -> bytes:
    """An APPC document of a patient, of these rules or of one that withholds everything from a hospital."""
    rules = rules or (a_rule("Deny", one_of(organisation("1.2.9"))),)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
    <PolicySet xmlns="urn:oasis:names:tc:xacml:3.0:core:schema:wd-17" PolicySetId="urn:x:set" Version="1.0"
        PolicyCombiningAlgId="{DENY_OVERRIDES.format("policy")}">
      <Description>What a patient wants</Description>
      {target(one_of(of_patient(patient)))}
      <Policy PolicyId="urn:x:policy" Version="1.0" RuleCombiningAlgId="{DENY_OVERRIDES.format("rule")}">
        <Target/>{"".join(rules)}
      </Policy>{more}
    </PolicySet>""".encode()
