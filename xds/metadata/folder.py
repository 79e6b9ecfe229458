"""XDSFolder.  ITI TF-3: 4.2.3.4."""

from __future__ import annotations

from dataclasses import dataclass

from xds.ebxml.rim import Classification, ExternalIdentifier, InternationalString, Slot
from xds.metadata.datatypes import Code, Dtm
from xds.metadata.identifiers import EntryUuid, PatientId, UniqueId


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A named group of a patient's documents."""

    entry_uuid: EntryUuid
    unique_id: UniqueId
    patient_id: PatientId
    code_list: tuple[Code, ...]
    title: InternationalString
    availability_status: str | None = None
    comments: InternationalString = ()
    home_community_id: str | None = None
    last_update_time: Dtm | None = None
    logical_id: str | None = None
    version: str | None = None
    extra_slots: tuple[Slot, ...] = ()
    extra_classifications: tuple[Classification, ...] = ()
    extra_identifiers: tuple[ExternalIdentifier, ...] = ()
