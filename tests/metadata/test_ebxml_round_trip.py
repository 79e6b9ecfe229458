"""Metadata to ebXML and back is the same metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.builders import a_folder, a_submission, an_association, an_entry, submission_of, symbolic, text
from xds.ebxml import lcm, rim
from xds.errors import ErrorCode, Refused
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Code, Dtm, Recipient, ReferenceId, Xcn, Xtn
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.wire.xml import parse, schema

words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Co", "Cn")), min_size=1, max_size=40).filter(
    lambda s: s == s.strip() and "\x85" not in s and "\u2028" not in s
)
codes = st.builds(Code, words, words, words)
slots = st.lists(
    st.builds(rim.Slot, words.map(lambda s: f"urn:x:{s}"), st.lists(words, min_size=1, max_size=3).map(tuple)),
    max_size=3,
    unique_by=lambda slot: slot.name,
).map(tuple)


def through_ebxml(submission: Submission) -> Submission:
    element = lcm.write_submit_objects(to_ebxml.submission(submission))
    return submission_of(lcm.read_submit_objects(parse(etree.tostring(element))))


@given(codes, st.lists(codes, min_size=1, max_size=4).map(tuple), words, slots)
def test_an_entry_comes_back_as_it_was(one: Code, many: tuple[Code, ...], title: str, extra: Any) -> None:
    entry = an_entry(class_code=one, event_code_list=many, title=text(title), comments=text(title), extra_slots=extra)
    submission = a_submission(entries=[entry])
    assert through_ebxml(submission) == submission


def test_a_whole_submission_comes_back_as_it_was() -> None:
    entry, folder = (
        an_entry(legal_authenticator=Xcn("7^Curie^^^^^^^&1.2.3&ISO"), uri=("1|a", "2|b"), version="1"),
        a_folder(),
    )
    relation = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    submission = a_submission(
        entries=[entry],
        folders=[folder],
        relations=[relation],
        intended_recipient=(Recipient("Clinic^^^^^^^^^1.2.3"), Recipient("|^Curie")),
        title=text("sent"),
    )
    assert through_ebxml(submission) == submission


def test_what_we_write_is_valid_by_our_schema() -> None:
    element = lcm.write_submit_objects(to_ebxml.submission(symbolic(a_submission(folders=[a_folder()]))))
    schema("lcm.xsd").assertValid(element)


def test_a_marker_beside_the_package_is_as_good_as_one_inside() -> None:
    submission = a_submission()
    objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))
    package = objects.registry_packages[0]
    marker = next(c for c in package.classifications if c.node)
    inside = tuple(c for c in package.classifications if c is not marker)
    objects = replace(objects, registry_packages=(replace(package, classifications=inside),), classifications=(marker,))
    assert submission_of(objects).submission_set.entry_uuid == submission.submission_set.entry_uuid


def spoilt(**changes: Any) -> list[str]:
    """The findings when the one entry's element is changed."""
    objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(a_submission())))
    entry = replace(objects.extrinsic_objects[0], **changes)
    with pytest.raises(Refused) as refused:
        submission_of(replace(objects, extrinsic_objects=(entry,)))
    assert {finding.code for finding in refused.value.findings} == {ErrorCode.REGISTRY_METADATA}
    return [finding.context for finding in refused.value.findings]


def test_everything_that_is_missing_is_named_at_once() -> None:
    found = spoilt(slots=(), classifications=(), external_identifiers=())
    for attribute in ("classCode", "typeCode", "creationTime", "hash", "size", "patientId", "uniqueId", "languageCode"):
        assert any(f".{attribute}" in context for context in found), attribute


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        ("creationTime", "2024010"),
        ("creationTime", "20241301"),
        ("hash", "xyz"),
        ("size", "minus one"),
        ("languageCode", "en_US!"),
        ("repositoryUniqueId", "1.02.3"),
        ("sourcePatientId", "no authority"),
        ("serviceStartTime", "now"),
        ("sourcePatientInfo", "Anna"),
        ("legalAuthenticator", "^^First"),
        ("urn:ihe:iti:xds:2013:referenceIdList", "just-an-id"),
        ("notAUrn", "x"),
        ("urn:ihe:own", "x"),
    ],
)
def test_a_malformed_slot_is_refused_without_its_value(slot: str, value: str) -> None:
    kept = tuple(s for s in to_ebxml.document_entry(an_entry()).slots if s.name != slot)
    found = spoilt(slots=(*kept, rim.Slot(slot, (value,))))
    assert len(found) == 1
    assert value not in found[0].replace(slot, "") or value == "x"


@pytest.mark.parametrize("text_", ["", "2024-01", "202", "20240230", "2024010203040506"])
def test_a_time_that_is_none_is_refused(text_: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Dtm(text_)


def test_a_short_time_stands_for_the_start_of_its_period() -> None:
    assert Dtm("2024").padded == "20240101000000"


@pytest.mark.parametrize("phone", ["^^Internet^a@b.c", "^PRN^PH^^41^44^5551234", "^PRN^PH^^^^^^^^^5551234"])
def test_phones_and_mail_addresses_are_read(phone: str) -> None:
    assert Xtn(phone).text == phone


def test_a_reference_is_compared_without_trailing_delimiters() -> None:
    assert ReferenceId("7^^^&1.2&ISO^urn:x^").key == ReferenceId("7^^^&1.2&ISO^urn:x").key
