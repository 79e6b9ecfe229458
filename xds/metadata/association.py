"""Associations between entries, submission sets and folders.  ITI TF-3: 4.2.2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from xds.ebxml.rim import Classification, ExternalIdentifier, InternationalString, Slot
from xds.metadata.datatypes import Code
from xds.metadata.identifiers import EntryUuid


class SubmissionSetStatus(StrEnum):
    """Whether a member came with its submission set.  ITI TF-3: 4.2.2.1.1."""

    ORIGINAL = "Original"
    REFERENCE = "Reference"
    UNREAD = ""  # of one that could not be read; no sender can write it


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """A directed relation of two objects; ends are UUIDs, or symbolic ids before registration."""

    entry_uuid: EntryUuid
    type: str
    source: str
    target: str
    submission_set_status: SubmissionSetStatus | None = None
    documentation: Code | None = None
    availability_status: str | None = None
    home_community_id: str | None = None
    logical_id: str | None = None
    version: str | None = None
    name: InternationalString = ()
    description: InternationalString = ()
    extra_slots: tuple[Slot, ...] = ()
    extra_classifications: tuple[Classification, ...] = ()
    extra_identifiers: tuple[ExternalIdentifier, ...] = ()
