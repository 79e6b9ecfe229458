"""Every way in which a submission's ebXML can be wrong is found, named, and told without the value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_folder, a_submission, an_association, an_entry, submission_of
from tests.metadata.strategies import texts
from xds.ebxml import lcm, rim
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.metadata import from_ebxml, to_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.submission import Submission

SECRET = "Geheim"


def objects_of(submission: Submission | None = None) -> rim.RegistryObjectList:
    """A good submission with an entry, a folder and its membership, as sent."""
    if submission is None:
        entry, folder = an_entry(), a_folder()
        member = an_association(v.AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
        submission = a_submission(entries=[entry], folders=[folder], relations=[member])
    return lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))


def findings(objects: rim.RegistryObjectList) -> tuple[Finding, ...]:
    with pytest.raises(Refused) as refused:
        submission_of(objects)
    assert {finding.code for finding in refused.value.findings} == {ErrorCode.REGISTRY_METADATA}
    return refused.value.findings


def contexts(objects: rim.RegistryObjectList) -> list[str]:
    return [finding.context for finding in findings(objects)]


def with_entry(change: Callable[[rim.ExtrinsicObject], rim.ExtrinsicObject]) -> rim.RegistryObjectList:
    objects = objects_of()
    return replace(objects, extrinsic_objects=tuple(map(change, objects.extrinsic_objects)))


def with_package(
    marker: str,
    change: Callable[[rim.RegistryPackage], rim.RegistryPackage],
    objects: rim.RegistryObjectList | None = None,
) -> rim.RegistryObjectList:
    """The package of this marker changed."""
    objects = objects or objects_of()
    return replace(
        objects,
        registry_packages=tuple(
            change(p) if any(c.node == marker for c in p.classifications) else p for p in objects.registry_packages
        ),
    )


def set_slot(name: str, *values: str) -> Callable[[Any], Any]:
    def change(item: Any) -> Any:
        return replace(item, slots=(*(s for s in item.slots if s.name != name), rim.Slot(name, values)))

    return change


def without_slot(name: str) -> Callable[[Any], Any]:
    return lambda item: replace(item, slots=tuple(s for s in item.slots if s.name != name))


def without_scheme(scheme: str) -> Callable[[Any], Any]:
    def change(item: Any) -> Any:
        return replace(
            item,
            classifications=tuple(c for c in item.classifications if c.scheme != scheme),
            external_identifiers=tuple(i for i in item.external_identifiers if i.scheme != scheme),
        )

    return change


def twice(scheme: str) -> Callable[[Any], Any]:
    def change(item: Any) -> Any:
        return replace(
            item,
            classifications=(*item.classifications, *(c for c in item.classifications if c.scheme == scheme)),
            external_identifiers=(
                *item.external_identifiers,
                *(i for i in item.external_identifiers if i.scheme == scheme),
            ),
        )

    return change


def each_classification(scheme: str, **changes: Any) -> Callable[[Any], Any]:
    def change(item: Any) -> Any:
        return replace(
            item,
            classifications=tuple(replace(c, **changes) if c.scheme == scheme else c for c in item.classifications),
        )

    return change


def adding(*parts: rim.Classification | rim.ExternalIdentifier) -> Callable[[Any], Any]:
    """With parts more, which belong to the object unless they say otherwise."""

    def change(item: Any) -> Any:
        owned = [
            replace(p, classified_object=p.classified_object or item.id) if isinstance(p, rim.Classification) else p
            for p in parts
        ]
        return replace(
            item,
            classifications=(*item.classifications, *(p for p in owned if isinstance(p, rim.Classification))),
            external_identifiers=(
                *item.external_identifiers,
                *(p for p in owned if isinstance(p, rim.ExternalIdentifier)),
            ),
        )

    return change


def test_the_good_submission_has_no_findings() -> None:
    submission_of(objects_of())


ENTRY_SLOTS = ("creationTime", "hash", "size", "repositoryUniqueId", "languageCode", "sourcePatientId")
ENTRY_CODES = tuple(v.DOCUMENT_ENTRY_CODES)


@pytest.mark.parametrize("slot", ENTRY_SLOTS)
def test_a_required_slot_of_an_entry_is_missed_by_name(slot: str) -> None:
    assert contexts(with_entry(without_slot(slot))) == [
        f"DocumentEntry.{slot}: is required (ITI TF-3: Table 4.2.3.2-1)"
    ]


@pytest.mark.parametrize("slot", [*ENTRY_SLOTS, "serviceStartTime", "legalAuthenticator", "documentAvailability"])
@pytest.mark.parametrize("values", [(), ("",), ("2024", "2024")])
def test_a_slot_of_one_value_has_exactly_one(slot: str, values: tuple[str, ...]) -> None:
    (context,) = contexts(with_entry(set_slot(slot, *values)))
    assert context.startswith(f"DocumentEntry.{slot}: needs exactly one value")


@pytest.mark.parametrize("slot", ["sourcePatientInfo", "URI", v.REFERENCE_ID_LIST])
def test_a_slot_of_many_values_has_at_least_one(slot: str) -> None:
    (context,) = contexts(with_entry(set_slot(slot)))
    assert "has no value" in context


def test_a_slot_that_occurs_twice_is_named() -> None:
    (context,) = contexts(with_entry(lambda e: replace(e, slots=(*e.slots, *e.slots[:1]))))
    assert context == "DocumentEntry.slot creationTime: occurs twice (ITI TF-3: 4.2.3.1)"


@pytest.mark.parametrize("attribute", ENTRY_CODES)
def test_a_coded_attribute_occurs_as_often_as_it_may(attribute: str) -> None:
    coded = v.DOCUMENT_ENTRY_CODES[attribute]
    if coded.least:
        (context,) = contexts(with_entry(without_scheme(coded.scheme)))
        assert "occurs 0 times" in context
    else:
        submission_of(with_entry(without_scheme(coded.scheme)))
    if coded.most == 1:
        (context,) = contexts(with_entry(twice(coded.scheme)))
        assert "occurs 2 times" in context
    else:
        submission_of(with_entry(twice(coded.scheme)))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"classified_object": "urn:uuid:of-another"}, "classifiedObject is not the id"),
        ({"node_representation": ""}, "nodeRepresentation"),
        ({"node_representation": None}, "nodeRepresentation"),
        ({"slots": ()}, "codingScheme"),
        ({"slots": (rim.Slot("codingScheme", ("a", "b")),)}, "codingScheme"),
        ({"slots": (rim.Slot("codingScheme", ("",)),)}, "codingScheme"),
        ({"slots": (rim.Slot("codingScheme", ("a",)), rim.Slot("codingScheme", ("b",)))}, "codingScheme"),
        ({"name": ()}, "rim:Name"),
        ({"name": (rim.LocalizedString(""),)}, "rim:Name"),
    ],
)
def test_a_code_is_whole(changes: dict[str, Any], rule: str) -> None:
    scheme = v.DOCUMENT_ENTRY_CODES["class_code"].scheme
    (context,) = contexts(with_entry(each_classification(scheme, **changes)))
    assert context.startswith("DocumentEntry.classCode: ")
    assert rule in context


@pytest.mark.parametrize(
    ("scheme", "attribute"),
    [(v.DOCUMENT_ENTRY_PATIENT_ID, "patientId"), (v.DOCUMENT_ENTRY_UNIQUE_ID, "uniqueId")],
)
def test_an_identifier_of_an_entry_occurs_once_and_is_its_own(scheme: str, attribute: str) -> None:
    (context,) = contexts(with_entry(without_scheme(scheme)))
    assert f"DocumentEntry.{attribute}: needs exactly one" in context
    (context,) = contexts(with_entry(twice(scheme)))
    assert "has 2" in context

    def elsewhere(item: rim.ExtrinsicObject) -> rim.ExtrinsicObject:
        changed = (
            replace(i, registry_object="urn:uuid:x") if i.scheme == scheme else i for i in item.external_identifiers
        )
        return replace(item, external_identifiers=tuple(changed))

    (context,) = contexts(with_entry(elsewhere))
    assert f"DocumentEntry.{attribute}: registryObject is not" in context


@pytest.mark.parametrize(
    ("scheme", "attribute", "value"),
    [
        (v.SUBMISSION_SET_PATIENT_ID, "patientId", SECRET),
        (v.SUBMISSION_SET_SOURCE_ID, "sourceId", SECRET),
        (v.SUBMISSION_SET_UNIQUE_ID, "uniqueId", f"1.2^{SECRET}"),
        (v.SUBMISSION_SET_PATIENT_ID, "patientId", None),
        (v.SUBMISSION_SET_SOURCE_ID, "sourceId", None),
        (v.SUBMISSION_SET_UNIQUE_ID, "uniqueId", None),
    ],
)
def test_a_submission_set_has_its_identifiers(scheme: str, attribute: str, value: str | None) -> None:
    def spoil(item: rim.RegistryPackage) -> rim.RegistryPackage:
        kept = [i for i in item.external_identifiers if i.scheme != scheme or value is not None]
        return replace(
            item, external_identifiers=tuple(replace(i, value=value) if i.scheme == scheme else i for i in kept)
        )

    (context,) = contexts(with_package(v.SUBMISSION_SET, spoil))
    assert context.startswith(f"SubmissionSet.{attribute}: ")
    assert SECRET not in context


def test_a_submission_set_has_a_time_a_content_type_and_good_recipients() -> None:
    for change, attribute in (
        (without_slot("submissionTime"), "submissionTime"),
        (set_slot("submissionTime", SECRET), "submissionTime"),
        (set_slot("intendedRecipient", SECRET + "|^^x"), "intendedRecipient"),
        (without_scheme(v.SUBMISSION_SET_CODES["content_type_code"].scheme), "contentTypeCode"),
        (twice(v.SUBMISSION_SET_CODES["content_type_code"].scheme), "contentTypeCode"),
    ):
        (context,) = contexts(with_package(v.SUBMISSION_SET, change))
        assert context.startswith(f"SubmissionSet.{attribute}: ")
        assert SECRET not in context


def test_a_folder_has_a_code_a_title_and_its_identifiers() -> None:
    for change, attribute in (
        (without_scheme(v.FOLDER_CODES["code_list"].scheme), "codeList"),
        (lambda p: replace(p, name=()), "title"),
        (lambda p: replace(p, name=(rim.LocalizedString(""),)), "title"),
        (without_scheme(v.FOLDER_PATIENT_ID), "patientId"),
        (without_scheme(v.FOLDER_UNIQUE_ID), "uniqueId"),
    ):
        (context,) = contexts(with_package(v.FOLDER, change))
        assert context.startswith(f"Folder.{attribute}: ")
        assert SECRET not in context


@pytest.mark.parametrize(
    ("slots", "rule"),
    [
        ((), "required"),
        ((rim.Slot("authorRole", ("Radiologist",)),), "required"),
        ((rim.Slot("authorPerson", ("^Curie", "^Röntgen")),), "more than one value"),
        ((rim.Slot("authorPerson", (f"^^{SECRET}",)),), "last name"),
        ((rim.Slot("authorPerson", ("",)),), "empty value"),
        ((rim.Slot("authorInstitution", (f"{SECRET}^^^^^^^^^7",)),), "XON"),
        ((rim.Slot("authorPerson", ("^Curie",)), rim.Slot("authorTelecommunication", (SECRET,))), "XTN"),
        ((rim.Slot("authorPerson", ("^Curie",)), rim.Slot("authorNickname", (SECRET,))), "authorNickname"),
        ((rim.Slot("authorPerson", ("^Curie",)), rim.Slot("authorPerson", (f"^{SECRET}",))), "occurs twice"),
    ],
)
@pytest.mark.parametrize("kind", ["DocumentEntry", "SubmissionSet"])
def test_an_author_is_someone(kind: str, slots: tuple[rim.Slot, ...], rule: str) -> None:
    if kind == "DocumentEntry":
        objects = with_entry(each_classification(v.DOCUMENT_ENTRY_AUTHOR, slots=slots))
    else:
        author = adding(rim.Classification("a", "", v.SUBMISSION_SET_AUTHOR, None, "", slots))
        objects = with_package(v.SUBMISSION_SET, author)
    found = contexts(objects)
    assert all(context.startswith(f"{kind}.author") for context in found)
    assert any(rule in context for context in found)
    assert SECRET not in "".join(found)


def test_an_author_of_another_object_is_not_this_ones() -> None:
    (context,) = contexts(with_entry(each_classification(v.DOCUMENT_ENTRY_AUTHOR, classified_object="urn:uuid:x")))
    assert context.startswith("DocumentEntry.author: classifiedObject is not the id")


def test_authors_may_be_several_and_none() -> None:
    submission_of(with_entry(twice(v.DOCUMENT_ENTRY_AUTHOR)))
    submission_of(with_entry(without_scheme(v.DOCUMENT_ENTRY_AUTHOR)))


@pytest.mark.parametrize(
    ("kind", "marker"), [("DocumentEntry", None), ("SubmissionSet", v.SUBMISSION_SET), ("Folder", v.FOLDER)]
)
def test_limited_metadata_is_not_allowed(kind: str, marker: str | None) -> None:
    change = adding(rim.Classification("l", "", node=v.LIMITED_METADATA[kind]))
    objects = with_entry(change) if marker is None else with_package(marker, change)
    (context,) = contexts(objects)
    assert context == f"{kind}.limitedMetadata: is not allowed in XDS.b (ITI TF-3: 4.2.3.2.32)"


def test_limited_metadata_beside_its_entry_is_not_allowed_either() -> None:
    objects = objects_of()
    entry = objects.extrinsic_objects[0]
    marker = rim.Classification("l", entry.id, node=v.LIMITED_METADATA["DocumentEntry"])
    (context,) = contexts(replace(objects, classifications=(marker,)))
    assert "limitedMetadata" in context


@pytest.mark.parametrize("marker", [None, v.SUBMISSION_SET, v.FOLDER])
def test_an_unknown_classification_belongs_to_the_object_around_it(marker: str | None) -> None:
    own = adding(rim.Classification("c", "", "urn:uuid:own", None, "x"))
    other = adding(rim.Classification("c", "urn:uuid:other", "urn:uuid:own", None, "x"))
    submission_of(with_entry(own) if marker is None else with_package(marker, own))
    (context,) = contexts(with_entry(other) if marker is None else with_package(marker, other))
    assert "classifiedObject is not the id of the object around it" in context


def test_an_unknown_identifier_belongs_to_the_object_around_it() -> None:
    (context,) = contexts(with_entry(adding(rim.ExternalIdentifier("i", "urn:uuid:other", "urn:uuid:own", SECRET))))
    assert "registryObject is not the id of the object around it" in context
    assert SECRET not in context


def test_parts_of_an_association_belong_to_it() -> None:
    objects = objects_of()
    for part in (
        rim.Classification("c", "urn:uuid:other", "urn:uuid:own", None, "x"),
        rim.ExternalIdentifier("i", "urn:uuid:other", "urn:uuid:own", "x"),
    ):
        spoilt = adding(part)(objects.associations[0])
        (context,) = contexts(replace(objects, associations=(spoilt, *objects.associations[1:])))
        assert "is not the id of the object around it" in context


def test_a_classification_beside_its_entry_is_as_good_as_one_inside() -> None:
    objects = objects_of()
    entry = objects.extrinsic_objects[0]
    scheme = v.DOCUMENT_ENTRY_CODES["class_code"].scheme
    beside = tuple(c for c in entry.classifications if c.scheme == scheme)
    inside = tuple(c for c in entry.classifications if c.scheme != scheme)
    moved = replace(objects, extrinsic_objects=(replace(entry, classifications=inside),), classifications=beside)
    assert submission_of(moved).document_entries[0].class_code.code == beside[0].node_representation


def test_a_classification_of_nothing_in_the_submission_is_named() -> None:
    stray = rim.Classification("c", "urn:uuid:nobody", "urn:uuid:own", None, "x")
    (context,) = contexts(replace(objects_of(), classifications=(stray,)))
    assert "Classification" in context


@pytest.mark.parametrize("name", ["notAUrn", "urn:ihe:own", "hash2"])
@pytest.mark.parametrize("marker", [None, v.SUBMISSION_SET, v.FOLDER])
def test_an_extra_slot_is_named_by_a_urn_that_is_not_ihes(name: str, marker: str | None) -> None:
    change = set_slot(name, SECRET)
    (context,) = contexts(with_entry(change) if marker is None else with_package(marker, change))
    assert f"slot {name}" in context
    assert SECRET not in context


@pytest.mark.parametrize("object_type", [None, "", "urn:uuid:10aa1a4b-715a-4120-bfd0-9760414112c8"])
def test_an_entry_is_stable_or_on_demand(object_type: str | None) -> None:
    (context,) = contexts(with_entry(lambda e: replace(e, object_type=object_type)))
    assert context.startswith("DocumentEntry.objectType: ")


def test_an_on_demand_entry_has_no_time_hash_or_size() -> None:
    on_demand = an_entry(object_type=v.ON_DEMAND, creation_time=None, hash=None, size=None)
    read = submission_of(objects_of(a_submission(entries=[on_demand])))
    assert read.document_entries == (on_demand,)
    assert read.document_entries[0].on_demand
    found = contexts(with_entry(lambda e: replace(e, object_type=v.ON_DEMAND)))
    assert [context.split(":")[0] for context in found] == [
        "DocumentEntry.creationTime",
        "DocumentEntry.hash",
        "DocumentEntry.size",
    ]


@pytest.mark.parametrize("mime_type", ["", "dicom"])
def test_a_media_type_is_one(mime_type: str) -> None:
    (context,) = contexts(with_entry(lambda e: replace(e, mime_type=mime_type)))
    assert context.startswith("DocumentEntry.mimeType: ")


@pytest.mark.parametrize("value", ["Anna", "PID-5", "PID-123|x", "PID-|x", "XPID-5|x", "PID-3|x", "PID-7|may"])
def test_patient_info_is_of_a_field(value: str) -> None:
    (context,) = contexts(with_entry(set_slot("sourcePatientInfo", "PID-3|x^^^&1.2&ISO", value)))
    assert context.startswith("DocumentEntry.sourcePatientInfo: ")


def test_patient_info_may_be_of_nothing_known() -> None:
    objects = with_entry(set_slot("sourcePatientInfo", "PID-3|", "PID-7|", "PID-3|x^^^&1.2&ISO~y^^^&1.3&ISO"))
    assert len(submission_of(objects).document_entries[0].source_patient_info) == 3


@pytest.mark.parametrize(("value", "taken"), [("x", False), ("x-klingon", True), ("i-default", True), ("d", False)])
def test_a_language_is_of_two_letters_at_least_or_private(value: str, taken: bool) -> None:
    read = from_ebxml.read(with_entry(set_slot("languageCode", value)))
    assert (read.findings == ()) is taken


def test_a_long_uri_comes_in_numbered_pieces() -> None:
    assert submission_of(with_entry(set_slot("URI", "1|http://a/", "2|b"))).document_entries[0].uri
    (context,) = contexts(with_entry(set_slot("URI", "http://a/", "b")))
    assert context.startswith("DocumentEntry.URI: ")


# Packages and their markers.


def packages(objects: rim.RegistryObjectList, marker: str) -> Iterable[rim.RegistryPackage]:
    return (p for p in objects.registry_packages if any(c.node == marker for c in p.classifications))


def test_one_submission_set_is_required() -> None:
    objects = objects_of()
    (folder,) = packages(objects, v.FOLDER)
    (context,) = contexts(replace(objects, registry_packages=(folder,)))
    assert context == "SubmissionSet exactly one is required, there are 0 (ITI TF-3: 4.2.1.4)"
    assert len(findings(rim.RegistryObjectList())) == 1


def test_two_submission_sets_are_one_too_many() -> None:
    (other,) = objects_of(a_submission()).registry_packages
    objects = objects_of()
    (context,) = contexts(replace(objects, registry_packages=(*objects.registry_packages, other)))
    assert context == "SubmissionSet exactly one is required, there are 2 (ITI TF-3: 4.2.1.4)"


def test_a_package_is_marked_as_one_of_two() -> None:
    objects = objects_of()
    (folder,) = packages(objects, v.FOLDER)
    unmarked = replace(folder, classifications=tuple(c for c in folder.classifications if c.node is None))
    (context,) = contexts(with_package(v.FOLDER, lambda _: unmarked, objects))
    assert "neither SubmissionSet nor Folder" in context
    both = adding(rim.Classification("m", "", node=v.SUBMISSION_SET))
    assert any("SubmissionSet" in context for context in contexts(with_package(v.FOLDER, both)))


def test_a_marker_beside_a_folder_is_as_good_as_one_inside() -> None:
    objects = objects_of()
    (folder,) = packages(objects, v.FOLDER)
    marker = next(c for c in folder.classifications if c.node == v.FOLDER)
    bare = replace(folder, classifications=tuple(c for c in folder.classifications if c is not marker))
    moved = replace(with_package(v.FOLDER, lambda _: bare, objects), classifications=(marker,))
    assert submission_of(moved) == submission_of(objects)


def test_what_xds_has_no_use_for_is_named() -> None:
    (context,) = contexts(replace(objects_of(), others=("Person",)))
    assert context.startswith("Person is not part of XDS metadata")


# Associations.


def with_association(change: Callable[[rim.Association], rim.Association]) -> rim.RegistryObjectList:
    objects = objects_of()
    return replace(objects, associations=(change(objects.associations[0]), *objects.associations[1:]))


def test_an_association_has_a_type_and_a_status_of_two() -> None:
    (context,) = contexts(with_association(lambda a: replace(a, association_type="")))
    assert context.startswith("Association.associationType: is required")
    (context,) = contexts(with_association(set_slot("SubmissionSetStatus", SECRET)))
    assert context.startswith("Association.SubmissionSetStatus: ")
    assert SECRET not in context


def test_an_association_is_documented_once() -> None:
    slots = (rim.Slot("codingScheme", ("s",)),)
    code = rim.Classification("d", "", v.ASSOCIATION_DOCUMENTATION, None, "c", slots, (rim.LocalizedString("n"),))
    read = submission_of(with_association(adding(code)))
    assert read.associations[0].documentation is not None
    (context,) = contexts(with_association(adding(code, code)))
    assert "documentation: occurs more than once" in context


def test_slots_of_metadata_update_are_kept() -> None:
    read = submission_of(with_association(set_slot("PreviousVersion", "1")))
    assert read.associations[0].extra_slots == (rim.Slot("PreviousVersion", ("1",)),)


# All at once, and never the value.


def test_findings_of_every_object_come_at_once() -> None:
    objects = with_entry(set_slot("hash", "x"))
    objects = with_package(v.SUBMISSION_SET, set_slot("submissionTime", "x"), objects)
    objects = with_package(v.FOLDER, lambda p: replace(p, name=()), objects)
    spoilt = replace(objects.associations[0], association_type="")
    objects = replace(objects, associations=(spoilt,), others=("Person",))
    kinds = {context.split(".")[0].split(" ")[0] for context in contexts(objects)}
    assert kinds == {"DocumentEntry", "SubmissionSet", "Folder", "Association", "Person"}


def test_a_finding_says_where() -> None:
    objects = with_entry(set_slot("hash", "x"))
    (finding,) = findings(objects)
    assert finding.location == objects.extrinsic_objects[0].id


_SLOTS = (*ENTRY_SLOTS, "serviceStartTime", "serviceStopTime", "legalAuthenticator", "sourcePatientInfo",
          v.REFERENCE_ID_LIST, "urn:x:own", "notAUrn")  # fmt: skip


@given(st.sampled_from(_SLOTS), st.lists(texts.map(lambda text: text + SECRET), min_size=1, max_size=2))
def test_no_finding_holds_a_value(slot: str, values: list[str]) -> None:
    try:
        submission_of(with_entry(set_slot(slot, *values)))
    except Refused as refused:
        assert not any(SECRET in finding.context + finding.location for finding in refused.findings)


@given(st.sampled_from((v.DOCUMENT_ENTRY_PATIENT_ID, v.DOCUMENT_ENTRY_UNIQUE_ID)), texts)
def test_no_finding_holds_an_identifier(scheme: str, text: str) -> None:
    def change(item: rim.ExtrinsicObject) -> rim.ExtrinsicObject:
        changed = (replace(i, value=text + SECRET) if i.scheme == scheme else i for i in item.external_identifiers)
        return replace(item, external_identifiers=tuple(changed))

    try:
        submission_of(with_entry(change))
    except Refused as refused:
        assert not any(SECRET in finding.context + finding.location for finding in refused.findings)


def test_slots_of_a_code_that_have_no_place_are_warned_of() -> None:
    scheme = v.DOCUMENT_ENTRY_CODES["class_code"].scheme

    def more(item: rim.ExtrinsicObject) -> rim.ExtrinsicObject:
        slot = rim.Slot("urn:x:y", ("z",))
        changed = (replace(c, slots=(*c.slots, slot)) if c.scheme == scheme else c for c in item.classifications)
        return replace(item, classifications=tuple(changed))

    objects = with_entry(more)
    read = from_ebxml.read(objects)
    (warning,) = read.findings
    assert (warning.code, warning.severity) == (ErrorCode.EXTRA_METADATA_NOT_SAVED, Severity.WARNING)
    assert submission_of(objects) == read.submission


def test_slots_of_an_identifier_that_have_no_place_are_warned_of() -> None:
    def more(item: rim.ExtrinsicObject) -> rim.ExtrinsicObject:
        slot = rim.Slot("urn:x:y", ("z",))
        first, *others = item.external_identifiers
        return replace(item, external_identifiers=(replace(first, slots=(slot,)), *others))

    (warning,) = from_ebxml.read(with_entry(more)).findings
    assert (warning.code, warning.severity) == (ErrorCode.EXTRA_METADATA_NOT_SAVED, Severity.WARNING)
    assert "DocumentEntry.patientId" in warning.context or "DocumentEntry.uniqueId" in warning.context


@pytest.mark.parametrize(("name", "taken"), [("colour", False), ("urn:ihe:x", False), ("urn:x:y", True)])
def test_extra_slots_of_an_association_are_named_as_those_of_objects(name: str, taken: bool) -> None:
    objects = objects_of()
    first, *others = objects.associations
    spoilt = replace(first, slots=(*first.slots, rim.Slot(name, ("1",))))
    read = from_ebxml.read(replace(objects, associations=(spoilt, *others)))
    assert [f.location for f in read.findings if f.severity is Severity.ERROR] == ([] if taken else [first.id])
