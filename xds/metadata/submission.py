"""What one ITI-42 submits: a submission set, and what it holds.  ITI TF-3: 4.2.1.4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AvailabilityStatus
from xds.system.values import value

MetadataObject: TypeAlias = DocumentEntry | SubmissionSet | Folder | Association


def first_version(entry_uuid: str) -> dict[str, Any]:
    """What a registry gives to an object that it registers: its id, version 1 of itself, Approved (4.2.3.2)."""
    return {
        "entry_uuid": entry_uuid,
        "logical_id": entry_uuid,
        "version": "1",
        "availability_status": AvailabilityStatus.APPROVED,
    }


@value(frozen=True, slots=True)
class Submission:
    """Typed and readable, but not yet checked by ``rules``."""

    submission_set: SubmissionSet
    document_entries: tuple[DocumentEntry, ...] = ()
    folders: tuple[Folder, ...] = ()
    associations: tuple[Association, ...] = ()

    def objects(self) -> Iterator[MetadataObject]:
        yield self.submission_set
        yield from self.document_entries
        yield from self.folders
        yield from self.associations
