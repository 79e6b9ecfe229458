"""A patient's entries by their times.

Revision: 0008, after 0007.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {"document_entry_by_creation": "creation_time", "document_entry_by_service": "service_start_time"}


def upgrade() -> None:
    for name, column in INDEXES.items():
        op.create_index(name, "document_entry", ["patient_key", column])


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="document_entry")
