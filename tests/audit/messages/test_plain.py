"""An audit record in plain words: what an auditor reads says what the message says, and never fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.audit.messages.test_message import MESSAGES
from tests.extent import examples
from tests.places import GOLDEN
from xds.audit.messages import codes
from xds.audit.messages.codes import Action, Coded, Outcome
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import ActiveParticipant, AuditMessage, AuditSource, Event, ParticipantObject
from xds.audit.messages.message_xml import read, write
from xds.audit.messages.parties import Party
from xds.audit.messages.plain import UNREADABLE, indented, summary, words
from xds.wire.xml import parse

FIELDS = {"time", "event", "transaction", "outcome", "why", "source", "destination", "patient", "person"}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.xml").read_bytes()


def a_failure(name: str, outcome: str, why: str) -> bytes:
    root = parse(golden(name))
    event = root[0]
    event.set("EventOutcomeIndicator", outcome)
    etree.SubElement(event, "EventOutcomeDescription").text = why
    return etree.tostring(root)


def test_a_summary_has_what_a_list_shows() -> None:
    assert summary(golden("iti43_initiator")) == {
        "time": "2026-03-01T08:00:00.000+00:00",
        "event": "Import",
        "transaction": "ITI-43",
        "outcome": "0",
        "why": "",
        "source": "https://peer.example/repository",
        "destination": "https://xds.hospital.example",
        "patient": "anna^^^&1.2.3.4.5&ISO",
        "person": "",
    }


def test_a_record_reads_as_sentences() -> None:
    assert words(golden("iti43_initiator")) == (
        "At 2026-03-01 08:00:00 UTC the Document Repository at peer.example gave documents to the Document Consumer at "
        "xds.hospital.example (ITI-43, Retrieve Document Set). The patient is anna^^^&1.2.3.4.5&ISO. "
        "It was about Report Number 2.25.8.1 (Repository Unique ID 1.2.3.4.6 and ihe:homeCommunityID "
        "urn:oid:1.2.3.4.8) and Report Number 2.25.8.2 (Repository Unique ID 1.2.3.4.6). It succeeded. "
        "Recorded by xds.hospital.example."
    )


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("4", "It was refused or failed in part: XDSRegistryBusy."),
        ("8", "It failed: XDSRegistryBusy."),
        ("12", "It failed and made something unusable: XDSRegistryBusy."),
        ("x", "It failed: XDSRegistryBusy."),
    ],
)
def test_a_failure_is_said_with_its_reason(outcome: str, said: str) -> None:
    assert said in words(a_failure("iti42_responder", outcome, "XDSRegistryBusy"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("iti18_responder", "the Document Consumer at 192.0.2.7 asked the Document Registry at xds.hospital.example"),
        ("iti41_initiator", "sent documents to the Document Repository at peer.example (ITI-41"),
        ("rad69_responder", "gave images to the Imaging Document Consumer at 192.0.2.7 (RAD-69"),
        ("rad69_initiator", "the Imaging Document Source at peer.example gave images to"),
    ],
)
def test_each_transaction_has_its_words(name: str, said: str) -> None:
    assert said in words(golden(name))


def test_who_asked_and_why_is_said() -> None:
    person = ActiveParticipant("dr", True, "", "Dr. Weber", role_ids=(Coded("D", "1.2", "Doctor"),))
    good = read(golden("iti18_responder"))
    event = replace(good.event, purposes_of_use=(Coded("TREAT", "2.16.840.1.113883.5.8", "treatment"),))
    said = words(write(replace(good, event=event, participants=(*good.participants, person))))
    assert "It was asked for by Dr. Weber (dr, Doctor). The purpose was treatment." in said


def test_reading_the_log_reads_as_a_sentence_without_gaps() -> None:
    event = AuditEvent.log_used(AuditSource("xds"), Party("auditor", "localhost"))
    said = words(event.recorded().message)
    assert "UTC the audit log was read by auditor at localhost. It was about URI urn:xds:audit:log, Security" in said


def test_the_start_of_an_application_names_it() -> None:
    start = Event(codes.EVENT_IDS["110100"], datetime(2026, 3, 1, tzinfo=UTC), Outcome.SUCCESS, Action.EXECUTE,
                  (codes.EVENT_TYPES["110120"],))  # fmt: skip
    participant = ActiveParticipant("17", False, role_ids=(codes.APPLICATION,))
    said = words(write(AuditMessage(start, (participant,), AuditSource("node"))))
    assert "the application 17 at 17 reported: Application Start" in said


def test_of_many_objects_the_first_are_named_and_the_rest_counted() -> None:
    documents = tuple(ParticipantObject(f"1.2.{n}", codes.REPORT_NUMBER) for n in range(9))
    said = words(write(replace(read(golden("iti18_responder")), objects=documents)))
    assert "Report Number 1.2.4 and 4 more" in said


@settings(deadline=None, max_examples=examples(60))
@given(MESSAGES)
def test_words_are_one_printable_paragraph_for_any_message(message: AuditMessage) -> None:
    said = words(write(message))
    assert said
    assert said.isprintable()


@pytest.mark.parametrize("message", [b"", b"not XML", b"<a>", b"\xff\xfe", b"<!DOCTYPE a><a/>", b"<AuditMessage/>"])
def test_what_is_no_audit_message_is_said_to_be_none(message: bytes) -> None:
    assert summary(message) == {"event": "unreadable"}
    assert words(message) == UNREADABLE


@pytest.mark.parametrize("message", [b"", b"not XML", b"\xff\xfe"])
def test_what_is_no_xml_is_shown_as_it_is(message: bytes) -> None:
    assert indented(message) == message.decode("utf-8", "replace")


def test_a_message_with_nothing_but_its_time_has_empty_fields() -> None:
    bare = b'<AuditMessage><EventIdentification EventDateTime="2026-03-01T08:00:00Z"/></AuditMessage>'
    said = summary(bare)
    assert said.keys() == FIELDS
    assert {key for key in FIELDS if said[key]} == {"time", "outcome"}
    assert "somebody" not in words(bare)


def test_a_detail_that_is_not_base64_is_shown_as_it_is() -> None:
    message = golden("iti43_responder").replace(b"dXJuOm9pZDoxLjIuMy40Ljg=", b"plain text")
    assert "ihe:homeCommunityID plain text" in words(message)


def test_a_detail_that_is_not_utf_8_is_shown_nevertheless() -> None:
    message = golden("iti43_responder").replace(b"dXJuOm9pZDoxLjIuMy40Ljg=", b"/w==")
    assert "ihe:homeCommunityID \ufffd" in words(message)


def test_the_indented_message_is_the_message() -> None:
    message = golden("iti18_responder")
    compact = etree.tostring(etree.fromstring(message, etree.XMLParser(remove_blank_text=True)))
    text = indented(compact)
    assert len(text.splitlines()) > 10
    assert etree.canonicalize(text, strip_text=True) == etree.canonicalize(message.decode(), strip_text=True)


@given(st.binary(max_size=200), st.sampled_from(["iti18_responder", "rad69_initiator"]), st.integers(0, 3000))
def test_whatever_stands_in_a_record_words_are_found(rubbish: bytes, name: str, at: int) -> None:
    for message in (rubbish, golden(name)[:at] + rubbish + golden(name)[at:]):
        assert words(message)
        assert summary(message)["event"] is not None
        indented(message)
