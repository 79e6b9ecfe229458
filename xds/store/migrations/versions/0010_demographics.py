"""Who a patient is, as the Patient Identity Feed says, and the words of their names.

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PREFIXED = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
_PARTITIONS = 16


def upgrade() -> None:
    op.create_table(
        "demographics",
        sa.Column("patient_key", _ID, autoincrement=False, nullable=False),
        sa.Column("born", sa.String(length=8), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key"),
        postgresql_partition_by="HASH (patient_key)",
    )
    op.create_table(
        "patient_word",
        sa.Column("patient_key", _ID, nullable=False),
        sa.Column("word", _PREFIXED, nullable=False),
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("born", _PREFIXED, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "word"),
        postgresql_partition_by="HASH (patient_key)",
    )
    op.create_index("patient_word_by_birth", "patient_word", ["domain", "born", "word"], unique=False)
    op.create_index("patient_word_by_word", "patient_word", ["domain", "word"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for table in ("demographics", "patient_word"):
            for number in range(_PARTITIONS):
                op.execute(
                    f"CREATE TABLE {table}_{number:02d} PARTITION OF {table} "
                    f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {number})"
                )


def downgrade() -> None:
    op.drop_table("patient_word")
    op.drop_table("demographics")
