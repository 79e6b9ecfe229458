"""A metadata object as the rows that it is kept as."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from xds.ebxml import rim_writing
from xds.metadata import to_ebxml
from xds.metadata.association import Association
from xds.metadata.datatypes import Author
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.visible import MULTIPLE, SINGLE, Facts
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, MANY, OFFLINE, AvailabilityStatus
from xds.store.interface import Kind
from xds.store.registry.compression import pack
from xds.store.tables import (
    association,
    document_entry,
    document_entry_value,
    folder,
    locator,
    package_value,
    submission_set,
)

UNIQUE = {Kind.DOCUMENT_ENTRY: "DE.uniqueId", Kind.SUBMISSION_SET: "SS.uniqueId", Kind.FOLDER: "FD.uniqueId"}
"""The kind of locator that a uniqueId has."""

LOGICAL = {Kind.DOCUMENT_ENTRY: "DE.logicalId", Kind.FOLDER: "FD.logicalId"}
"""The kind of locator that leads from a logicalID, the entryUUID of a first version, to each version after it."""

_SINGLE = tuple(name for name, coded in DOCUMENT_ENTRY_CODES.items() if coded.most != MANY)


def short(status: str | None) -> str:
    """``Approved`` of the status URN."""
    return (status or AvailabilityStatus.APPROVED).rpartition(":")[2]


def composed(text: str) -> str:
    """As texts are compared: in NFC, as the values of a query are (ITI TF-3: 4.2.3.1)."""
    return unicodedata.normalize("NFC", text)


def fragment(item: MetadataObject) -> bytes:
    """An object's ebXML as it stands in a reply."""
    return rim_writing.fragment(to_ebxml.registry_object(item))


def rows(
    item: MetadataObject, source_ids: Iterable[str] = ()
) -> Iterable[tuple[sa.Table, dict[str, Any]]]:  # fmt: skip
    """The rows that an object is kept as, without the keys that all of them have; an entry is of these sources."""
    kind = kind_of(item)
    common: dict[str, Any] = {"status": short(item.availability_status), "ebxml": pack(fragment(item))}
    yield locator, {"id": item.entry_uuid, "kind": kind, "nth": ""}
    if not isinstance(item, Association):
        common["unique_id"] = item.unique_id
        later = isinstance(item, Folder) and int(item.version or 1) > 1
        nth = item.entry_uuid if kind is Kind.DOCUMENT_ENTRY or later else ""
        yield locator, {"id": item.unique_id, "kind": UNIQUE[kind], "nth": nth}
    if isinstance(item, DocumentEntry | Folder) and int(item.version or 1) > 1:
        yield locator, {"id": item.logical_id, "kind": LOGICAL[kind], "nth": item.entry_uuid}
    if isinstance(item, DocumentEntry):
        yield document_entry, common | _document_columns(item)
        values = (*_document_values(item), ("sourceId", set(source_ids)))
        yield from _values(document_entry_value, values)
    elif isinstance(item, SubmissionSet):
        yield submission_set, common | _set_columns(item)
        yield from _values(package_value, [("authorPerson", _persons(item.author))])
    elif isinstance(item, Folder):
        yield folder, common | _folder_columns(item)
        yield from _values(package_value, [("codeList", {code.key for code in item.code_list})])
    else:
        yield association, common | {"type": item.type, "source": item.source, "target": item.target}


def facts_of(item: DocumentEntry, source_ids: Iterable[str]) -> Facts:
    """What decisions ask of an entry, as its rows say it."""
    columns = _document_columns(item)
    single = {name: str(columns[name]) for name in SINGLE if columns.get(name)}
    several = {name: frozenset(map(composed, values)) for name, values in _document_values(item) if name in MULTIPLE}
    ids = {"unique_id": item.unique_id, "entry_uuid": item.entry_uuid}
    return Facts({**single, **ids}, {**several, "sourceId": frozenset(source_ids)})


def kind_of(item: MetadataObject) -> Kind:
    if isinstance(item, DocumentEntry):
        return Kind.DOCUMENT_ENTRY
    if isinstance(item, SubmissionSet):
        return Kind.SUBMISSION_SET
    return Kind.FOLDER if isinstance(item, Folder) else Kind.ASSOCIATION


def _values(table: sa.Table, attributes: Iterable[tuple[str, set[str]]]) -> Iterable[tuple[sa.Table, dict[str, Any]]]:
    """A row a value of multi-valued attributes."""
    for attribute, values in attributes:
        for value in sorted(set(map(composed, values))):
            yield table, {"attribute": attribute, "value": value}


def _persons(authors: Iterable[Author]) -> set[str]:
    return {author.person.text for author in authors if author.person}


def _set_columns(item: SubmissionSet) -> dict[str, Any]:
    return {
        "source_id": item.source_id,
        "content_type_code": composed(item.content_type_code.key),
        "submission_time": item.submission_time.padded,
    }


def _folder_columns(item: Folder) -> dict[str, Any]:
    return {
        "logical_id": item.logical_id,
        "version": int(item.version or 1),
        "latest": True,
        "last_update_time": item.last_update_time.padded if item.last_update_time else "",
    }


def _document_columns(item: DocumentEntry) -> dict[str, Any]:
    times = ("creation_time", "service_start_time", "service_stop_time")
    return {
        "logical_id": item.logical_id,
        "version": int(item.version or 1),
        "latest": True,
        "object_type": item.object_type,
        "repository_unique_id": item.repository_unique_id,
        "hash": item.hash.lower() if item.hash else None,
        "size": item.size,
        **{name: composed(getattr(item, name).key) for name in _SINGLE},
        **{name: getattr(item, name) and getattr(item, name).padded for name in times},
    }


def _document_values(item: DocumentEntry) -> Iterable[tuple[str, set[str]]]:
    yield "eventCodeList", {code.key for code in item.event_code_list}
    yield "confidentialityCode", {code.key for code in item.confidentiality_code}
    yield "authorPerson", _persons(item.author)
    yield "authorInstitution", {key for author in item.author for one in author.institutions for key in one.keys}
    yield "referenceIdList", {reference.key for reference in item.reference_id_list}
    if item.document_availability == OFFLINE:  # of nearly all that there are it is Online, or not said
        yield "availability", {OFFLINE}
