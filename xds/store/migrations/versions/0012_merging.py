"""What is merged into a deployment: the patients and the objects of each source.

Revision: 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "merged_patient",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.String(length=512), nullable=False),
        sa.Column("here", sa.String(length=512), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("looked", _ID, nullable=False),
        sa.PrimaryKeyConstraint("source", "patient_id"),
    )
    op.create_index("merged_patient_by_state", "merged_patient", ["source", "state"])
    op.create_table(
        "merged_object",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("entry_uuid", sa.String(length=128), nullable=False),
        sa.Column("patient_id", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=2), nullable=False),
        sa.Column("unique_id", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("there", sa.String(length=64), nullable=False),
        sa.Column("here", sa.String(length=64), nullable=False),
        sa.Column("repository_unique_id", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=40), nullable=False),
        sa.Column("size", _ID, nullable=False),
        sa.Column("type_code", sa.Text(), nullable=False),
        sa.Column("month", sa.String(length=6), nullable=False),
        sa.Column("document", sa.String(length=7), nullable=False),
        sa.Column("images", sa.String(length=64), nullable=False),
        sa.Column("studies", sa.Text(), nullable=False),
        sa.Column("looked", _ID, nullable=False),
        sa.Column("copied", _ID, nullable=False),
        sa.PrimaryKeyConstraint("source", "entry_uuid"),
    )
    op.create_index("merged_object_by_state", "merged_object", ["source", "state"])
    op.create_index("merged_object_by_patient", "merged_object", ["source", "patient_id"])
    op.create_index("merged_object_by_images", "merged_object", ["source", "images"])


def downgrade() -> None:
    op.drop_table("merged_object")
    op.drop_table("merged_patient")
