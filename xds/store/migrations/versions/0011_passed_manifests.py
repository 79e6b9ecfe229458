"""Manifests that gateways have passed on: who may see one may see its images.

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "passed_manifest",
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("home", sa.String(length=72), nullable=False),
        sa.Column("document_unique_id", sa.String(length=256), nullable=False),
        sa.Column("repository_unique_id", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "study_instance_uid", "home", "document_unique_id"),
    )
    op.create_index("passed_manifest_by_day", "passed_manifest", ["day"])


def downgrade() -> None:
    op.drop_table("passed_manifest")
