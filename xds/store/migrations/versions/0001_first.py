"""The first tables.

Revision: 0001, after none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


PARTITIONED = ("document_entry", "document_entry_value", "package_value", "submission_set", "folder", "association")


def upgrade() -> None:
    op.create_table('association',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('type', sa.String(length=128), nullable=False),
    sa.Column('source', sa.String(length=45), nullable=False),
    sa.Column('target', sa.String(length=45), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('ebxml', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )
    op.create_index('association_by_source', 'association', ['patient_key', 'source'], unique=False)
    op.create_index('association_by_target', 'association', ['patient_key', 'target'], unique=False)
    op.create_table('audit_checkpoint',
    sa.Column('size', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('signed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('size')
    )
    op.create_table('audit_head',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('size', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('audit_open',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('owner', sa.String(length=128), nullable=False),
    sa.Column('started', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('messages', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('audit_record',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('leaf_number', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('recorded', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('event', sa.String(length=16), nullable=False),
    sa.Column('transaction', sa.String(length=16), nullable=False),
    sa.Column('outcome', sa.Integer(), nullable=False),
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.Column('origin', sa.String(length=512), nullable=False),
    sa.Column('message', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('leaf_number')
    )
    op.create_index('audit_record_recorded', 'audit_record', ['recorded', 'id'], unique=False)
    op.create_table('audit_value',
    sa.Column('term', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('recorded', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('record_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('term', 'recorded', 'record_id'),
    sqlite_with_rowid=False
    )
    op.create_table('audit_hour',
    sa.Column('hour', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('event', sa.String(length=16), nullable=False),
    sa.Column('transaction', sa.String(length=16), nullable=False),
    sa.Column('outcome', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('count', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('hour', 'event', 'transaction', 'outcome'),
    sqlite_with_rowid=False
    )
    op.create_table('account',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('password', sa.String(length=256), nullable=False),
    sa.Column('failed', sa.Integer(), nullable=False),
    sa.Column('failed_at', sa.BigInteger(), nullable=False),
    sa.Column('locked_until', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('session',
    sa.Column('token', sa.String(length=64), nullable=False),
    sa.Column('account', sa.String(length=64), nullable=False),
    sa.Column('started', sa.BigInteger(), nullable=False),
    sa.Column('seen', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('token')
    )
    op.create_table('audit_cursor',
    sa.Column('name', sa.String(length=300), nullable=False),
    sa.Column('position', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_index('audit_record_unnumbered', 'audit_record', ['id'], unique=False, sqlite_where=sa.text('leaf_number IS NULL'), postgresql_where=sa.text('leaf_number IS NULL'))
    op.create_table('deployment',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('document',
    sa.Column('repository_unique_id', sa.String(length=64), nullable=False),
    sa.Column('document_unique_id', sa.String(length=128), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('submission', sa.String(length=64), nullable=False),
    sa.Column('since', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('mime_type', sa.String(length=256), nullable=False),
    sa.Column('size', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('sha1', sa.String(length=40), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.PrimaryKeyConstraint('repository_unique_id', 'document_unique_id')
    )
    op.create_index('document_by_content', 'document', ['sha256'], unique=False)
    op.create_index('document_pending', 'document', ['since'], unique=False, sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'"))
    op.create_table('document_entry',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('logical_id', sa.String(length=45), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('latest', sa.Boolean(), nullable=False),
    sa.Column('unique_id', sa.String(length=128), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('object_type', sa.String(length=45), nullable=False),
    sa.Column('class_code', sa.Text(), nullable=False),
    sa.Column('type_code', sa.Text(), nullable=False),
    sa.Column('format_code', sa.Text(), nullable=False),
    sa.Column('healthcare_facility_type_code', sa.Text(), nullable=False),
    sa.Column('practice_setting_code', sa.Text(), nullable=False),
    sa.Column('creation_time', sa.String(length=14), nullable=True),
    sa.Column('service_start_time', sa.String(length=14), nullable=True),
    sa.Column('service_stop_time', sa.String(length=14), nullable=True),
    sa.Column('repository_unique_id', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=40), nullable=True),
    sa.Column('size', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('ebxml', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )
    op.create_table('document_entry_value',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('attribute', sa.String(length=20), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'attribute', 'value', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )
    op.create_table('capture',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('sender', sa.String(length=32), nullable=False),
    sa.Column('started', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('until', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kept_until', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('started_by', sa.String(length=256), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('captured_message',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('capture_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('received', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('path', sa.String(length=128), nullable=False),
    sa.Column('remote_address', sa.String(length=64), nullable=False),
    sa.Column('content_type', sa.String(length=256), nullable=False),
    sa.Column('request', sa.LargeBinary(), nullable=False),
    sa.Column('reply', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_captured_message_capture_id'), 'captured_message', ['capture_id'], unique=False)
    op.create_table('folder',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('logical_id', sa.String(length=45), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('latest', sa.Boolean(), nullable=False),
    sa.Column('unique_id', sa.String(length=128), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('last_update_time', sa.String(length=14), nullable=False),
    sa.Column('ebxml', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )
    op.create_table('foreign_association',
    sa.Column('domain', sa.String(length=64), nullable=False),
    sa.Column('target', sa.String(length=45), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('domain', 'target', 'entry_uuid')
    )
    op.create_table('locator',
    sa.Column('domain', sa.String(length=64), nullable=False),
    sa.Column('id', sa.String(length=128), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('nth', sa.String(length=45), nullable=False),
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.PrimaryKeyConstraint('domain', 'id', 'kind', 'nth')
    )
    op.create_table('patient',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('domain', sa.String(length=64), nullable=False),
    sa.Column('authority', sa.String(length=64), nullable=False),
    sa.Column('id', sa.String(length=256), nullable=False),
    sa.Column('merged_into', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.PrimaryKeyConstraint('patient_key'),
    sa.UniqueConstraint('domain', 'authority', 'id', name='patient_by_id')
    )
    op.create_index('patient_merged', 'patient', ['merged_into'], unique=False, sqlite_where=sa.text('merged_into IS NOT NULL'), postgresql_where=sa.text('merged_into IS NOT NULL'))
    op.create_table('package_value',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('attribute', sa.String(length=20), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'attribute', 'value', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )
    op.create_table('publication',
    sa.Column('study_instance_uid', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('fingerprint', sa.Text(), nullable=False),
    sa.Column('seen', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('published', sa.Text(), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('patient_id', sa.Text(), nullable=False),
    sa.Column('entry_patient', sa.Text(), nullable=False),
    sa.Column('own_patient', sa.Text(), nullable=False),
    sa.Column('mapped', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_try', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('sending', sa.Text(), nullable=False),
    sa.Column('sending_entry', sa.String(length=45), nullable=False),
    sa.Column('sending_set', sa.String(length=128), nullable=False),
    sa.Column('metadata', sa.LargeBinary(), nullable=True),
    sa.Column('content', sa.LargeBinary(), nullable=True),
    sa.PrimaryKeyConstraint('study_instance_uid')
    )
    op.create_index('publication_due', 'publication', ['next_try'], unique=False)
    op.create_index('publication_mapped', 'publication', ['mapped'], unique=False)
    op.create_table('submission_set',
    sa.Column('patient_key', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('entry_uuid', sa.String(length=45), nullable=False),
    sa.Column('unique_id', sa.String(length=128), nullable=False),
    sa.Column('source_id', sa.String(length=64), nullable=False),
    sa.Column('content_type_code', sa.Text(), nullable=False),
    sa.Column('submission_time', sa.String(length=14), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('ebxml', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_key', 'entry_uuid'),
    postgresql_partition_by='HASH (patient_key)'
    )

    if op.get_bind().dialect.name == "postgresql":
        for table in PARTITIONED:
            for number in range(16):
                op.execute(
                    f"CREATE TABLE {table}_{number:02d} PARTITION OF {table} "
                    f"FOR VALUES WITH (MODULUS 16, REMAINDER {number})"
                )
    op.create_table('audit_access',
    sa.Column('recorded', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('record_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('person', sa.String(length=512), nullable=False),
    sa.Column('known_as', sa.String(length=512), nullable=False),
    sa.Column('role', sa.String(length=128), nullable=False),
    sa.Column('organisation', sa.String(length=512), nullable=False),
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.PrimaryKeyConstraint('recorded', 'record_id', 'person', 'patient_id'),
    sqlite_with_rowid=False
    )
    op.create_table('audit_hold',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('made', sa.BigInteger(), nullable=False),
    sa.Column('made_by', sa.String(length=256), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('until', sa.BigInteger(), nullable=False),
    sa.Column('released', sa.BigInteger(), nullable=False),
    sa.Column('released_by', sa.String(length=256), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('audit_unusual',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('day', sa.BigInteger(), nullable=False),
    sa.Column('person', sa.String(length=512), nullable=False),
    sa.Column('known_as', sa.String(length=512), nullable=False),
    sa.Column('organisation', sa.String(length=512), nullable=False),
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.Column('reason', sa.String(length=16), nullable=False),
    sa.Column('detail', sa.String(length=256), nullable=False),
    sa.Column('record_id', sa.BigInteger(), nullable=False),
    sa.Column('count', sa.BigInteger(), nullable=False),
    sa.Column('decision', sa.String(length=16), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('decided_by', sa.String(length=64), nullable=False),
    sa.Column('decided', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('day', 'person', 'patient_id', 'reason', name='audit_unusual_once')
    )
    op.create_index('audit_unusual_open', 'audit_unusual', ['decision', 'id'], unique=False)
    op.create_table('audit_vip',
    sa.Column('patient_id', sa.String(length=512), nullable=False),
    sa.PrimaryKeyConstraint('patient_id')
    )
    op.create_table('audit_witnessed',
    sa.Column('log_id', sa.String(length=128), nullable=False),
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('signed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('log_id', 'day')
    )
    op.create_table('saved_search',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account', sa.String(length=64), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('query', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('account', 'name', name='saved_search_once')
    )


def downgrade() -> None:
    op.drop_index('publication_mapped', table_name='publication')
    op.drop_index('publication_due', table_name='publication')
    op.drop_table('publication')
    op.drop_table('submission_set')
    op.drop_table('package_value')
    op.drop_index('patient_merged', table_name='patient', sqlite_where=sa.text('merged_into IS NOT NULL'), postgresql_where=sa.text('merged_into IS NOT NULL'))
    op.drop_table('patient')
    op.drop_table('locator')
    op.drop_table('foreign_association')
    op.drop_table('folder')
    op.drop_index(op.f('ix_captured_message_capture_id'), table_name='captured_message')
    op.drop_table('captured_message')
    op.drop_table('capture')
    op.drop_table('document_entry_value')
    op.drop_table('document_entry')
    op.drop_index('document_pending', table_name='document', sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'"))
    op.drop_index('document_by_content', table_name='document')
    op.drop_table('document')
    op.drop_table('deployment')
    op.drop_index('audit_record_unnumbered', table_name='audit_record', sqlite_where=sa.text('leaf_number IS NULL'), postgresql_where=sa.text('leaf_number IS NULL'))
    op.drop_index('audit_record_recorded', table_name='audit_record')
    op.drop_table('audit_record')
    op.drop_table('session')
    op.drop_table('account')
    op.drop_table('audit_cursor')
    op.drop_table('audit_value')
    op.drop_table('audit_hour')
    op.drop_table('audit_open')
    op.drop_table('audit_head')
    op.drop_table('audit_checkpoint')
    op.drop_index('association_by_target', table_name='association')
    op.drop_index('association_by_source', table_name='association')
    op.drop_table('association')
    op.drop_table('audit_access')
    op.drop_table('audit_witnessed')
    op.drop_table('audit_unusual')
    op.drop_table('audit_vip')
    op.drop_table('saved_search')
    op.drop_table('audit_hold')
