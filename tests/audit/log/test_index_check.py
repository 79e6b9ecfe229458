"""Records are filed under what they say; whoever thins out the index, or files otherwise, is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.audit.search.test_indexing import GOLDEN
from tests.builders import a_submission, an_entry
from tests.server.test_application import ANNA, of_bytes, serving
from xds.audit.log import index_check
from xds.audit.log.verify import Tampered
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.search.indexing import indexed
from xds.endpoints.audit_received import received
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted
from xds.store.tables import audit_cursor, audit_head, audit_hour, audit_record, audit_value, metadata

NAMES = sorted(file.stem for file in GOLDEN.glob("*.xml"))
LEAF = NAMES.index("iti18_responder")


def filed(engine: sa.Engine, records: list[Recorded]) -> None:
    """Records in the log, numbered and indexed."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table in (audit_record, audit_value, audit_hour, audit_head, audit_cursor):
            connection.execute(sa.delete(table))
        store.record(connection, records)
        store.number(connection, len(records))
        indexed(connection, store.numbered_from(connection, 0, len(records))).keep(connection)
        store.move(connection, search.INDEX, len(records))


@pytest.fixture
def log(engine: sa.Engine) -> sa.Engine:
    """Every golden message, as another node has sent it; something unreadable; and one of ours, of an odd patient."""
    odd = AuditEvent(
        AuditSource("here", ""), "110112", "E", ("ITI-18", "Registry Stored Query"), *[Party("a", "b")] * 2
    )
    odd.about_patient("an\x00na\ud800^^^&1.2&ISO")
    others = [received((GOLDEN / f"{name}.xml").read_bytes(), "tcp 192.0.2.9") for name in NAMES]
    filed(engine, [*others, received(b"not at all", "udp 192.0.2.9"), *odd.records()])
    return engine


def checked(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return index_check.check(connection)


def test_whatever_is_received_is_filed_as_it_says(log: sa.Engine) -> None:
    assert checked(log) == len(NAMES) + 2


def test_what_this_node_does_is_filed_as_it_says(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path) as site:
        entry = an_entry(**of_bytes(b"one"))
        site.provide(a_submission(entries=[entry]), [b"one"])
        site.find()
        site.retrieve(entry.unique_id)
        site.retrieve("1.2.3.404")
        engine = site.application.engine
        with engine.begin() as connection:
            count = store.number(connection, 100)
            indexed(connection, store.numbered_from(connection, 0, 100)).keep(connection)
            store.move(connection, search.INDEX, count)
        assert checked(engine) == count >= 5


def a_row(**values: object) -> Callable[[sa.Connection], object]:
    """Other values in the row of a record that names a patient."""
    return lambda connection: connection.execute(
        sa.update(audit_record).where(audit_record.c.leaf_number == LEAF).values(**values)
    )


def without_values(connection: sa.Connection) -> None:
    ids = sa.select(audit_record.c.id).where(audit_record.c.leaf_number == LEAF)
    kept = sa.select(audit_value.c.term).where(audit_value.c.record_id.in_(ids)).limit(1)
    term = connection.scalar(kept)
    where = (audit_value.c.term == term, audit_value.c.record_id.in_(ids))
    connection.execute(sa.delete(audit_value).where(*where))


SPOILT = {
    "another kind": a_row(event="110100"), "another transaction": a_row(transaction="ITI-99"),
    "another outcome": a_row(outcome=12), "another patient": a_row(patient_id="bert^^^&1.2&ISO"),
    "a value that it is not found by": without_values,
    "hours that are not counted": lambda connection: connection.execute(sa.delete(audit_hour)),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_is_filed_otherwise_is_found_out_and_can_be_mended(
    log: sa.Engine, spoil: Callable[[sa.Connection], object]
) -> None:
    with log.begin() as connection:
        spoil(connection)
    with pytest.raises(Tampered) as found:
        checked(log)
    assert (found.value.step, found.value.leaf) in ((9, LEAF), (9, None))
    begin, wrong, done = 0, 0, False
    while not done:
        with log.begin() as connection:
            before = begin
            begin, mended = index_check.mend(connection, begin)
            wrong, done = wrong + mended, begin == before
    assert wrong == (found.value.leaf is not None)
    assert checked(log) > 0


def test_what_is_mended_is_found_again(log: sa.Engine) -> None:
    def patients(connection: sa.Connection) -> int:
        return len(search.found(connection, Wanted((("patient", str(ANNA)),)), 1000))

    with log.begin() as connection:
        before = patients(connection)
        connection.execute(sa.delete(audit_value))
        assert patients(connection) == 0
    with log.begin() as connection:
        index_check.mend(connection, 0)
        assert patients(connection) == before > 5


def test_what_is_not_indexed_yet_is_not_judged(log: sa.Engine) -> None:
    with log.begin() as connection:
        store.move(connection, search.INDEX, LEAF)
        a_row(outcome=12)(connection)
        assert index_check.check(connection) == LEAF
