"""Tables and indexes, each with the query it serves.

Every table that belongs to a patient has the patient key first in its primary key, and every per-patient
query names it; look-ups by an id alone go through ``locator``.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BY_PATIENT = "HASH (patient_key)"
PARTITIONS = 16
"""Of each table that belongs to a patient, on PostgreSQL; a number that is never changed."""

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
    sa.Column("patient_key", _Id, primary_key=True, autoincrement=True),
    sa.Column("domain", sa.String(64), nullable=False),
    sa.Column("authority", sa.String(64), nullable=False),
    sa.Column("id", sa.String(256), nullable=False),
    sa.Column("merged_into", _Id, nullable=True),
    sa.UniqueConstraint("domain", "authority", "id", name="patient_by_id"),
)
# Who is merged into a patient: nearly always nobody.
sa.Index(
    "patient_merged",
    patient.c.merged_into,
    sqlite_where=patient.c.merged_into.is_not(None),
    postgresql_where=patient.c.merged_into.is_not(None),
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
    sa.Column("patient_key", _Id, nullable=False),
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
    sa.Column("patient_key", _Id, primary_key=True),
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
    sa.Column("size", _Id),
    sa.Column("ebxml", sa.LargeBinary, nullable=False),
    postgresql_partition_by=BY_PATIENT,
)

# One narrow row a value of eventCodeList, confidentialityCode, authorPerson, referenceIdList.
document_entry_value = sa.Table(
    "document_entry_value",
    metadata,
    sa.Column("patient_key", _Id, primary_key=True),
    sa.Column("attribute", sa.String(20), primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    postgresql_partition_by=BY_PATIENT,
)

# One narrow row a value of SubmissionSet.authorPerson and Folder.codeList.
package_value = sa.Table(
    "package_value",
    metadata,
    sa.Column("patient_key", _Id, primary_key=True),
    sa.Column("attribute", sa.String(20), primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("entry_uuid", sa.String(45), primary_key=True),
    postgresql_partition_by=BY_PATIENT,
)

submission_set = sa.Table(
    "submission_set",
    metadata,
    sa.Column("patient_key", _Id, primary_key=True),
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
    sa.Column("patient_key", _Id, primary_key=True),
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
    sa.Column("patient_key", _Id, primary_key=True),
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
    sa.Column("patient_key", _Id, nullable=False),
)

# The Document Repository's: from a document's id to its bytes, which are named by their SHA-256.
document = sa.Table(
    "document",
    metadata,
    sa.Column("repository_unique_id", sa.String(64), primary_key=True),
    sa.Column("document_unique_id", sa.String(128), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),  # pending, registered
    sa.Column("submission", sa.String(64), nullable=False),  # what a pending document waits for
    sa.Column("since", _Id, nullable=False),  # microseconds since 1970, UTC: when its state began
    sa.Column("mime_type", sa.String(256), nullable=False),
    sa.Column("size", _Id, nullable=False),
    sa.Column("sha1", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("patient_id", sa.String(512), nullable=False),
    sa.Index("document_by_content", "sha256"),  # the sweep asks which blobs are named
)
# What waits to be settled; small whatever the table's size.
sa.Index(
    "document_pending",
    document.c.since,
    sqlite_where=document.c.state == "pending",
    postgresql_where=document.c.state == "pending",
)

# Audit records as recorded; leaf_number is given by the sequencer.
audit_record = sa.Table(
    "audit_record",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("leaf_number", _Id, unique=True),
    sa.Column("recorded", _Id, nullable=False),  # microseconds since 1970, UTC
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("transaction", sa.String(16), nullable=False),
    sa.Column("outcome", sa.Integer, nullable=False),
    sa.Column("patient_id", sa.String(512), nullable=False),
    sa.Column("origin", sa.String(512), nullable=False),  # how it came, and from whom; empty: it is this node's own
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Index("audit_record_recorded", "recorded", "id"),
)
# What a record is found by, one narrow row a value: patient, user, address, source, site, study, document, set …
audit_value = sa.Table(
    "audit_value",
    metadata,
    sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),  # audit_search.term of kind and value
    sa.Column("recorded", sa.BigInteger, primary_key=True, autoincrement=False),  # the record's
    sa.Column("record_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
# How many records of a kind there are in each hour.
audit_hour = sa.Table(
    "audit_hour",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),  # microseconds since 1970, UTC
    sa.Column("event", sa.String(16), primary_key=True),
    sa.Column("transaction", sa.String(16), primary_key=True),
    sa.Column("outcome", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
# How far those have come that go through the records in order: the index, and each repository they are sent on to.
audit_cursor = sa.Table(
    "audit_cursor",
    metadata,
    sa.Column("name", sa.String(300), primary_key=True),
    sa.Column("position", _Id, nullable=False),  # leaf number of the next
)
# Who may sign in at the console, and who has.
account = sa.Table(
    "account",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password", sa.String(256), nullable=False),  # Argon2id
    sa.Column("failed", sa.Integer, nullable=False),  # wrong passwords since the last right one
    sa.Column("failed_at", sa.BigInteger, nullable=False),  # the last of them
    sa.Column("locked_until", sa.BigInteger, nullable=False),
)
session = sa.Table(
    "session",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),  # its SHA-256
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
)
# Rows that the sequencer has still to number; small whatever the table's size.
sa.Index(
    "audit_record_unnumbered",
    audit_record.c.id,
    sqlite_where=audit_record.c.leaf_number.is_(None),
    postgresql_where=audit_record.c.leaf_number.is_(None),
)

# The one row that orders the log: how many records are numbered.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", _Id, nullable=False),
)

audit_checkpoint = sa.Table(
    "audit_checkpoint",
    metadata,
    sa.Column("size", _Id, primary_key=True, autoincrement=False),
    sa.Column("signed", sa.LargeBinary, nullable=False),
)

# A partner's messages, captured to find out what it really sends; sealed, and erased when their time is over.
capture = sa.Table(
    "capture",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("sender", sa.String(32), nullable=False),
    sa.Column("started", _Id, nullable=False),  # microseconds since 1970, UTC, as the two that follow
    sa.Column("until", _Id, nullable=False),
    sa.Column("kept_until", _Id, nullable=False),
    sa.Column("started_by", sa.String(256), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

captured_message = sa.Table(
    "captured_message",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("capture_id", _Id, nullable=False, index=True),
    sa.Column("received", _Id, nullable=False),
    sa.Column("path", sa.String(128), nullable=False),
    sa.Column("remote_address", sa.String(64), nullable=False),
    sa.Column("content_type", sa.String(256), nullable=False),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("reply", sa.LargeBinary, nullable=False),
)

# What became of each study of the imaging source's archive: published, waiting, and why.
publication = sa.Table(
    "publication",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),  # waiting, sending, published, refused, moving, withdrawn
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),  # changes when the archive's study does; empty: it is gone
    sa.Column("seen", _Id, nullable=False),  # microseconds since 1970, UTC: since when it is so
    sa.Column("published", sa.Text, nullable=False),  # the fingerprint that was published last
    sa.Column("entry_uuid", sa.String(45), nullable=False),  # of the manifest's DocumentEntry, published last
    sa.Column("patient_id", sa.Text, nullable=False),  # whose it was published as, or is being
    sa.Column("entry_patient", sa.Text, nullable=False),  # of the DocumentEntry's
    sa.Column("own_patient", sa.Text, nullable=False),  # by the archive's id
    sa.Column("mapped", _Id, nullable=False),  # microseconds since 1970, UTC: when it was asked whose that is
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try", _Id, nullable=False),
    # The message under way, kept so that it is sent again as it was.
    sa.Column("sending", sa.Text, nullable=False),  # its fingerprint
    sa.Column("sending_entry", sa.String(45), nullable=False),
    sa.Column("sending_set", sa.String(128), nullable=False),  # SubmissionSet.uniqueId
    sa.Column("metadata", sa.LargeBinary),
    sa.Column("content", sa.LargeBinary),
    sa.Index("publication_due", "next_try"),
    sa.Index("publication_mapped", "mapped"),
)

# Streams under way: what becomes of the record if the process dies.
audit_open = sa.Table(
    "audit_open",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False),  # host, process id and its start
    sa.Column("started", _Id, nullable=False),
    sa.Column("messages", sa.LargeBinary, nullable=False),
)

# Accesses to a patient's data by a person who is known (XUA, or signed in at the console), for who watches over them.
audit_access = sa.Table(
    "audit_access",
    metadata,
    sa.Column("recorded", sa.BigInteger, primary_key=True, autoincrement=False),  # the record's
    sa.Column("record_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person", sa.String(512), primary_key=True),  # UserID
    sa.Column("known_as", sa.String(512), nullable=False),
    sa.Column("role", sa.String(128), nullable=False),
    sa.Column("organisation", sa.String(512), nullable=False),
    sa.Column("patient_id", sa.String(512), primary_key=True),
    sqlite_with_rowid=False,
)

# Accesses that are out of the ordinary, one row a day, person, patient and reason; to be looked at, and decided on.
audit_unusual = sa.Table(
    "audit_unusual",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("day", sa.BigInteger, nullable=False),  # since 1970, UTC
    sa.Column("person", sa.String(512), nullable=False),
    sa.Column("known_as", sa.String(512), nullable=False),
    sa.Column("organisation", sa.String(512), nullable=False),
    sa.Column("patient_id", sa.String(512), nullable=False),  # empty: it is about all of the day
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("detail", sa.String(256), nullable=False),
    sa.Column("record_id", sa.BigInteger, nullable=False),  # the first of them
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),  # empty: none yet
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("decided_by", sa.String(64), nullable=False),
    sa.Column("decided", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
    sa.UniqueConstraint("day", "person", "patient_id", "reason", name="audit_unusual_once"),
)
sa.Index("audit_unusual_open", audit_unusual.c.decision, audit_unusual.c.id)

# Patients whose accesses are all looked at.
audit_vip = sa.Table("audit_vip", metadata, sa.Column("patient_id", sa.String(512), primary_key=True))

# Searches of the desk that somebody wants to make again.
saved_search = sa.Table(
    "saved_search",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.UniqueConstraint("account", "name", name="saved_search_once"),
)

# Records that are kept whatever their time: of a patient, of a time, or all.
audit_hold = sa.Table(
    "audit_hold",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("made", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC, as all times here
    sa.Column("made_by", sa.String(256), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("patient_id", sa.String(512), nullable=False),  # empty: of any
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("released", sa.BigInteger, nullable=False),  # 0: it holds
    sa.Column("released_by", sa.String(256), nullable=False),
)

# Checkpoints of other nodes' audit logs that this one is a witness of: the newest of each day.
audit_witnessed = sa.Table(
    "audit_witnessed",
    metadata,
    sa.Column("log_id", sa.String(128), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),  # ordinal, of the checkpoint's time
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("signed", sa.LargeBinary, nullable=False),
)
