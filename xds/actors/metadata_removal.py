"""Removing metadata from the Document Registry: all that is named or nothing, and nothing left dangling.

ITI TF-2: 3.62 (Remove Metadata and Documents supplement).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xds.errors import ErrorCode, Finding, Refused
from xds.metadata import vocabulary as v
from xds.metadata.identifiers import PatientId
from xds.store.interface import Found, FoundAssociation, Kind
from xds.store.registry.sql_reader import SqlReader
from xds.store.registry.sql_registry import SqlRegistry

MOST = 10_000
"""Objects of one request."""

_MARKERS = {
    Kind.SUBMISSION_SET: (v.SUBMISSION_SET, "submission set classificationNode"),
    Kind.FOLDER: (v.FOLDER, "Folder"),
}


@dataclass(frozen=True, slots=True)
class Removed:
    """An object that is no more: its id, what it was (a code of the audit record and its text), and whose."""

    entry_uuid: str
    code: str
    text: str
    patient_id: PatientId


def remove(ids: Sequence[str], store: SqlRegistry) -> list[Removed]:
    """Remove objects in the caller's database transaction.

    Raises:
        Refused: with everything that is wrong; the caller rolls back.
    """
    if not 0 < len(ids) <= MOST:
        rule = f"between 1 and {MOST} ObjectRefs are required (ITI TF-2: 3.62.4.1.2)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)])
    # With whom is named, whoever has the version before: that becomes the latest.
    others = {earlier.patient_key for earlier in _before(ids, store.references())}
    store.lock_patients({key for _, key in store.kinds_of(ids).values()} | others)
    kinds = store.kinds_of(ids)  # as they are now that nobody else changes them
    for id_ in store.not_theirs(kinds):  # to who may not remove it, it is not there
        del kinds[id_]
    known = [id_ for id_ in ids if id_ in kinds]
    touched = (*store.associations_of(known), *store.associations_by_uuid(known))
    around = list({association.entry_uuid: association for association in touched}.values())
    alone = list(_left_alone(known, around, store))
    findings = [
        *_unknown(ids, kinds),
        *_referenced(known, around),
        *alone,
        *_without_set(known, around, {finding.location for finding in alone}, store),
    ]
    if findings:
        raise Refused(findings)
    removed, before = list(described(kinds, store)), _before(ids, store.references())
    store.remove(kinds)
    for earlier in before:
        store.reinstate(earlier)
    return removed


def _unknown(ids: Iterable[str], kinds: dict[str, tuple[Kind, int]]) -> Iterator[Finding]:
    for id_ in ids:
        if id_ not in kinds:
            yield Finding(ErrorCode.UNRESOLVED_REFERENCE, f"{id_} is not registered (ITI TF-2: 3.62.4.1.3)", id_)


def _referenced(ids: Sequence[str], around: Iterable[FoundAssociation]) -> Iterator[Finding]:
    """What an association that stays points to, or from, stays too."""
    going = set(ids)
    held = {end for a in around if a.entry_uuid not in going for end in (a.source, a.target)} & going
    for id_ in sorted(held):
        rule = f"{id_} is an end of an association that is not removed with it (ITI TF-2: 3.62.4.1.3)"
        yield Finding(ErrorCode.REFERENCES_EXIST, rule, id_)


def _left_alone(ids: Sequence[str], around: Sequence[FoundAssociation], store: SqlRegistry) -> Iterator[Finding]:
    """What stays has an association still, as everything in a registry has."""
    going = set(ids)
    ends = {end for a in around if a.entry_uuid in going for end in (a.source, a.target)} - going
    ends &= store.kinds_of(ends).keys()
    for association in store.associations_of(ends):
        if association.entry_uuid not in going:
            ends -= {association.source, association.target}
    for id_ in sorted(ends):
        rule = f"{id_} would be left without any association (ITI TF-2: 3.62.4.1.3)"
        yield Finding(ErrorCode.UNREFERENCED_OBJECT, rule, id_)


def _without_set(
    ids: Sequence[str], around: Sequence[FoundAssociation], alone: Collection[str], store: SqlRegistry
) -> Iterator[Finding]:
    """An entry or folder that stays is a member of a SubmissionSet still."""
    going = set(ids)
    gone = [a for a in around if a.entry_uuid in going and a.type == v.AssociationType.HAS_MEMBER]
    left = {a.target for a in gone} - going - set(alone)
    kinds = store.kinds_of(left)
    left = {id_ for id_ in left if kinds[id_][0] in (Kind.DOCUMENT_ENTRY, Kind.FOLDER)}
    holding = [a for a in store.associations_of(left) if a.entry_uuid not in going and a.target in left]
    sets = {item.entry_uuid for item in store.submission_sets_by_uuid(a.source for a in holding)}
    for id_ in sorted(left - {a.target for a in holding if a.source in sets}):
        rule = f"{id_} would be a member of no SubmissionSet (ITI TF-3: 4.2.1.4)"
        yield Finding(ErrorCode.UNREFERENCED_OBJECT, rule, id_)


def _before(ids: Sequence[str], store: SqlReader) -> list[Found]:
    """What stays of an entry or folder whose latest version goes: the version that is the latest then.

    Its status stays as it is, as that of a document whose replacement goes does: ITI-57 sets it.
    """
    going = set(ids)
    latest = [one for one in (*store.documents_by_uuid(ids), *store.folders_by_uuid(ids)) if one.latest]
    logical = {one.logical_id or one.entry_uuid for one in latest}
    left: dict[str, Found] = {}
    for other in (*store.documents_by_logical_id(logical), *store.folders_by_logical_id(logical)):
        highest = left.get(other.logical_id or other.entry_uuid)
        if other.entry_uuid not in going and (highest is None or other.version > highest.version):
            left[other.logical_id or other.entry_uuid] = other
    return list(left.values())


def described(kinds: Mapping[str, tuple[Kind, int]], store: SqlRegistry) -> Iterator[Removed]:
    """What objects are that are about to be removed, and whose."""
    keys = {key for _, key in kinds.values()}
    survivors = store.survivors(keys)
    whose = {key: survivors[key].patient_id if key in survivors else store.patient_ids([key])[0] for key in keys}
    types = {document.entry_uuid: document.object_type for document in store.documents_by_uuid(kinds)}
    relations = {association.entry_uuid: association.type for association in store.associations_by_uuid(kinds)}
    for id_, (kind, key) in kinds.items():
        if kind is Kind.DOCUMENT_ENTRY:
            code, text = types[id_], "DocumentEntry"
        elif kind is Kind.ASSOCIATION:
            code, text = relations[id_], "Association"
        else:
            code, text = _MARKERS[kind]
        yield Removed(id_, code, text, whose[key])
