"""Each deviation that may be tolerated is put right, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import a_folder, a_submission, an_association, an_entry
from tests.extent import examples
from tests.metadata.strategies import submissions
from xds.actors.document_registry import read
from xds.ebxml import lcm
from xds.errors import Refused
from xds.metadata import to_ebxml
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import (
    DOCUMENT_ENTRY_PATIENT_ID,
    SUBMISSION_SET_SOURCE_ID,
    SUBMISSION_SET_UNIQUE_ID,
    AssociationType,
)
from xds.rules.tolerances import _KNOWN, TOLERANCES, apply
from xds.wire.xml import Element, name, parse, schema


def a_request() -> Element:
    """A submission of an entry in a folder."""
    entry, folder = an_entry(), a_folder()
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    return of(a_submission(entries=[entry], folders=[folder], relations=[member]))


def of(submission: Submission) -> Element:
    return parse(etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission))))


def entry_of(request: Element) -> Element:
    return next(request.iter(name("rim:ExtrinsicObject")))


def slot(request: Element, slot_name: str) -> Element:
    """The first value of a slot."""
    found = (s for s in request.iter(name("rim:Slot")) if s.get("name") == slot_name)
    return next(next(found).iter(name("rim:Value")))


def identifier(request: Element, scheme: str) -> Element:
    return next(i for i in request.iter(name("rim:ExternalIdentifier")) if i.get("identificationScheme") == scheme)


def members(request: Element) -> list[Element]:
    return list(request.iter(name("rim:Association")))


def set_text(slot_name: str, text: str) -> Callable[[Element], None]:
    def spoil(request: Element) -> None:
        slot(request, slot_name).text = text

    return spoil


def set_value(scheme: str, change: Callable[[str], str]) -> Callable[[Element], None]:
    def spoil(request: Element) -> None:
        item = identifier(request, scheme)
        item.set("value", change(item.get("value", "")))

    return spoil


def on_entry(**attributes: str) -> Callable[[Element], None]:
    def spoil(request: Element) -> None:
        for key, value in attributes.items():
            entry_of(request).set(key, value)

    return spoil


def upper_case(request: Element) -> None:
    """Everywhere the entry's UUID stands."""
    id_ = entry_of(request).get("id", "")
    for element in request.iter():
        for key, value in element.attrib.items():
            if value == id_:
                element.set(key, "urn:uuid:" + id_[9:].upper())


def no_owner(request: Element) -> None:
    for part in entry_of(request):
        for attribute in ("classifiedObject", "registryObject"):
            if attribute in part.attrib:
                part.set(attribute, "someone-else")


def an_empty_slot(request: Element) -> None:
    empty = etree.Element(name("rim:Slot"), name="legalAuthenticator")
    etree.SubElement(empty, name("rim:ValueList"))
    entry_of(request).insert(0, empty)
    blank = etree.Element(name("rim:Slot"), name="serviceStopTime")
    etree.SubElement(etree.SubElement(blank, name("rim:ValueList")), name("rim:Value")).text = " "
    entry_of(request).insert(0, blank)


def bare_types(request: Element) -> None:
    for member in members(request):
        member.set("associationType", member.get("associationType", "").rpartition(":")[2])


def without_status(request: Element) -> None:
    for found in [s for s in request.iter(name("rim:Slot")) if s.get("name") == "SubmissionSetStatus"]:
        found.getparent().remove(found)  # type: ignore[union-attr]


def without_names(request: Element) -> None:
    for item in list(request.iter(name("rim:Classification"))):
        for called in item.findall(name("rim:Name")):
            item.remove(called)


def an_extra_slot(request: Element) -> None:
    extra = etree.Element(name("rim:Slot"), name="my own & slot")
    etree.SubElement(etree.SubElement(extra, name("rim:ValueList")), name("rim:Value")).text = "x"
    entry_of(request).insert(0, extra)


def without_type(request: Element) -> None:
    del entry_of(request).attrib["objectType"]


SPOILT: list[tuple[str, Callable[[Element], None]]] = [
    ("uuid-case", upper_case),
    ("owners", no_owner),
    ("empty-values", an_empty_slot),
    ("times", set_text("creationTime", "2024-01-02T04:04:05.5+01:00")),
    ("times", set_text("submissionTime", "20240102030405.123Z")),
    ("oid-prefix", set_text("repositoryUniqueId", "urn:oid:1.2.3.4.6")),
    ("oid-prefix", set_value(SUBMISSION_SET_SOURCE_ID, "urn:oid:{}".format)),
    ("oid-prefix", set_value(SUBMISSION_SET_UNIQUE_ID, "urn:oid:{}".format)),
    ("patient-id-parts", set_value(DOCUMENT_ENTRY_PATIENT_ID, lambda cx: cx.replace("^^^&", "^^^NORTH&") + "^PI")),
    ("patient-id-parts", set_text("sourcePatientId", "mrn-1^^^NORTH&1.2.3.4.9&ISO")),
    ("association-types", bare_types),
    ("submission-set-status", without_status),
    ("display-names", without_names),
    ("extra-slots", an_extra_slot),
    ("language-codes", set_text("languageCode", "en_US")),
    ("media-types", on_entry(mimeType="Application/DICOM; version=1")),
    ("object-types", without_type),
]


def refused(request: Element) -> bool:
    try:
        read(lcm.read_submit_objects(request))
    except Refused:
        return True
    return not schema("lcm.xsd").validate(request)


@pytest.mark.parametrize(("tolerance", "spoil"), SPOILT)
def test_what_is_tolerated_is_put_right_and_then_keeps_every_rule(
    tolerance: str, spoil: Callable[[Element], None]
) -> None:
    request = a_request()
    spoil(request)
    before = etree.tostring(request)
    assert apply([], request) == {}
    assert etree.tostring(request) == before
    counts = apply([tolerance], request)
    assert counts.keys() == {tolerance}
    schema("lcm.xsd").assertValid(request)
    read(lcm.read_submit_objects(request))
    assert apply(TOLERANCES, request) == {}


@pytest.mark.parametrize(
    ("tolerance", "spoil"),
    # A media type and a UUID in capitals are no break of a rule that the registry holds anybody to.
    [one for one in SPOILT if one[0] not in ("media-types", "uuid-case")],
)
def test_what_nobody_tolerates_is_refused(tolerance: str, spoil: Callable[[Element], None]) -> None:
    request = a_request()
    assert not refused(request)
    spoil(request)
    assert refused(request)


def test_every_tolerance_is_tried() -> None:
    assert {tolerance for tolerance, _ in SPOILT} == TOLERANCES.keys()


def test_a_time_is_the_same_moment_in_utc() -> None:
    request = a_request()
    slot(request, "creationTime").text = "2024-01-02T00:30:00+01:00"
    apply(["times"], request)
    assert slot(request, "creationTime").text == "20240101233000"


@pytest.mark.parametrize("text", ["2024", "20240102", "yesterday", "20249999999999Z", ""])
def test_what_is_no_time_stays_as_it_is(text: str) -> None:
    request = a_request()
    slot(request, "creationTime").text = text
    assert apply(["times"], request) == {}


def test_a_member_by_reference_is_told_from_one_of_the_submission() -> None:
    sent = a_submission()
    other = "urn:uuid:00000000-0000-4000-8000-000000000001"
    reference = an_association(AssociationType.HAS_MEMBER, sent.submission_set.entry_uuid, other)
    request = of(Submission(sent.submission_set, sent.document_entries, (), (*sent.associations, reference)))
    without_status(request)
    assert apply(["submission-set-status"], request) == {"submission-set-status": 2}
    found = [s for s in request.iter(name("rim:Slot")) if s.get("name") == "SubmissionSetStatus"]
    assert [next(s.iter(name("rim:Value"))).text for s in found] == ["Original", "Reference"]


def test_of_an_update_too_only_the_membership_of_an_entry_is_given_a_status() -> None:
    entry, binder = version_of(an_entry()), version_of(a_folder())
    request = of(an_update(replaces(entry), replaces(binder), items=[entry, binder]))
    before = etree.tostring(request)
    without_status(request)
    assert apply(["submission-set-status"], request) == {"submission-set-status": 1}
    assert etree.tostring(request) == before


def test_an_extra_slot_is_kept_under_a_urn_that_tells_what_it_was() -> None:
    request = a_request()
    an_extra_slot(request)
    apply(["extra-slots"], request)
    assert entry_of(request)[0].get("name") == "urn:xds:sent-as:my%20own%20%26%20slot"


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(submissions())
def test_of_a_good_submission_nothing_but_names_of_parts_is_changed(submission: Submission) -> None:
    """Whatever keeps the rules is what it was; media types and languages may be written in other ways that do."""
    original = {"submission_set_status": SubmissionSetStatus.ORIGINAL}  # no membership of a SubmissionSet is without
    kept = tuple(a if a.submission_set_status else replace(a, **original) for a in submission.associations)
    request = of(replace(submission, associations=kept))
    before = etree.tostring(request)
    free = {"media-types", "empty-values", "language-codes"}
    assert apply(TOLERANCES.keys() - free, request) == {}
    assert etree.tostring(request) == before


@given(st.text(max_size=40))
def test_any_text_in_a_slot_is_left_or_put_right_and_never_an_error(text: str) -> None:
    request = a_request()
    for slot_name in ("creationTime", "sourcePatientId", "languageCode", "repositoryUniqueId"):
        try:
            slot(request, slot_name).text = text
        except ValueError:  # what XML cannot hold
            return
    apply(TOLERANCES, request)


def test_every_slot_of_xds_is_known() -> None:
    """Of what the builders and the update transactions write, nothing is taken for an extra."""
    names = {s.get("name", "") for s in a_request().iter(name("rim:Slot"))}
    inside = {s.get("name", "") for c in a_request().iter(name("rim:Classification")) for s in c.iter(name("rim:Slot"))}
    assert {n for n in names - inside if not n.startswith("urn:")} <= _KNOWN
