"""Second factors of accounts, sign-ins that failed by account and address, and tokens that may be used but once.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("account") as table:
        table.add_column(sa.Column("second_factor", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("factor_used", sa.BigInteger(), nullable=False, server_default="0"))
        for name in ("failed", "failed_at", "locked_until"):
            table.drop_column(name)
    op.create_table(
        "sign_in_try",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_until", sa.BigInteger(), nullable=False),
        sa.Column("right_at", sa.BigInteger(), nullable=False),
        sa.Column("unrecorded", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "address"),
    )
    op.create_table(
        "used_token",
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("ix_used_token_until", "used_token", ["until"])


def downgrade() -> None:
    op.drop_table("used_token")
    op.drop_table("sign_in_try")
    with op.batch_alter_table("account") as table:
        for name in ("failed", "failed_at", "locked_until"):
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        for name in ("factor_used", "second_factor"):
            table.drop_column(name)
