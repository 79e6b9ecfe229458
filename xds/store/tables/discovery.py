"""The table of what other communities have answered whom they were asked for (ITI-55)."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# A patient of a domain's, and under which id a community knows them.
discovered_patient = sa.Table(
    "discovered_patient",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("home", sa.String(72), primary_key=True),  # homeCommunityId, urn:oid:…
    sa.Column("patient_id", sa.String(512), primary_key=True),  # the domain's, as CX
    sa.Column("theirs", sa.String(512), nullable=False),  # the community's, likewise; empty: it knows nobody
    sa.Column("said", sa.String(64), nullable=False),  # SHA-256 of the demographics that it was asked by
    sa.Column("until", Id, nullable=False),  # microseconds since 1970, UTC: how long that is taken for true
    sa.Index("discovered_patient_by_theirs", "domain", "home", "theirs"),
    sa.Index("discovered_patient_by_until", "until"),
)
