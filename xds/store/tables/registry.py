"""The registry's tables: patients, where an object is, the objects themselves and their values."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import BY_PATIENT, Id, Prefixed, metadata

_Time = sa.String(14)  # Dtm padded to the second: sorts as time does, on every database

# What this database belongs to: repository, source and community OIDs, the audit log's id.
deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# Identifiers of patients (ITI-8, ITI-44, xds patient).  A merged one names the key that stands for it.
patient = sa.Table(
    "patient",
    metadata,
    sa.Column("patient_key", Id, primary_key=True, autoincrement=True),
    sa.Column("domain", sa.String(64), nullable=False),
    sa.Column("authority", sa.String(64), nullable=False),
    sa.Column("id", sa.String(256), nullable=False),
    sa.Column("merged_into", Id, nullable=True),
    sa.UniqueConstraint("domain", "authority", "id", name="patient_by_id"),
)
# Who is merged into a patient: nearly always nobody.
sa.Index(
    "patient_merged",
    patient.c.merged_into,
    sqlite_where=patient.c.merged_into.is_not(None),
    postgresql_where=patient.c.merged_into.is_not(None),
)

# Who a patient is, as the feed says (ITI-8, ITI-44); and the words of their names, without case and signs.
demographics = sa.Table(
    "demographics",
    metadata,
    sa.Column("patient_key", Id, primary_key=True, autoincrement=False),
    sa.Column("born", sa.String(8), nullable=False),  # YYYY[MM[DD]]
    sa.Column("said", sa.Text, nullable=False),  # all fields, JSON
    sa.Column("changed", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    postgresql_partition_by=BY_PATIENT,
)
patient_word = sa.Table(
    "patient_word",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("word", Prefixed, primary_key=True),
    sa.Column("domain", sa.String(64), nullable=False),
    sa.Column("born", Prefixed, nullable=False),
    # Somebody who was born then, and somebody of whom only the name is known.
    sa.Index("patient_word_by_birth", "domain", "born", "word"),
    sa.Index("patient_word_by_word", "domain", "word"),
    postgresql_partition_by=BY_PATIENT,
)

# Where an object is, by entryUUID, uniqueId, or logicalID (versions after the first).  ``nth`` is empty for what must
# be unique, and the entryUUID for what several may have, as DocumentEntry.uniqueId (ITI TF-2: 3.42.4.1.3.3.1).
locator = sa.Table(
    "locator",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(12), primary_key=True),
    sa.Column("nth", sa.String(45), primary_key=True),
    sa.Column("patient_key", Id, nullable=False),
    sa.Column("entry_uuid", sa.String(45), nullable=False),
)

_CODES = (
    "class_code",
    "type_code",
    "format_code",
    "healthcare_facility_type_code",
    "practice_setting_code",
)

# One row an entry: what stored queries ask for, and its ebXML as a fragment of the reply.
document_entry = sa.Table(
    "document_entry",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    sa.Column("logical_id", sa.String(45), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("latest", sa.Boolean, nullable=False),  # of its logicalID's versions
    sa.Column("unique_id", sa.String(128), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),  # Approved, Deprecated
    sa.Column("object_type", sa.String(45), nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in _CODES),  # code^^scheme
    sa.Column("creation_time", _Time),
    sa.Column("service_start_time", _Time),
    sa.Column("service_stop_time", _Time),
    sa.Column("repository_unique_id", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(40)),
    sa.Column("size", Id),
    sa.Column("ebxml", sa.LargeBinary, nullable=False),
    # A week of a patient who has very many.
    sa.Index("document_entry_by_creation", "patient_key", "creation_time"),
    sa.Index("document_entry_by_service", "patient_key", "service_start_time"),
    postgresql_partition_by=BY_PATIENT,
)

# One narrow row a value of eventCodeList, confidentialityCode, authorPerson, referenceIdList.
document_entry_value = sa.Table(
    "document_entry_value",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("attribute", sa.String(20), primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    postgresql_partition_by=BY_PATIENT,
)

# One narrow row a value of SubmissionSet.authorPerson and Folder.codeList.
package_value = sa.Table(
    "package_value",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("attribute", sa.String(20), primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    postgresql_partition_by=BY_PATIENT,
)

submission_set = sa.Table(
    "submission_set",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    sa.Column("unique_id", sa.String(128), nullable=False),
    sa.Column("source_id", sa.String(64), nullable=False),
    sa.Column("content_type_code", sa.Text, nullable=False),
    sa.Column("submission_time", _Time, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("ebxml", sa.LargeBinary, nullable=False),
    postgresql_partition_by=BY_PATIENT,
)

folder = sa.Table(
    "folder",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    sa.Column("logical_id", sa.String(45), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("latest", sa.Boolean, nullable=False),  # of its logicalID's versions
    sa.Column("unique_id", sa.String(128), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("last_update_time", _Time, nullable=False),
    sa.Column("ebxml", sa.LargeBinary, nullable=False),
    postgresql_partition_by=BY_PATIENT,
)

association = sa.Table(
    "association",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    sa.Column("type", sa.String(128), nullable=False),
    sa.Column("source", sa.String(45), nullable=False),
    sa.Column("target", sa.String(45), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("ebxml", sa.LargeBinary, nullable=False),
    # GetAssociations, contents of a submission set, what a replacement deprecates.
    sa.Index("association_by_source", "patient_key", "source"),
    sa.Index("association_by_target", "patient_key", "target"),
    postgresql_partition_by=BY_PATIENT,
)

# A member by reference may be of another patient (ITI TF-3: 4.2.2.1.1): from its id to the association's patient.
foreign_association = sa.Table(
    "foreign_association",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("target", sa.String(45), primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    sa.Column("patient_key", Id, nullable=False),
)
