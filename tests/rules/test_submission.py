"""Each rule of a submission with the one thing spoilt, and the good case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry, symbolic
from xds.actors.document_registry import read
from xds.ebxml import lcm
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata import to_ebxml
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import REPLACING, AssociationType
from xds.rules import document_entry as entry_rules
from xds.rules import submission as rules

MEMBER = AssociationType.HAS_MEMBER
WRONG = ErrorCode.REGISTRY_METADATA


def a_full_submission() -> Submission:
    """An entry in a folder, and an addendum to an entry elsewhere."""
    entry, folder = an_entry(), a_folder()
    member = an_association(MEMBER, folder.entry_uuid, entry.entry_uuid)
    addendum = an_association(AssociationType.APND, entry.entry_uuid, new_entry_uuid())
    return a_submission(entries=[entry], folders=[folder], relations=[member, addendum])


def found(submission: Submission, *only: Callable[[Submission], object]) -> list[Finding]:
    return [finding for rule in only or rules.RULES for finding in rule(submission)]  # type: ignore[attr-defined]


def codes(submission: Submission, *only: Callable[[Submission], object]) -> list[ErrorCode]:
    return [finding.code for finding in found(submission, *only)]


def adding(submission: Submission, *associations: Association) -> Submission:
    return replace(submission, associations=(*submission.associations, *associations))


@pytest.mark.parametrize("submission", [a_full_submission(), symbolic(a_full_submission()), a_submission()])
def test_a_good_submission_keeps_every_rule(submission: Submission) -> None:
    assert found(submission) == []


def test_a_submission_holds_something() -> None:
    empty = a_submission(entries=[])
    assert codes(empty) == [WRONG]
    assert found(a_submission(entries=[], folders=[a_folder()])) == []
    by_reference = an_association(MEMBER, empty.submission_set.entry_uuid, new_entry_uuid())
    assert found(adding(empty, by_reference)) == []


def test_everything_is_of_the_sets_patient() -> None:
    entry = an_entry(patient_id=BERT)
    (finding,) = found(a_submission(entries=[entry, an_entry()]))
    assert (finding.code, finding.location) == (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, entry.entry_uuid)
    folder = a_folder(patient_id=BERT)
    (finding,) = found(a_submission(folders=[folder]))
    assert (finding.code, finding.location) == (ErrorCode.PATIENT_ID_DOES_NOT_MATCH, folder.entry_uuid)
    assert str(ANNA) not in finding.context
    assert str(BERT) not in finding.context


def test_an_id_names_one_object() -> None:
    entry = an_entry()
    (finding,) = found(a_submission(entries=[entry, an_entry(entry_uuid=entry.entry_uuid)]), rules.ids_once)
    assert (finding.code, finding.location) == (WRONG, entry.entry_uuid)


def test_a_unique_id_comes_once_in_a_message() -> None:
    entry = an_entry()
    (finding,) = found(a_submission(entries=[entry, an_entry(unique_id=entry.unique_id)]))
    assert finding.code is ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE
    assert finding.context == entry.unique_id
    assert codes(a_submission(entries=[entry], unique_id=entry.unique_id)) == [finding.code]
    assert codes(a_submission(entries=[entry], folders=[a_folder(unique_id=entry.unique_id)])) == [finding.code]


@pytest.mark.parametrize("kind", ["DocumentEntry", "Folder", "Association"])
def test_the_set_has_every_object_as_a_member(kind: str) -> None:
    submission = a_full_submission()
    items = {
        "DocumentEntry": submission.document_entries[0].entry_uuid,
        "Folder": submission.folders[0].entry_uuid,
        "Association": next(
            a.entry_uuid for a in submission.associations if a.source == submission.folders[0].entry_uuid
        ),
    }
    set_id = submission.submission_set.entry_uuid
    kept = tuple(a for a in submission.associations if (a.source, a.target) != (set_id, items[kind]))
    (finding,) = found(replace(submission, associations=kept))
    assert (finding.code, finding.location) == (WRONG, items[kind])
    assert finding.context.startswith(f"{kind}: ")


def test_a_member_of_another_source_does_not_count() -> None:
    submission = a_submission()
    kept = tuple(replace(a, source=new_entry_uuid()) for a in submission.associations)
    found_ = found(replace(submission, associations=kept), rules.members_of_the_set)
    assert submission.document_entries[0].entry_uuid in [finding.location for finding in found_]


def test_an_association_is_of_a_known_type() -> None:
    entry = an_entry()
    odd = an_association("urn:x:likes", entry.entry_uuid, new_entry_uuid())
    assert codes(a_submission(entries=[entry], relations=[odd])) == [WRONG]


@pytest.mark.parametrize("type_", sorted(set(AssociationType) - {MEMBER}))
def test_the_source_of_a_relationship_is_in_the_submission(type_: AssociationType) -> None:
    relation = an_association(type_, new_entry_uuid(), new_entry_uuid())
    (finding,) = found(a_submission(relations=[relation]))
    assert (finding.code, finding.location) == (ErrorCode.UNRESOLVED_REFERENCE, relation.entry_uuid)


@pytest.mark.parametrize("type_", sorted(set(AssociationType) - {MEMBER}))
def test_only_what_is_registered_is_replaced_or_taken_a_snapshot_of(type_: AssociationType) -> None:
    one, other = an_entry(), an_entry()
    relation = an_association(type_, one.entry_uuid, other.entry_uuid)
    expected = [ErrorCode.UNRESOLVED_REFERENCE] if type_ in {*REPLACING, AssociationType.IS_SNAPSHOT_OF} else []
    assert codes(a_submission(entries=[one, other], relations=[relation])) == expected


def test_the_target_of_a_relationship_is_an_entry() -> None:
    entry, folder = an_entry(), a_folder()
    relation = an_association(AssociationType.APND, entry.entry_uuid, folder.entry_uuid)
    assert codes(a_submission(entries=[entry], folders=[folder], relations=[relation])) == [WRONG]


@pytest.mark.parametrize("status", [None, SubmissionSetStatus.REFERENCE])
def test_an_entry_of_the_submission_is_an_original_member(status: SubmissionSetStatus | None) -> None:
    submission = a_submission()
    changed = tuple(replace(a, submission_set_status=status) for a in submission.associations)
    assert codes(replace(submission, associations=changed)) == [WRONG]


def test_nothing_has_a_submission_set_as_member() -> None:
    submission = a_full_submission()
    odd = an_association(MEMBER, submission.folders[0].entry_uuid, submission.submission_set.entry_uuid)
    assert codes(adding(submission, odd), rules.members_are_of_sets_and_folders) == [WRONG]


def test_a_folder_holds_no_folder() -> None:
    one, other = a_folder(), a_folder()
    odd = an_association(MEMBER, one.entry_uuid, other.entry_uuid)
    assert codes(a_submission(folders=[one, other], relations=[odd])) == [WRONG]


def test_an_entry_has_no_members() -> None:
    one, other = an_entry(), an_entry()
    odd = an_association(MEMBER, one.entry_uuid, other.entry_uuid)
    assert codes(a_submission(entries=[one, other], relations=[odd]), rules.members_are_of_sets_and_folders) == [WRONG]


def test_no_document_is_related_to_itself_nor_by_way_of_others() -> None:
    one, other, third = an_entry(), an_entry(), an_entry()
    to_itself = an_association(AssociationType.APND, one.entry_uuid, one.entry_uuid)
    assert codes(a_submission(entries=[one], relations=[to_itself])) == [WRONG]
    ends = [(one, other), (other, third), (third, one)]
    around = [an_association(AssociationType.APND, a.entry_uuid, b.entry_uuid) for a, b in ends]
    submission = a_submission(entries=[one, other, third], relations=around)
    assert [f.location for f in found(submission)] == [item.entry_uuid for item in around]
    assert codes(a_submission(entries=[one, other, third], relations=around[:2])) == []


def test_a_transformation_of_the_message_has_no_addenda() -> None:
    one, pdf, note = an_entry(), an_entry(), an_entry()
    made = an_association(AssociationType.XFRM, pdf.entry_uuid, one.entry_uuid)
    addendum = an_association(AssociationType.APND, note.entry_uuid, pdf.entry_uuid)
    (finding,) = found(a_submission(entries=[one, pdf, note], relations=[made, addendum]))
    assert finding.location == addendum.entry_uuid
    replacing = an_association(AssociationType.XFRM_RPLC, pdf.entry_uuid, new_entry_uuid())  # of one registered
    assert codes(a_submission(entries=[pdf, note], relations=[replacing, addendum])) == []


def test_nothing_is_a_member_twice_and_no_document_is_replaced_twice() -> None:
    one, other, old = an_entry(), an_entry(), new_entry_uuid()
    both = [an_association(AssociationType.RPLC, item.entry_uuid, old) for item in (one, other)]
    (finding,) = found(a_submission(entries=[one, other], relations=both))
    assert finding.location == both[1].entry_uuid
    submission = a_submission(entries=[one])
    again = an_association(MEMBER, submission.submission_set.entry_uuid, one.entry_uuid)
    again = replace(again, submission_set_status=SubmissionSetStatus.ORIGINAL)
    assert codes(adding(submission, again)) == [WRONG]


def test_the_set_has_no_relationship_as_member() -> None:
    one, other = an_entry(), an_entry()
    addendum = an_association(AssociationType.APND, one.entry_uuid, other.entry_uuid)
    submission = a_submission(entries=[one, other], relations=[addendum])
    held = an_association(MEMBER, submission.submission_set.entry_uuid, addendum.entry_uuid)
    assert codes(adding(submission, held)) == [WRONG]


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_end_elsewhere_is_a_uuid(end: str) -> None:
    submission = a_full_submission()
    addendum = next(a for a in submission.associations if a.type == AssociationType.APND)
    spoilt = replace(addendum, **{end: "object9"})
    others = tuple(a for a in submission.associations if a is not addendum)
    (finding,) = found(replace(submission, associations=(*others, spoilt)), rules.ends_can_be_found)
    assert (finding.code, finding.location) == (ErrorCode.UNRESOLVED_REFERENCE, addendum.entry_uuid)


def test_every_broken_rule_is_named_at_once() -> None:
    entry = an_entry(patient_id=BERT, service_start_time=None, source_patient_info=("PID-7|1956", "PID-7|1957"))
    twin = an_entry(unique_id=entry.unique_id)
    odd = an_association("urn:x:likes", "object9", entry.entry_uuid)
    submission = replace(a_submission(entries=[entry, twin], relations=[odd]), folders=(a_folder(),))
    with pytest.raises(Refused) as refused:
        read(lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission))))
    assert sorted(f.code for f in refused.value.findings) == sorted(
        [
            ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
            ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE,
            ErrorCode.UNRESOLVED_REFERENCE,
            WRONG,  # the folder is no member
            WRONG,  # a type that is unknown
            WRONG,  # two dates of birth
        ]
    )


def test_a_submission_that_keeps_the_rules_is_read_as_it_was() -> None:
    submission = a_full_submission()
    assert read(lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))) == (submission, ())


def test_every_function_of_a_file_of_rules_is_in_its_list() -> None:
    for module in (rules, entry_rules):
        public = {
            value for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
        }  # fmt: skip
        assert set(module.RULES) == public
