"""What a submission writes into the registry's tables, and what an update or a removal changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from lxml import etree
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError

from xds.ebxml import rim, rim_writing
from xds.metadata.association import Association
from xds.metadata.demographics import Demographics
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AvailabilityStatus
from xds.store.interface import Found, Kind
from xds.store.registry import demographics, patients
from xds.store.registry.compression import pack
from xds.store.registry.rows import rows, short
from xds.store.registry.searching import TABLES
from xds.store.registry.sql_reader import SqlReader, batches, by_id
from xds.store.statements import Asked, Inserting, Statement, at_once
from xds.store.tables import (
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    package_value,
    submission_set,
)


class Taken(Exception):
    """An entryUUID, or a uniqueId that must be unique, is registered already."""


# A patient's tables by one statement and where objects are by another, so that each can be distributed by its own key.
_INSERT = Inserting((*TABLES.values(), document_entry_value, package_value), (locator, foreign_association))
# Ordered, so that nobody waits in a circle: a function of each row that is given, as they are given.
_ids = (
    sa.func.unnest(sa.bindparam("ids", type_=ARRAY(sa.Text))).table_valued("id", with_ordinality="nth").render_derived()
)
_LOCKS = Statement(
    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(_ids.c.id, 0))).order_by(_ids.c.nth)
)
_PATIENTS_TABLES = (*TABLES.values(), document_entry_value, package_value)


def locking(names: Sequence[str]) -> list[Asked]:
    """What waits for whoever has locked any of these names, and locks them until the commit; in their order."""
    return [(_LOCKS, {"ids": list(names)})] if names else []


class SqlRegistry(SqlReader):
    """One affinity domain's registry, read and written inside one database transaction."""

    def __init__(
        self, *given: Any, touched: dict[str, set[int]] | None = None, locked: set[str] | None = None, **named: Any
    ) -> None:  # fmt: skip
        """``touched`` is told which documents, by uniqueId, change whether they hold, and of which patients' keys.

        ``locked`` is told what is locked by name, on PostgreSQL.
        """
        super().__init__(*given, **named)
        self._touched, self._locked = {} if touched is None else touched, set() if locked is None else locked

    def lock(self, patient_keys: Iterable[int], unique_ids: Iterable[str]) -> None:
        """Until the commit nobody else changes what these patients have, or submits one of these uniqueIds.

        Everybody locks in one order, all at once: nobody waits in a circle.
        """
        at_once(self.connection, *self._locking(patient_keys, unique_ids))

    def alone_with(
        self, patient_id: PatientId, patient_keys: Iterable[int], unique_ids: Iterable[str], ids: Iterable[str]
    ) -> Sequence[int]:
        """The same; then, in the same round trip, the keys of a patient, and where ids lead, which is then known."""
        wanted = list(dict.fromkeys(ids))
        asked = [patients.known(self.domain, patient_id), self.places(wanted)]
        *_, known, places = at_once(self.connection, *self._locking(patient_keys, unique_ids), *asked)
        self._looked_up = by_id(wanted, places)
        keys = patients.keys_of_known(self.connection, known)
        if keys:
            patients.remember(self.connection, self.domain, patient_id, keys[0])
        return keys

    def forget(self, patient_id: PatientId) -> None:
        """Do not go by what was remembered of a patient any more."""
        patients.forget(self.connection, self.domain, patient_id)

    def remembered_key(self, patient_id: PatientId) -> int | None:
        """A patient's key, without asking: whether they are active is known when one is alone with them."""
        return patients.remembered(self.connection, self.domain, patient_id)

    def _locking(self, patient_keys: Iterable[int], unique_ids: Iterable[str]) -> list[Asked]:
        if self.connection.dialect.name == "sqlite":  # it has one writer
            return []
        ids = [f"{self.domain} {unique_id}" for unique_id in sorted(set(unique_ids))]
        self._locked.update(ids)
        return [*patients.locking(patient_keys), *locking(ids)]

    def add_patient(self, patient_id: PatientId) -> bool:
        """Make a patient known; whether it was new."""
        return patients.add(self.connection, self.domain, patient_id)

    def keep_demographics(self, said: Demographics, *patient_ids: PatientId) -> None:
        """Keep who active patients are, as a feed says of all of these ids; of others nothing is."""
        keys = {patients.key_of(self.connection, self.domain, one) for one in patient_ids} - {None}
        demographics.keep(self.connection, self.domain, [key for key in keys if key is not None], said)

    def insert(self, patient_key: int, objects: Iterable[MetadataObject], source_ids: Collection[str] = ()) -> None:
        """Write new objects of one patient, their associations to be found from ends that another has, too.

        ``source_ids``: of the submission set that they came with, where it is not among them.

        Raises:
            Taken: an id among them is registered already.
        """
        objects = list(objects)
        kept: dict[sa.Table, list[dict[str, Any]]] = {foreign_association: self._foreign_ends(patient_key, objects)}
        of_set = [*source_ids, *(item.source_id for item in objects if isinstance(item, SubmissionSet))]
        for item in objects:
            mine = self._source_ids(item, of_set) if isinstance(item, DocumentEntry) else ()
            for table, row in rows(item, mine):
                common: dict[str, Any] = {"patient_key": patient_key, "entry_uuid": item.entry_uuid}
                if table is locator:
                    common["domain"] = self.domain
                kept.setdefault(table, []).append(common | row)
        self._looked_up.clear()
        try:
            _INSERT.run(self.connection, kept)
        except IntegrityError:
            raise Taken from None

    def _source_ids(self, item: DocumentEntry, of_set: Sequence[str]) -> Iterable[str]:
        """Whose an entry is: of the source that submitted its first version, whoever has updated it since."""
        first = item.logical_id or item.entry_uuid
        if first == item.entry_uuid:
            return of_set
        kept = self.kinds_of([first])
        return self.values_of(kept[first][1], "sourceId", [first])[first] if first in kept else of_set

    def _foreign_ends(self, patient_key: int, objects: Sequence[MetadataObject]) -> list[dict[str, Any]]:
        """Which ends of associations are kept under another patient's key: by reference, or of a merged patient."""
        own = {item.entry_uuid for item in objects}
        relations = [
            (item.entry_uuid, {item.source, item.target} - own) for item in objects if isinstance(item, Association)
        ]
        kinds = self.kinds_of(end for _, ends in relations for end in ends)
        return [
            {"domain": self.domain, "target": end, "entry_uuid": entry_uuid, "patient_key": patient_key}
            for entry_uuid, ends in relations
            for end in ends
            if end in kinds and kinds[end][1] != patient_key
        ]

    def lock_patients(self, patient_keys: Iterable[int]) -> None:
        """Until the commit nobody else changes what these patients have."""
        self.lock(patient_keys, ())

    def remove(self, objects: Mapping[str, tuple[Kind, int]]) -> None:
        """Remove objects with all their rows: by entryUUID, of what kind each is and under which patient's key."""
        self._looked_up.clear()
        for patient_key in {key for _, key in objects.values()}:
            uuids = [uuid for uuid, (_, key) in objects.items() if key == patient_key]
            for batch in batches(uuids):
                self._remove(patient_key, batch)

    def _remove(self, patient_key: int, uuids: Sequence[str]) -> None:
        others: set[str] = set()
        for table in (document_entry, submission_set, folder):
            mine = (table.c.patient_key == patient_key, table.c.entry_uuid.in_(uuids))
            ids = [table.c[name] for name in ("unique_id", "logical_id") if name in table.c]
            found = self.connection.execute(sa.select(*ids).where(*mine)).all()
            others |= {id_ for row in found for id_ in row}
            if table is document_entry:
                for row in found:
                    self._touched.setdefault(row.unique_id, set()).add(patient_key)
        for table in _PATIENTS_TABLES:
            mine = (table.c.patient_key == patient_key, table.c.entry_uuid.in_(uuids))
            self.connection.execute(sa.delete(table).where(*mine))
        leading = (locator.c.id.in_([*uuids, *others]), locator.c.entry_uuid.in_(uuids))
        self.connection.execute(sa.delete(locator).where(locator.c.domain == self.domain, *leading))
        ends = sa.or_(foreign_association.c.target.in_(uuids), foreign_association.c.entry_uuid.in_(uuids))
        self.connection.execute(sa.delete(foreign_association).where(foreign_association.c.domain == self.domain, ends))

    def merge(self, subsumed: PatientId, surviving: PatientId) -> None:
        """Let one patient go on as another (see ``patients.merge``)."""
        patients.merge(self.connection, self.domain, subsumed, surviving)

    def deprecate(self, items: Iterable[Found]) -> None:
        """Set objects to Deprecated, in their rows and in their ebXML."""
        for item in items:
            self.set_status(item, AvailabilityStatus.DEPRECATED)

    def set_status(self, item: Found, status: AvailabilityStatus) -> None:
        """Set an object's availabilityStatus, in its row and in its ebXML."""
        element = etree.fromstring(item.ebxml)
        element.set("status", status)
        self._update(TABLES[item.kind], item, status=short(status), ebxml=pack(etree.tostring(element)))

    def supersede(self, item: Found) -> None:
        """Note that an entry or folder has a later version."""
        self._update(TABLES[item.kind], item, latest=False)

    def reinstate(self, item: Found) -> None:
        """Note that an entry or folder has a later version no more."""
        self._update(TABLES[item.kind], item, latest=True)

    def latest_of(self, logical_id: str) -> Found | None:
        """The latest version of the entry or folder of a logicalID, which is the entryUUID of its first."""
        found = self._versions(Kind.DOCUMENT_ENTRY, [logical_id]) or self._versions(Kind.FOLDER, [logical_id])
        return next((item for item in found if item.latest), None)

    def touch_folder(self, item: Found, time: str) -> None:
        """Set a folder's lastUpdateTime, 14 digits UTC, in its row and in its ebXML."""
        package = rim.read_object(etree.fromstring(item.ebxml))
        assert isinstance(package, rim.RegistryPackage)  # noqa: S101  written by us as one
        slots = tuple(slot for slot in package.slots if slot.name != "lastUpdateTime")
        package = replace(package, slots=(rim.Slot("lastUpdateTime", (time,)), *slots))
        self._update(folder, item, last_update_time=time, ebxml=pack(rim_writing.fragment(package)))

    def _update(self, table: sa.Table, item: Found, **values: Any) -> None:
        if table is document_entry:
            self._touched.setdefault(item.unique_id, set()).add(item.patient_key)
        self.connection.execute(
            sa.update(table)
            .where(table.c.patient_key == item.patient_key, table.c.entry_uuid == item.entry_uuid)
            .values(**values)
        )
