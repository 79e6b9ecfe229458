"""Who is who, what patients want, and who has broken the glass."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import BY_PATIENT, Id, metadata

# Partners' systems beside those of the settings (xds peer).
peer = sa.Table(
    "peer",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("entry", sa.Text, nullable=False),  # its fields as JSON
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)

# What each peer has brought about in a day (of UTC): audit records, and bytes of all that is kept.  Told by its key.
peer_use = sa.Table(
    "peer_use",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),  # since 1970
    sa.Column("peer", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(32), nullable=False),  # of its entry; empty: none is known
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

# What a patient wants, every version for ever.
directive = sa.Table(
    "directive",
    metadata,
    sa.Column("patient_key", Id, primary_key=True),
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("latest", sa.Boolean, nullable=False),
    sa.Column("directive", sa.Text, nullable=False),  # its fields as JSON
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    postgresql_partition_by=BY_PATIENT,
)

# Consent documents that were registered and whose bytes are elsewhere, until they are read.
consent_document = sa.Table(
    "consent_document",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("unique_id", sa.String(256), primary_key=True),
    sa.Column("repository_unique_id", sa.String(64), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try", sa.BigInteger),  # none: it cannot be acted upon, and is not tried again
    sa.Column("trouble", sa.Text, nullable=False),
    # What is to be tried now.
    sa.Index("consent_document_by_time", "domain", "next_try"),
)

# Broken glass: somebody, for a patient, for a time.
override = sa.Table(
    "override",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("patient_key", Id, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("person_name", sa.Text, nullable=False),
    sa.Column("organisation", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("begun", sa.BigInteger, nullable=False),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("reviewed", sa.BigInteger),
    sa.Column("reviewed_by", sa.Text, nullable=False),
    sa.Column("told", sa.BigInteger),  # when the alert hook took it
    # What holds now, of somebody.
    sa.Index("override_by_person", "person", "ends"),
)
