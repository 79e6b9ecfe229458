"""GetDocuments, GetAssociations, GetSubmissionSetAndContents.  ITI TF-2: 3.18.4.1.2.3.7.5, .7 and .10."""

from __future__ import annotations

from collections.abc import Sequence

from xds.errors import Refused
from xds.metadata.vocabulary import AssociationType
from xds.queries.find import Parameters, bounded, codes, object_types
from xds.store.interface import Found, FoundDocument, Kind, RegistryReader


def get_documents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Entries by entryUUID or uniqueId; unknown ids are just absent."""
    if "XDSDocumentEntryEntryUUID" in parameters:
        return bounded(registry.documents_by_uuid(parameters["XDSDocumentEntryEntryUUID"][0]), most)
    return bounded(registry.documents_by_unique_id(parameters["XDSDocumentEntryUniqueId"][0]), most)


def get_associations(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """Every association with one end among the ids."""
    return bounded(registry.associations_of(parameters["uuid"][0]), most)


def get_submission_set_and_contents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The set; its entries that pass the filters, its folders, associations whose ends are both there, and the
    HasMembers of all these.

    Raises:
        Refused: a code is malformed, or there are more than ``most`` objects.
    """
    found = registry.submission_set(
        entry_uuid=parameters.get("XDSSubmissionSetEntryUUID", (("",),))[0][0],
        unique_id=parameters.get("XDSSubmissionSetUniqueId", (("",),))[0][0],
    )
    if found is None:
        return []
    members = [a for a in registry.associations_of([found.entry_uuid]) if a.source == found.entry_uuid]
    members = [a for a in members if a.type == AssociationType.HAS_MEMBER]
    targets = [a.target for a in members]
    documents = _passing(parameters, registry, registry.documents_by_uuid(targets))
    kept: dict[str, Found] = {item.entry_uuid: item for item in (found, *documents)}
    kept |= {item.entry_uuid: item for item in registry.folders_by_uuid(targets)}
    for association in registry.associations_by_uuid(targets):
        if association.source in kept and association.target in kept:
            kept[association.entry_uuid] = association
    contents = [*kept.values(), *(a for a in members if a.target in kept)]
    return bounded(contents, most)


def _passing(
    parameters: Parameters, registry: RegistryReader, documents: Sequence[FoundDocument]
) -> Sequence[FoundDocument]:
    kinds = object_types(parameters) if "XDSDocumentEntryType" in parameters else None
    documents = [d for d in documents if kinds is None or d.object_type in kinds]
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


def patients_of(found: Sequence[Found]) -> set[int]:
    """The patients of the entries, sets and folders in an answer."""
    return {item.patient_key for item in found if item.kind is not Kind.ASSOCIATION}
