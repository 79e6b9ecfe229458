"""Audit messages against golden ones, typed from ITI TF-2, RAD TF-2 and DICOM PS3.15: A.5 and not from our output."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.audit.logs import NOW
from tests.builders import ANNA, a_submission
from tests.extent import examples
from tests.places import GOLDEN
from xds.audit.messages import objects
from xds.audit.messages.codes import EVENT_IDS, REPORT_NUMBER
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource, Detail, ParticipantObject
from xds.audit.messages.message_xml import read
from xds.audit.messages.parties import Party, Side
from xds.audit.messages.people import Person, asked_by
from xds.audit.messages.plain import words
from xds.ebxml import lcm
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding, Severity
from xds.metadata import to_ebxml
from xds.metadata.identifiers import UniqueId
from xds.queries import catalogue
from xds.server.application import Application
from xds.settings.configuration import load
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit.records import Recorded
from xds.store.deployment import with_identity
from xds.transactions import (
    iti18_registry_stored_query,
    iti38_cross_gateway_query,
    iti39_cross_gateway_retrieve,
    iti41_provide_and_register_document_set_b,
    iti42_register_document_set_b,
    iti43_retrieve_document_set,
    iti55_cross_gateway_patient_discovery,
    rad69_retrieve_imaging_document_set,
    rad75_cross_gateway_retrieve_imaging_document_set,
)
from xds.transactions.transaction import Transaction
from xds.wire.addressing import Addressing
from xds.wire.assertion import Assertion, Code
from xds.wire.http import HttpRequest
from xds.wire.soap import Message
from xds.wire.xml import Element, parse, schema

STARTED = int(NOW.timestamp() * 1_000_000)
FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
REPOSITORY, HOME = "1.2.3.4.6", "urn:oid:1.2.3.4.8"
NODE = AuditSource("xds.hospital.example", "Hospital")
HERE = Party("https://xds.hospital.example/registry", "xds.hospital.example", ours=True)
PEER = Party("192.0.2.7", "192.0.2.7", requestor=True)


def about_query(event: AuditEvent, home: str | None = None) -> None:
    slots = (Slot("$XDSDocumentEntryPatientId", (f"'{ANNA}'",)), Slot("$XDSDocumentEntryStatus", ("('x')",)))
    event.about_query(AdhocQuery(FIND_DOCUMENTS, "LeafClass", slots, home), b"<query/>")


def about_query_of_a_community(event: AuditEvent) -> None:
    about_query(event, HOME)


def about_submission(event: AuditEvent) -> None:
    submission = to_ebxml.submission(a_submission(unique_id=UniqueId("2.25.7.1")))
    event.about_objects(lcm.read_submit_objects(lcm.write_submit_objects(submission)))


def about_documents(event: AuditEvent) -> None:
    event.about_patient(str(ANNA))
    event.about_documents(
        [DocumentRequest(REPOSITORY, "2.25.8.1", HOME), DocumentRequest(REPOSITORY, "2.25.8.2")],
    )


def about_studies(event: AuditEvent) -> None:
    event.about_patient(str(ANNA))

    def instance(study: str, series: str, number: int, home: str | None) -> InstanceRequest:
        document = DocumentRequest(REPOSITORY, f"{series}.{number}", home)
        return InstanceRequest(study, series, document)

    one, two = "1.2.840.1", "1.2.840.2"
    first, other = instance(one, f"{one}.1", 1, HOME), instance(two, f"{two}.1", 1, None)
    event.about_studies(ImagingRequest((first, other, instance(one, f"{one}.1", 2, HOME)), ()))


FIND_DOCUMENTS, GET_ALL = catalogue.FIND_DOCUMENTS.id, catalogue.GET_ALL.id

CASES: dict[str, tuple[Transaction, str, Callable[[AuditEvent], None]]] = {
    "iti18": (iti18_registry_stored_query.TRANSACTION, "/registry", about_query),
    "iti38": (iti38_cross_gateway_query.TRANSACTION, "/responding-gateway", about_query_of_a_community),
    "iti39": (iti39_cross_gateway_retrieve.TRANSACTION, "/responding-gateway", about_documents),
    "iti41": (iti41_provide_and_register_document_set_b.TRANSACTION, "/repository", about_submission),
    "iti42": (iti42_register_document_set_b.TRANSACTION, "/registry", about_submission),
    "iti43": (iti43_retrieve_document_set.TRANSACTION, "/repository", about_documents),
    "rad69": (rad69_retrieve_imaging_document_set.TRANSACTION, "/imaging-source", about_studies),
    "rad75": (
        rad75_cross_gateway_retrieve_imaging_document_set.TRANSACTION, "/responding-gateway", about_studies,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("site")
    given_ = {
        "server.data": str(folder),
        "server.database": f"sqlite:///{folder}/xds.sqlite",
        "server.public_url": "https://xds.hospital.example",
        "audit.source_id": NODE.source_id,
        "audit.enterprise_site_id": NODE.enterprise_site_id,
    }
    application = Application(with_identity(load(environment={}).changed(given_, "a test")))
    yield application
    application.close()


def an_event(application: Application, case: str, side: Side, reply_to: str = "") -> AuditEvent:
    """The record of a transaction that has reached us, or that we have started."""
    transaction, path, about = CASES[case]
    if side is Side.INITIATOR:
        event = application.domains[DEFAULT_DOMAIN].events.started(transaction, f"https://peer.example{path}")
    else:
        url = f"https://xds.hospital.example{path}"
        request = HttpRequest("POST", path, "", "", lambda _: b"", "192.0.2.7", url)
        message = Message(Addressing(transaction.action, reply_to=reply_to), etree.Element("x"))
        event = application.domains[DEFAULT_DOMAIN].events.event(transaction, side, request, message)
    about(event)
    event.started = STARTED
    return event


def same(found: bytes, golden: str) -> bool:
    text = (GOLDEN / f"{golden}.xml").read_text().replace("PROCESS", str(os.getpid()))
    expected = etree.canonicalize(text, strip_text=True)
    assert etree.canonicalize(found.decode(), strip_text=True) == expected
    return True


def valid(message: bytes) -> Element:
    """The message, which is valid by our schema and says who and what."""
    root = parse(message)
    schema("audit-message.xsd").assertValid(root)
    for element in root.iter():
        for attribute in ("UserID", "AuditSourceID", "csd-code", "codeSystemName"):
            assert element.get(attribute) != ""
    return root


def test_a_query_for_a_person_names_them_their_organisation_and_the_purpose_of_use(application: Application) -> None:
    person = Person.of(Assertion(
        "https://idp.hospital.example", "anna.meier", "am", "Dr. Anna Meier", ("North Hospital",), ("urn:oid:1.2.3.9",),
        (Code("223366009", "2.16.840.1.113883.6.96", "SNOMED_CT", "Radiologist"),),
        (Code("TREATMENT", "2.16.840.1.113883.1.11.20448", "PurposeOfUse", "Treatment"),),
    ))  # fmt: skip
    with asked_by(person):
        event = an_event(application, "iti18", Side.RESPONDER)
    event.end(failed=False)
    (record,) = event.records()
    assert same(record.message, "iti18_responder_xua")
    valid(record.message)


def test_who_is_looked_for_by_another_community_is_named_where_they_were_found(application: Application) -> None:
    """Of ITI-55 the responder's record alone has a patient (ITI TF-2: 3.55.5.1)."""
    transaction, url = iti55_cross_gateway_patient_discovery.TRANSACTION, "https://xds.hospital.example"
    request = HttpRequest("POST", "", "", "", lambda _: b"", "192.0.2.7", f"{url}/responding-gateway")
    message = Message(Addressing(transaction.action), etree.Element("x"))
    event = application.domains[DEFAULT_DOMAIN].events.event(transaction, Side.RESPONDER, request, message)
    event.started = STARTED
    event.about_question("1.2.3.4.9", b"<queryByParameter/>")
    event.about_patient(str(ANNA))
    event.end(failed=False)
    (record,) = event.records()
    assert same(record.message, "iti55_responder")
    valid(record.message)
    asking = application.domains[DEFAULT_DOMAIN].events.started(transaction, "https://south.example/rg")
    asking.started = STARTED
    asking.about_question("1.2.3.4.9", b"<queryByParameter/>")
    asking.end(failed=False)
    (record,) = asking.records()
    assert same(record.message, "iti55_initiator")
    valid(record.message)


@pytest.mark.parametrize(("query_id", "slots"), [
    (FIND_DOCUMENTS, [("$XDSDocumentEntryPatientId", "'PATIENT'")]),
    (FIND_DOCUMENTS, [("$XDSDocumentEntryPatientId", "( 'PATIENT' )")]),
    (FIND_DOCUMENTS, [("$XDSDocumentEntryPatientId", "('PATIENT','bert')")]),
    (FIND_DOCUMENTS, [("$XDSDocumentEntryPatientId", "'PATIENT'"), ("$XDSFolderPatientId", "'bert^^^&1.2&ISO'")]),
    (FIND_DOCUMENTS, [("$XDSFolderPatientId", "''"), ("$XDSDocumentEntryPatientId", "'PATIENT'")]),
    (GET_ALL, [("$patientId", "'PATIENT'")]),
    ("urn:uuid:unknown", [("$XDSDocumentEntryPatientId", "'PATIENT'")]),
])  # fmt: skip
def test_a_query_is_about_the_patient_that_it_asks_for_whatever_stands_beside(
    application: Application, query_id: str, slots: list[tuple[str, str]]
) -> None:
    event = an_event(application, "iti18", Side.RESPONDER)
    event.patient_id = ""
    given_ = tuple(Slot(name, (value.replace("PATIENT", str(ANNA)),)) for name, value in slots)
    event.about_query(AdhocQuery(query_id, "LeafClass", given_), b"<query/>")
    assert event.patient_id == str(ANNA)


def test_very_many_documents_are_told_in_several_records_and_long_ids_as_far_as_there_is_room(
    application: Application,
) -> None:
    event = an_event(application, "iti43", Side.RESPONDER)
    event.objects.clear()
    quotes = '"' * 5000
    event.about_documents([DocumentRequest(REPOSITORY, f"2.25.{n}{quotes}") for n in range(objects.OBJECTS * 2 + 1)])
    event.end(failed=False)
    records = event.records()
    assert [len(read(one.message).objects) for one in records] == [objects.OBJECTS, objects.OBJECTS, 1]
    assert all(len(thing.id) <= objects.LENGTH for one in records for thing in read(one.message).objects)


def test_very_many_instances_of_a_study_are_told_in_parts(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "DETAILS", 2)
    event = an_event(application, "rad69", Side.RESPONDER)
    event.end(failed=False)
    (record,) = event.records()
    things = read(record.message).objects
    assert [thing.id for thing in things] == ["anna^^^&1.2.3.4.5&ISO", "1.2.840.1", "1.2.840.1", "1.2.840.2"]
    assert all(len(thing.details) <= 2 for thing in things)


def test_a_study_is_told_with_its_sop_classes_and_how_many_instances_of_each(application: Application) -> None:
    """DICOM PS3.15: A.5.3.7; what is not known of the other study is left out."""
    event = an_event(application, "rad69", Side.RESPONDER)
    ct = "1.2.840.10008.5.1.4.1.1.2"
    event.of_classes([("1.2.840.1.1.1", ct), ("1.2.840.1.1.2", ct), ("1.2.840.9.9.9", ct)])
    event.end(failed=False)
    (record,) = event.records()
    assert same(record.message, "rad69_responder_classes")
    valid(record.message)
    assert "2 CT Image Storage" in words(record.message)


def test_what_is_done_in_an_emergency_raises_an_alert_about_the_same_patient(application: Application) -> None:
    with asked_by(Person("anna", overrides=True)):
        event = an_event(application, "iti18", Side.RESPONDER)
    event.end(failed=True)
    query, alert = event.records()
    assert (query.event, alert.event) == ("110112", "110113")
    assert alert.patient_id == query.patient_id == str(ANNA)
    assert (query.outcome, alert.outcome) == (8, 8)
    root = valid(alert.message)
    assert root.find(".//EventTypeCode").get("csd-code") == "110127"  # type: ignore[union-attr]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("case", CASES)
def test_each_side_of_each_transaction_writes_the_golden_message(
    application: Application, case: str, side: Side
) -> None:
    event = an_event(application, case, side)
    event.end(failed=False)
    (record,) = event.records()
    assert same(record.message, f"{case}_{side.value}")
    valid(record.message)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.xml")), ids=lambda file: file.stem)
def test_the_golden_messages_are_valid_themselves(file: Path) -> None:
    valid(file.read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_what_a_record_is_searched_by_is_what_its_message_says(application: Application, case: str) -> None:
    event = an_event(application, case, Side.INITIATOR)
    event.end(failed=False)
    (record,) = event.records()
    root = valid(record.message)
    assert record.event == root.find(".//EventID").get("csd-code")  # type: ignore[union-attr]
    assert record.transaction == CASES[case][0].number
    assert (record.outcome, record.patient_id, record.recorded) == (0, str(ANNA), STARTED)


def test_a_caller_who_waits_elsewhere_for_the_answer_is_named_by_that_address(application: Application) -> None:
    """wsa:ReplyTo is the UserID of an asynchronous caller (ITI TF-2: 3.18.5.1.1)."""
    event = an_event(application, "iti18", Side.RESPONDER, reply_to="https://async.example/here")
    first = valid(event.recorded().message).find("ActiveParticipant")
    assert first is not None
    assert (first.get("UserID"), first.get("NetworkAccessPointID")) == ("https://async.example/here", "192.0.2.7")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", Side)
def test_the_data_goes_from_the_source_to_the_destination_and_only_we_give_our_process(
    application: Application, case: str, side: Side
) -> None:
    root = valid(an_event(application, case, side).recorded().message)
    parties = {
        party.find("RoleIDCode").get("originalText"): party  # type: ignore[union-attr]
        for party in root.iterfind("ActiveParticipant")
    }
    source, destination = parties["Source Role ID"], parties["Destination Role ID"]
    holder = source if CASES[case][0].retrieve else destination
    caller = destination if CASES[case][0].retrieve else source
    assert (holder.get("UserIsRequestor"), caller.get("UserIsRequestor")) == ("false", "true")
    assert str(holder.get("UserID")).endswith(CASES[case][1])
    ours = caller if side is Side.INITIATOR else holder
    assert [p for p in parties.values() if p.get("AlternativeUserID")] == [ours]


# How it ended.


def outcomes(records: list[Recorded]) -> list[tuple[int, str, list[str]]]:
    """Outcome, its description, and the objects of each record that are not the patient."""
    found = []
    for record in records:
        root = valid(record.message)
        event = root.find("EventIdentification")
        assert event is not None
        assert event.get("EventOutcomeIndicator") == str(record.outcome)
        objects = [
            item.get("ParticipantObjectID", "")
            for item in root.iterfind("ParticipantObjectIdentification")
            if item.get("ParticipantObjectTypeCode") == "2"
        ]
        found.append((record.outcome, event.findtext("EventOutcomeDescription") or "", objects))
    return found


def not_found(location: str) -> Finding:
    return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such document here", location)


BOTH = ["2.25.8.1", "2.25.8.2"]


def test_a_record_says_interrupted_until_its_end_is_known(application: Application) -> None:
    event = an_event(application, "iti43", Side.RESPONDER)
    assert outcomes([event.recorded()]) == [(8, "interrupted", BOTH)]


@pytest.mark.parametrize(
    ("failed", "findings", "expected"),
    [
        (False, [], (0, "")),
        (False, [Finding(ErrorCode.REGISTRY_ERROR, "", severity=Severity.WARNING)], (0, "")),
        (True, [Finding(ErrorCode.REGISTRY_BUSY, ""), Finding(ErrorCode.REGISTRY_BUSY, "again")],
         (4, "XDSRegistryBusy")),
        (True, [Finding(ErrorCode.REGISTRY_METADATA, ""), Finding(ErrorCode.MISSING_DOCUMENT, "")],
         (4, "XDSMissingDocument, XDSRegistryMetadataError")),
        (True, [not_found("2.25.8.1"), not_found("2.25.8.2")], (4, "XDSDocumentUniqueIdError")),
        (True, [], (8, "broken off")),
    ],
)  # fmt: skip
def test_the_outcome_is_success_the_callers_error_or_ours(
    application: Application, failed: bool, findings: list[Finding], expected: tuple[int, str]
) -> None:
    event = an_event(application, "iti43", Side.RESPONDER)
    event.end(failed=failed, findings=findings)
    assert outcomes(event.records()) == [(*expected, BOTH)]


def test_how_it_ended_is_said_once(application: Application) -> None:
    event = an_event(application, "iti43", Side.RESPONDER)
    event.end(failed=True)
    event.end(failed=False)
    assert [record.outcome for record in event.records()] == [8]


def test_a_partial_retrieve_is_a_record_of_what_was_given_and_one_of_what_was_not(application: Application) -> None:
    event = an_event(application, "iti43", Side.RESPONDER)
    event.end(failed=False, findings=[not_found("2.25.8.2")])
    assert outcomes(event.records()) == [
        (0, "", ["2.25.8.1"]),
        (4, "XDSDocumentUniqueIdError", ["2.25.8.2"]),
    ]


def documents_of(record: Recorded) -> dict[str, list[str]]:
    """The instances that a record names, by study."""
    return {
        item.get("ParticipantObjectID", ""): [
            base64.b64decode(detail.get("value", "")).decode()
            for detail in item.iterfind("ParticipantObjectDetail")
            if detail.get("type") == "Document Unique ID"
        ]
        for item in valid(record.message).iterfind("ParticipantObjectIdentification[@ParticipantObjectTypeCode='2']")
    }


@pytest.mark.parametrize("side", Side)
def test_a_partial_retrieve_of_images_parts_their_studies(application: Application, side: Side) -> None:
    event = an_event(application, "rad69", side)
    event.end(failed=False, findings=[not_found("1.2.840.1.1.2"), not_found("1.2.840.2.1.1")])
    good, bad = event.records()
    assert (good.outcome, bad.outcome) == (0, 4)
    assert documents_of(good) == {"1.2.840.1": ["1.2.840.1.1.1"]}
    assert documents_of(bad) == {"1.2.840.1": ["1.2.840.1.1.2"], "1.2.840.2": ["1.2.840.2.1.1"]}
    assert outcomes([good, bad])[1][1] == "XDSDocumentUniqueIdError"


def test_a_partial_query_is_a_record_of_its_success_and_one_of_its_failure(application: Application) -> None:
    event = an_event(application, "iti18", Side.RESPONDER)
    event.end(failed=False, findings=[Finding(ErrorCode.TOO_MANY_RESULTS, "")])
    assert outcomes(event.records()) == [(0, "", [FIND_DOCUMENTS]), (4, "XDSTooManyResults", [FIND_DOCUMENTS])]


# What an event is about.


@pytest.mark.parametrize(
    "value", ["'anna^^^&1.2&ISO'", "('anna^^^&1.2&ISO')", " 'anna^^^&1.2&ISO' ", "anna^^^&1.2&ISO"]
)
@pytest.mark.parametrize("slot", ["XDSDocumentEntryPatientId", "XDSSubmissionSetPatientId", "XDSFolderPatientId"])
def test_the_patient_of_a_query_is_read_whatever_its_parameter(slot: str, value: str) -> None:
    event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Registry Stored Query"), PEER, HERE)
    event.about_query(AdhocQuery("urn:uuid:1", "LeafClass", (Slot(f"${slot}", (value,)),)), b"")
    assert event.recorded().patient_id == "anna^^^&1.2&ISO"


def test_a_query_without_a_patient_names_none() -> None:
    event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Registry Stored Query"), PEER, HERE)
    event.about_query(AdhocQuery("urn:uuid:1", "LeafClass", (Slot("$uuid", ("'x'",)),)), b"\xff\x00")
    root = valid(event.recorded().message)
    (item,) = root.iterfind("ParticipantObjectIdentification")
    assert item.get("ParticipantObjectTypeCodeRole") == "24"
    assert base64.b64decode(root.findtext(".//ParticipantObjectQuery") or "") == b"\xff\x00"


def test_reading_the_log_is_recorded_with_the_reader_and_the_log() -> None:
    """Audit Log Used: DICOM PS3.15: A.5.3.2."""
    (record,) = AuditEvent.log_used(NODE, Party("auditor", "localhost", ours=True, requestor=True)).records()
    root = valid(record.message)
    assert (record.event, record.transaction, record.outcome) == ("110101", "", 0)
    event, reader, source, log = root
    assert event.get("EventActionCode") == "R"
    assert [child.tag for child in event] == ["EventID"]
    assert (reader.get("UserID"), reader.get("UserIsRequestor"), len(reader)) == ("auditor", "true", 0)
    assert source.tag == "AuditSourceIdentification"
    assert (log.get("ParticipantObjectTypeCode"), log.get("ParticipantObjectTypeCodeRole")) == ("2", "13")
    assert ":" in log.get("ParticipantObjectID", "")  # a URI
    assert log[0].attrib == {"csd-code": "12", "codeSystemName": "RFC-3881", "originalText": "URI"}
    assert log.findtext("ParticipantObjectName") == "Security Audit Log"


def test_every_event_that_a_transaction_leaves_has_its_name() -> None:
    for transaction, _, _ in CASES.values():
        for audits in (transaction.initiator_audits, transaction.responder_audits):
            assert audits.event_id in EVENT_IDS


@pytest.mark.parametrize(
    ("address", "kind"),
    [("192.0.2.7", "2"), ("2001:db8::1", "2"), ("host.example", "1"), ("localhost", "1"), ("", "1")],
)
def test_an_ip_address_is_told_from_a_name(address: str, kind: str) -> None:
    event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Q"), Party("x", address), HERE)
    party = valid(event.recorded().message).find("ActiveParticipant")
    assert party is not None
    assert party.get("NetworkAccessPointTypeCode") == kind


@pytest.mark.parametrize(("user", "address", "said"), [("", "192.0.2.7", "192.0.2.7"), ("", "", "unknown")])
def test_a_party_without_a_name_has_its_address_for_one(user: str, address: str, said: str) -> None:
    event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Q"), Party(user, address), HERE)
    party = valid(event.recorded().message).find("ActiveParticipant")
    assert party is not None
    assert party.get("UserID") == said


def test_text_that_xml_cannot_hold_is_replaced() -> None:
    bad = "a\x00b\x0bc\ufffed\ud800e\tf\U0001f600g"
    event = AuditEvent(NODE, "110107", "C", ("ITI-43", "x"), Party(bad, bad), HERE)
    event.about_patient(bad)
    event.objects.append(ParticipantObject(bad, REPORT_NUMBER, details=(Detail("kind\ud800", b"x"),)))
    root = valid(event.recorded().message)
    good = "a\ufffdb\ufffdc\ufffdd\ufffde\tf\U0001f600g"
    assert root[1].get("UserID") == root[1].get("NetworkAccessPointID") == good
    objects = root.findall("ParticipantObjectIdentification")
    assert [item.get("ParticipantObjectID") for item in objects] == [good, good]


ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@settings(deadline=None, max_examples=examples(80))
@given(ANY, ANY, ANY, ANY, ANY, st.binary(max_size=50))
def test_whatever_a_peer_has_sent_the_message_is_valid(
    user: str, address: str, patient: str, id_: str, value: str, query: bytes
) -> None:
    event = AuditEvent(NODE, "110112", "E", ("ITI-18", "Registry Stored Query"), Party(user, address), HERE)
    event.about_patient(patient)
    event.about_documents([DocumentRequest(value, id_, value)])
    event.about_query(AdhocQuery(id_, "LeafClass", ()), query)
    for failed in (False, True):
        event.settled = False
        event.end(failed=failed)
        for record in event.records():
            valid(record.message)


# The schema.


def first(root: Element, path: str) -> Element:
    found = root.find(path)
    assert found is not None
    return found


def without(path: str) -> Callable[[Element], object]:
    return lambda root: first(root, f"{path}/..").remove(first(root, path))


def with_(path: str, **attributes: str) -> Callable[[Element], object]:
    return lambda root: first(root, path).attrib.update(attributes)


def less(path: str, attribute: str) -> Callable[[Element], object]:
    return lambda root: first(root, path).attrib.pop(attribute)


SPOILT: dict[str, Callable[[Element], object]] = {
    "no event": without("./EventIdentification"),
    "no participant": lambda root: [root.remove(p) for p in root.findall("ActiveParticipant")],
    "no audit source": without("./AuditSourceIdentification"),
    "no EventID": without(".//EventID"),
    "the audit source first": lambda root: root.insert(0, first(root, "AuditSourceIdentification")),
    "an object before the source": lambda root: root.insert(1, first(root, "ParticipantObjectIdentification")),
    "the type before the id": lambda root: root[0].insert(0, root[0][1]),
    "an unknown action": with_("EventIdentification", EventActionCode="X"),
    "an unknown outcome": with_("EventIdentification", EventOutcomeIndicator="1"),
    "no outcome": less("EventIdentification", "EventOutcomeIndicator"),
    "no time": less("EventIdentification", "EventDateTime"),
    "a time without a zone": with_("EventIdentification", EventDateTime="2026-03-01T08:00:00"),
    "a code without its system": less(".//EventID", "codeSystemName"),
    "no user": less("ActiveParticipant", "UserID"),
    "no requestor": less("ActiveParticipant", "UserIsRequestor"),
    "a requestor that is neither": with_("ActiveParticipant", UserIsRequestor="maybe"),
    "an unknown kind of address": with_("ActiveParticipant", NetworkAccessPointTypeCode="6"),
    "a role that is unknown": with_("ParticipantObjectIdentification", ParticipantObjectTypeCodeRole="27"),
    "an object without its kind": without(".//ParticipantObjectIDTypeCode"),
    "a name and a query": lambda root: etree.SubElement(
        first(root, "ParticipantObjectIdentification[2]"), "ParticipantObjectName"
    ),
    "a detail that is not base64": with_(".//ParticipantObjectDetail", value="QQ"),
    "a namespace": lambda root: root.append(etree.Element("{urn:x}ParticipantObjectIdentification")),
    "an unknown attribute": with_("ActiveParticipant", Colour="red"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_message_spoilt_in_one_part_is_not_valid(spoil: Callable[[Element], object]) -> None:
    root = parse((GOLDEN / "iti18_responder.xml").read_bytes())
    schema("audit-message.xsd").assertValid(root)
    spoil(root)
    assert not schema("audit-message.xsd").validate(root)
