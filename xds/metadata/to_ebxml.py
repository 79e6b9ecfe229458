"""Typed metadata to ebXML objects; the reverse of ``from_ebxml``, nothing lost.

Sub-objects get ids of their own, derived from the object's, so that a LeafClass answer is the same each time.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace

from xds.ebxml import rim
from xds.metadata import vocabulary as v
from xds.metadata.association import Association
from xds.metadata.datatypes import Author, Code
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import is_entry_uuid
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.submission_set import SubmissionSet


def submission(value: Submission) -> Iterator[rim.RegistryObject]:
    """The objects of a SubmitObjectsRequest."""
    return map(registry_object, value.objects())


def registry_object(value: MetadataObject) -> rim.RegistryObject:
    """The ebXML of any metadata object."""
    if isinstance(value, DocumentEntry):
        return document_entry(value)
    if isinstance(value, SubmissionSet):
        return submission_set(value)
    if isinstance(value, Folder):
        return folder(value)
    return association(value)


def text(value: str) -> rim.InternationalString:
    """A title or comment in one language, unnamed."""
    return (rim.LocalizedString(value),)


def _derived(namespace: bytes, name: str) -> bytes:
    """A UUID of version 5 (RFC 4122: 4.3): ``uuid.uuid5`` makes the same and takes five times as long."""
    hashed = bytearray(hashlib.sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16])
    hashed[6] = hashed[6] & 0x0F | 0x50
    hashed[8] = hashed[8] & 0x3F | 0x80
    return bytes(hashed)


class _Parts:
    """Classifications and identifiers of one object, each with an id."""

    def __init__(self, owner: str) -> None:
        self.owner, self.count = owner, 0
        self.namespace = _derived(uuid.NAMESPACE_URL.bytes, owner)

    def id(self) -> str:
        self.count += 1
        text = _derived(self.namespace, str(self.count)).hex()
        return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def code(self, scheme: str, code: Code) -> rim.Classification:
        name = (rim.LocalizedString(code.display),) if code.display else ()
        slots = (rim.Slot("codingScheme", (code.scheme,)),)
        return rim.Classification(self.id(), self.owner, scheme, None, code.code, slots, name)

    def marker(self, node: str) -> rim.Classification:
        return rim.Classification(self.id(), self.owner, node=node)

    def author(self, scheme: str, author: Author) -> rim.Classification:
        values: dict[str, tuple[str, ...]] = {
            "authorPerson": (author.person.text,) if author.person else (),
            "authorInstitution": tuple(i.text for i in author.institutions),
            "authorRole": author.roles,
            "authorSpecialty": author.specialties,
            "authorTelecommunication": tuple(t.text for t in author.telecommunications),
        }
        slots = tuple(rim.Slot(name, texts) for name, texts in values.items() if texts)
        return rim.Classification(self.id(), self.owner, scheme, None, "", slots)

    def identifier(self, scheme: str, name: str, value: str) -> rim.ExternalIdentifier:
        return rim.ExternalIdentifier(self.id(), self.owner, scheme, value, (rim.LocalizedString(name),))

    # What XDS has no name for keeps its id if it is a UUID; its owner may have got another id meanwhile.

    def classifications(self, extra: Iterable[rim.Classification]) -> Iterator[rim.Classification]:
        for one in extra:
            yield replace(one, id=self._kept(one.id), classified_object=self.owner)

    def identifiers(self, extra: Iterable[rim.ExternalIdentifier]) -> Iterator[rim.ExternalIdentifier]:
        for one in extra:
            yield replace(one, id=self._kept(one.id), registry_object=self.owner)

    def _kept(self, id_: str | None) -> str:
        return id_ if id_ and is_entry_uuid(id_) else self.id()


def _slots(values: Iterable[tuple[str, Iterable[object] | object | None]]) -> tuple[rim.Slot, ...]:
    """Slots of those that have a value; a tuple is several values."""
    slots = []
    for name, value in values:
        texts = tuple(map(str, value)) if isinstance(value, tuple) else () if value is None else (str(value),)
        if texts:
            slots.append(rim.Slot(name, texts))
    return tuple(slots)


def document_entry(value: DocumentEntry) -> rim.ExtrinsicObject:
    parts = _Parts(value.entry_uuid)
    slots = _slots([
        ("creationTime", value.creation_time and value.creation_time.text),
        ("documentAvailability", value.document_availability),
        ("hash", value.hash),
        ("languageCode", value.language_code),
        ("legalAuthenticator", value.legal_authenticator and value.legal_authenticator.text),
        ("repositoryUniqueId", value.repository_unique_id),
        ("serviceStartTime", value.service_start_time and value.service_start_time.text),
        ("serviceStopTime", value.service_stop_time and value.service_stop_time.text),
        ("size", value.size),
        ("sourcePatientId", value.source_patient_id),
        ("sourcePatientInfo", value.source_patient_info),
        ("URI", value.uri),
        (v.REFERENCE_ID_LIST, tuple(r.text for r in value.reference_id_list)),
    ])  # fmt: skip
    classifications = [parts.author(v.DOCUMENT_ENTRY_AUTHOR, author) for author in value.author]
    for attribute, coded in v.DOCUMENT_ENTRY_CODES.items():
        codes = getattr(value, attribute)
        classifications += [parts.code(coded.scheme, c) for c in (codes if coded.most == v.MANY else (codes,))]
    return rim.ExtrinsicObject(
        id=value.entry_uuid, lid=value.logical_id, home=value.home_community_id, status=value.availability_status,
        object_type=value.object_type, mime_type=value.mime_type, slots=slots + value.extra_slots,
        name=value.title, description=value.comments, version_name=value.version,
        classifications=(*classifications, *parts.classifications(value.extra_classifications)),
        external_identifiers=(
            parts.identifier(v.DOCUMENT_ENTRY_PATIENT_ID, "XDSDocumentEntry.patientId", str(value.patient_id)),
            parts.identifier(v.DOCUMENT_ENTRY_UNIQUE_ID, "XDSDocumentEntry.uniqueId", value.unique_id),
            *parts.identifiers(value.extra_identifiers),
        ),
    )  # fmt: skip


def submission_set(value: SubmissionSet) -> rim.RegistryPackage:
    parts = _Parts(value.entry_uuid)
    slots = _slots([
        ("submissionTime", value.submission_time.text),
        ("intendedRecipient", tuple(r.text for r in value.intended_recipient)),
    ])  # fmt: skip
    scheme = v.SUBMISSION_SET_CODES["content_type_code"].scheme
    return rim.RegistryPackage(
        id=value.entry_uuid, lid=value.logical_id, home=value.home_community_id, status=value.availability_status,
        object_type=v.REGISTRY_PACKAGE_OBJECT_TYPE, slots=slots + value.extra_slots,
        name=value.title, description=value.comments, version_name=value.version,
        classifications=(
            parts.marker(v.SUBMISSION_SET),
            *(parts.author(v.SUBMISSION_SET_AUTHOR, author) for author in value.author),
            parts.code(scheme, value.content_type_code),
            *parts.classifications(value.extra_classifications),
        ),
        external_identifiers=(
            parts.identifier(v.SUBMISSION_SET_PATIENT_ID, "XDSSubmissionSet.patientId", str(value.patient_id)),
            parts.identifier(v.SUBMISSION_SET_SOURCE_ID, "XDSSubmissionSet.sourceId", value.source_id),
            parts.identifier(v.SUBMISSION_SET_UNIQUE_ID, "XDSSubmissionSet.uniqueId", value.unique_id),
            *parts.identifiers(value.extra_identifiers),
        ),
    )  # fmt: skip


def folder(value: Folder) -> rim.RegistryPackage:
    parts = _Parts(value.entry_uuid)
    slots = _slots([("lastUpdateTime", value.last_update_time and value.last_update_time.text)])
    scheme = v.FOLDER_CODES["code_list"].scheme
    return rim.RegistryPackage(
        id=value.entry_uuid, lid=value.logical_id, home=value.home_community_id, status=value.availability_status,
        object_type=v.REGISTRY_PACKAGE_OBJECT_TYPE, slots=slots + value.extra_slots,
        name=value.title, description=value.comments, version_name=value.version,
        classifications=(
            parts.marker(v.FOLDER),
            *(parts.code(scheme, code) for code in value.code_list),
            *parts.classifications(value.extra_classifications),
        ),
        external_identifiers=(
            parts.identifier(v.FOLDER_PATIENT_ID, "XDSFolder.patientId", str(value.patient_id)),
            parts.identifier(v.FOLDER_UNIQUE_ID, "XDSFolder.uniqueId", value.unique_id),
            *parts.identifiers(value.extra_identifiers),
        ),
    )  # fmt: skip


def association(value: Association) -> rim.Association:
    parts = _Parts(value.entry_uuid)
    documentation = () if value.documentation is None else (
        parts.code(v.ASSOCIATION_DOCUMENTATION, value.documentation),
    )  # fmt: skip
    return rim.Association(
        id=value.entry_uuid, lid=value.logical_id, home=value.home_community_id, status=value.availability_status,
        object_type=v.ASSOCIATION_OBJECT_TYPE, association_type=value.type,
        source_object=value.source, target_object=value.target,
        slots=_slots([("SubmissionSetStatus", value.submission_set_status)]) + value.extra_slots,
        name=value.name, description=value.description, version_name=value.version,
        classifications=(*documentation, *parts.classifications(value.extra_classifications)),
        external_identifiers=tuple(parts.identifiers(value.extra_identifiers)),
    )  # fmt: skip
