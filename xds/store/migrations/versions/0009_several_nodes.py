"""Several nodes of one deployment: what each peer was last acknowledged, and when each node was last there.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acknowledged",
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("backend", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "backend"),
    )
    op.create_table(
        "audit_node",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host"),
    )


def downgrade() -> None:
    op.drop_table("audit_node")
    op.drop_table("acknowledged")
