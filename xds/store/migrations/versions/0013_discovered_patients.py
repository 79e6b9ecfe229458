"""Under which ids other communities know the patients whom they were asked for.

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "discovered_patient",
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("home", sa.String(length=72), nullable=False),
        sa.Column("patient_id", sa.String(length=512), nullable=False),
        sa.Column("theirs", sa.String(length=512), nullable=False),
        sa.Column("said", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("domain", "home", "patient_id"),
    )
    op.create_index("discovered_patient_by_theirs", "discovered_patient", ["domain", "home", "theirs"])
    op.create_index("discovered_patient_by_until", "discovered_patient", ["until"])


def downgrade() -> None:
    op.drop_table("discovered_patient")
