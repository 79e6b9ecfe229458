"""Tables and indexes, each with the query it serves; this package knows them all.

Every table that belongs to a patient has the patient key first in its primary key, and every per-patient
query names it; look-ups by an id alone go through ``locator``.
"""

from __future__ import annotations

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
from xds.store.tables.base import BY_PATIENT, PARTITIONS, metadata
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

__all__ = [
    "BY_PATIENT",
    "PARTITIONS",
    "account",
    "acknowledged",
    "apart",
    "association",
    "audit_access",
    "audit_checkpoint",
    "audit_cursor",
    "audit_head",
    "audit_hold",
    "audit_hour",
    "audit_node",
    "audit_open",
    "audit_record",
    "audit_unusual",
    "audit_value",
    "audit_vip",
    "audit_witnessed",
    "capture",
    "captured_message",
    "consent_document",
    "demographics",
    "deployment",
    "directive",
    "discovered_patient",
    "document",
    "document_entry",
    "document_entry_value",
    "folder",
    "foreign_association",
    "locator",
    "merged_object",
    "merged_patient",
    "metadata",
    "override",
    "package_value",
    "passed_manifest",
    "patient",
    "patient_word",
    "peer",
    "peer_use",
    "publication",
    "saved_search",
    "session",
    "sign_in_try",
    "study_patient",
    "submission_set",
    "used_token",
]
