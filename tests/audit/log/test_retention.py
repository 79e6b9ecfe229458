"""Segments whose time is over are erased or archived; the log still verifies, holds hold, crashes are mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.audit.logs import LOG_ID, a_key, other_key, our_key
from tests.audit.search.test_reports import a_record
from xds.audit.log import erasure
from xds.audit.log.erasure import ErasedPart, Erasure
from xds.audit.log.framing import BadFrame
from xds.audit.log.retention import Retention, Segment
from xds.audit.log.segments import SegmentLog, as_leaf
from xds.audit.log.statement import BadStatement
from xds.audit.log.verify import Tampered, compare, verify
from xds.audit.log.writer import LogWriter
from xds.audit.messages.message import AuditSource
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import indexed
from xds.errors import Unusable
from xds.metadata.identifiers import Oid, PatientId
from xds.store.audit import holds, search
from xds.store.audit import records as store
from xds.store.audit.holds import Hold
from xds.store.audit.search import Wanted
from xds.store.registry import patients
from xds.store.tables import audit_access, audit_hold, audit_value, metadata, patient

ANNA = "anna^^^&1.2.3.4.5&ISO"
DAY = 86_400_000_000
BEGIN = int(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp()) * 1_000_000
COUNT = 40
CERTIFICATES = [our_key().certificate]


class Log:
    """Forty records of forty days, in segments of some eight, in files and database."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sa.delete(audit_hold))
            connection.execute(sa.delete(audit_access))
            store.record(connection, [
                replace(a_record(n, "iti18_responder" if n % 2 else "iti42_responder"), recorded=BEGIN + n * DAY)
                for n in range(COUNT)
            ])  # fmt: skip
            store.number(connection, COUNT)
            indexed(connection, store.numbered_from(connection, 0, COUNT)).keep(connection)
            store.move(connection, search.INDEX, COUNT)
            rows = [as_leaf(row) for row in store.numbered_from(connection, 0, COUNT)]
        writer = LogWriter(folder, our_key(), LOG_ID, segment_bytes=12_000)
        writer.open()
        for begin in range(0, COUNT, 4):
            writer.append(rows[begin : begin + 4], rows[begin + 3].recorded)
        writer.close()
        self.retention = Retention(engine, folder, LOG_ID, our_key(), AuditSource("xds", ""))

    def over(self, days: int = 30) -> list[Segment]:
        return list(self.retention.over(datetime.fromtimestamp((BEGIN + days * DAY) / 1e6, UTC)))

    def erase(self, segment: Segment, **more: Path) -> None:
        self.retention.erase(segment, "its time is over", **more)

    def holds(self) -> tuple[int, int]:
        """How many records the log has, and how many were erased; files and database agree."""
        found = verify(self.folder, CERTIFICATES, every_signature=True)
        with self.engine.connect() as connection:
            compare(self.folder, map(as_leaf, store.all_numbered(connection)), found.last)
        return found.records, found.erased

    def hold(self, **values: object) -> int:
        with self.engine.begin() as connection:
            return holds.add(connection, Hold("anna", "a case", **values))  # type: ignore[arg-type]


@pytest.fixture
def log(engine: sa.Engine, tmp_path: Path) -> Iterator[Log]:
    return Log(engine, tmp_path / "audit")  # type: ignore[return-value]


def test_what_is_erased_is_gone_and_the_log_still_verifies(log: Log) -> None:
    first, second, *_ = log.over()
    for segment in (second, first):
        log.erase(segment)
        assert not segment.path.exists()
    assert log.holds() == (COUNT, second.end)
    with log.engine.connect() as connection:
        found = search.found(connection, Wanted((("patient", ANNA),)), 100)
        assert len(found) == COUNT - second.end
        wanted = sa.select(sa.func.count()).select_from(audit_value)
        assert connection.scalar(wanted.where(audit_value.c.recorded < BEGIN + second.end * DAY)) == 0
        latest = max(search.found(connection, Wanted(event="110101"), 9), key=lambda row: row.id)
    message = read(latest.message)
    assert message.event.action == "D"
    assert message.objects[0].details[0].text == f"records 0 to {first.end - 1}: its time is over"


def test_a_hold_on_a_patient_holds_what_was_recorded_under_an_id_that_was_merged(log: Log) -> None:
    surviving = PatientId("bert", Oid("1.2.3.4.5"))
    with log.engine.begin() as connection:
        connection.execute(sa.delete(patient))
        for one in (PatientId.parse(ANNA), surviving):
            patients.add(connection, "default", one)
        patients.merge(connection, "default", PatientId.parse(ANNA), surviving)
    log.hold(patient_id=str(surviving))
    with pytest.raises(Unusable, match="are kept"):
        log.erase(log.over()[0])


def test_the_log_goes_on_after_an_erasure_and_is_opened_anew(log: Log) -> None:
    for segment in log.over():
        log.erase(segment)
    writer = LogWriter(log.folder, our_key(), LOG_ID)
    assert writer.open() == COUNT
    writer.close()
    assert log.holds()[0] == COUNT


def test_the_newest_segment_and_what_is_young_stay(log: Log) -> None:
    files = SegmentLog(log.folder / "segments").files()
    assert [segment.first for segment in log.over(1000)] == [first for first, _ in files[:-1]]
    assert log.over(1) == []
    assert all(segment.newest < datetime.fromtimestamp((BEGIN + 20 * DAY) / 1e6, UTC) for segment in log.over(20))


def test_an_archive_holds_the_segment_byte_for_byte_and_it_can_be_put_back(log: Log, tmp_path: Path) -> None:
    segment = log.over()[0]
    before = segment.path.read_bytes()
    log.erase(segment, archive=tmp_path / "archive")
    assert (tmp_path / "archive" / segment.path.name).read_bytes() == before
    segment.path.write_bytes(before)
    assert verify(log.folder, CERTIFICATES).erased == 0


@pytest.mark.parametrize("values", [
    {}, {"patient_id": ANNA}, {"since": BEGIN + 2 * DAY, "until": BEGIN + 3 * DAY},
    {"patient_id": ANNA, "until": BEGIN + 5 * DAY},
])  # fmt: skip
def test_what_is_held_is_kept_until_the_hold_is_released(log: Log, values: dict[str, object]) -> None:
    id_ = log.hold(**values)
    segment = log.over()[0]
    assert segment.kept_for == f"hold {id_}"
    with pytest.raises(Unusable, match="are kept: hold"):
        log.erase(segment)
    assert segment.path.exists()
    assert log.holds() == (COUNT, 0)
    with log.engine.begin() as connection:
        assert holds.release(connection, id_, "bert") is not None
        assert holds.release(connection, id_, "bert") is None
    assert log.over()[0].kept_for == ""


@pytest.mark.parametrize("values", [{"patient_id": "bert^^^&1.2&ISO"}, {"since": BEGIN + 39 * DAY}])
def test_a_hold_on_something_else_keeps_nothing(log: Log, values: dict[str, object]) -> None:
    log.hold(**values)
    assert log.over()[0].kept_for == ""


def test_what_was_not_sent_on_yet_is_kept(log: Log) -> None:
    key, node = our_key(), AuditSource("xds", "")
    retention = Retention(log.engine, log.folder, LOG_ID, key, node, ("tls://elsewhere:6514",))
    (first, *_) = retention.over(datetime(2027, 1, 1, tzinfo=UTC))
    assert "sent on" in first.kept_for


def test_two_do_not_erase_at_once(log: Log) -> None:
    other = Retention(log.engine, log.folder, LOG_ID, our_key(), AuditSource("xds", ""))
    segment = log.over()[0]
    with other._alone():
        for do in (lambda: log.erase(segment), log.retention.finish):
            with pytest.raises(Unusable, match="another process"):
                do()
    log.erase(segment)
    with pytest.raises(Unusable, match="erased meanwhile"):
        other.erase(segment, "again")


def test_an_erasure_that_nobody_would_believe_is_not_made(log: Log) -> None:
    ended = a_key(datetime(2026, 2, 1, tzinfo=UTC), 60)
    segment = log.over()[0]
    with pytest.raises(Unusable, match="would not be believed"):
        Retention(log.engine, log.folder, LOG_ID, ended, AuditSource("xds", "")).erase(segment, "over")
    assert log.holds() == (COUNT, 0)
    assert not segment.path.with_suffix(".erased").exists()


def test_what_was_tampered_with_is_evidence_and_not_erased(log: Log) -> None:
    segment = log.over()[0]
    segment.path.write_bytes(segment.path.read_bytes().replace(b"ITI-18", b"ITI-19"))
    with pytest.raises(Unusable, match="are damaged"):
        log.erase(segment)
    assert segment.path.exists()
    assert not segment.path.with_suffix(".erased").exists()


# Crashes.


def test_an_erasure_that_was_broken_off_is_undone_or_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = log.over()

    def dies(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(log.retention, "_erase_rows", dies)
        with pytest.raises(RuntimeError):
            log.erase(first)  # before its rows
    with monkeypatch.context() as patch:
        patch.setattr(log.retention, "_drop", dies)
        with pytest.raises(RuntimeError):
            log.erase(second)  # behind its rows
    assert verify(log.folder, CERTIFICATES).erased == 0
    log.retention.finish()
    assert log.holds() == (COUNT, second.end - second.first)
    assert first.path.exists()
    assert not second.path.exists()


# Tampering.


def an_erased(log: Log) -> Path:
    segment = log.over()[0]
    log.erase(segment)
    return segment.path.with_suffix(".erased")


def test_a_segment_that_is_gone_without_a_statement_is_missing(log: Log) -> None:
    log.over()[0].path.unlink()
    with pytest.raises(Tampered) as found:
        verify(log.folder, CERTIFICATES)
    assert (found.value.step, found.value.leaf) == (1, 0)


def forged(log: Log, **changes: object) -> None:
    """An erasure by somebody who can write the files, and has not the key."""
    part = ErasedPart.of(an_erased(log))
    said = replace(erasure.read(part.signed), **changes)  # type: ignore[arg-type]
    erasure.write(part.path, erasure.sign(said, other_key()), [hash_ for _, hash_ in part.hashes()])


def renamed_statement(log: Log) -> None:
    path = an_erased(log)
    path.write_bytes(path.read_bytes().replace(b"its time is over", b"its time is done"))


def another_hash(log: Log) -> None:
    path = an_erased(log)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def cut(log: Log) -> None:
    path = an_erased(log)
    path.write_bytes(path.read_bytes()[:-10])


def of_another_part(log: Log) -> None:
    path = an_erased(log)
    part = ErasedPart.of(path)
    said = replace(erasure.read(part.signed), end=part.end + 1)
    erasure.write(path, erasure.sign(said, our_key()), [*(hash_ for _, hash_ in part.hashes()), bytes(32)])


ATTACKS: dict[str, tuple[Callable[[Log], object], int]] = {
    "an erasure by another key": (forged, 8),
    "the statement's words": (renamed_statement, 8),
    "a hash": (another_hash, 2),
    "a part cut short": (cut, 1),
    "one record more": (of_another_part, 1),
}


@pytest.mark.parametrize(("attack", "step"), ATTACKS.values(), ids=ATTACKS)
def test_an_erasure_that_is_none_is_found(log: Log, attack: Callable[[Log], object], step: int) -> None:
    attack(log)
    with pytest.raises(Tampered) as found:
        verify(log.folder, CERTIFICATES)
    assert found.value.step == step, str(found.value)


def test_rows_that_are_there_though_they_were_erased_are_found(log: Log) -> None:
    with log.engine.connect() as connection:
        rows = list(map(as_leaf, store.all_numbered(connection)))
    an_erased(log)
    with pytest.raises(Tampered, match="was erased and is in the database"):
        compare(log.folder, rows)


@pytest.mark.parametrize("signed", [b"<x/>", b"no xml"])
def test_what_is_no_erasure_is_said(signed: bytes) -> None:
    with pytest.raises(BadStatement):
        erasure.read(signed)


def test_an_erasure_comes_back_as_it_was_and_must_make_sense(tmp_path: Path) -> None:
    said = Erasure(LOG_ID, 3, 9, bytes(32), datetime(2026, 1, 1, tzinfo=UTC), bytes(32), "why & wherefore")
    assert erasure.read(erasure.sign(said, our_key())) == said
    for wrong in (replace(said, end=3), replace(said, time=said.time + timedelta(0), first=-1)):
        with pytest.raises(BadStatement):
            erasure.read(erasure.sign(wrong, our_key()))
    (tmp_path / "00000000000000000000.erased").write_bytes(b"XDS-ERASED-1 x\n")
    with pytest.raises(BadFrame):
        erasure.erased_parts(tmp_path)
