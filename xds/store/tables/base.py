"""What all tables share."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BY_PATIENT = "HASH (patient_key)"
PARTITIONS = 16
"""Of each table that belongs to a patient, on PostgreSQL; a number that is never changed."""
