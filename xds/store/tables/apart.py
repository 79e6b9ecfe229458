"""What was sent against somebody's study and is set apart, until a person has decided."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# An instance each; those of one sender, study, patient and reason are one case, and are decided upon together.
apart = sa.Table(
    "apart",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("case_id", Id, nullable=False, index=True),  # the first of its instances
    sa.Column("alike", sa.String(64), nullable=False),  # digest of what makes instances one case
    sa.Column("came", Id, nullable=False),  # microseconds since 1970, UTC
    sa.Column("peer", sa.Text, nullable=False),  # by what it is told from others
    sa.Column("sender", sa.Text, nullable=False),  # who that is known to be, for people
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("ae_title", sa.String(64), nullable=False),  # that it calls itself; empty: none
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.String(64), nullable=False),
    sa.Column("series_instance_uid", sa.String(64), nullable=False),
    sa.Column("sop_instance_uid", sa.String(64), nullable=False),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("study_held", sa.String(64), nullable=False),  # that it was sent against
    sa.Column("facts", sa.Text, nullable=False),  # patients and descriptions of both: JSON
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("file", sa.String(128), nullable=False),  # empty once it is gone
    sa.Column("size", Id, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),  # undecided, taken, discarded
    sa.Column("decided", Id, nullable=False),  # microseconds since 1970, UTC; 0: not yet
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),  # its reason
    sa.Column("told", Id, nullable=False),  # when the alert hook took it; 0: not yet
    sa.Index("apart_by_content", "sha256"),  # whether it was sent before
)
# What waits, and how much of it is whose; small whatever the table's size.
sa.Index(
    "apart_undecided",
    apart.c.peer,
    apart.c.alike,
    sqlite_where=apart.c.state == "undecided",
    postgresql_where=apart.c.state == "undecided",
)
