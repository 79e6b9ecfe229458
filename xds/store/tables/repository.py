"""The tables of documents, of what is published of an archive, and of what is captured of a sender."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# The Document Repository's: from a document's id to its bytes, which are named by their SHA-256.
document = sa.Table(
    "document",
    metadata,
    sa.Column("repository_unique_id", sa.String(64), primary_key=True),
    sa.Column("document_unique_id", sa.String(128), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),  # pending, registered
    sa.Column("submission", sa.String(64), nullable=False),  # what a pending document waits for
    sa.Column("since", Id, nullable=False),  # microseconds since 1970, UTC: when its state began
    sa.Column("mime_type", sa.String(256), nullable=False),
    sa.Column("size", Id, nullable=False),
    sa.Column("sha1", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("patient_id", sa.String(512), nullable=False),
    sa.Column("facts", sa.Text, nullable=False, server_default=""),  # what decisions ask of it, as it came: JSON
    sa.Index("document_by_content", "sha256"),  # the sweep asks which blobs are named
)
# What waits to be settled; small whatever the table's size.
sa.Index(
    "document_pending",
    document.c.since,
    sqlite_where=document.c.state == "pending",
    postgresql_where=document.c.state == "pending",
)

# A partner's messages, captured to find out what it really sends; sealed, and erased when their time is over.
capture = sa.Table(
    "capture",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("sender", sa.String(32), nullable=False),
    sa.Column("started", Id, nullable=False),  # microseconds since 1970, UTC, as the two that follow
    sa.Column("until", Id, nullable=False),
    sa.Column("kept_until", Id, nullable=False),
    sa.Column("started_by", sa.String(256), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

captured_message = sa.Table(
    "captured_message",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("capture_id", Id, nullable=False, index=True),
    sa.Column("received", Id, nullable=False),
    sa.Column("path", sa.String(128), nullable=False),
    sa.Column("remote_address", sa.String(64), nullable=False),
    sa.Column("content_type", sa.String(256), nullable=False),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("reply", sa.LargeBinary, nullable=False),
)

# Whose each study is that was published by hand; of what publishes itself see ``publication``.
study_patient = sa.Table(
    "study_patient",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("patient_id", sa.Text, nullable=False),
)

# Manifests that gateways have passed on, by each study that they are of: who may see one may see its images.
passed_manifest = sa.Table(
    "passed_manifest",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("home", sa.String(72), primary_key=True),  # homeCommunityId, urn:oid:…
    sa.Column("document_unique_id", sa.String(256), primary_key=True),  # of the manifest
    sa.Column("repository_unique_id", sa.String(64), nullable=False),
    sa.Column("patient_id", sa.Text, nullable=False),  # as the manifest has it, in the form of a CX
    sa.Column("day", sa.Integer, nullable=False),  # since 1970, UTC: when it was last passed on
    sa.Index("passed_manifest_by_day", "day"),
)

# What became of each study of the imaging source's archive: published, waiting, and why.
publication = sa.Table(
    "publication",
    metadata,
    sa.Column("study_instance_uid", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),  # waiting, sending, published, refused, moving, withdrawn
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),  # changes when the archive's study does; empty: it is gone
    sa.Column("seen", Id, nullable=False),  # microseconds since 1970, UTC: since when it is so
    sa.Column("published", sa.Text, nullable=False),  # the fingerprint that was published last
    sa.Column("entry_uuid", sa.String(45), nullable=False),  # of the manifest's DocumentEntry, published last
    sa.Column("patient_id", sa.Text, nullable=False),  # whose it was published as, or is being
    sa.Column("entry_patient", sa.Text, nullable=False),  # of the DocumentEntry's
    sa.Column("own_patient", sa.Text, nullable=False),  # by the archive's id
    sa.Column("mapped", Id, nullable=False),  # microseconds since 1970, UTC: when it was asked whose that is
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try", Id, nullable=False),
    # The message under way, kept so that it is sent again as it was.
    sa.Column("sending", sa.Text, nullable=False),  # its fingerprint
    sa.Column("sending_entry", sa.String(45), nullable=False),
    sa.Column("sending_set", sa.String(128), nullable=False),  # SubmissionSet.uniqueId
    sa.Column("metadata", sa.LargeBinary),
    sa.Column("content", sa.LargeBinary),
    sa.Index("publication_due", "next_try"),
    sa.Index("publication_mapped", "mapped"),
)
