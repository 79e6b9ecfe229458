"""What all tables share."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Prefixed = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
"""Text of which what begins with something is asked for: in the order of its bytes, whatever the database's is."""
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BY_PATIENT = "HASH (patient_key)"
PARTITIONS = 16
"""Of each table that belongs to a patient, on PostgreSQL; a number that is never changed."""
