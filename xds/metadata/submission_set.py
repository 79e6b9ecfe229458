"""XDSSubmissionSet.  ITI TF-3: 4.2.3.3."""

from __future__ import annotations

from dataclasses import dataclass

from xds.ebxml.rim import Classification, ExternalIdentifier, InternationalString, Slot
from xds.metadata.datatypes import Author, Code, Dtm, Recipient
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSet:
    """One act of sharing: who sent what, when, for which patient."""

    entry_uuid: EntryUuid
    unique_id: UniqueId
    source_id: Oid
    patient_id: PatientId
    content_type_code: Code
    submission_time: Dtm
    author: tuple[Author, ...] = ()
    availability_status: str | None = None
    comments: InternationalString = ()
    home_community_id: str | None = None
    intended_recipient: tuple[Recipient, ...] = ()
    logical_id: str | None = None
    title: InternationalString = ()
    version: str | None = None
    extra_slots: tuple[Slot, ...] = ()
    extra_classifications: tuple[Classification, ...] = ()
    extra_identifiers: tuple[ExternalIdentifier, ...] = ()
