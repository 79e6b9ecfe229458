"""ebXML objects to typed metadata; everything that is wrong is found, not only the first.

ITI TF-3: 4.2.3.2 to 4.2.3.4 (attributes), 4.2.2 (associations), 4.2.1.4 (submissions).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from xds.ebxml import rim
from xds.errors import ErrorCode, Finding
from xds.metadata import vocabulary as v
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Dtm, Recipient, ReferenceId, Xcn
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import EntryUuid, PatientId, UniqueId, is_oid, oid
from xds.metadata.reading import STAND_INS, UNREAD_PATIENT, Reading, camel, text
from xds.metadata.submission import Submission
from xds.metadata.submission_set import SubmissionSet
from xds.system.values import value

_DE, _SS, _FD = "ITI TF-3: Table 4.2.3.2-1", "ITI TF-3: Table 4.2.3.3-1", "ITI TF-3: Table 4.2.3.4-1"


@value(frozen=True, slots=True)
class Read:
    """What could be read of a submission, and what is wrong.

    An attribute that could not be read has a stand-in (``reading.STAND_INS``), so that the rest of its object is
    held to the rules too.  ``unread``: the ids of objects of no known kind.  ``without_set``: no SubmissionSet came.
    """

    submission: Submission
    findings: tuple[Finding, ...]
    unread: frozenset[str]
    without_set: bool


def read(objects: rim.RegistryObjectList) -> Read:
    """What a SubmitObjectsRequest holds, with everything in it that cannot be read."""
    findings: list[Finding] = []
    sets: list[SubmissionSet] = []
    folders: list[Folder] = []
    joined = _with_those_beside(objects.classifications)
    entries = [_kept(_document_entry(joined(item)), findings) for item in objects.extrinsic_objects]
    associations = [_kept(_association(joined(item)), findings) for item in objects.associations]
    for package in map(joined, objects.registry_packages):
        kinds = {c.node for c in package.classifications} & {v.SUBMISSION_SET, v.FOLDER}
        if kinds == {v.SUBMISSION_SET}:
            sets.append(_kept(_submission_set(package), findings))
        elif kinds == {v.FOLDER}:
            folders.append(_kept(_folder(package), findings))
        else:
            findings.append(_finding("RegistryPackage", "is marked as neither SubmissionSet nor Folder", package.id))
    findings += [_finding(other, "is not part of XDS metadata", "") for other in objects.others]
    ids = {item.id for item in objects.objects()}
    strays = (c for c in objects.classifications if c.classified_object not in ids)
    findings += [_finding("Classification", "classifies no object of the submission", c.id or "") for c in strays]
    marked = sum(_is_marked(p, v.SUBMISSION_SET, objects.classifications) for p in objects.registry_packages)
    if marked != 1:
        findings.append(_finding("SubmissionSet", f"exactly one is required, there are {marked}", ""))
    first = sets[0] if sets else _submission_set(rim.RegistryPackage(id="")).item
    whole = Submission(
        first,
        tuple(_of_patient(entry, first.patient_id) for entry in entries),
        tuple(_of_patient(folder, first.patient_id) for folder in folders),
        tuple(associations),
    )
    unread = frozenset(ids - {item.entry_uuid for item in whole.objects()})
    return Read(whole, tuple(findings), unread, without_set=not sets)


_Item = TypeVar("_Item", DocumentEntry, SubmissionSet, Folder, Association)
_OfPatient = TypeVar("_OfPatient", DocumentEntry, Folder)


@value(frozen=True, slots=True)
class _Made(Generic[_Item]):
    """An object that was read: with stand-ins where there are errors."""

    item: _Item
    errors: list[Finding]
    warnings: list[Finding]

    def whole(self) -> tuple[_Item | None, list[Finding]]:
        """The object, or None when something of it is missing or wrong; and what is said of it."""
        return (None, self.errors) if self.errors else (self.item, self.warnings)


def _kept(made: _Made[_Item], findings: list[Finding]) -> _Item:
    findings += [*made.errors, *made.warnings]
    return made.item


def _of_patient(item: _OfPatient, patient_id: PatientId) -> _OfPatient:
    """What has no patient that can be read is taken to be of the set's."""
    return replace(item, patient_id=patient_id) if item.patient_id == UNREAD_PATIENT else item


def _finding(what: str, rule: str, location: str) -> Finding:
    return Finding(ErrorCode.REGISTRY_METADATA, f"{what} {rule} (ITI TF-3: 4.2.1.4)", location)


def _is_marked(package: rim.RegistryPackage, node: str, beside: Iterable[rim.Classification]) -> bool:
    inside = any(c.node == node for c in package.classifications)
    return inside or any(c.node == node and c.classified_object == package.id for c in beside)


def _with_those_beside(beside: tuple[rim.Classification, ...]) -> Any:
    """Classifications, markers above all, may stand beside their objects; put each in (ITI TF-3: 4.2.1.2)."""

    def joined(item: Any) -> Any:
        mine = tuple(c for c in beside if c.classified_object == item.id)
        return replace(item, classifications=item.classifications + mine) if mine else item

    return joined


def size_bytes(value: str) -> int:
    """A document's size.

    Raises:
        ValueError: not a whole number of at most 63 bits.
    """
    if re.fullmatch(r"[0-9]{1,19}", value) is None or int(value) >= 2**63:
        raise ValueError("not a number of bytes")
    return int(value)


def sha1(value: str) -> str:
    """A document's hash, 40 hex digits as written; compare without regard to case.

    Raises:
        ValueError: it is none.
    """
    if re.fullmatch(r"[0-9a-fA-F]{40}", value) is None:
        raise ValueError("not a SHA-1 of 40 hex digits")
    return value


def language(value: str) -> str:
    """A language tag (RFC 5646).

    Raises:
        ValueError: it has not the form of one.
    """
    if re.fullmatch(r"([A-Za-z]{2,8}|[xXiI](?=-))(-[A-Za-z0-9]{1,8})*", value) is None:
        raise ValueError("not a language tag of RFC 5646")
    return value


TITLE_LENGTH = 127
"""Of a DocumentEntry: fewer than 128 characters (ITI TF-3: Table 4.2.3.2-1)."""

VALUE_LENGTH = 256
"""Of any other text (ebRIM 3.0: LongName)."""


def unique_id(value: str) -> UniqueId:
    """DocumentEntry.uniqueId: opaque, 1 to 128 characters, no space around it.

    Raises:
        ValueError: it is not.
    """
    if not value or len(value) > 128 or value != value.strip():
        raise ValueError("not 1 to 128 characters without space around them")
    return UniqueId(value)


def _oid_unique_id(value: str) -> UniqueId:
    return UniqueId(oid(value))


def document_entry(item: rim.ExtrinsicObject) -> tuple[DocumentEntry | None, list[Finding]]:
    """The entry, or None when something that it must have is missing or wrong; and what is said of it."""
    return _document_entry(item).whole()


def _document_entry(item: rim.ExtrinsicObject) -> _Made[DocumentEntry]:
    reading = Reading("DocumentEntry", item)
    stable = item.object_type == v.STABLE
    if item.object_type not in (v.STABLE, v.ON_DEMAND):
        reading.wrong("objectType", "is neither of a stable nor of an on-demand entry", "ITI TF-3: 4.2.3.2.30")
    codes: dict[str, Any] = reading.codes(v.DOCUMENT_ENTRY_CODES)
    values: dict[str, Any] = {
        attribute: codes[attribute] if coded.most == v.MANY else next(iter(codes[attribute]), None)
        for attribute, coded in v.DOCUMENT_ENTRY_CODES.items()
    }
    values |= {
        "patient_id": reading.identifier(v.DOCUMENT_ENTRY_PATIENT_ID, "patientId", PatientId.parse, _DE),
        "unique_id": reading.identifier(v.DOCUMENT_ENTRY_UNIQUE_ID, "uniqueId", unique_id, _DE),
        "creation_time": reading.slot("creationTime", Dtm, _DE, required=stable),
        "hash": reading.slot("hash", sha1, _DE, required=stable),
        "size": reading.slot("size", size_bytes, _DE, required=stable),
        "repository_unique_id": reading.slot("repositoryUniqueId", oid, _DE, required=True),
        "language_code": reading.slot("languageCode", language, _DE, required=True),
        "source_patient_id": reading.slot("sourcePatientId", PatientId.parse, _DE, required=True),
        "author": reading.authors(v.DOCUMENT_ENTRY_AUTHOR),
        "document_availability": reading.slot("documentAvailability", _availability, _DE, unread=""),
        "legal_authenticator": reading.slot("legalAuthenticator", Xcn, _DE),
        "reference_id_list": reading.slot_values(v.REFERENCE_ID_LIST, ReferenceId, _DE, "referenceIdList"),
        "service_start_time": reading.slot("serviceStartTime", Dtm, _DE),
        "service_stop_time": reading.slot("serviceStopTime", Dtm, _DE),
        "source_patient_info": reading.slot_values("sourcePatientInfo", _source_patient_info, _DE),
        "uri": reading.slot_values("URI", text, _DE),
    }
    if len(values["uri"]) > 1 and any(re.match(r"[1-9][0-9]*\|", piece) is None for piece in values["uri"]):
        reading.wrong("URI", "is one value, or pieces of one, numbered 1|, 2| …", _DE)
    if item.object_type == v.ON_DEMAND:
        for attribute in ("creation_time", "hash", "size"):
            if values[attribute] is not None:
                reading.wrong(camel(attribute), "is forbidden on an on-demand entry", _DE)
    if not item.mime_type:
        reading.wrong("mimeType", "is required", _DE)
    elif re.fullmatch(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;.*)?", item.mime_type) is None:
        reading.wrong("mimeType", "is not a media type", _DE)
    _title(reading, TITLE_LENGTH)
    _extras(reading)
    entry = DocumentEntry(
        **_stood_in(values), **_common(reading), mime_type=item.mime_type, object_type=str(item.object_type),
        title=item.name, comments=item.description,
    )  # fmt: skip
    return _Made(entry, reading.findings, reading.warnings)


def _stood_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an object, with stand-ins for those that it must have and that could not be read."""
    return {key: STAND_INS.get(key) if value is None else value for key, value in values.items()}


def _availability(value: str) -> str:
    if value not in (v.ONLINE, v.OFFLINE):
        raise ValueError("neither Online nor Offline")
    return value


def _source_patient_info(value: str) -> str:
    field, _, content = value.partition("|")
    if re.match(r"PID-[0-9]{1,2}\|", value) is None:
        raise ValueError("not of the form PID-n|value")
    try:
        if content:  # senders write the name of a field that they know nothing for
            _PATIENT_INFO.get(field, text)(content)
    except ValueError as problem:
        raise ValueError(f"{field}: {problem}") from None
    return value


def _source_ids(content: str) -> list[PatientId]:
    return [PatientId.parse(one) for one in content.split("~")]


_PATIENT_INFO: Mapping[str, Callable[[str], Any]] = {"PID-3": _source_ids, "PID-7": Dtm}
"""What the fields of sourcePatientInfo hold that have a form (ITI TF-3: 4.2.3.2.23)."""


def submission_set(item: rim.RegistryPackage) -> tuple[SubmissionSet | None, list[Finding]]:
    """The submission set, or None when something that it must have is missing or wrong; and what is said of it."""
    return _submission_set(item).whole()


def _submission_set(item: rim.RegistryPackage) -> _Made[SubmissionSet]:
    reading = Reading("SubmissionSet", item)
    reading.without_marker(v.SUBMISSION_SET)
    codes = reading.codes(v.SUBMISSION_SET_CODES)
    values: dict[str, Any] = {
        "content_type_code": next(iter(codes["content_type_code"]), None),
        "patient_id": reading.identifier(v.SUBMISSION_SET_PATIENT_ID, "patientId", PatientId.parse, _SS),
        "source_id": reading.identifier(v.SUBMISSION_SET_SOURCE_ID, "sourceId", oid, _SS),
        "unique_id": reading.identifier(v.SUBMISSION_SET_UNIQUE_ID, "uniqueId", _oid_unique_id, _SS),
        "submission_time": reading.slot("submissionTime", Dtm, _SS, required=True),
        "author": reading.authors(v.SUBMISSION_SET_AUTHOR),
        "intended_recipient": reading.slot_values("intendedRecipient", Recipient, _SS),
    }
    _title(reading, VALUE_LENGTH)
    _extras(reading)
    values = _stood_in(values)
    made = SubmissionSet(**values, **_common(reading), title=item.name, comments=item.description)
    return _Made(made, reading.findings, reading.warnings)


def folder(item: rim.RegistryPackage) -> tuple[Folder | None, list[Finding]]:
    """The folder, or None when something that it must have is missing or wrong; and what is said of it."""
    return _folder(item).whole()


def _folder(item: rim.RegistryPackage) -> _Made[Folder]:
    reading = Reading("Folder", item)
    reading.without_marker(v.FOLDER)
    values: dict[str, Any] = {
        **reading.codes(v.FOLDER_CODES),
        "patient_id": reading.identifier(v.FOLDER_PATIENT_ID, "patientId", PatientId.parse, _FD),
        "unique_id": reading.identifier(v.FOLDER_UNIQUE_ID, "uniqueId", _oid_unique_id, _FD),
        "last_update_time": reading.slot("lastUpdateTime", _time_or_none, _FD),
    }
    if not any(part.value.strip() for part in item.name):
        reading.wrong("title", "is required", _FD)
    _title(reading, VALUE_LENGTH)
    _extras(reading)
    values = _stood_in(values)
    made = Folder(**values, **_common(reading), title=item.name, comments=item.description)
    return _Made(made, reading.findings, reading.warnings)


def _time_or_none(value: str) -> Dtm | None:
    """A time that the registry sets itself, whatever was sent (ITI TF-3: 4.2.3.4.6)."""
    try:
        return Dtm(value)
    except ValueError:
        return None


def association(item: rim.Association) -> tuple[Association | None, list[Finding]]:
    """The association, or None when something that it must have is missing or wrong; and what is said of it."""
    return _association(item).whole()


def _association(item: rim.Association) -> _Made[Association]:
    reading = Reading("Association", item)
    clause = "ITI TF-3: 4.2.2"
    unread = SubmissionSetStatus.UNREAD
    status = reading.slot("SubmissionSetStatus", _submission_set_status, clause, unread=unread)
    documentation = reading.code(v.ASSOCIATION_DOCUMENTATION, "documentation")
    if not item.association_type:
        reading.wrong("associationType", "is required", clause)
    _named(reading, v.UPDATE_SLOTS)
    _owned(reading)
    made = Association(
        **_common(reading), type=item.association_type, source=item.source_object, target=item.target_object,
        submission_set_status=status, documentation=documentation, name=item.name, description=item.description,
    )  # fmt: skip
    return _Made(made, reading.findings, reading.warnings)


def _submission_set_status(value: str) -> SubmissionSetStatus:
    if value not in (SubmissionSetStatus.ORIGINAL, SubmissionSetStatus.REFERENCE):
        raise ValueError("neither Original nor Reference")
    return SubmissionSetStatus(value)


def _common(reading: Reading) -> dict[str, Any]:
    item = reading.item
    return {
        "entry_uuid": EntryUuid(item.id),
        "availability_status": item.status,
        "home_community_id": item.home,
        "logical_id": item.lid,
        "version": item.version_name,
        "extra_slots": reading.left_slots(),
        "extra_classifications": reading.left_classifications(),
        "extra_identifiers": reading.left_identifiers(),
    }


def _title(reading: Reading, most: int) -> None:
    """A title's length in each of its languages (ITI TF-3: Tables 4.2.3.2-1, 4.2.3.3-1, 4.2.3.4-1)."""
    if any(len(part.value) > most for part in reading.item.name):
        reading.wrong("title", f"is longer than {most} characters", "ITI TF-3: 4.2.3")


def _named(reading: Reading, known: Collection[str] = ()) -> None:
    """Extra slots are named by URNs that are not IHE's own (ITI TF-3: 4.2.3.1.6)."""
    for slot in reading.left_slots():
        if slot.name not in known and (not slot.name.startswith("urn:") or slot.name.startswith("urn:ihe:")):
            rule = "is none of XDS, and extra slots are named urn:… but not urn:ihe:…"
            reading.wrong(f"slot {slot.name[:64]}", rule, "ITI TF-3: 4.2.3.1.6")


def _home(reading: Reading) -> None:
    """homeCommunityId is an OID as a URN (ITI TF-3: 4.2.3.2.12)."""
    home = reading.item.home
    if home and not (home.startswith("urn:oid:") and is_oid(home.removeprefix("urn:oid:"))):
        reading.wrong("homeCommunityId", "is no urn:oid:", "ITI TF-3: 4.2.3.2.12")


def _extras(reading: Reading) -> None:
    """Extra slots are named by URNs that are not IHE's own (ITI TF-3: 4.2.3.1.6)."""
    _named(reading)
    marker = v.LIMITED_METADATA[reading.kind]
    _home(reading)
    if any(c.node == marker for c in reading.left_classifications()):
        reading.wrong("limitedMetadata", "is not allowed in XDS.b", "ITI TF-3: 4.2.3.2.32")
    _owned(reading)


def _owned(reading: Reading) -> None:
    """What XDS has no name for belongs to the object around it all the same."""
    for item in reading.left_classifications():
        reading.owned("Classification", item.classified_object, "classifiedObject", "ITI TF-3: 4.2.3.1.2")
    for part in reading.left_identifiers():
        reading.owned("ExternalIdentifier", part.registry_object, "registryObject", "ITI TF-3: 4.2.3.1.5")
