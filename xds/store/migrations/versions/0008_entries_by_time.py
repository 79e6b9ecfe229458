"""A patient's entries by their times.

Revision: 0008, after 0007.  Of a large table the index is finished by ``store.indexes``, while others write.
"""

import sqlalchemy as sa
from alembic import op

from xds.store.indexes import is_large

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {"document_entry_by_creation": "creation_time", "document_entry_by_service": "service_start_time"}


def upgrade() -> None:
    if is_large(op.get_bind(), "document_entry"):
        for name, column in INDEXES.items():
            op.execute(sa.text(f"CREATE INDEX {name} ON ONLY document_entry (patient_key, {column})"))
        return
    for name, column in INDEXES.items():
        op.create_index(name, "document_entry", ["patient_key", column])


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="document_entry")
