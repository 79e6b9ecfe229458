"""The audit log's tables: records, what they are found by, checkpoints, what is reviewed and held."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# Audit records as recorded; leaf_number is given by the sequencer.
audit_record = sa.Table(
    "audit_record",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("leaf_number", Id, unique=True),
    sa.Column("recorded", Id, nullable=False),  # microseconds since 1970, UTC
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
    sa.Column("position", Id, nullable=False),  # leaf number of the next
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
    sa.Column("size", Id, nullable=False),
)

audit_checkpoint = sa.Table(
    "audit_checkpoint",
    metadata,
    sa.Column("size", Id, primary_key=True, autoincrement=False),
    sa.Column("signed", sa.LargeBinary, nullable=False),
)

# When each host that a node runs on was last there: streams of one that is not any more are ended by others.
audit_node = sa.Table(
    "audit_node",
    metadata,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("seen", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
)

# Streams under way: what becomes of the record if the process dies.
audit_open = sa.Table(
    "audit_open",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False),  # host, process id and its start
    sa.Column("started", Id, nullable=False),
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
    sa.Column("id", Id, primary_key=True, autoincrement=True),
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

# Records that are kept whatever their time: of a patient, of a time, or all.
audit_hold = sa.Table(
    "audit_hold",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
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
