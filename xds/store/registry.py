"""The registry's tables behind ``RegistryReader``, and what a submission writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from lxml import etree
from sqlalchemy.exc import IntegrityError

from xds.ebxml import rim
from xds.metadata import to_ebxml
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, MANY, AvailabilityStatus
from xds.store import patients
from xds.store.compression import pack, unpack
from xds.store.interface import DocumentCriteria, Found, FoundAssociation, FoundDocument, Kind
from xds.store.tables import (
    association,
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    submission_set,
)

BATCH = 500
"""Ids in one statement."""

_UNIQUE = {Kind.DOCUMENT_ENTRY: "DE.uniqueId", Kind.SUBMISSION_SET: "SS.uniqueId", Kind.FOLDER: "FD.uniqueId"}
_SINGLE = tuple(name for name, coded in DOCUMENT_ENTRY_CODES.items() if coded.most != MANY)
_TABLES = {
    Kind.DOCUMENT_ENTRY: document_entry,
    Kind.SUBMISSION_SET: submission_set,
    Kind.FOLDER: folder,
    Kind.ASSOCIATION: association,
}


class Taken(Exception):
    """An entryUUID, or a uniqueId that must be unique, is registered already."""


def short(status: str | None) -> str:
    """``Approved`` of the status URN."""
    return (status or AvailabilityStatus.APPROVED).rpartition(":")[2]


def composed(text: str) -> str:
    """As texts are compared: in NFC, as the values of a query are (ITI TF-3: 4.2.3.1)."""
    return unicodedata.normalize("NFC", text)


def fragment(item: MetadataObject) -> bytes:
    """An object's ebXML as it stands in a reply."""
    return etree.tostring(rim.write(to_ebxml.registry_object(item)))


class SqlRegistry:
    """One affinity domain's registry, inside one database transaction."""

    def __init__(self, connection: sa.Connection, domain: str) -> None:
        self._connection, self._domain = connection, domain

    # Reading: see RegistryReader.

    def patient_key(self, patient_id: PatientId) -> int | None:
        return patients.key_of(self._connection, self._domain, patient_id)

    def find_documents(self, patient_key: int, criteria: DocumentCriteria, most: int) -> Sequence[FoundDocument]:
        table = document_entry
        where = [table.c.patient_key == patient_key]
        if criteria.statuses:
            where.append(table.c.status.in_(criteria.statuses))
        if criteria.object_types:
            where.append(table.c.object_type.in_(criteria.object_types))
        where += [table.c[attribute].in_(keys) for attribute, keys in criteria.codes]
        where += [_has_value(attribute, keys) for attribute, keys in criteria.values]
        where += [_has_like(attribute, patterns) for attribute, patterns in criteria.patterns]
        for attribute, range_ in criteria.ranges:
            column = table.c[attribute]
            # An entry without the attribute is not excluded by it (ITI TF-2: 3.18.4.1.2.3.7.1).
            if range_.from_ is not None:
                where.append(sa.or_(column.is_(None), column >= range_.from_))
            if range_.to is not None:
                where.append(sa.or_(column.is_(None), column < range_.to))
        statement = sa.select(table).where(*where).order_by(table.c.entry_uuid).limit(most + 1)
        return [_document(row) for row in self._connection.execute(statement)]

    def documents_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundDocument]:
        return [_document(row) for row in self._located(Kind.DOCUMENT_ENTRY, Kind.DOCUMENT_ENTRY, entry_uuids)]

    def documents_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[FoundDocument]:
        rows = self._located(Kind.DOCUMENT_ENTRY, _UNIQUE[Kind.DOCUMENT_ENTRY], unique_ids)
        return [_document(row) for row in rows]

    def submission_set(self, *, entry_uuid: str = "", unique_id: str = "") -> Found | None:
        kind = Kind.SUBMISSION_SET if entry_uuid else _UNIQUE[Kind.SUBMISSION_SET]
        rows = self._located(Kind.SUBMISSION_SET, kind, [entry_uuid or unique_id])
        return _found(rows[0], Kind.SUBMISSION_SET) if rows else None

    def folders_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[Found]:
        return [_found(row, Kind.FOLDER) for row in self._located(Kind.FOLDER, Kind.FOLDER, entry_uuids)]

    def associations_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundAssociation]:
        return [_association(row) for row in self._located(Kind.ASSOCIATION, Kind.ASSOCIATION, entry_uuids)]

    def associations_of(self, entry_uuids: Collection[str]) -> Sequence[FoundAssociation]:
        found: dict[str, FoundAssociation] = {}
        for batch in _batches(entry_uuids):
            keys = self._connection.scalars(
                sa.select(locator.c.patient_key)
                .where(locator.c.domain == self._domain, locator.c.id.in_(batch), locator.c.nth == "")
                .distinct()
            ).all()
            keys = [*keys, *self._foreign(batch)]
            for end in (association.c.source, association.c.target):
                statement = sa.select(association).where(association.c.patient_key.in_(keys), end.in_(batch))
                for row in self._connection.execute(statement):
                    found[row.entry_uuid] = _association(row)
        return sorted(found.values(), key=lambda item: item.entry_uuid)

    def _foreign(self, entry_uuids: Sequence[str]) -> Sequence[int]:
        table = foreign_association
        statement = sa.select(table.c.patient_key).where(table.c.target.in_(entry_uuids)).distinct()
        return self._connection.scalars(statement).all()

    def values_of(self, patient_key: int, attribute: str, entry_uuids: Collection[str]) -> dict[str, frozenset[str]]:
        table = document_entry_value
        found: dict[str, set[str]] = {uuid: set() for uuid in entry_uuids}
        for batch in _batches(entry_uuids):
            statement = sa.select(table.c.entry_uuid, table.c.value).where(
                table.c.patient_key == patient_key, table.c.attribute == attribute, table.c.entry_uuid.in_(batch)
            )
            for row in self._connection.execute(statement):
                found[row.entry_uuid].add(row.value)
        return {uuid: frozenset(values) for uuid, values in found.items()}

    def _located(self, kind: Kind, id_kind: str, ids: Iterable[str]) -> list[Any]:
        """Rows of a kind by an id of theirs: the locator gives the patient, the patient's table the row."""
        table, rows = _TABLES[kind], dict[str, Any]()
        for batch in _batches(ids):
            places: dict[int, list[str]] = {}
            statement = sa.select(locator.c.patient_key, locator.c.entry_uuid).where(
                locator.c.domain == self._domain, locator.c.id.in_(batch), locator.c.kind == id_kind
            )
            for place in self._connection.execute(statement):
                places.setdefault(place.patient_key, []).append(place.entry_uuid)
            for key, uuids in places.items():
                statement = sa.select(table).where(table.c.patient_key == key, table.c.entry_uuid.in_(uuids))
                rows |= {row.entry_uuid: row for row in self._connection.execute(statement)}
        return [rows[uuid] for uuid in sorted(rows)]

    # Writing.

    def kinds_of(self, entry_uuids: Iterable[str]) -> dict[str, tuple[Kind, int]]:
        """What is registered under these entryUUIDs, and of which patient."""
        found: dict[str, tuple[Kind, int]] = {}
        for batch in _batches(entry_uuids):
            statement = sa.select(locator.c.id, locator.c.kind, locator.c.patient_key).where(
                locator.c.domain == self._domain, locator.c.id.in_(batch), locator.c.kind.in_(list(Kind))
            )
            found |= {row.id: (Kind(row.kind), int(row.patient_key)) for row in self._connection.execute(statement)}
        return found

    def lock(self, patient_key: int, unique_ids: Iterable[str]) -> None:
        """Until the commit nobody else submits for this patient, or with one of these uniqueIds."""
        patients.lock(self._connection, patient_key)
        if self._connection.dialect.name != "sqlite":
            for unique_id in sorted(set(unique_ids)):
                number = sa.func.hashtextextended(f"{self._domain} {unique_id}", 0)
                self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))

    def add_patient(self, patient_id: PatientId) -> bool:
        """Make a patient known; whether it was new."""
        return patients.add(self._connection, self._domain, patient_id)

    def insert(self, patient_key: int, objects: Iterable[MetadataObject]) -> None:
        """Write new objects of one patient.

        Raises:
            Taken: an id among them is registered already.
        """
        rows: dict[sa.Table, list[dict[str, Any]]] = {}
        for item in objects:
            for table, row in _rows(item):
                common: dict[str, Any] = {"patient_key": patient_key, "entry_uuid": item.entry_uuid}
                if table is locator:
                    common["domain"] = self._domain
                rows.setdefault(table, []).append(common | row)
        try:
            for table, values in rows.items():
                self._connection.execute(sa.insert(table), values)
        except IntegrityError:
            raise Taken from None

    def insert_foreign(self, target: str, entry_uuid: str, patient_key: int) -> None:
        """Note that an association of this patient points to an object of another."""
        self._connection.execute(
            sa.insert(foreign_association).values(target=target, entry_uuid=entry_uuid, patient_key=patient_key)
        )

    def deprecate(self, items: Iterable[FoundDocument]) -> None:
        """Set entries to Deprecated, in their rows and in their ebXML."""
        for item in items:
            element = etree.fromstring(item.ebxml)
            element.set("status", AvailabilityStatus.DEPRECATED)
            self._update(
                document_entry, item, status=short(AvailabilityStatus.DEPRECATED), ebxml=pack(etree.tostring(element))
            )

    def touch_folder(self, item: Found, time: str) -> None:
        """Set a folder's lastUpdateTime, 14 digits UTC, in its row and in its ebXML."""
        package = rim.read_object(etree.fromstring(item.ebxml))
        assert isinstance(package, rim.RegistryPackage)  # noqa: S101  written by us as one
        slots = tuple(slot for slot in package.slots if slot.name != "lastUpdateTime")
        package = replace(package, slots=(rim.Slot("lastUpdateTime", (time,)), *slots))
        self._update(folder, item, last_update_time=time, ebxml=pack(etree.tostring(rim.write(package))))

    def _update(self, table: sa.Table, item: Found, **values: Any) -> None:
        self._connection.execute(
            sa.update(table)
            .where(table.c.patient_key == item.patient_key, table.c.entry_uuid == item.entry_uuid)
            .values(**values)
        )


def _batches(ids: Iterable[str]) -> Iterable[list[str]]:
    listed = list(dict.fromkeys(ids))
    return (listed[start : start + BATCH] for start in range(0, len(listed), BATCH))


def _has_value(attribute: str, keys: Sequence[str]) -> Any:
    table = document_entry_value
    return sa.exists().where(
        table.c.patient_key == document_entry.c.patient_key,
        table.c.attribute == attribute,
        table.c.value.in_(keys),
        table.c.entry_uuid == document_entry.c.entry_uuid,
    )


def _has_like(attribute: str, patterns: Sequence[str]) -> Any:
    table = document_entry_value
    return sa.exists().where(
        table.c.patient_key == document_entry.c.patient_key,
        table.c.attribute == attribute,
        sa.or_(*(table.c.value.like(pattern.replace("\\", "\\\\"), escape="\\") for pattern in patterns)),
        table.c.entry_uuid == document_entry.c.entry_uuid,
    )


def _found(row: Any, kind: Kind) -> Found:
    return Found(row.entry_uuid, kind, int(row.patient_key), unpack(row.ebxml))


def _document(row: Any) -> FoundDocument:
    return FoundDocument(
        row.entry_uuid, Kind.DOCUMENT_ENTRY, int(row.patient_key), unpack(row.ebxml),
        row.unique_id, row.status, row.object_type, row.format_code, row.hash, row.size,
    )  # fmt: skip


def _association(row: Any) -> FoundAssociation:
    return FoundAssociation(
        row.entry_uuid, Kind.ASSOCIATION, int(row.patient_key), unpack(row.ebxml),
        row.type, row.source, row.target, row.status,
    )  # fmt: skip


def _rows(item: MetadataObject) -> Iterable[tuple[sa.Table, dict[str, Any]]]:
    """The rows that an object is kept as."""
    kind = _kind(item)
    common: dict[str, Any] = {"status": short(item.availability_status), "ebxml": pack(fragment(item))}
    yield locator, {"id": item.entry_uuid, "kind": kind, "nth": ""}
    if not isinstance(item, Association):
        common["unique_id"] = item.unique_id
        nth = item.entry_uuid if kind is Kind.DOCUMENT_ENTRY else ""
        yield locator, {"id": item.unique_id, "kind": _UNIQUE[kind], "nth": nth}
    if isinstance(item, DocumentEntry):
        yield document_entry, common | _document_columns(item)
        for attribute, values in _document_values(item):
            for value in sorted(set(map(composed, values))):
                yield document_entry_value, {"attribute": attribute, "value": value}
    elif isinstance(item, SubmissionSet):
        yield (
            submission_set,
            common
            | {
                "source_id": item.source_id,
                "content_type_code": item.content_type_code.key,
                "submission_time": item.submission_time.padded,
                "author_person": "\n".join(a.person.text for a in item.author if a.person),
            },
        )
    elif isinstance(item, Folder):
        yield (
            folder,
            common
            | {
                "logical_id": item.logical_id,
                "version": int(item.version or 1),
                "last_update_time": item.last_update_time.padded if item.last_update_time else "",
            },
        )
    else:
        yield association, common | {"type": item.type, "source": item.source, "target": item.target}


def _kind(item: MetadataObject) -> Kind:
    if isinstance(item, DocumentEntry):
        return Kind.DOCUMENT_ENTRY
    if isinstance(item, SubmissionSet):
        return Kind.SUBMISSION_SET
    return Kind.FOLDER if isinstance(item, Folder) else Kind.ASSOCIATION


def _document_columns(item: DocumentEntry) -> dict[str, Any]:
    times = ("creation_time", "service_start_time", "service_stop_time")
    return {
        "logical_id": item.logical_id,
        "version": int(item.version or 1),
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
    yield "authorPerson", {author.person.text for author in item.author if author.person}
    yield "referenceIdList", {reference.key for reference in item.reference_id_list}
