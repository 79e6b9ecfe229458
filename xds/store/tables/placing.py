"""Where each table is, on a database of several machines (Citus): ``xds db distribute`` puts it there.

Whoever asks about one patient asks one machine.  What is locked, counted or put into one order is on the coordinator,
where PostgreSQL does so as it does on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from xds.store.tables.access import consent_document, directive, override, peer, peer_use
from xds.store.tables.acknowledged import acknowledged
from xds.store.tables.apart import apart
from xds.store.tables.audit import (
    audit_access,
    audit_checkpoint,
    audit_cursor,
    audit_head,
    audit_hold,
    audit_hour,
    audit_node,
    audit_open,
    audit_record,
    audit_unusual,
    audit_value,
    audit_vip,
    audit_witnessed,
)
from xds.store.tables.console import account, saved_search, session, sign_in_try, used_token
from xds.store.tables.discovery import discovered_patient
from xds.store.tables.merging import merged_object, merged_patient
from xds.store.tables.registry import (
    association,
    demographics,
    deployment,
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    package_value,
    patient,
    patient_word,
    submission_set,
)
from xds.store.tables.repository import (
    capture,
    captured_message,
    document,
    passed_manifest,
    publication,
    study_patient,
)


class Kind(Enum):
    """How a table lies on several machines."""

    BY_PATIENT = "by patient"  # what is of one patient, of all these tables, on one machine
    BY_ID = "by id"
    REFERENCE = "everywhere"  # copied to every machine: for what is joined with distributed tables, and hardly changes
    LOCAL = "coordinator"


@dataclass(frozen=True, slots=True)
class Placing:
    """Of one table: the column that it is distributed by, or why it is not."""

    kind: Kind
    column: str = ""
    why: str = ""

    @property
    def is_distributed(self) -> bool:
        return self.kind in (Kind.BY_PATIENT, Kind.BY_ID)


_OF_PATIENTS = (document_entry, document_entry_value, package_value, submission_set, folder, association)

_BY_ID = {locator: "id", foreign_association: "target", document: "document_unique_id"}

# No table is copied everywhere: code lists are a file, and a row that is locked in a copied table locks all of them.
_LOCAL = {
    "ids are unique whatever the key, submissions lock a row, and recursive queries follow merges": (
        patient, directive, override, consent_document,
    ),
    "anybody may be found by a name, and then who they were merged with is asked": (demographics, patient_word),
    "the audit log has one order, kept by the lock of one row": (
        audit_access, audit_checkpoint, audit_cursor, audit_head, audit_hold, audit_hour, audit_node, audit_open,
        audit_record, audit_unusual, audit_value, audit_vip, audit_witnessed,
    ),
    "who merges is one, goes through a source's objects in order, and counts them": (merged_object, merged_patient),
    "small, and locked or counted by whoever changes it": (
        account, acknowledged, apart, capture, captured_message, deployment, discovered_patient, passed_manifest, peer,
        peer_use, publication, saved_search, session, sign_in_try, study_patient, used_token,
    ),
}  # fmt: skip

PLACING: dict[sa.Table, Placing] = {
    **{table: Placing(Kind.BY_PATIENT, "patient_key") for table in _OF_PATIENTS},
    **{table: Placing(Kind.BY_ID, column) for table, column in _BY_ID.items()},
    **{table: Placing(Kind.LOCAL, why=why) for why, tables in _LOCAL.items() for table in tables},
}
"""Of every table; those of patients first, in the order in which they are distributed."""
