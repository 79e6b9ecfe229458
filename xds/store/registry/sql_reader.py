"""The registry's tables behind ``RegistryReader``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.visible import FULL, Access, Visible
from xds.store.interface import Criteria, Found, FoundAssociation, FoundDocument, Kind, Survivor, TooMany
from xds.store.registry import patients
from xds.store.registry.compression import unpack
from xds.store.registry.rows import LOGICAL, UNIQUE
from xds.store.registry.visibility import BOUND, Keys, bound, conditions, having, of, own_sets, package_conditions
from xds.store.tables import (
    association,
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    package_value,
    submission_set,
)

BATCH = 500
"""Ids in one statement."""

NOBODY, NOBODYS_ID = (0,), PatientId("nobody", Oid("0.0"))
"""The keys of a patient whom there is not, and an id that nobody has.

Who does not see everything is answered about ids that there are not by the same statements as about ids that are
withheld: the time that it takes does not tell the one from the other.
"""

_NO_ENDS = {"no set": (Kind.SUBMISSION_SET, 0), "no entry": (Kind.DOCUMENT_ENTRY, 0)}

PROBE = 1000
"""Objects that are read before it is counted whether there are too many: a refusal need not read them all."""

TABLES = {
    Kind.DOCUMENT_ENTRY: document_entry,
    Kind.SUBMISSION_SET: submission_set,
    Kind.FOLDER: folder,
    Kind.ASSOCIATION: association,
}


class SqlReader:
    """One affinity domain's registry as it is read, inside one database transaction: see ``RegistryReader``."""

    def __init__(
        self, connection: sa.Connection, domain: str, *, whole: bool = True,
        seen: Access = FULL, access: Access = FULL,
    ) -> None:  # fmt: skip
        """What is read has objects' ebXML if it is ``whole``, and is what is ``seen``; ``withheld`` asks ``access``."""
        self.connection, self.domain, self._whole, self._sees, self.access = connection, domain, whole, seen, access

    def references(self) -> SqlReader:
        return self._with(self._sees)

    def unrestricted(self) -> SqlReader:
        """All that there is, without objects' ebXML: to look what is there, not to answer from."""
        return self._with(FULL)

    def _with(self, seen: Access) -> SqlReader:
        return SqlReader(self.connection, self.domain, whole=False, seen=seen, access=self.access)

    def patient_key(self, patient_id: PatientId) -> int | None:
        return patients.key_of(self.connection, self.domain, patient_id)

    def chain(self, patient_id: PatientId) -> Sequence[int]:
        return patients.chain(self.connection, self.domain, patient_id)

    def survivors(self, patient_keys: Collection[int]) -> dict[int, Survivor]:
        return patients.survivors(self.connection, patient_keys)

    def patient_ids(self, patient_keys: Collection[int]) -> Sequence[PatientId]:
        return patients.named(self.connection, patient_keys)

    def find(self, kind: Kind, patient_keys: Sequence[int] | None, criteria: Criteria, most: int) -> Sequence[Found]:
        table = TABLES[kind]
        if patient_keys is not None and not patient_keys:
            if self.sees_everything:
                return []
            patient_keys = NOBODY
        keys = patients.keys_of(self.domain) if patient_keys is None else patient_keys
        where = [of(table.c.patient_key, keys), *self._seen(table, keys)]
        if criteria.latest and "latest" in table.c:
            where.append(table.c.latest)
        if criteria.statuses:
            where.append(table.c.status.in_(criteria.statuses))
        where += [table.c[column].in_(wanted) for column, wanted in criteria.columns]
        where += [_has_value(table, keys, attribute, wanted) for attribute, wanted in criteria.values]
        where += [_has_like(table, keys, attribute, patterns) for attribute, patterns in criteria.patterns]
        for attribute, range_ in criteria.ranges:
            column = table.c[attribute]
            # An entry without the attribute is not excluded by it (ITI TF-2: 3.18.4.1.2.3.7.1).
            if range_.from_ is not None:
                where.append(sa.or_(column.is_(None), column >= range_.from_))
            if range_.to is not None:
                where.append(sa.or_(column.is_(None), column < range_.to))
        where += [sa.not_(_has_value(table, keys, *unwanted)) for unwanted in criteria.without]
        statement = self._selected(table).where(*where).order_by(table.c.entry_uuid)
        given = self._given(table, keys)
        rows = self.connection.execute(statement.limit(min(most + 1, PROBE)), given).all()
        if len(rows) == PROBE <= most:
            ids = sa.select(table.c.entry_uuid).where(*where).limit(most + 1).subquery()
            if (self.connection.scalar(sa.select(sa.func.count()).select_from(ids), given) or 0) > most:
                raise TooMany
            rows = self.connection.execute(statement, given).all()
        if len(rows) > most:
            raise TooMany
        return [_READ[kind](row) for row in rows]

    def _selected(self, table: sa.Table) -> sa.Select[Any]:
        if self._whole:
            return sa.select(table)
        return sa.select(*(column for column in table.c if column.name != "ebxml"), sa.null().label("ebxml"))

    def documents_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundDocument]:
        return self._located(Kind.DOCUMENT_ENTRY, Kind.DOCUMENT_ENTRY, entry_uuids)

    def documents_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[FoundDocument]:
        return self._located(Kind.DOCUMENT_ENTRY, UNIQUE[Kind.DOCUMENT_ENTRY], unique_ids)

    def submission_sets_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[Found]:
        return self._located(Kind.SUBMISSION_SET, Kind.SUBMISSION_SET, entry_uuids)

    def submission_sets_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[Found]:
        return self._located(Kind.SUBMISSION_SET, UNIQUE[Kind.SUBMISSION_SET], unique_ids)

    def folders_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[Found]:
        return self._located(Kind.FOLDER, Kind.FOLDER, entry_uuids)

    def documents_by_logical_id(self, logical_ids: Iterable[str]) -> Sequence[FoundDocument]:
        return self._versions(Kind.DOCUMENT_ENTRY, logical_ids)

    def folders_by_logical_id(self, logical_ids: Iterable[str]) -> Sequence[Found]:
        return self._versions(Kind.FOLDER, logical_ids)

    def _versions(self, kind: Kind, logical_ids: Iterable[str]) -> list[Any]:
        """Every version of the entries or folders of these logicalIDs, whichever patient each is of."""
        wanted = set(logical_ids)
        first = (item for item in self._located(kind, kind, wanted) if item.logical_id in wanted)
        found = {item.entry_uuid: item for item in (*first, *self._located(kind, LOGICAL[kind], wanted))}
        return [found[uuid] for uuid in sorted(found)]

    def folders_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[Found]:
        return self._located(Kind.FOLDER, UNIQUE[Kind.FOLDER], unique_ids)

    def associations_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundAssociation]:
        return self._between_seen(self._located(Kind.ASSOCIATION, Kind.ASSOCIATION, entry_uuids))

    def answers_about(self, patient_keys: Sequence[int]) -> bool:
        keys = patient_keys or NOBODY
        return self._sees.tells or not self._sees.of(self.connection, keys).about(keys).nothing

    def _seen(self, table: sa.Table, keys: Keys) -> list[sa.ColumnElement[bool]]:
        """What a row meets that is there for who asks."""
        if self.sees_everything or table is association:
            return []
        see = self._sees.of(self.connection, keys if isinstance(keys, Sequence) else None)
        if table is not document_entry:
            return package_conditions(table, see, keys)
        if isinstance(keys, Sequence):
            return [*bound(see)]
        return conditions(see, keys)

    def _given(self, table: sa.Table, keys: Keys) -> dict[str, Any]:
        """The parameters of what ``_seen`` says."""
        is_bound = table is document_entry and not self.sees_everything and isinstance(keys, Sequence)
        return {BOUND: list(keys)} if is_bound and isinstance(keys, Sequence) else {}

    @property
    def sees_everything(self) -> bool:
        """Whether nothing is withheld."""
        return self._sees.everything

    def _between_seen(self, found: Iterable[FoundAssociation]) -> list[FoundAssociation]:
        """Associations whose ends are both there for who asks; they may be associations themselves."""
        listed = list(found)
        if self.sees_everything:
            return listed
        ends = {end for one in listed for end in (one.source, one.target)}
        kinds = self.kinds_of(ends or _NO_ENDS) or _NO_ENDS
        hidden = kinds.keys() - self._there(kinds)
        return [one for one in listed if not {one.source, one.target} & hidden]

    def _there(self, kinds: Mapping[str, tuple[Kind, int]]) -> set[str]:
        """Of registered objects those that are there for who asks."""
        found = set[str]()
        for kind in TABLES:
            mine = [uuid for uuid, (its, _) in kinds.items() if its is kind]
            if not mine:
                continue
            read = self.associations_by_uuid(mine) if kind is Kind.ASSOCIATION else self._located(kind, kind, mine)
            found |= {one.entry_uuid for one in read}
        return found

    def wants_of(self, patient_id: str) -> Visible:
        """What who asks may see of a patient's, named by a CX, as far as this database knows the patient."""
        if self._sees.consents is None:
            return self._sees.see
        try:
            whose = PatientId.parse(patient_id)
        except ValueError:
            whose = NOBODYS_ID
        return self._sees.of(self.connection, self.chain(whose))

    def withheld(self, entry_uuids: Iterable[str]) -> set[str]:
        """Those of these registered objects that who asks may neither see nor change: to them, they are not there."""
        if self.access.change.everything:
            return set()
        kinds = self.kinds_of(entry_uuids)
        hidden = kinds.keys() - self._with(self.access)._there(kinds)
        return self.not_theirs(hidden)

    def not_theirs(self, entry_uuids: Iterable[str]) -> set[str]:
        """Those of these registered objects that who asks may not change.

        A submission set is changed by whose it is, and so are its folders; an association by whose its source is.
        """
        change = self.access.change
        if change.everything:
            return set()
        kinds = self.kinds_of(entry_uuids)
        by_kind = {kind: [uuid for uuid, (its, _) in kinds.items() if its is kind] for kind in TABLES}
        documents, sets = by_kind[Kind.DOCUMENT_ENTRY], by_kind[Kind.SUBMISSION_SET]
        reader = self._with(Access(change))
        theirs = {one.entry_uuid for one in reader._located(Kind.DOCUMENT_ENTRY, Kind.DOCUMENT_ENTRY, documents)}
        theirs |= self._own_sets({kinds[uuid][1] for uuid in sets}, sets)
        for kind in (Kind.FOLDER, Kind.ASSOCIATION):
            theirs |= self._led_to(kind, by_kind[kind])
        return set(kinds.keys() - theirs)

    def _own_sets(self, keys: Collection[int], uuids: Sequence[str]) -> set[str]:
        own, found = own_sets(self.access.change), set[str]()
        for batch in batches(uuids):
            mine = (submission_set.c.patient_key.in_(keys), submission_set.c.entry_uuid.in_(batch))
            found |= set(self.connection.scalars(sa.select(submission_set.c.entry_uuid).where(*mine, own)))
        return found

    def _led_to(self, kind: Kind, uuids: Sequence[str]) -> set[str]:
        """Of these folders or associations those that lead from what may be changed."""
        if not uuids:
            return set()
        every, wanted = self._with(FULL), set(uuids)
        if kind is Kind.FOLDER:
            leading = [(one.target, one.source) for one in every.associations_of(uuids) if one.target in wanted]
        else:
            leading = [(one.entry_uuid, one.source) for one in every.associations_by_uuid(uuids)]
        # A folder's own memberships lead from it: what leads to it are sets.
        others = self.not_theirs({source for _, source in leading} - wanted)
        return {uuid for uuid, source in leading if source not in others}

    def by_uuid(self, entry_uuid: str) -> Found | None:
        """The object of an entryUUID, whatever it is."""
        kind, _ = self.kinds_of([entry_uuid]).get(entry_uuid, (None, 0))
        found: list[Found] = [] if kind is None else self._located(kind, kind, [entry_uuid])
        return found[0] if found else None

    def associations_of(self, entry_uuids: Collection[str]) -> Sequence[FoundAssociation]:
        found: dict[str, FoundAssociation] = {}
        for batch in batches(entry_uuids):
            keys = self.connection.scalars(
                sa.select(locator.c.patient_key)
                .where(locator.c.domain == self.domain, locator.c.id.in_(batch), locator.c.nth == "")
                .distinct()
            ).all()
            keys = [*keys, *self._foreign(batch)]
            for end in (association.c.source, association.c.target):
                mine = (association.c.patient_key.in_(keys), end.in_(batch))
                statement = self._selected(association).where(*mine)
                for row in self.connection.execute(statement):
                    found[row.entry_uuid] = _association(row)
        return sorted(self._between_seen(found.values()), key=lambda item: item.entry_uuid)

    def _foreign(self, entry_uuids: Sequence[str]) -> Sequence[int]:
        table = foreign_association
        statement = sa.select(table.c.patient_key).where(table.c.domain == self.domain, table.c.target.in_(entry_uuids))
        return self.connection.scalars(statement.distinct()).all()

    def values_of(self, patient_key: int, attribute: str, entry_uuids: Collection[str]) -> dict[str, frozenset[str]]:
        table = document_entry_value
        found: dict[str, set[str]] = {uuid: set() for uuid in entry_uuids}
        for batch in batches(entry_uuids):
            statement = sa.select(table.c.entry_uuid, table.c.value).where(
                table.c.patient_key == patient_key, table.c.attribute == attribute, table.c.entry_uuid.in_(batch)
            )
            for row in self.connection.execute(statement):
                found[row.entry_uuid].add(row.value)
        return {uuid: frozenset(values) for uuid, values in found.items()}

    def _located(self, kind: Kind, id_kind: str, ids: Iterable[str]) -> list[Any]:
        """Objects of a kind by an id of theirs: the locator gives the patient, the patient's table the row."""
        table, rows = TABLES[kind], dict[str, Any]()
        for batch in batches(ids):
            statement = sa.select(locator.c.patient_key, locator.c.entry_uuid).where(
                locator.c.domain == self.domain, locator.c.id.in_(batch), locator.c.kind == id_kind
            )
            places = self.connection.execute(statement).all()
            if not places and self.sees_everything:
                continue
            keys = sorted({int(place.patient_key) for place in places}) or NOBODY
            mine = (of(table.c.patient_key, keys), table.c.entry_uuid.in_([place.entry_uuid for place in places]))
            statement = self._selected(table).where(*mine, *self._seen(table, keys))
            found = self.connection.execute(statement, self._given(table, keys))
            rows |= {row.entry_uuid: row for row in found}
        return [_READ[kind](rows[uuid]) for uuid in sorted(rows)]

    def kinds_of(self, entry_uuids: Iterable[str]) -> dict[str, tuple[Kind, int]]:
        """What is registered under these entryUUIDs, and of which patient."""
        found: dict[str, tuple[Kind, int]] = {}
        for batch in batches(entry_uuids):
            statement = sa.select(locator.c.id, locator.c.kind, locator.c.patient_key).where(
                locator.c.domain == self.domain, locator.c.id.in_(batch), locator.c.kind.in_(list(Kind))
            )
            found |= {row.id: (Kind(row.kind), int(row.patient_key)) for row in self.connection.execute(statement)}
        return found

    def unique_ids(self, ids: Iterable[str]) -> dict[str, frozenset[Kind]]:
        """Of these uniqueIds those that are used, and by objects of which kinds."""
        kinds = {name: kind for kind, name in UNIQUE.items()}
        found: dict[str, frozenset[Kind]] = {}
        for batch in batches(ids):
            statement = sa.select(locator.c.id, locator.c.kind).where(
                locator.c.domain == self.domain, locator.c.id.in_(batch), locator.c.kind.in_(list(kinds))
            )
            for row in self.connection.execute(statement.distinct()):
                found[row.id] = found.get(row.id, frozenset()) | {kinds[row.kind]}
        return found


def batches(ids: Iterable[str]) -> Iterable[list[str]]:
    listed = list(dict.fromkeys(ids))
    return (listed[start : start + BATCH] for start in range(0, len(listed), BATCH))


def _values_of(table: sa.Table) -> sa.Table:
    """Where the values of multi-valued attributes of a table's objects are."""
    return document_entry_value if table is document_entry else package_value


def _has(table: sa.Table, patient_keys: Any, attribute: str, condition: Any) -> Any:
    return having(table, _values_of(table), patient_keys, attribute, condition)


def _has_value(table: sa.Table, patient_keys: Any, attribute: str, wanted: Sequence[str]) -> Any:
    return _has(table, patient_keys, attribute, _values_of(table).c.value.in_(wanted))


def _has_like(table: sa.Table, patient_keys: Any, attribute: str, patterns: Sequence[str]) -> Any:
    value = _values_of(table).c.value
    likes = (value.like(pattern.replace("\\", "\\\\"), escape="\\") for pattern in patterns)
    return _has(table, patient_keys, attribute, sa.or_(*likes))


def _ebxml(row: Any) -> bytes:
    return b"" if row.ebxml is None else unpack(row.ebxml)


def _found(row: Any, kind: Kind) -> Found:
    versions = (row.logical_id, row.version, row.latest) if kind is Kind.FOLDER else (row.entry_uuid, 1, True)
    return Found(row.entry_uuid, kind, int(row.patient_key), _ebxml(row), row.status, row.unique_id, *versions)


def _document(row: Any) -> FoundDocument:
    return FoundDocument(
        row.entry_uuid, Kind.DOCUMENT_ENTRY, int(row.patient_key), _ebxml(row),
        row.status, row.unique_id, row.logical_id, row.version, row.latest,
        row.object_type, row.format_code, row.hash, row.size,
    )  # fmt: skip


def _association(row: Any) -> FoundAssociation:
    return FoundAssociation(
        row.entry_uuid, Kind.ASSOCIATION, int(row.patient_key), _ebxml(row), row.status, "", row.entry_uuid,
        type=row.type, source=row.source, target=row.target,
    )  # fmt: skip


_READ: dict[Kind, Callable[[Any], Found]] = {
    Kind.DOCUMENT_ENTRY: _document,
    Kind.SUBMISSION_SET: partial(_found, kind=Kind.SUBMISSION_SET),
    Kind.FOLDER: partial(_found, kind=Kind.FOLDER),
    Kind.ASSOCIATION: _association,
}
