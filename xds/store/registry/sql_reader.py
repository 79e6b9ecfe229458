"""The registry's tables behind ``RegistryReader``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import sqlalchemy as sa

from xds.metadata.demographics import Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.visible import EVERYTHING, FULL, Access, Visible
from xds.store.interface import Criteria, Found, FoundAssociation, FoundDocument, Kind, Survivor, TooMany
from xds.store.registry import demographics, patients
from xds.store.registry.compression import unpack_all
from xds.store.registry.demographics import Candidate
from xds.store.registry.rows import LOGICAL, UNIQUE
from xds.store.registry.searching import TABLES, at, finding, touching
from xds.store.registry.visibility import own_sets
from xds.store.statements import Asked, Statement, among
from xds.store.tables import document_entry_value, foreign_association, locator, submission_set

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

_DOMAIN = sa.bindparam("domain", type_=sa.String)
_PLACES = Statement(
    sa.select(locator.c.id, locator.c.kind, locator.c.patient_key, locator.c.entry_uuid).where(
        locator.c.domain == _DOMAIN, among(locator.c.id, "ids")
    )
)
_FOREIGN = Statement(
    sa.select(foreign_association.c.patient_key)
    .where(foreign_association.c.domain == _DOMAIN, among(foreign_association.c.target, "ids"))
    .distinct()
)


class SqlReader:
    """One affinity domain's registry as it is read, inside one database transaction: see ``RegistryReader``."""

    def __init__(
        self, connection: sa.Connection, domain: str, *, whole: bool = True,
        seen: Access = FULL, access: Access = FULL,
    ) -> None:  # fmt: skip
        """What is read has objects' ebXML if it is ``whole``, and is what is ``seen``; ``withheld`` asks ``access``."""
        self.connection, self.domain, self._whole, self._sees, self.access = connection, domain, whole, seen, access
        self._looked_up: dict[str, list[Any]] = {}
        self._active = set[int]()  # patients of whom it was seen that they are not merged away

    def references(self) -> SqlReader:
        return self._with(self._sees)

    def unrestricted(self) -> SqlReader:
        """All that there is, without objects' ebXML: to look what is there, not to answer from."""
        return self._with(FULL)

    def _with(self, seen: Access) -> SqlReader:
        reader = SqlReader(self.connection, self.domain, whole=False, seen=seen, access=self.access)
        reader._active = self._active
        return reader

    def patient_key(self, patient_id: PatientId) -> int | None:
        return patients.key_of(self.connection, self.domain, patient_id)

    def chain(self, patient_id: PatientId) -> Sequence[int]:
        keys = patients.chain(self.connection, self.domain, patient_id)
        self._active.update(keys[:1])
        return keys

    def survivors(self, patient_keys: Collection[int]) -> dict[int, Survivor]:
        asked = set(patient_keys) - self._active  # nearly nobody is merged, and of who was asked for that is known
        return patients.survivors(self.connection, asked) if asked else {}

    def patient_ids(self, patient_keys: Collection[int]) -> Sequence[PatientId]:
        return patients.named(self.connection, patient_keys)

    def find(self, kind: Kind, patient_keys: Sequence[int] | None, criteria: Criteria, most: int) -> Sequence[Found]:
        if patient_keys is not None and not patient_keys:
            if self.sees_everything:
                return []
            patient_keys = NOBODY
        seen = self._seen(kind, patient_keys)
        found = finding(kind, self.domain, patient_keys, criteria, seen, whole=self._whole)
        rows = found.first.rows(self.connection, most=min(most + 1, PROBE), **found.given)
        if len(rows) == PROBE <= most:
            (counted,) = found.counted.values(self.connection, most=most + 1, **found.given)
            if counted > most:
                raise TooMany
            rows = found.every.rows(self.connection, **found.given)
        if len(rows) > most:
            raise TooMany
        return _read(kind, rows)

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

    def known_as(self, patient_id: PatientId) -> Candidate | None:
        """An active patient, of whom something may be told, with what is known of who they are."""
        keys = patients.chain(self.connection, self.domain, patient_id)
        if not keys or not self.answers_about(keys):
            return None
        known = demographics.of_patients(self.connection, keys[:1])
        return Candidate(patient_id, known.get(keys[0], Demographics()))

    def alike(self, names: Iterable[PersonName], born: str) -> tuple[list[Candidate], bool]:
        """Patients of a day and a name, also those of whom nothing may be told (see ``demographics.alike``)."""
        return demographics.alike(self.connection, self.domain, names, born)

    def answers_about(self, patient_keys: Sequence[int]) -> bool:
        keys = patient_keys or NOBODY
        return self._sees.tells or not self._sees.of(self.connection, keys).about(keys).nothing

    def _seen(self, kind: Kind, keys: Sequence[int] | None) -> Visible:
        """What an object meets that is there for who asks; associations are told by their ends."""
        if self.sees_everything or kind is Kind.ASSOCIATION:
            return EVERYTHING
        return self._sees.of(self.connection, keys)

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
        """What who asks may see of a patient's, named by a CX, as far as this database knows the patient.

        It asks of patients no more: whose document it is held to is the one who is named, or who goes on for them.
        """
        try:
            whose = PatientId.parse(patient_id)
        except ValueError:
            whose = NOBODYS_ID
        keys = self.chain(whose) or patients.chain_of_merged(self.connection, self.domain, whose)
        return self._sees.of(self.connection, keys).about(keys or NOBODY)

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
        uuids = list(dict.fromkeys(entry_uuids))
        if not uuids:
            return []
        keys = {place.patient_key for uuid in self._places(uuids).values() for place in uuid if place.kind in _KINDS}
        keys |= set(_FOREIGN.values(self.connection, domain=self.domain, ids=uuids))
        for statement in touching(self._whole):
            rows = statement.rows(self.connection, keys=sorted(keys), uuids=uuids)
            found |= {item.entry_uuid: item for item in _read(Kind.ASSOCIATION, rows)}
        return sorted(self._between_seen(found.values()), key=lambda item: item.entry_uuid)

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
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return []
        places = [place for found in self._places(wanted).values() for place in found if place.kind == id_kind]
        if not places and self.sees_everything:
            return []
        keys = sorted({int(place.patient_key) for place in places}) or NOBODY
        uuids = [place.entry_uuid for place in places]
        rows = at(self.connection, kind, keys, uuids, self._seen(kind, keys), whole=self._whole)
        return _read(kind, sorted(rows, key=lambda row: row.entry_uuid))

    def places(self, ids: Sequence[str]) -> Asked:
        """What asks where ids lead."""
        return _PLACES, {"domain": self.domain, "ids": list(ids)}

    def _places(self, ids: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        """Where ids lead, whatever they are of."""
        if self._looked_up.keys() >= set(ids):
            return {id_: self._looked_up[id_] for id_ in ids}
        return self._asked(ids)

    def _asked(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        statement, given = self.places(ids)
        return by_id(ids, statement.rows(self.connection, **given) if ids else ())

    def kinds_of(self, entry_uuids: Iterable[str]) -> dict[str, tuple[Kind, int]]:
        """What is registered under these entryUUIDs, and of which patient."""
        wanted = list(dict.fromkeys(entry_uuids))
        return {
            place.id: (Kind(place.kind), int(place.patient_key))
            for found in self._places(wanted).values()
            for place in found
            if place.kind in _KINDS
        }

    def unique_ids(self, ids: Iterable[str]) -> dict[str, frozenset[Kind]]:
        """Of these uniqueIds those that are used, and by objects of which kinds."""
        kinds, wanted = {name: kind for kind, name in UNIQUE.items()}, list(dict.fromkeys(ids))
        found = {
            id_: frozenset(kinds[place.kind] for place in places if place.kind in kinds)
            for id_, places in self._places(wanted).items()
        }
        return {id_: used for id_, used in found.items() if used}


def by_id(ids: Iterable[str], places: Iterable[Any]) -> dict[str, list[Any]]:
    """Where each id leads: nowhere, or to as many places as have it."""
    found: dict[str, list[Any]] = {id_: [] for id_ in ids}
    for place in places:
        found[place.id].append(place)
    return found


def batches(ids: Iterable[str]) -> Iterable[list[str]]:
    listed = list(dict.fromkeys(ids))
    return (listed[start : start + BATCH] for start in range(0, len(listed), BATCH))


def _read(kind: Kind, rows: Sequence[Any]) -> list[Any]:
    """The objects of rows, in their order."""
    if not rows:
        return []
    # Where objects are only looked for, no row has its ebXML.
    fragments = unpack_all([row.ebxml for row in rows]) if rows[0].ebxml is not None else repeat(b"")
    return list(map(_READ[kind], rows, fragments))


def _found(row: Any, fragment: bytes, *, kind: Kind) -> Found:
    versions = (row.logical_id, row.version, bool(row.latest)) if kind is Kind.FOLDER else (row.entry_uuid, 1, True)
    return Found(row.entry_uuid, kind, int(row.patient_key), fragment, row.status, row.unique_id, *versions)


def _document(row: Any, fragment: bytes) -> FoundDocument:
    return FoundDocument(
        row.entry_uuid, Kind.DOCUMENT_ENTRY, int(row.patient_key), fragment,
        row.status, row.unique_id, row.logical_id, row.version, bool(row.latest),
        row.object_type, row.format_code, row.hash, row.size, row.repository_unique_id,
    )  # fmt: skip


def _association(row: Any, fragment: bytes) -> FoundAssociation:
    return FoundAssociation(
        row.entry_uuid, Kind.ASSOCIATION, int(row.patient_key), fragment, row.status, "", row.entry_uuid,
        type=row.type, source=row.source, target=row.target,
    )  # fmt: skip


_KINDS = frozenset(Kind)
_READ: dict[Kind, Callable[[Any, bytes], Found]] = {
    Kind.DOCUMENT_ENTRY: _document,
    Kind.SUBMISSION_SET: partial(_found, kind=Kind.SUBMISSION_SET),
    Kind.FOLDER: partial(_found, kind=Kind.FOLDER),
    Kind.ASSOCIATION: _association,
}
