"""Audit messages: what goes in comes out, in the schema's order, whatever a peer has put into it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extent import examples
from xds.audit.messages import codes
from xds.audit.messages.codes import (
    DESTINATION,
    SOURCE,
    Action,
    Coded,
    LifeCycle,
    NetworkAccessPointType,
    ObjectRole,
    ObjectType,
    Outcome,
)
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import (
    ActiveParticipant,
    AuditMessage,
    AuditSource,
    Description,
    Detail,
    Event,
    NotAuditMessage,
    ParticipantObject,
    SopClass,
)
from xds.audit.messages.message_xml import read, write
from xds.audit.messages.parties import Party
from xds.errors import ErrorCode, Finding
from xds.wire.xml import parse, schema

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
FULL = TEXTS.filter(bool)
TIMES = st.datetimes(
    datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11))])
)
CODED = st.builds(Coded, TEXTS, TEXTS, TEXTS, TEXTS)


def some(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=2).map(tuple)


def maybe(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | of


EVENTS = st.builds(
    Event, CODED, TIMES, st.sampled_from(Outcome), maybe(st.sampled_from(Action)), some(CODED), TEXTS, some(CODED)
)
PARTICIPANTS = st.builds(
    ActiveParticipant, TEXTS, st.booleans(), TEXTS, TEXTS, TEXTS,
    maybe(st.sampled_from(NetworkAccessPointType)), some(CODED), maybe(CODED),
)  # fmt: skip
SOURCES = st.builds(AuditSource, TEXTS, TEXTS, some(CODED))
SOP_CLASSES = st.builds(SopClass, TEXTS, st.integers(0, 99999), some(TEXTS))
DESCRIPTIONS = st.builds(
    Description, some(TEXTS), some(TEXTS), some(SOP_CLASSES), some(TEXTS), maybe(st.booleans()), maybe(st.booleans())
)
NAMES_OR_QUERIES = st.tuples(TEXTS, st.none()) | st.tuples(st.just(""), st.binary())
OBJECTS = st.builds(
    lambda id_, kind, numbers, sensitivity, said, details, description: ParticipantObject(
        id_, kind, *numbers, sensitivity, *said, details, description
    ),
    TEXTS, CODED,
    st.tuples(maybe(st.sampled_from(ObjectType)), maybe(st.sampled_from(ObjectRole)),
              maybe(st.sampled_from(LifeCycle))),
    TEXTS, NAMES_OR_QUERIES, some(st.builds(Detail, TEXTS, st.binary())), maybe(DESCRIPTIONS),
)  # fmt: skip
MESSAGES = st.builds(
    AuditMessage, EVENTS, st.lists(PARTICIPANTS, min_size=1, max_size=3).map(tuple), SOURCES, some(OBJECTS)
)


def complaints(data: bytes) -> list[str]:
    """What our schema says against a message."""
    found = schema("audit-message.xsd")
    return [] if found.validate(parse(data)) else [str(error.message) for error in found.error_log]


def a_query() -> AuditMessage:
    """A Document Consumer has asked the registry about Anna."""
    itself = Coded("ITI-18", codes.IHE_TRANSACTIONS, "Registry Stored Query")
    return AuditMessage(
        Event(codes.EVENT_IDS["110112"], datetime(2026, 3, 1, 8, 0, tzinfo=UTC), Outcome.SUCCESS, Action.EXECUTE,
              (itself,)),
        (
            ActiveParticipant("http://consumer.example/", True, "17", "", "127.0.0.1",
                              NetworkAccessPointType.IP_ADDRESS, (SOURCE,)),
            ActiveParticipant("http://registry.example/registry", False, "", "", "registry.example",
                              NetworkAccessPointType.MACHINE_NAME, (DESTINATION,)),
            ActiveParticipant("dr", True, "", "dr<dr@hospital>", role_ids=(Coded("D", "1.2", "Doctor"),)),
        ),
        AuditSource("north-hospital", "North Hospital"),
        (
            ParticipantObject("anna^^^&1.2.3&ISO", codes.PATIENT_NUMBER, ObjectType.PERSON, ObjectRole.PATIENT),
            ParticipantObject("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", itself, ObjectType.SYSTEM_OBJECT,
                              ObjectRole.QUERY, query=b"<AdhocQueryRequest/>",
                              details=(Detail("QueryEncoding", b"UTF-8"),)),
        ),
    )  # fmt: skip


@settings(deadline=None, max_examples=examples(150))
@given(MESSAGES)
def test_any_message_is_valid_and_comes_back_as_it_was(message: AuditMessage) -> None:
    data = write(message)
    assert complaints(data) == []
    assert read(data) == message


@settings(deadline=None, max_examples=examples(60))
@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\0\x01\x0b\r\n\t\ufffe\ud800"), min_size=1))
def test_what_xml_cannot_hold_is_replaced_and_the_record_written_all_the_same(text: str) -> None:
    good = a_query()
    event = replace(good.event, outcome_description=text)
    participant = replace(good.participants[0], user_id=text, alternative_user_id=text)
    spoilt = replace(
        good, event=event, participants=(participant,), objects=(replace(good.objects[0], name=text, id=text),)
    )
    data = write(spoilt)
    assert complaints(data) == []
    found = read(data)
    assert len(found.objects[0].id) == len(text)
    assert all(a == b or b == "\ufffd" for a, b in zip(text, found.participants[0].user_id, strict=True))
    assert found.event.outcome_description == found.objects[0].name == found.objects[0].id


def test_children_stand_in_the_order_of_the_standard() -> None:
    root = parse(write(a_query()))
    assert [child.tag for child in root] == [
        "EventIdentification", *["ActiveParticipant"] * 3, "AuditSourceIdentification",
        *["ParticipantObjectIdentification"] * 2,
    ]  # fmt: skip
    assert [child.tag for child in root[-1]] == [
        "ParticipantObjectIDTypeCode", "ParticipantObjectQuery", "ParticipantObjectDetail"
    ]  # fmt: skip


def test_the_time_has_its_zone_and_milliseconds() -> None:
    assert b'EventDateTime="2026-03-01T08:00:00.000+00:00"' in write(a_query())


def test_a_time_without_its_zone_is_no_event() -> None:
    with pytest.raises(ValueError, match="zone"):
        replace(a_query().event, date_time=datetime(2026, 3, 1))


def test_an_object_has_a_name_or_a_query() -> None:
    with pytest.raises(ValueError, match="not both"):
        replace(a_query().objects[1], name="a name")


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "no EventID": lambda data: data.replace(b"EventID ", b"EventId "),
    "no time": lambda data: data.replace(b"EventDateTime", b"EventTime"),
    "a time without a zone": lambda data: data.replace(b"00.000+00:00", b"00.000"),
    "an unknown action": lambda data: data.replace(b'EventActionCode="E"', b'EventActionCode="X"'),
    "an unknown outcome": lambda data: data.replace(b'OutcomeIndicator="0"', b'OutcomeIndicator="1"'),
    "no requestor": lambda data: data.replace(b"UserIsRequestor", b"IsRequestor"),
    "a query that is not base64": lambda data: data.replace(b"PEFkaG9j", b"<<>>".replace(b"<<>>", b"P&#228;")),
    "a role that is none": lambda data: data.replace(b'CodeRole="24"', b'CodeRole="27"'),
    "a detail before the query": lambda data: data.replace(b"<ParticipantObjectQuery>", b"<ParticipantObjectDetail "
                                                           b'type="a" value=""/><ParticipantObjectQuery>'),
    "another root": lambda data: data.replace(b"AuditMessage>", b"Audit>").replace(b"<AuditMessage", b"<Audit"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILT)
def test_a_message_spoilt_in_one_part_is_not_valid(what: str) -> None:
    data = write(a_query())
    assert complaints(data) == []
    spoilt = SPOILT[what](data)
    assert spoilt != data
    assert complaints(spoilt) != []


def test_messages_of_rfc_3881_and_careless_peers_are_read() -> None:
    found = read(
        b'<AuditMessage><AuditSourceIdentification AuditSourceID="x"><AuditSourceTypeCode code="4"/>'
        b'</AuditSourceIdentification><!-- a comment --><EventIdentification EventDateTime="2026-03-01T08:00:00" '
        b'EventOutcomeIndicator="7" EventActionCode="Z"><EventID code="110107" codeSystemName="DCM"/>'
        b'</EventIdentification><ParticipantObjectIdentification ParticipantObjectID="1" '
        b'ParticipantObjectTypeCode="9"><ParticipantObjectQuery>not base64!</ParticipantObjectQuery>'
        b'<ParticipantObjectDetail type="plain" value="text, as it is"/></ParticipantObjectIdentification>'
        b'<ActiveParticipant UserID="u" UserIsRequestor="1"><MediaType csd-code="110010"/></ActiveParticipant>'
        b"<Unknown/></AuditMessage>"
    )
    assert found.event.event_id == Coded("110107", "DCM", "")
    assert found.event.date_time == datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    assert (found.event.outcome, found.event.action) == (Outcome.SERIOUS_FAILURE, None)
    assert found.source == AuditSource("x", "", (Coded("4", "", ""),))
    assert found.participants[0].user_is_requestor
    assert found.participants[0].media_type == Coded("110010", "", "")
    assert found.objects[0].type_code is None
    assert found.objects[0].query == b"not base64!"
    assert found.objects[0].details[0].text == "text, as it is"


def test_a_document_number_is_counted_where_the_peer_has_not() -> None:
    data = write(replace(a_query(), objects=(replace(
        a_query().objects[0], description=Description(sop_classes=(SopClass("1.2", 2, ("1.2.3", "1.2.4")),))
    ),)))  # fmt: skip
    found = read(data.replace(b'NumberOfInstances="2"', b'NumberOfInstances="many"'))
    assert found.objects[0].description == Description(sop_classes=(SopClass("1.2", 2, ("1.2.3", "1.2.4")),))


@pytest.mark.parametrize("data", [
    b"", b"hello", b"<Other/>", b"<AuditMessage/>", b"<AuditMessage><EventIdentification/></AuditMessage>",
    b'<AuditMessage><EventIdentification EventDateTime="yesterday"/></AuditMessage>',
    b'<!DOCTYPE AuditMessage [<!ENTITY a "b">]><AuditMessage>&a;</AuditMessage>',
])  # fmt: skip
def test_what_is_no_audit_message_is_not_read(data: bytes) -> None:
    with pytest.raises(NotAuditMessage):
        read(data)


@settings(deadline=None, max_examples=examples(100))
@given(st.binary() | MESSAGES.map(write).flatmap(lambda data: st.integers(0, len(data)).map(lambda n: data[:n])))
def test_bytes_that_are_no_message_are_refused_in_one_way_only(data: bytes) -> None:
    with contextlib.suppress(NotAuditMessage):
        read(data)


def an_event(**changes: Any) -> AuditEvent:
    node = AuditSource("node", "site")
    event = AuditEvent(node, "110106", "R", ("ITI-43", "Retrieve Document Set"),
                       Party("http://a/", "127.0.0.1", ours=True), Party("http://b/", "b.example", requestor=True),
                       **changes)  # fmt: skip
    event.about_patient("anna^^^&1.2.3&ISO")
    return event


@pytest.mark.parametrize("failed", [False, True])
def test_what_the_exchange_records_is_valid_and_read(failed: bool) -> None:
    event = an_event()
    findings = [Finding(ErrorCode.MISSING_DOCUMENT, "none", "1.2")] if failed else []
    event.end(failed=failed, findings=findings)
    log_used = AuditEvent.log_used(AuditSource("node"), Party("xds audit", "localhost", ours=True, requestor=True))
    for recorded in (*event.records(), *log_used.records()):
        assert complaints(recorded.message) == []
        assert complaints(write(read(recorded.message))) == []


def test_each_code_is_keyed_by_itself() -> None:
    for table in (codes.EVENT_IDS, codes.EVENT_TYPES, codes.ROLES, codes.OBJECT_ID_TYPES):
        assert all(key == coded.code and coded.text for key, coded in table.items())
    assert {int(event) for event in codes.EVENT_IDS} == set(range(110100, 110115))
    assert {int(kind) for kind in codes.EVENT_TYPES} == set(range(110120, 110143))
