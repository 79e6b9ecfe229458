"""What a submission must be as a whole, and beside what the registry has.  ITI TF-2: 3.42, 3.61; TF-3: 4.2.1, 4.2.2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lxml import etree

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry
from tests.conformance.rule import ON_DEMAND_CHANGES, Desk, Rule, of, stranger
from xds.errors import ErrorCode
from xds.metadata import vocabulary as v
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import UniqueId, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.wire.xml import Element, name

BOTH = ("ITI-42", "ITI-61")
ITI_42 = ("ITI-42",)
VALIDATION = "ITI TF-2: 3.42.4.1.3"
SHAPE = "ITI TF-3: 4.2.1.4"
MEMBER, RPLC, APND, XFRM = (
    AssociationType.HAS_MEMBER, AssociationType.RPLC, AssociationType.APND, AssociationType.XFRM,
)  # fmt: skip


def entry_for(number: str, **changes: Any) -> DocumentEntry:
    """A good entry of a transaction."""
    return an_entry(**((ON_DEMAND_CHANGES if number == "ITI-61" else {}) | changes))


def sent(make: Callable[[str], Submission]) -> Callable[[Desk, str], None]:
    return lambda desk, number: desk.send(number, make(number))


def changed(change: Callable[[Element], None]) -> Callable[[Desk, str], None]:
    """A good body, changed."""

    def attempt(desk: Desk, number: str) -> None:
        body = desk.good(number)
        change(body)
        desk.send(number, body)

    return attempt


def with_relation(*made: Callable[[Submission], Association]) -> Callable[[str], Submission]:
    """A good submission of an entry, and associations beside."""

    def make(number: str) -> Submission:
        good = a_submission(entries=[entry_for(number)], folders=[a_folder()])
        return Submission(
            good.submission_set, good.document_entries, good.folders,
            (*good.associations, *(relation(good) for relation in made)),
        )  # fmt: skip

    return make


def less(submission: Submission, kind: type) -> Submission:
    """Without the SubmissionSet's membership of what is of a kind."""
    gone = {item.entry_uuid for item in submission.objects() if isinstance(item, kind)}
    kept = tuple(a for a in submission.associations if a.target not in gone)
    return Submission(submission.submission_set, submission.document_entries, submission.folders, kept)


# Shape.


def no_set(body: Element) -> None:
    for package in list(body.iter(name("rim:RegistryPackage"))):
        for marker in package.findall(name("rim:Classification")):
            if marker.get("classificationNode") == v.SUBMISSION_SET:
                marker.set("classificationNode", v.FOLDER)


def unmarked(body: Element) -> None:
    for package in body.iter(name("rim:RegistryPackage")):
        for marker in package.findall(name("rim:Classification")):
            if marker.get("classificationNode") == v.FOLDER:
                package.remove(marker)


def a_stray(body: Element) -> None:
    listed = next(body.iter(name("rim:RegistryObjectList")))
    etree.SubElement(
        listed, name("rim:Classification"), id="stray", classifiedObject="nothing", classificationNode=v.FOLDER
    )


def another_object(body: Element) -> None:
    listed = next(body.iter(name("rim:RegistryObjectList")))
    etree.SubElement(listed, name("rim:Organization"), id="org", primaryContact="x")


def an_empty_one(_number: str) -> Submission:
    return a_submission(entries=[])


def one_id_twice(number: str) -> Submission:
    entry = entry_for(number)
    return a_submission(entries=[entry, replace(entry, unique_id=UniqueId("2.25.9.9.9"))])


def one_unique_id_twice(number: str) -> Submission:
    return a_submission(entries=[entry_for(number, unique_id="2.25.8"), entry_for(number, unique_id="2.25.8")])


def unheld_membership(number: str) -> Submission:
    entry, binder = entry_for(number), a_folder()
    good = a_submission(entries=[entry], folders=[binder])
    member = an_association(MEMBER, binder.entry_uuid, entry.entry_uuid)
    return Submission(good.submission_set, (entry,), (binder,), (*good.associations, member))


SHAPES = (
    Rule(BOTH, "A submission has one SubmissionSet", SHAPE, changed(no_set), names="SubmissionSet"),
    Rule(BOTH, "A RegistryPackage is marked as SubmissionSet or Folder", SHAPE, changed(unmarked),
         names="RegistryPackage"),
    Rule(BOTH, "A Classification beside the objects classifies one of them", SHAPE, changed(a_stray),
         names="Classification"),
    Rule(ITI_42, "A submission holds an entry, a folder or a membership", SHAPE, sent(an_empty_one),
         names="SubmissionSet"),
    Rule(BOTH, "An id names one object of the message", "ebRIM 3.0: 2.1", sent(one_id_twice), names="an id"),
    Rule(BOTH, "An entryUUID is a UUID in lower case or a symbol", "ITI TF-3: 4.2.3.2.4",
         sent(lambda n: a_submission(entries=[entry_for(n, entry_uuid="urn:uuid:ABC")])), names="entryUUID"),
    Rule(BOTH, "A uniqueId names one object of the message", "ITI TF-3: Table 4.2.4.1-2", sent(one_unique_id_twice),
         ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, "2.25.8", prescribed=True),
    Rule(BOTH, "The SubmissionSet has each DocumentEntry as member", SHAPE,
         sent(lambda n: less(a_submission(entries=[entry_for(n)]), DocumentEntry)), names="DocumentEntry"),
    Rule(BOTH, "The SubmissionSet has each Folder as member", SHAPE,
         sent(lambda n: less(a_submission(entries=[entry_for(n)], folders=[a_folder()]), type(a_folder()))),
         names="Folder"),
    Rule(BOTH, "The SubmissionSet has each folder membership as member", SHAPE, sent(unheld_membership),
         names="Association"),
    Rule(BOTH, "A DocumentEntry is of the SubmissionSet's patient", VALIDATION,
         sent(lambda n: a_submission(entries=[entry_for(n, patient_id=BERT)])),
         ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "DocumentEntry.patientId"),
    Rule(BOTH, "A Folder is of the SubmissionSet's patient", VALIDATION,
         sent(lambda n: a_submission(entries=[entry_for(n)], folders=[a_folder(patient_id=BERT)])),
         ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "Folder.patientId"),
    Rule(ITI_42, "Entries are stable", "ITI TF-2: 3.42.4.1.2",
         sent(lambda _: a_submission(entries=[an_entry(**ON_DEMAND_CHANGES)])), names="DocumentEntry.objectType"),
    Rule(("ITI-61",), "Entries are on-demand", "ITI TF-2: 3.61.4.1.2",
         sent(lambda _: a_submission(entries=[an_entry()])), names="DocumentEntry.objectType"),
    Rule(("ITI-61",), "There is an on-demand entry", "ITI TF-2: 3.61.4.1.2",
         sent(lambda _: a_submission(entries=[], folders=[a_folder()])), names="DocumentEntry"),
)  # fmt: skip


# Associations in themselves.


def _to_set(good: Submission) -> Association:
    return an_association(MEMBER, good.folders[0].entry_uuid, good.submission_set.entry_uuid)


def _not_original(number: str) -> Submission:
    good = a_submission(entries=[entry_for(number)])
    reference = tuple(
        replace(a, submission_set_status=SubmissionSetStatus.REFERENCE) if a.submission_set_status else a
        for a in good.associations
    )
    return Submission(good.submission_set, good.document_entries, (), reference)


def _related(kind: AssociationType, source: int | None, target: int | None) -> Callable[[str], Submission]:
    """Two entries of the message and a relation between them, or from or to something else: None."""

    def make(number: str) -> Submission:
        entries, binder = [entry_for(number), entry_for(number)], a_folder()
        ends = [binder.entry_uuid if end is None else entries[end].entry_uuid for end in (source, target)]
        return a_submission(entries=entries, folders=[binder], relations=[an_association(kind, *ends)])

    return make


def _chained(number: str) -> Submission:
    one, pdf, note = (entry_for(number) for _ in range(3))
    relations = [an_association(XFRM, pdf.entry_uuid, one.entry_uuid),
                 an_association(APND, note.entry_uuid, pdf.entry_uuid)]  # fmt: skip
    return a_submission(entries=[one, pdf, note], relations=relations)


def _member_twice(number: str) -> Submission:
    entry, binder = entry_for(number), a_folder()
    members = [an_association(MEMBER, binder.entry_uuid, entry.entry_uuid) for _ in range(2)]
    return a_submission(entries=[entry], folders=[binder], relations=members)


def _holding_one(number: str) -> Submission:
    one, other = entry_for(number), entry_for(number)
    addendum = an_association(APND, one.entry_uuid, other.entry_uuid)
    good = a_submission(entries=[one, other], relations=[addendum])
    held = an_association(MEMBER, good.submission_set.entry_uuid, addendum.entry_uuid)
    return replace(good, associations=(*good.associations, held))


def _snapshot(number: str) -> Submission:
    of_what = an_entry()
    relation = an_association(
        AssociationType.IS_SNAPSHOT_OF, (entry := entry_for(number)).entry_uuid, of_what.entry_uuid
    )
    return a_submission(entries=[entry, of_what] if number == "ITI-42" else [entry], relations=[relation])


ASSOCIATIONS = (
    Rule(BOTH, "An association is of a type of XDS", "ITI TF-3: Table 4.2.2-1",
         sent(with_relation(lambda g: an_association("urn:x", g.document_entries[0].entry_uuid,
                                                     g.document_entries[0].entry_uuid))),
         names="Association.associationType"),
    Rule(BOTH, "The source of a relationship is an entry of the submission", "ITI TF-3: 4.2.2.2",
         sent(_related(APND, None, 0)), ErrorCode.UNRESOLVED_REFERENCE, "Association"),
    Rule(BOTH, "The target of a relationship is a DocumentEntry", "ITI TF-3: 4.2.2.2",
         sent(_related(APND, 0, None)), names="Association"),
    Rule(BOTH, "What is replaced is registered already", "ITI TF-3: 4.2.2.2.3", sent(_related(RPLC, 0, 1)),
         ErrorCode.UNRESOLVED_REFERENCE, "Association"),
    Rule(BOTH, "No document is related to itself", "ITI TF-3: 4.2.2.2", sent(_related(APND, 0, 0)),
         names="related to itself"),
    Rule(BOTH, "A transformation of the message has no addenda", "ITI TF-3: 4.2.2.2.1", sent(_chained),
         names="transformation"),
    Rule(BOTH, "Nothing is a member twice", "ITI TF-3: 4.2.2", sent(_member_twice), names="between these two"),
    Rule(BOTH, "Of associations, a SubmissionSet has a Folder's HasMembers", "ITI TF-3: 4.2.2.1", sent(_holding_one),
         names="HasMembers"),
    Rule(BOTH, "Nothing has a SubmissionSet as member", "ITI TF-3: 4.2.2.1", sent(with_relation(_to_set)),
         names="Association"),
    Rule(BOTH, "A new entry is an Original member", "ITI TF-3: 4.2.2.1.1", sent(_not_original),
         names="Association.SubmissionSetStatus"),
    Rule(BOTH, "Only a SubmissionSet or Folder has members", "ITI TF-3: 4.2.2.1",
         sent(_related(MEMBER, 0, 1)), names="Association"),
    Rule(BOTH, "The members of a Folder are DocumentEntries", "ITI TF-3: 4.2.2.1",
         sent(_related(MEMBER, None, None)), names="Association"),
    Rule(BOTH, "An end that is not in the submission is a UUID", "ITI TF-3: 4.2.3.1.5",
         sent(with_relation(lambda g: an_association(APND, g.document_entries[0].entry_uuid, "elsewhere"))),
         ErrorCode.UNRESOLVED_REFERENCE, "Association"),
    Rule(("ITI-61",), "A snapshot is a stable document", "ITI TF-3: 4.2.2.2.6", sent(_snapshot),
         names="Association"),
    Rule(ITI_42, "What a snapshot is of is registered already", "ITI TF-3: 4.2.2.2.6", sent(_snapshot),
         ErrorCode.UNRESOLVED_REFERENCE, "Association"),
)  # fmt: skip


# Beside what the registry has.


def relating(
    kind: AssociationType, change: Callable[[Desk, Submission], None] | None = None
) -> Callable[[Desk, str], None]:
    """A relation to an entry that was registered, and that something has been done to since."""

    def attempt(desk: Desk, number: str) -> None:
        old = desk.registered()
        if change is not None:
            change(desk, old)
        new = entry_for(number)
        relation = an_association(kind, new.entry_uuid, old.document_entries[0].entry_uuid)
        desk.send(number, a_submission(entries=[new], relations=[relation]))

    return attempt


def replaced(desk: Desk, old: Submission) -> None:
    new = an_entry()
    relation = an_association(RPLC, new.entry_uuid, old.document_entries[0].entry_uuid)
    desk.site.register(a_submission(entries=[new], relations=[relation]))


def again(**same: str) -> Callable[[Desk, str], None]:
    """A submission with something of one before: an attribute's path to an attribute's path."""

    def attempt(desk: Desk, number: str) -> None:
        before = desk.registered(folders=[a_folder()])
        now = a_submission(entries=[entry_for(number)], folders=[a_folder()])
        set_, entries, folders = now.submission_set, now.document_entries, now.folders
        if "set" in same:
            set_ = replace(set_, **{same["set"]: getattr(before.submission_set, same["set"])})
        if "folder" in same:
            folders = (replace(folders[0], **{same["folder"]: getattr(before.folders[0], same["folder"])}),)
        if "entry" in same:
            entries = (replace(entries[0], **{same["entry"]: getattr(before.document_entries[0], same["entry"])}),)
        items = zip((*now.document_entries, *now.folders), (*entries, *folders), strict=True)
        ids = {old.entry_uuid: new.entry_uuid for old, new in items}
        ids[now.submission_set.entry_uuid] = set_.entry_uuid
        moved = tuple(replace(a, source=ids[a.source], target=ids[a.target]) for a in now.associations)
        desk.send(number, Submission(set_, entries, folders, moved))

    return attempt


def another(**changes: Any) -> Callable[[Desk, str], None]:
    """Another document under a uniqueId that is registered."""

    def attempt(desk: Desk, number: str) -> None:
        old = desk.registered().document_entries[0]
        desk.send(number, a_submission(entries=[entry_for(number, unique_id=old.unique_id, **changes)]))

    return attempt


def _of_stranger(desk: Desk, number: str) -> None:
    desk.send(number, a_submission(patient=stranger(), entries=[entry_for(number, patient_id=stranger())]))


def _merged_away(desk: Desk, number: str) -> None:
    desk.site(lambda store: store.merge(ANNA, BERT))
    desk.send(number, a_submission(entries=[entry_for(number)]))


def _to_anothers(desk: Desk, number: str) -> None:
    old = desk.registered(patient=BERT).document_entries[0]
    new = entry_for(number)
    relation = an_association(APND, new.entry_uuid, old.entry_uuid)
    desk.send(number, a_submission(entries=[new], relations=[relation]))


def _into_anothers_folder(desk: Desk, number: str) -> None:
    binder = a_folder(patient_id=BERT)
    desk.registered(patient=BERT, folders=[binder])
    member = an_association(MEMBER, binder.entry_uuid, (new := entry_for(number)).entry_uuid)
    good = a_submission(entries=[new], relations=[member])
    held = an_association(MEMBER, good.submission_set.entry_uuid, member.entry_uuid)
    desk.send(number, Submission(good.submission_set, (new,), (), (*good.associations, held)))


def _to_a_folder(desk: Desk, number: str) -> None:
    binder = a_folder()
    desk.registered(folders=[binder])
    new = entry_for(number)
    relation = an_association(APND, new.entry_uuid, binder.entry_uuid)
    desk.send(number, a_submission(entries=[new], relations=[relation]))


def _into_a_folder_with_deprecated(desk: Desk, number: str) -> None:
    old = desk.registered()
    replaced(desk, old)
    binder = a_folder()
    member = an_association(MEMBER, binder.entry_uuid, old.document_entries[0].entry_uuid)
    desk.send(number, a_submission(entries=[entry_for(number)], folders=[binder], relations=[member]))


def _addendum_to_a_transformation(desk: Desk, number: str) -> None:
    old, pdf = an_entry(), an_entry()
    desk.registered(entries=[old, pdf], relations=[an_association(XFRM, pdf.entry_uuid, old.entry_uuid)])
    new = entry_for(number)
    desk.send(number, a_submission(entries=[new], relations=[an_association(APND, new.entry_uuid, pdf.entry_uuid)]))


def _beside(source: str, target: str, **changes: Any) -> Callable[[Desk, str], None]:
    """A HasMember from or to what is registered: ``set``, ``entry`` or ``folder``; of the message: ``own``, ``new``."""

    def attempt(desk: Desk, number: str) -> None:
        before = desk.registered(folders=[a_folder()])
        good = a_submission(entries=[entry_for(number)])
        ends = {
            "set": before.submission_set, "entry": before.document_entries[0], "folder": before.folders[0],
            "own": good.submission_set, "new": good.document_entries[0],
        }  # fmt: skip
        member = replace(an_association(MEMBER, ends[source].entry_uuid, ends[target].entry_uuid), **changes)
        desk.send(number, replace(good, associations=(*good.associations, member)))

    return attempt


def _set_as_document(desk: Desk, number: str) -> None:
    before = desk.registered()
    entry = entry_for(number, unique_id=before.submission_set.unique_id)
    desk.send(number, a_submission(entries=[entry]))


REFERENCE = SubmissionSetStatus.REFERENCE
BESIDE = (
    Rule(BOTH, "A registered SubmissionSet takes no new members", "ITI TF-3: 4.2.2.1", _beside("set", "new"),
         names="only a Folder"),
    Rule(BOTH, "A SubmissionSet has no registered Folder as member", "ITI TF-3: 4.2.2.1.1",
         _beside("own", "folder", submission_set_status=REFERENCE), names="by reference"),
    Rule(BOTH, "A registered entry is a member by Reference", "ITI TF-3: 4.2.2.1.1", _beside("own", "entry"),
         names="Association.SubmissionSetStatus"),
    Rule(BOTH, "The registered members of a Folder are DocumentEntries", "ITI TF-3: 4.2.2.1.3",
         _beside("folder", "set"), names="members of a Folder"),
    Rule(BOTH, "The patient is known", "ITI TF-3: Table 4.2.4.1-2", _of_stranger, ErrorCode.UNKNOWN_PATIENT_ID,
         str(stranger()), prescribed=True),
    Rule(BOTH, "A patient merged away is known no more", "ITI TF-2: 3.8.4.2.3", _merged_away,
         ErrorCode.UNKNOWN_PATIENT_ID, str(ANNA), prescribed=True),
    Rule(BOTH, "A SubmissionSet.uniqueId is used once", "ITI TF-3: Table 4.2.4.1-2", again(set="unique_id"),
         ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "SubmissionSet.uniqueId", prescribed=True),
    Rule(BOTH, "A uniqueId is one object's, whatever its kind", "ITI TF-3: Table 4.2.4.1-2", _set_as_document,
         ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "DocumentEntry.uniqueId", prescribed=True),
    Rule(BOTH, "A Folder.uniqueId is used once", "ITI TF-3: Table 4.2.4.1-2", again(folder="unique_id"),
         ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "Folder.uniqueId", prescribed=True),
    Rule(BOTH, "An entryUUID is registered once", VALIDATION, again(entry="entry_uuid"),
         names="DocumentEntry.entryUUID"),
    Rule(ITI_42, "A uniqueId comes again with the same hash", "ITI TF-2: 3.42.4.1.3.3.1",
         another(hash="f" * 40), ErrorCode.NON_IDENTICAL_HASH, "2.25.", prescribed=True),
    Rule(ITI_42, "A uniqueId comes again with the same size", "ITI TF-2: 3.42.4.1.3.3.1",
         another(size=7), ErrorCode.NON_IDENTICAL_SIZE, "2.25.", prescribed=True),
    Rule(("ITI-61",), "An on-demand entry's uniqueId is no stable document's", "ITI TF-2: 3.61.4.1.3",
         another(), names="DocumentEntry.uniqueId"),
    Rule(BOTH, "What an association points to is registered", VALIDATION,
         sent(with_relation(lambda g: an_association(APND, g.document_entries[0].entry_uuid, new_entry_uuid()))),
         ErrorCode.UNRESOLVED_REFERENCE, "is not registered"),
    Rule(BOTH, "The target of a relationship is of the same patient", VALIDATION, _to_anothers,
         ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "Association"),
    Rule(BOTH, "A Folder and its members are of one patient", VALIDATION, _into_anothers_folder,
         ErrorCode.PATIENT_ID_DOES_NOT_MATCH, "Association"),
    Rule(BOTH, "The registered target of a relationship is a DocumentEntry", "ITI TF-3: 4.2.2.2", _to_a_folder,
         names="Association"),
    Rule(BOTH, "What is replaced is Approved", VALIDATION, relating(RPLC, replaced),
         ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "Association"),
    Rule(BOTH, "What is appended to is Approved", VALIDATION, relating(APND, replaced),
         ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "Association"),
    Rule(BOTH, "What goes into a Folder is Approved", VALIDATION, _into_a_folder_with_deprecated,
         ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "Association"),
    Rule(ITI_42, "A snapshot is of an on-demand document", "ITI TF-3: 4.2.2.2.6",
         relating(AssociationType.IS_SNAPSHOT_OF), names="Association"),
    Rule(BOTH, "A transformation has no addenda", "ITI TF-3: 4.2.2.2.1", _addendum_to_a_transformation,
         names="Association"),
)  # fmt: skip

# The schema's own.


def _without_id(body: Element) -> None:
    del next(body.iter(name("rim:ExtrinsicObject"))).attrib["id"]


def _unknown_element(body: Element) -> None:
    etree.SubElement(next(body.iter(name("rim:ExtrinsicObject"))), name("rim:Colour"))


def _long_value(body: Element) -> None:
    next(body.iter(name("rim:Value"))).text = "x" * 257


SCHEMA = tuple(
    Rule((*BOTH, "ITI-57", "ITI-92"), sentence, "ebRIM 3.0: rim.xsd", changed(change), names=names, prescribed=True)
    for sentence, change, names in (
        ("An object has an id", _without_id, "not valid by lcm.xsd"),
        ("An element is one of the schema's", _unknown_element, "not valid by lcm.xsd"),
        ("A slot's value has at most 256 characters", _long_value, "not valid by lcm.xsd"),
    )
)

OTHERS = (
    Rule(BOTH, "A submission holds no other kinds of objects", SHAPE, changed(another_object), prescribed=True),
)  # fmt: skip

RULES = (*SCHEMA, *SHAPES, *OTHERS, *ASSOCIATIONS, *BESIDE)

__all__ = ["RULES", "of"]
