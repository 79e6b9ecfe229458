"""The tables of what is merged into this deployment: of each source its patients, and its objects one by one."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# A patient of a source's, whoever they are here.
merged_patient = sa.Table(
    "merged_patient",
    metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("patient_id", sa.String(512), primary_key=True),  # the source's, as CX
    sa.Column("here", sa.String(512), nullable=False),  # the domain's; empty: nobody knows
    sa.Column("state", sa.String(10), nullable=False),  # listed, waiting, failed, even
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("looked", Id, nullable=False),  # microseconds since 1970, UTC: when the source was asked last
    sa.Index("merged_patient_by_state", "source", "state"),
)

# An object of a source's: what it said of it last, and what became of it here.
merged_object = sa.Table(
    "merged_object",
    metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("entry_uuid", sa.String(128), primary_key=True),
    sa.Column("patient_id", sa.String(512), nullable=False),  # the source's
    sa.Column("kind", sa.String(2), nullable=False),
    sa.Column("unique_id", sa.String(256), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),  # found, invalid, waiting, conflict, copied, gone, undone
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("there", sa.String(64), nullable=False),  # SHA-256 of what the source says it is
    sa.Column("here", sa.String(64), nullable=False),  # SHA-256 of its ebXML here, as it was copied; empty: it is not
    sa.Column("repository_unique_id", sa.String(64), nullable=False),  # of entries, as the four that follow
    sa.Column("hash", sa.String(40), nullable=False),
    sa.Column("size", Id, nullable=False),
    sa.Column("type_code", sa.Text, nullable=False),
    sa.Column("month", sa.String(6), nullable=False),  # of creation
    sa.Column("document", sa.String(7), nullable=False),  # brought with it, or there before; empty: it has no bytes
    sa.Column("images", sa.String(64), nullable=False),  # Study Instance UID of which images were brought
    sa.Column("studies", sa.Text, nullable=False),  # Study Instance UIDs, with a space between
    sa.Column("looked", Id, nullable=False),  # microseconds since 1970, UTC, as the next
    sa.Column("copied", Id, nullable=False),
    sa.Index("merged_object_by_state", "source", "state"),
    sa.Index("merged_object_by_patient", "source", "patient_id"),
    sa.Index("merged_object_by_images", "source", "images"),
)
