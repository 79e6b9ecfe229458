"""One stored query from its request to the fragments of its answer.  ITI TF-2: 3.18.4.1.2, 3.18.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias
from xml.sax.saxutils import quoteattr

from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Refused
from xds.queries import catalogue, parameters
from xds.queries.find import Parameters, find_documents
from xds.queries.get import get_associations, get_documents, get_submission_set_and_contents, patients_of
from xds.store.interface import Found, RegistryReader

_Run: TypeAlias = Callable[[Parameters, RegistryReader, int], Sequence[Found]]

_RUNS: dict[str, _Run] = {
    catalogue.FIND_DOCUMENTS.id: find_documents,
    catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID.id: find_documents,
    catalogue.GET_DOCUMENTS.id: get_documents,
    catalogue.GET_ASSOCIATIONS.id: get_associations,
    catalogue.GET_SUBMISSION_SET_AND_CONTENTS.id: get_submission_set_and_contents,
}

# Answers that must be of one patient when they carry metadata (ITI TF-2: 3.18.4.1.3).
_SINGLE_PATIENT = {catalogue.GET_DOCUMENTS.id, catalogue.GET_SUBMISSION_SET_AND_CONTENTS.id}


def answer(sent: AdhocQuery, registry: RegistryReader, most: int) -> list[bytes]:
    """The children of the answer's RegistryObjectList, as bytes.

    Raises:
        Refused: query unknown, parameters wrong, too many results, or several patients in a LeafClass answer.
    """
    query = catalogue.STORED_QUERIES.get(sent.id)
    if query is None:
        raise Refused([Finding(ErrorCode.UNKNOWN_STORED_QUERY, "this registry does not know the query id")])
    if sent.return_type not in ("LeafClass", "ObjectRef"):
        rule = "returnType must be LeafClass or ObjectRef (ITI TF-2: 3.18.4.1.2.3.1)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)])
    found = _RUNS[query.id](parameters.read(query, sent), registry, most)
    if sent.return_type == "ObjectRef":
        return [b"<rim:ObjectRef id=%b/>" % quoteattr(item.entry_uuid).encode() for item in found]
    if query.id in _SINGLE_PATIENT and len(patients_of(found)) > 1:
        raise Refused([Finding(ErrorCode.RESULT_NOT_SINGLE_PATIENT, "the answer would be of several patients")])
    return [item.ebxml for item in found]
