"""Records as AuditEvents: each kind of ours, and what peers write, is as FHIR R4 wants it, and nothing is made up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.endpoints.fhir.shape import wrong
from tests.extent import examples
from tests.places import GOLDEN
from xds.audit.messages.message_xml import as_xml_has
from xds.endpoints.fhir.audit_event import resource
from xds.store.audit.records import Recorded


def of(message: bytes) -> Recorded:
    return Recorded(message, "", "", 0, id=1, origin="tcp 192.0.2.1 commonName=a b")


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.iterdir()))
def test_every_kind_of_record_is_as_fhir_wants_it(name: str) -> None:
    assert wrong(resource(of((GOLDEN / f"{name}.xml").read_bytes()))) == []


def coded(tag: str, code: str, system: str, text: str = "x") -> str:
    return f'<{tag} csd-code="{code}" codeSystemName="{system}" originalText="{text}"/>'


def a_record(
    event: str = coded("EventID", "110112", "DCM", "Query"),
    source: str = "",
    kind: str = coded("ParticipantObjectIDTypeCode", "2", "RFC-3881", "Patient Number"),
    more: str = "",
    attributes: str = 'ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1"',
) -> bytes:
    return (
        f'<AuditMessage><EventIdentification EventActionCode="E" EventDateTime="2026-03-01T08:00:00Z" '
        f'EventOutcomeIndicator="0">{event}</EventIdentification><ActiveParticipant UserID="a" UserIsRequestor="true"/>'
        f'<AuditSourceIdentification AuditSourceID="s">{source}</AuditSourceIdentification>'
        f'<ParticipantObjectIdentification ParticipantObjectID="anna" {attributes}>{kind}{more}'
        "</ParticipantObjectIdentification></AuditMessage>"
    ).encode()


@pytest.mark.parametrize(
    ("code", "system", "said"),
    [
        # RFC 3881's 2 is a Patient Number; FHIR's audit-entity-type has 2 for a System Object.
        ("2", "RFC-3881", {"text": "x"}),
        ("12", "RFC-3881", {"text": "x"}),
        ("urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd", "IHE XDS Metadata", {"text": "x"}),
        ("c", "", {"text": "x"}),
        ("c", "99 OURS", {"text": "x"}),
        ("c", "http://has a/blank", {"text": "x"}),
        ("c", "1.2.840", {"coding": [{"system": "urn:oid:1.2.840", "code": "c", "display": "x"}]}),
        ("c", "1..2 x", {"text": "x"}),
        ("c", "urn:ours", {"coding": [{"system": "urn:ours", "code": "c", "display": "x"}]}),
        ("ITI-18", "IHE Transactions",
         {"coding": [{"system": "urn:ihe:event-type-code", "code": "ITI-18", "display": "x"}]}),
    ],
)  # fmt: skip
def test_a_system_is_named_by_a_uri_or_not_at_all(code: str, system: str, said: object) -> None:
    kind = coded("ParticipantObjectIDTypeCode", code, system)
    found = resource(of(a_record(kind=kind)))
    assert wrong(found) == []
    assert found["entity"][0]["what"]["identifier"]["type"] == said


@pytest.mark.parametrize(
    "spoilt",
    [
        a_record(event=coded("EventID", "", "", "")),
        a_record(event=""),
        a_record(event=coded("EventID", "a  b", "no uri", " ")),
        a_record(event=coded("EventID", "110112", "DCM") + coded("EventTypeCode", "", "", "")),
        a_record(source=coded("AuditSourceTypeCode", "4", "DCM", "Application Server Process tier")),
        a_record(source=coded("AuditSourceTypeCode", "99", "", "")),
        a_record(source='<AuditSourceTypeCode code="4"/>'),
        a_record(kind=""),
        a_record(attributes='ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="26"'),
        a_record(attributes='ParticipantObjectTypeCode="9" ParticipantObjectDataLifeCycle="15"'),
        a_record(more='<ParticipantObjectDetail type="" value="AAAA"/><ParticipantObjectDetail type="x" value=""/>'),
        a_record(more="<ParticipantObjectName> </ParticipantObjectName>"),
        a_record(more="<ParticipantObjectName>n</ParticipantObjectName><ParticipantObjectQuery/>"),
        a_record(more="<ParticipantObjectName>n</ParticipantObjectName>"
                      "<ParticipantObjectQuery>AAAA</ParticipantObjectQuery>"),
        a_record().replace(b'UserID="a"', b'UserID=" "').replace(b'AuditSourceID="s"', b'AuditSourceID=" "'),
        b"nonsense",
        b"",
    ],
)  # fmt: skip
def test_what_peers_write_is_as_fhir_wants_it(spoilt: bytes) -> None:
    assert wrong(resource(of(spoilt))) == []


any_text = st.text(max_size=12).map(as_xml_has).map(lambda t: t.translate(str.maketrans("", "", '<>&"')))


@given(any_text, any_text, any_text)
@settings(max_examples=examples(150))
def test_whatever_a_code_says_it_is_as_fhir_wants_it(code: str, system: str, text: str) -> None:
    tags = ("EventID", "EventTypeCode", "PurposeOfUse", "AuditSourceTypeCode", "ParticipantObjectIDTypeCode")
    event, source, kind = (
        "".join(coded(tag, code, system, text) for tag in some) for some in (tags[:3], tags[3:4], tags[4:])
    )
    assert wrong(resource(of(a_record(event, source, kind)))) == []


def test_the_table_finds_what_is_wrong() -> None:
    good = resource(of(a_record()))
    for place, name, value in (
        (good, "recorded", "yesterday"), (good, "type", {}), (good, "agent", []), (good, "more", "x"),
        (good, "outcome", "5"), (good["entity"][0], "query", "AAAA"), (good["type"], "system", "has blanks"),
        (good["source"], "observer", None), (good["entity"][0]["type"], "code", "12"),
    ):  # fmt: skip
        kept = place.get(name)
        if name == "query":
            place["name"] = "x"
        place[name] = value
        assert wrong(good) != [], name
        place.pop("name", None)
        place[name] = kept
        if kept is None:
            del place[name]
    assert wrong(good) == []
