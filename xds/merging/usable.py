"""What of a source's objects can be registered here at all, as far as they say it themselves."""

from __future__ import annotations

from dataclasses import replace

from xds.merging.outcome import NotCopied
from xds.merging.units import Unit
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import is_entry_uuid
from xds.metadata.submission import MetadataObject
from xds.metadata.vocabulary import OFFLINE, AvailabilityStatus
from xds.store.merging import Became

STATUSES = frozenset({None, AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED})

_TYPE_LENGTH, _VERSION_LENGTH = 128, 9
"""Of an association's type, and digits of a version: what the registry keeps of them."""


def has_bytes(entry: DocumentEntry) -> bool:
    """Whether a document is to be fetched for an entry."""
    return not entry.on_demand and entry.document_availability != OFFLINE


def registered(item: MetadataObject) -> MetadataObject:
    """An object with what every registered one has; of a registry that knows no versions each is its own first."""
    said = item.version or ""
    version = int(said) if said.isascii() and said.isdecimal() and len(said) <= _VERSION_LENGTH else 1
    first = version <= 1 or not item.logical_id or not is_entry_uuid(item.logical_id)
    return replace(
        item,
        availability_status=item.availability_status or AvailabilityStatus.APPROVED,
        logical_id=item.entry_uuid if first else item.logical_id,
        version="1" if first else str(version),
    )


def see_usable(unit: Unit, own: str, also: frozenset[str]) -> None:
    """That a submission of a source's could be registered; ``own`` is this repository, ``also`` what it stands for.

    Raises:
        NotCopied: it could not.
    """
    for item in unit.objects:
        if why := unusable(item):
            raise NotCopied(Became.INVALID, why, item.entry_uuid)
    for entry in unit.entries:
        repository = entry.repository_unique_id or ""
        if repository == own:
            why = "it says that its document is in this repository, which has its own entries"
            raise NotCopied(Became.CONFLICT, why, entry.entry_uuid)
        if has_bytes(entry) and repository not in also:
            why = f"repository.also does not name {repository}: nobody could fetch its documents here"
            raise NotCopied(Became.WAITING, why, entry.entry_uuid)


def unusable(item: MetadataObject) -> str:
    """Why an object cannot be registered; empty: it can."""
    if not is_entry_uuid(item.entry_uuid):
        return "the entryUUID is none (ITI TF-3: 4.2.3.2.4)"
    if item.availability_status not in STATUSES:
        return "the availabilityStatus is neither Approved nor Deprecated (ITI TF-3: 4.2.3.2.2)"
    if isinstance(item, Association) and not (is_entry_uuid(item.source) and is_entry_uuid(item.target)):
        return "what it leads to is no entryUUID (ITI TF-3: 4.2.2)"
    if isinstance(item, Association) and len(item.type) > _TYPE_LENGTH:
        return "its type is none that is known (ITI TF-3: 4.2.2)"
    return ""
