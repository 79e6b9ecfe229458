"""What each store promises.  ``tests/store`` holds every store to these sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from xds.metadata.identifiers import PatientId
from xds.system.values import value
from xds.wire.spool import Spooled


class Kind(StrEnum):
    """What an object in the registry is."""

    DOCUMENT_ENTRY = "DE"
    SUBMISSION_SET = "SS"
    FOLDER = "FD"
    ASSOCIATION = "AS"


@value(frozen=True, slots=True)
class Found:
    """One object of an answer: its id, its patient, and its ebXML ready to be joined.

    Entries and folders have versions under one logicalID, of which one is the latest.
    """

    entry_uuid: str
    kind: Kind
    patient_key: int
    ebxml: bytes
    status: str = ""  # Approved, Deprecated
    unique_id: str = ""
    logical_id: str = ""
    version: int = 1
    latest: bool = True


@value(frozen=True, slots=True)
class FoundDocument(Found):
    """A document entry with what rules ask about it."""

    object_type: str = ""
    format_code: str = ""  # code^^scheme
    hash: str | None = None
    size: int | None = None
    repository_unique_id: str = ""


@value(frozen=True, slots=True)
class FoundAssociation(Found):
    """An association with its ends."""

    type: str = ""
    source: str = ""
    target: str = ""


@value(frozen=True, slots=True)
class Range:
    """``from_`` ≤ value < ``to``, either end open; times as 14 digits.  ITI TF-2: 3.18.4.1.2.3.7.1."""

    from_: str | None = None
    to: str | None = None


@value(frozen=True, slots=True)
class Criteria:
    """What an object must be to be found; what is empty does not restrict.

    ``columns`` are of single-valued attributes, any of the listed; ``values`` are of multi-valued ones: every
    tuple must be met by one of its values (AND of ORs); ``patterns`` are LIKE patterns with ``%`` and ``_``.
    """

    statuses: Collection[str] = ()
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    patterns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranges: tuple[tuple[str, Range], ...] = ()
    without: tuple[tuple[str, tuple[str, ...]], ...] = ()  # values of multi-valued attributes that it has not
    latest: bool = False  # of several versions of an object, only the latest


@value(frozen=True, slots=True)
class Survivor:
    """The patient that a merged one goes on as."""

    patient_key: int
    patient_id: PatientId


class Blobs(Protocol):
    """Bytes of documents by their SHA-256, whole or not at all; of a folder or an object store."""

    @property
    def staging(self) -> Path:
        """The folder that parts are spooled in before they are put."""
        ...

    @property
    def seals(self) -> bool:
        """Whether it keeps them encrypted: then they are encrypted while they are spooled (``Spool``)."""
        ...

    def put(self, spooled: Spooled) -> None:
        """Keep a staged file under its content's name; it is durable when this returns, and the staged file gone.

        Raises:
            NotKept: it could not be kept.
        """
        ...

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: the last chunk comes only if all of them are right.

        Raises:
            Damaged: they are not, or cannot be read.
        """
        ...

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The bytes from a place on; nobody has looked whether they are right.

        Raises:
            Damaged: they are gone, or of another size.
            Unread: which is Damaged, too: the store does not answer.
        """
        ...

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        """Whether each of the bytes seem to be there, by SHA-256 and size: looked up, not read.

        Raises:
            NotReachable: the store does not answer.
        """
        ...

    def names(self) -> Iterator[str]:
        """The SHA-256 of everything that is kept.

        Raises:
            NotReachable: the store does not answer.
        """
        ...

    def listed(self) -> Iterator[tuple[str, float]]:
        """The same, and when it was put, in seconds since 1970.

        Raises:
            NotReachable: the store does not answer.
        """
        ...

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        """Remove what was staged or put an hour ago and no row names; return how many.

        Raises:
            NotReachable: the store does not answer.
        """
        ...

    def answers(self) -> tuple[bool, ...]:
        """Whether each store that documents are in answers; first the one that is written into."""
        ...

    def remove(self, sha256: str, before: float = inf) -> bool:
        """Remove bytes that are kept elsewhere by now, unless they were put since ``before``; whether they are gone.

        Raises:
            NotReachable: the store does not answer.
        """
        ...


class TooMany(Exception):
    """More objects meet the criteria than an answer may have."""


class RegistryReader(Protocol):
    """Reads the registry as one state of it; every object belongs to this reader's affinity domain."""

    def chain(self, patient_id: PatientId) -> Sequence[int]:
        """The keys of a known, active patient: its own first, then of all merged into it; else none."""
        ...

    def survivors(self, patient_keys: Collection[int]) -> dict[int, Survivor]:
        """Who goes on for those of the keys that are merged away."""
        ...

    def answers_about(self, patient_keys: Sequence[int]) -> bool:
        """Whether who asks can be told anything of a patient who is kept under these keys; none: of nobody."""
        ...

    def patient_ids(self, patient_keys: Collection[int]) -> Sequence[PatientId]:
        """What the patients of these keys are called, in order."""
        ...

    def find(self, kind: Kind, patient_keys: Sequence[int] | None, criteria: Criteria, most: int) -> Sequence[Found]:
        """Objects of a kind that meet the criteria, by entryUUID.

        Of these patients; of all that the domain has where none are named, which looks at every row.

        Raises:
            TooMany: more than ``most``.
        """
        ...

    def references(self) -> RegistryReader:
        """This registry, with objects that have no ebXML: for an answer of ids."""
        ...

    def documents_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundDocument]:
        """The entries of these ids; unknown ids are passed over."""
        ...

    def documents_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[FoundDocument]:
        """All entries of these uniqueIds, of which one may have several."""
        ...

    def documents_by_logical_id(self, logical_ids: Iterable[str]) -> Sequence[FoundDocument]:
        """Every version of the entries of these logicalIDs."""
        ...

    def submission_sets_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[Found]:
        """The submission sets of these ids; unknown ids are passed over."""
        ...

    def submission_sets_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[Found]:
        """The submission sets of these uniqueIds."""
        ...

    def folders_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[Found]:
        """The folders of these ids; unknown ids are passed over."""
        ...

    def folders_by_unique_id(self, unique_ids: Iterable[str]) -> Sequence[Found]:
        """The folders of these uniqueIds."""
        ...

    def folders_by_logical_id(self, logical_ids: Iterable[str]) -> Sequence[Found]:
        """Every version of the folders of these logicalIDs."""
        ...

    def associations_of(self, entry_uuids: Collection[str]) -> Sequence[FoundAssociation]:
        """Every association with one end in these, other patients' included."""
        ...

    def associations_by_uuid(self, entry_uuids: Iterable[str]) -> Sequence[FoundAssociation]:
        """The associations of these ids; unknown ids are passed over."""
        ...

    def values_of(self, patient_key: int, attribute: str, entry_uuids: Collection[str]) -> dict[str, frozenset[str]]:
        """The values of a multi-valued attribute, by entryUUID."""
        ...
