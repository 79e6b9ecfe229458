"""A patient's objects as a source has them, by the submissions that have brought them, in the order of these.

ITI TF-3: 4.2.1.4 (submissions), 4.2.2.1 (members).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType


@dataclass(frozen=True, slots=True)
class Unit:
    """What one submission has brought; the first is its set."""

    objects: tuple[MetadataObject, ...]

    @property
    def entries(self) -> list[DocumentEntry]:
        return [item for item in self.objects if isinstance(item, DocumentEntry)]

    @property
    def source_ids(self) -> frozenset[str]:
        return frozenset(item.source_id for item in self.objects if isinstance(item, SubmissionSet))


def units(objects: Iterable[MetadataObject]) -> tuple[list[Unit], list[MetadataObject]]:
    """The submissions by time; and what belongs to none of them.

    A member by reference belongs to the set that it came with.  An association belongs to the set whose it is, that
    holds it, or that holds its source.
    """
    given = list(objects)
    sets = sorted(
        (item for item in given if isinstance(item, SubmissionSet)),
        key=lambda item: (item.submission_time.padded, item.entry_uuid),
    )
    order: dict[str, int] = {item.entry_uuid: number for number, item in enumerate(sets)}
    relations = [item for item in given if isinstance(item, Association)]
    owner = _owners(relations, order)
    last = len(sets)
    parts: list[list[MetadataObject]] = [[] for _ in range(last + 1)]
    for number, one in enumerate(sets):
        parts[number].append(one)
    for item in given:
        if isinstance(item, DocumentEntry | Folder):
            parts[owner.get(item.entry_uuid, last)].append(item)
    for item in relations:
        whose = (order.get(item.source), owner.get(item.entry_uuid), owner.get(item.source))
        parts[next((number for number in whose if number is not None), last)].append(item)
    return [Unit(tuple(part)) for part in parts[:-1]], parts[-1]


def _owners(relations: Iterable[Association], order: dict[str, int]) -> dict[str, int]:
    """Which set each member came with: the one that says so, or the first that has it without saying."""
    said: dict[str, int] = {}
    held: dict[str, int] = {}
    for item in relations:
        number = order.get(item.source)
        if number is None or item.type != AssociationType.HAS_MEMBER:
            continue
        if item.submission_set_status is not SubmissionSetStatus.REFERENCE:
            said[item.target] = min(number, said.get(item.target, number))
        held[item.target] = min(number, held.get(item.target, number))
    return held | said
