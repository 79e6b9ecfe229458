"""Consent documents that were registered here and are kept elsewhere.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent_document",
        sa.Column("domain", sa.String(length=64), nullable=False),
        sa.Column("unique_id", sa.String(length=256), nullable=False),
        sa.Column("repository_unique_id", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "unique_id"),
    )
    op.create_index("consent_document_by_time", "consent_document", ["domain", "next_try"])


def downgrade() -> None:
    op.drop_index("consent_document_by_time", table_name="consent_document")
    op.drop_table("consent_document")
