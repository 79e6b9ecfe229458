"""The queries by id: documents, folders, submission sets, their contents and what touches them.

ITI TF-2: 3.18.4.1.2.3.7.5 to .13.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from xds.errors import Finding, Refused
from xds.metadata.vocabulary import AssociationType
from xds.queries.find import (
    Parameters,
    association_statuses,
    bounded,
    codes,
    latest_only,
    object_types,
    with_status,
)
from xds.store.interface import Found, FoundAssociation, FoundDocument, RegistryReader

F = TypeVar("F", bound=Found)
_MEMBER = AssociationType.HAS_MEMBER


def get_documents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Entries by entryUUID or uniqueId; unknown ids are just absent."""
    return bounded(_documents(parameters, registry), most)


def get_folders(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Folders by entryUUID or uniqueId."""
    return bounded(_folders(parameters, registry), most)


def get_associations(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Every association with one end among the ids."""
    return bounded(_associations(parameters["uuid"][0], parameters, registry), most)


def get_documents_and_associations(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Entries by either id, and every association with one end among them."""
    documents = _documents(parameters, registry)
    return bounded([*documents, *_associations(_ids(documents), parameters, registry)], most)


def get_submission_sets(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The sets that have one of the ids as a member, and these memberships."""
    uuids = set(parameters["uuid"][0])
    members = [a for a in _associations(uuids, parameters, registry) if a.type == _MEMBER and a.target in uuids]
    sets = registry.submission_sets_by_uuid(a.source for a in members)
    sources = set(_ids(sets))
    return bounded([*sets, *(a for a in members if a.source in sources)], most)


def get_submission_set_and_contents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The set; its entries that pass the filters, its folders, associations whose ends are both there, and the
    HasMembers of all these.

    Raises:
        Refused: a code is malformed, or there are more than ``most`` objects.
    """
    if "XDSSubmissionSetEntryUUID" in parameters:
        sets = registry.submission_sets_by_uuid(parameters["XDSSubmissionSetEntryUUID"][0])
    else:
        sets = registry.submission_sets_by_unique_id(parameters["XDSSubmissionSetUniqueId"][0])
    members = _members(sets, parameters, registry)
    targets = [a.target for a in members]
    kept: dict[str, Found] = {item.entry_uuid: item for item in (*sets, *_passing(targets, parameters, registry))}
    kept |= {item.entry_uuid: item for item in _of_level(registry.folders_by_uuid(targets), parameters)}
    statuses = association_statuses(parameters, [])  # known to be right: the members were found by them
    for association in with_status(registry.associations_by_uuid(targets), statuses):
        if association.source in kept and association.target in kept:
            kept[association.entry_uuid] = association
    return bounded([*kept.values(), *(a for a in members if a.target in kept)], most)


def get_folder_and_contents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The folder, its entries that pass the filters, and their HasMembers.

    Raises:
        Refused: a code is malformed, or there are more than ``most`` objects.
    """
    folders = _folders(parameters, registry)
    members = _members(folders, parameters, registry)
    documents = _passing([a.target for a in members], parameters, registry)
    passed = set(_ids(documents))
    return bounded([*folders, *documents, *(a for a in members if a.target in passed)], most)


def get_folders_for_document(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The folders that hold the document."""
    documents = set(_ids(_documents(parameters, registry)))
    holding = _associations(documents, parameters, registry)
    sources = (a.source for a in holding if a.type == _MEMBER and a.target in documents)
    return bounded(_of_level(registry.folders_by_uuid(sources), parameters), most)


def get_related_documents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Associations of the types asked for between the document and others, and the documents at their ends.

    The document itself is among them; without any relation there is nothing at all.
    """
    given = set(_ids(_documents(parameters, registry)))
    wanted = _types(parameters["AssociationTypes"][0])
    touching = [a for a in _associations(given, parameters, registry) if a.type in wanted]
    ends = {end for a in touching for end in (a.source, a.target)}
    kinds = object_types(parameters)
    found = _of_level(registry.documents_by_uuid(ends), parameters)
    documents = {d.entry_uuid: d for d in found if d.object_type in kinds}
    related = [a for a in touching if a.source in documents and a.target in documents]
    kept = {end for a in related for end in (a.source, a.target)}
    return bounded([*(d for uuid, d in documents.items() if uuid in kept), *related], most)


def _types(values: Iterable[str]) -> set[str]:
    """Association types as URNs; consumers of old send the last word of one."""
    words = {type_.rpartition(":")[2]: type_ for type_ in AssociationType}
    return {words.get(value, value) for value in values}


def _ids(found: Iterable[Found]) -> list[str]:
    return [item.entry_uuid for item in found]


def _documents(parameters: Parameters, registry: RegistryReader) -> Sequence[FoundDocument]:
    if "XDSDocumentEntryEntryUUID" in parameters:
        return _of_level(registry.documents_by_uuid(parameters["XDSDocumentEntryEntryUUID"][0]), parameters)
    if "XDSDocumentEntryLogicalID" in parameters:
        return _of_level(registry.documents_by_logical_id(parameters["XDSDocumentEntryLogicalID"][0]), parameters)
    return _of_level(registry.documents_by_unique_id(parameters["XDSDocumentEntryUniqueId"][0]), parameters)


def _folders(parameters: Parameters, registry: RegistryReader) -> Sequence[Found]:
    if "XDSFolderEntryUUID" in parameters:
        return _of_level(registry.folders_by_uuid(parameters["XDSFolderEntryUUID"][0]), parameters)
    if "XDSFolderLogicalID" in parameters:
        return _of_level(registry.folders_by_logical_id(parameters["XDSFolderLogicalID"][0]), parameters)
    return _of_level(registry.folders_by_unique_id(parameters["XDSFolderUniqueId"][0]), parameters)


def _of_level(found: Sequence[F], parameters: Parameters) -> Sequence[F]:
    """Of several versions the latest, unless all are asked for."""
    return [item for item in found if item.latest] if latest_only(parameters) else found


def _associations(uuids: Iterable[str], parameters: Parameters, registry: RegistryReader) -> Sequence[FoundAssociation]:
    findings: list[Finding] = []
    wanted = association_statuses(parameters, findings)
    if findings:
        raise Refused(findings)
    return with_status(registry.associations_of(list(uuids)), wanted)


def _members(packages: Sequence[Found], parameters: Parameters, registry: RegistryReader) -> list[FoundAssociation]:
    sources = set(_ids(packages))
    return [a for a in _associations(sources, parameters, registry) if a.source in sources and a.type == _MEMBER]


def _passing(uuids: Iterable[str], parameters: Parameters, registry: RegistryReader) -> Sequence[FoundDocument]:
    """The entries among the ids that the filters for type, format and confidentiality let through."""
    kinds = object_types(parameters)
    documents = [d for d in _of_level(registry.documents_by_uuid(uuids), parameters) if d.object_type in kinds]
    for slot in parameters.get("XDSDocumentEntryFormatCode", ()):
        wanted = _checked("XDSDocumentEntryFormatCode", slot)
        documents = [d for d in documents if d.format_code in wanted]
    for slot in parameters.get("XDSDocumentEntryConfidentialityCode", ()):
        wanted = _checked("XDSDocumentEntryConfidentialityCode", slot)
        documents = [d for d in documents if _values(registry, d, "confidentialityCode") & wanted]
    return documents


def _checked(parameter: str, slot: Sequence[str]) -> frozenset[str]:
    wanted, findings = codes(parameter, slot)
    if findings:
        raise Refused(findings)
    return frozenset(wanted)


def _values(registry: RegistryReader, document: FoundDocument, attribute: str) -> frozenset[str]:
    return registry.values_of(document.patient_key, attribute, [document.entry_uuid])[document.entry_uuid]
