"""One stored query from its request to the fragments of its answer.  ITI TF-2: 3.18.4.1.2, 3.18.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.sax.saxutils import quoteattr

from lxml import etree

from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata import vocabulary as v
from xds.queries import catalogue, find, get, parameters
from xds.queries.find import Parameters
from xds.store.interface import Found, Kind, RegistryReader, Survivor
from xds.wire.xml import name

_Run: TypeAlias = Callable[[Parameters, RegistryReader, int], Sequence[Found]]

_RUNS: dict[str, _Run] = {
    catalogue.FIND_DOCUMENTS.id: find.find_documents,
    catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID.id: find.find_documents,
    catalogue.FIND_SUBMISSION_SETS.id: find.find_submission_sets,
    catalogue.FIND_FOLDERS.id: find.find_folders,
    catalogue.GET_ALL.id: find.get_all,
    catalogue.GET_DOCUMENTS.id: get.get_documents,
    catalogue.GET_FOLDERS.id: get.get_folders,
    catalogue.GET_ASSOCIATIONS.id: get.get_associations,
    catalogue.GET_DOCUMENTS_AND_ASSOCIATIONS.id: get.get_documents_and_associations,
    catalogue.GET_SUBMISSION_SETS.id: get.get_submission_sets,
    catalogue.GET_SUBMISSION_SET_AND_CONTENTS.id: get.get_submission_set_and_contents,
    catalogue.GET_FOLDER_AND_CONTENTS.id: get.get_folder_and_contents,
    catalogue.GET_FOLDERS_FOR_DOCUMENT.id: get.get_folders_for_document,
    catalogue.GET_RELATED_DOCUMENTS.id: get.get_related_documents,
    catalogue.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS.id: find.find_documents_of_many,
    catalogue.FIND_FOLDERS_FOR_MULTIPLE_PATIENTS.id: find.find_folders_of_many,
    catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS.id: find.find_documents_of_many,
}

_PATIENT_SCHEMES = (v.DOCUMENT_ENTRY_PATIENT_ID, v.SUBMISSION_SET_PATIENT_ID, v.FOLDER_PATIENT_ID)


@dataclass(frozen=True, slots=True)
class Answer:
    """The children of a RegistryObjectList as bytes, and the patients that they are of."""

    fragments: list[bytes]
    patient_keys: frozenset[int]


def answer(
    sent: AdhocQuery,
    registry: RegistryReader,
    most: int,
    queries: Mapping[str, catalogue.StoredQuery] = catalogue.STORED_QUERIES,
    *,
    refuse_unknown: bool = False,
) -> Answer:
    """What a query of those that a transaction has finds; for an unknown patient nothing, or a refusal.

    Raises:
        Refused: query unknown, parameters wrong, too many results, or several patients in a LeafClass answer.
    """
    query = queries.get(sent.id)
    if query is None:
        raise Refused(
            [
                Finding(
                    ErrorCode.UNKNOWN_STORED_QUERY, "this registry does not know the query id (ITI TF-2: 3.18.4.1.2.4)"
                )
            ]
        )
    if sent.return_type not in ("LeafClass", "ObjectRef"):
        rule = "returnType must be LeafClass or ObjectRef (ITI TF-2: 3.18.4.1.2.3.1)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)])
    given = parameters.read(query, sent)
    _level(given)
    if refuse_unknown:
        find.refuse_unknown_patients(given, registry)
    by_reference = sent.return_type == "ObjectRef"
    found = _RUNS[query.id](given, registry.references() if by_reference else registry, most)
    # Associations are of no patient themselves.
    of_patients = {item.patient_key for item in found if item.kind is not Kind.ASSOCIATION}
    survivors = registry.survivors(of_patients) if of_patients else {}
    living = frozenset(_living(key, survivors) for key in of_patients)
    if by_reference:
        references = [b"<rim:ObjectRef id=%b/>" % quoteattr(item.entry_uuid).encode() for item in found]
        return Answer(references, living)
    if query.single_patient and len(living) > 1:
        raise Refused(
            [
                Finding(
                    ErrorCode.RESULT_NOT_SINGLE_PATIENT,
                    "the answer would be of several patients (ITI TF-2: 3.18.4.1.3)",
                )
            ]
        )
    return Answer(list(_shown(found, survivors)), living)


def _level(given: Parameters) -> None:
    """Metadata level 1 shows the latest of what was submitted; 2, all versions (XDS Metadata Update: 3.18)."""
    levels = given.get(catalogue.METADATA_LEVEL.name)
    if levels and levels[0][0] not in ("1", "2"):
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, "$MetadataLevel is 1 or 2 (XDS Metadata Update: 3.18)")])


def _living(patient_key: int, survivors: dict[int, Survivor]) -> int:
    survivor = survivors.get(patient_key)
    return patient_key if survivor is None else survivor.patient_key


def _shown(found: Iterable[Found], survivors: dict[int, Survivor]) -> Iterable[bytes]:
    """Each object's ebXML, of a merged patient with the surviving id (ITI TF-2: 3.8.4.2.3)."""
    for item in found:
        survivor = None if item.kind is Kind.ASSOCIATION else survivors.get(item.patient_key)
        yield item.ebxml if survivor is None else _renamed(item.ebxml, str(survivor.patient_id))


def _renamed(ebxml: bytes, patient_id: str) -> bytes:
    element = etree.fromstring(ebxml)
    for identifier in element.iterfind(name("rim:ExternalIdentifier")):
        if identifier.get("identificationScheme") in _PATIENT_SCHEMES:
            identifier.set("value", patient_id)
    return etree.tostring(element)
