"""What of another community's answer passes this domain's filter: no entry that does not, nothing that tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from tests.builders import ANNA, a_folder, a_submission, an_association, an_entry
from tests.regions import ANNA_IN_SOUTH
from xds.actors.foreign_answers import Found, NotUnderstood, Speaker, patients_of, query_answer, references, shown
from xds.ebxml import query, rim_writing
from xds.errors import ErrorCode, Status
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Code
from xds.metadata.homes import at_home
from xds.metadata.submission import Submission
from xds.metadata.visible import EVERYTHING, NOTHING, Clause, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.wire.xml import Element, name, parse

OPEN, SECRET = Code("OPEN", "1.2.3", "Open"), Code("SECRET", "1.2.3", "Secret")
ONLY_OPEN = Visible.by((Clause(permit=True, those=Those(single=(("class_code", frozenset({OPEN.key})),))),))


def answered(*submissions: Submission) -> tuple[Element, ...]:
    items = (item for one in submissions for item in to_ebxml.submission(one))
    body = parse(query.join_response(Status.SUCCESS, (), map(rim_writing.fragment, items)))
    return tuple(body[-1])


def ids(objects: list[Element]) -> set[str]:
    return {one.get("id", "") for one in objects}


def test_an_entry_that_does_not_pass_goes_with_its_associations_and_a_set_of_nothing_else() -> None:
    secret = a_submission(entries=[an_entry(class_code=SECRET)])
    both = a_submission(entries=[an_entry(class_code=OPEN), an_entry(class_code=SECRET)])
    seen, hidden = both.document_entries
    relation = an_association(AssociationType.APND, hidden.entry_uuid, seen.entry_uuid)
    whole = answered(secret, replace(both, associations=(*both.associations, relation)))
    (member, _) = both.associations
    kept = {both.submission_set.entry_uuid, seen.entry_uuid, member.entry_uuid}
    assert ids(shown(whole, lambda _: ONLY_OPEN)) == kept
    assert ids(shown(whole, lambda _: EVERYTHING)) == ids(list(whole))


def test_each_entry_is_held_to_what_its_own_patient_leaves() -> None:
    anna, other = a_submission(patient=ANNA), a_submission(patient=ANNA_IN_SOUTH)
    whole = answered(anna, other)
    left = shown(whole, lambda cx: NOTHING if cx == str(ANNA) else EVERYTHING)
    assert ids(left) == {item.entry_uuid for item in other.objects()}


def test_of_a_patient_who_withholds_everything_no_package_is_shown_and_no_association() -> None:
    folder = a_folder()
    submission = a_submission(folders=[folder])
    whole = answered(submission)
    without_entries = tuple(one for one in whole if not one.tag.endswith("ExtrinsicObject"))
    for objects in (whole, without_entries):
        assert shown(objects, lambda _: NOTHING) == []
        assert ids(shown(objects, lambda _: EVERYTHING)) == ids(list(objects))


def test_where_not_everything_is_shown_a_package_is_one_that_holds_an_entry_that_is() -> None:
    folders = [a_folder(), a_folder()]
    entry = an_entry(class_code=OPEN)
    held = an_association(AssociationType.HAS_MEMBER, folders[0].entry_uuid, entry.entry_uuid)
    related = an_association(AssociationType.APND, folders[1].entry_uuid, entry.entry_uuid)
    whole = answered(a_submission(entries=[entry], folders=folders, relations=[held, related]))
    left = ids(shown(whole, lambda _: ONLY_OPEN))
    assert folders[0].entry_uuid in left
    assert held.entry_uuid in left
    assert not left & {folders[1].entry_uuid, related.entry_uuid}
    ends = {end for one in shown(whole, lambda _: ONLY_OPEN) if (end := one.get("targetObject"))}
    assert ends <= left


def test_a_package_whose_patient_cannot_be_read_is_not_shown_where_not_everything_is() -> None:
    (package,) = (one for one in answered(a_submission()) if one.tag.endswith("RegistryPackage"))
    for each in list(package.iterfind("{*}ExternalIdentifier")):
        package.remove(each)
    assert shown([package], lambda _: EVERYTHING) == []


def test_a_reference_is_shown_only_beside_what_it_is_of() -> None:
    whole = answered(a_submission())
    (entry,) = (one for one in whole if one.tag.endswith("ExtrinsicObject"))
    reference, stray = (etree.Element(name("rim:ObjectRef"), id=one) for one in (entry.get("id"), "urn:uuid:0"))
    assert shown([*whole, reference, stray], lambda _: EVERYTHING) == [*whole, reference]


def test_an_entry_that_cannot_be_read_is_not_shown_where_not_everything_is() -> None:
    (entry,) = (one for one in answered(a_submission()) if patients_of(one) and one.tag.endswith("ExtrinsicObject"))
    entry.set("objectType", "urn:uuid:0")
    for child in list(entry):
        entry.remove(child)
    assert shown([entry], lambda _: ONLY_OPEN) == []


def test_a_reference_has_the_home_of_what_it_is_of_or_else_the_community_s() -> None:
    one, other = etree.Element("a", id='"<&>', home="urn:oid:1.2"), etree.Element("a", id="b")
    text = b"<x xmlns:rim='urn:r'>" + b"".join(references([one, other], "urn:oid:1.3")) + b"</x>"
    assert [dict(each.attrib) for each in parse(text)] == [
        {"id": '"<&>', "home": "urn:oid:1.2"}, {"id": "b", "home": "urn:oid:1.3"},
    ]  # fmt: skip


def spoilt(change: Callable[[Element], object]) -> Found:
    """What is taken of an answer with one entry, after a change of that."""
    fragment = at_home(rim_writing.fragment(to_ebxml.document_entry(an_entry())), "urn:oid:1.2")
    body = parse(query.join_response(Status.SUCCESS, (), [fragment]))
    change(body[-1][0])
    return query_answer(body, Speaker(("urn:oid:1.2",), "south"), ANNA, single_patient=False, most=9)


@pytest.mark.parametrize("change", [
    lambda entry: entry.insert(0, etree.Element("{urn:x}more")),
    lambda entry: entry.append(etree.Element(name("rim:Slot"), name="late")),
    lambda entry: entry.set("more", "x"),
    lambda entry: entry[0].attrib.pop("name"),
    lambda entry: entry.getparent().append(etree.Element(name("rim:Organization"), id="urn:uuid:0")),
])  # fmt: skip
def test_what_would_make_the_answer_of_all_invalid_is_left_out_and_told(change: Any) -> None:
    found = spoilt(change)
    assert (found.objects, found.answered) == ((), False)
    assert [(one.code, one.location) for one in found.findings] == [(ErrorCode.REGISTRY_ERROR, "urn:oid:1.2")]


@pytest.mark.parametrize("change", [
    lambda _: None,
    lambda entry: entry.getparent().append(etree.Comment("x")),
    lambda entry: setattr(entry[0][0][0], "text", "x" * 300),
])  # fmt: skip
def test_what_is_of_the_form_of_the_schema_is_taken_though_a_value_is_too_long(change: Any) -> None:
    found = spoilt(change)
    assert (len(found.objects), found.findings) == (1, ())


def test_an_answer_of_failure_that_does_not_say_why_is_told_of() -> None:
    body = parse(query.join_response(Status.FAILURE, (), ()))
    found = query_answer(body, Speaker(("urn:oid:1.2",), "south"), ANNA, single_patient=False, most=9)
    assert (found.answered, [one.location for one in found.findings]) == (False, ["urn:oid:1.2"])
    with pytest.raises(NotUnderstood):
        query_answer(parse(b"<a/>"), Speaker((), "south"), None, single_patient=False, most=9)
