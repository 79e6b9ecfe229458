"""Peers, what patients want, broken glass; and of each entry the source that it is of and its authors' institutions.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op
from lxml import etree

from xds.metadata.datatypes import Xon
from xds.store.registry.compression import unpack
from xds.store.registry.rows import composed
from xds.wire.xml import name

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PARTITIONS = 16
_BATCH = 1000


def upgrade() -> None:
    op.create_table(
        "peer",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "directive",
        sa.Column("patient_key", _ID, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("directive", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "id", "version"),
        postgresql_partition_by="HASH (patient_key)",
    )
    op.create_table(
        "override",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("patient_key", _ID, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("person_name", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("reviewed", sa.BigInteger(), nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("override_by_person", "override", ["person", "ends"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for number in range(_PARTITIONS):
            op.execute(
                f"CREATE TABLE directive_{number:02d} PARTITION OF directive "
                f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {number})"
            )
    op.add_column("document", sa.Column("facts", sa.Text(), nullable=False, server_default=""))
    _sources()
    _institutions()


def _sources() -> None:
    """Of entries that are there: the sourceId of the submission set that brought their first version."""
    op.execute(
        "INSERT INTO document_entry_value (patient_key, attribute, value, entry_uuid) "
        "SELECT DISTINCT d.patient_key, 'sourceId', s.source_id, d.entry_uuid FROM document_entry d "
        "JOIN association a ON a.target = d.logical_id AND a.type = 'urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember' "
        "JOIN submission_set s ON s.entry_uuid = a.source AND s.patient_key = a.patient_key"
    )


def _institutions() -> None:
    connection, slot, value = op.get_bind(), name("rim:Slot"), name("rim:Value")
    table = sa.table(
        "document_entry_value", *map(sa.column, ("patient_key", "attribute", "value", "entry_uuid"))
    )  # fmt: skip
    after: tuple[int, str] = (0, "")
    while True:
        rows = connection.execute(
            sa.text(
                "SELECT patient_key, entry_uuid, ebxml FROM document_entry WHERE (patient_key, entry_uuid) > (:key, :uuid)"
                " ORDER BY patient_key, entry_uuid LIMIT :most"
            ),
            {"key": after[0], "uuid": after[1], "most": _BATCH},
        ).all()
        if not rows:
            return
        found = [
            {"patient_key": row.patient_key, "attribute": "authorInstitution", "value": key, "entry_uuid": row.entry_uuid}
            for row in rows
            for key in sorted(_keys(etree.fromstring(unpack(row.ebxml)), slot, value))
        ]
        if found:
            connection.execute(sa.insert(table), found)
        after = rows[-1].patient_key, rows[-1].entry_uuid


def _keys(entry: etree._Element, slot: str, value: str) -> set[str]:
    texts = (
        one.text or "" for each in entry.iter(slot) if each.get("name") == "authorInstitution" for one in each.iter(value)
    )  # fmt: skip
    return {composed(key) for text in texts if text for key in Xon(text).keys}


def downgrade() -> None:
    op.execute("DELETE FROM document_entry_value WHERE attribute IN ('sourceId', 'authorInstitution')")
    op.drop_index("override_by_person", table_name="override")
    op.drop_column("document", "facts")
    for table in ("override", "directive", "peer"):
        op.drop_table(table)
