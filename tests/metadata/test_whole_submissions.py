"""Whatever can be sent comes back: value → ebXML → bytes → ebXML → value, and ebXML → value → ebXML."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.builders import a_folder, a_submission, an_association, an_entry, submission_of, symbolic
from tests.extent import examples
from tests.metadata.strategies import submissions
from xds.ebxml import lcm, rim
from xds.metadata import to_ebxml
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.wire.xml import parse, schema

slow = settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))


def through_bytes(objects: Any) -> rim.RegistryObjectList:
    """Objects as bytes, and read again."""
    return lcm.read_submit_objects(parse(etree.tostring(lcm.write_submit_objects(objects))))


@slow
@given(submissions())
def test_any_submission_comes_back_as_it_was(submission: Submission) -> None:
    assert submission_of(through_bytes(to_ebxml.submission(submission))) == submission


@slow
@given(submissions(), st.randoms(use_true_random=False))
def test_any_ebxml_keeps_every_slot_classification_and_identifier(
    submission: Submission, chance: random.Random
) -> None:
    sent = [shuffled(item, chance) for item in to_ebxml.submission(submission)]
    kept = list(to_ebxml.submission(submission_of(through_bytes(sent))))
    assert {item.id: content(item) for item in kept} == {item.id: content(item) for item in sent}


def shuffled(item: rim.RegistryObject, chance: random.Random) -> rim.RegistryObject:
    """The same as another sender may write it: other ids of the parts, slots in another order."""
    slots, classifications = list(item.slots), list(item.classifications)
    chance.shuffle(slots)
    known = [number for number, c in enumerate(classifications) if c.scheme is not None]
    chance.shuffle(known)
    for number in known:  # ids of parts mean nothing
        classifications[number] = replace(classifications[number], id=f"urn:uuid:{number:032x}")
    return replace(item, slots=tuple(slots), classifications=tuple(classifications))


def content(item: rim.RegistryObject) -> Any:
    """All of an object but the order and ids of its parts."""
    return (
        replace(item, slots=(), classifications=(), external_identifiers=()),
        sorted(map(repr, item.slots)),
        sorted(repr(replace(c, id=None, slots=tuple(sorted(c.slots, key=repr)))) for c in item.classifications),
        sorted(repr(replace(i, id=None)) for i in item.external_identifiers),
    )


def test_parts_that_xds_has_no_name_for_belong_to_their_object_when_its_id_is_replaced() -> None:
    """The registry gives a new UUID to each symbolic id, everywhere in the submission (ITI TF-2: 3.42.4.1.3)."""
    entry, folder = an_entry(), a_folder()
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    sent = symbolic(a_submission(entries=[entry], folders=[folder], relations=[member]))

    def with_extras(item: Any) -> Any:
        return replace(
            item,
            extra_classifications=(rim.Classification("c1", item.entry_uuid, "urn:uuid:own", None, "x"),),
            extra_identifiers=(rim.ExternalIdentifier("i1", item.entry_uuid, "urn:uuid:own", "x"),),
        )

    sent = Submission(
        with_extras(sent.submission_set),
        *(tuple(map(with_extras, items)) for items in (sent.document_entries, sent.folders, sent.associations)),
    )
    read = submission_of(through_bytes(to_ebxml.submission(sent)))
    for item in read.objects():
        registered = to_ebxml.registry_object(replace(item, entry_uuid=new_entry_uuid()))
        assert {c.classified_object for c in registered.classifications} == {registered.id}
        assert {i.registry_object for i in registered.external_identifiers} == {registered.id}
        ids = [part.id or "" for part in (*registered.classifications, *registered.external_identifiers)]
        assert all(id_.startswith("urn:uuid:") for id_ in ids)
        assert len(ids) == len(set(ids))


def test_what_was_read_is_written_valid_by_our_schema() -> None:
    submission = a_submission(folders=[a_folder(comments=(rim.LocalizedString("", "de"),))])
    schema("lcm.xsd").assertValid(lcm.write_submit_objects(to_ebxml.submission(submission)))
