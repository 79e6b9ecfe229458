"""XDSDocumentEntry.  ITI TF-3: 4.2.3.2."""

from __future__ import annotations

from dataclasses import dataclass

from xds.ebxml.rim import Classification, ExternalIdentifier, InternationalString, Slot
from xds.metadata.datatypes import Author, Code, Dtm, ReferenceId, Xcn
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId
from xds.metadata.vocabulary import ON_DEMAND, REFERENCE_STUDY, STABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """A document as the registry knows it.  Attributes are IHE's, in snake case."""

    entry_uuid: EntryUuid
    unique_id: UniqueId
    patient_id: PatientId
    class_code: Code
    type_code: Code
    format_code: Code
    healthcare_facility_type_code: Code
    practice_setting_code: Code
    confidentiality_code: tuple[Code, ...]
    language_code: str
    mime_type: str
    source_patient_id: PatientId
    object_type: str = STABLE
    creation_time: Dtm | None = None
    hash: str | None = None
    size: int | None = None
    repository_unique_id: Oid | None = None
    author: tuple[Author, ...] = ()
    availability_status: str | None = None
    comments: InternationalString = ()
    document_availability: str | None = None
    event_code_list: tuple[Code, ...] = ()
    home_community_id: str | None = None
    legal_authenticator: Xcn | None = None
    logical_id: str | None = None
    reference_id_list: tuple[ReferenceId, ...] = ()
    service_start_time: Dtm | None = None
    service_stop_time: Dtm | None = None
    source_patient_info: tuple[str, ...] = ()
    title: InternationalString = ()
    uri: tuple[str, ...] = ()
    version: str | None = None
    extra_slots: tuple[Slot, ...] = ()
    extra_classifications: tuple[Classification, ...] = ()
    extra_identifiers: tuple[ExternalIdentifier, ...] = ()

    @property
    def study_instance_uids(self) -> tuple[str, ...]:
        """The studies that it refers to.  ITI TF-3: Table 4.2.3.1.7-2."""
        found = (one.key for one in self.reference_id_list)
        return tuple(key.split("^")[0] for key in found if key.endswith(REFERENCE_STUDY))

    @property
    def on_demand(self) -> bool:
        return self.object_type == ON_DEMAND
