"""The sequencer: order from the database, files made from it, and one story told by both."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.store.audit.test_records import a_row, keep, rows
from xds.audit.log import checkpoint as signing
from xds.audit.log import sequencer
from xds.audit.log.segments import SegmentLog, as_leaf
from xds.audit.log.sequencer import Sequencer, alive, folder, signing_key
from xds.audit.log.verify import Tampered, Verified, compare, verify
from xds.audit.search.indexing import Indexed, indexed
from xds.audit.search.watching import Watcher
from xds.errors import Unusable
from xds.server.affinity_domain import owner
from xds.settings.configuration import load
from xds.settings.sections import Loaded
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.deployment import with_identity
from xds.store.tables import audit_checkpoint, audit_head, audit_node, audit_record


@pytest.fixture
def loaded(database_url: str, tmp_path: Path) -> Loaded:
    given = {"server.data": str(tmp_path / "data"), "server.database": database_url, "audit.checkpoint_seconds": 0.05}
    return with_identity(load(environment={}).changed(given, "a test"))


@pytest.fixture
def running(engine: sa.Engine, loaded: Loaded) -> Iterator[Sequencer]:
    sequencer = Sequencer(engine, loaded)
    yield sequencer
    sequencer.close()


def once(engine: sa.Engine, loaded: Loaded) -> int:
    """One step of a sequencer that is started for it."""
    sequencer = Sequencer(engine, loaded)
    try:
        return sequencer.step()
    finally:
        sequencer.close()


def verified(engine: sa.Engine, loaded: Loaded) -> Verified:
    """The files hold and the database tells the same."""
    found = verify(folder(loaded), [signing_key(loaded).certificate], every_signature=True)
    with engine.connect() as connection:
        kept = store.last_checkpoint(connection)
        numbered = map(as_leaf, store.all_numbered(connection))
        assert compare(folder(loaded), numbered, signing.read(kept[1]) if kept else None) == found.records
    return found


def messages(loaded: Loaded) -> list[bytes]:
    return [message for _, _, message in SegmentLog(folder(loaded) / "segments").raw()]


def test_records_are_numbered_written_and_sealed_in_both_places(
    engine: sa.Engine, loaded: Loaded, running: Sequencer
) -> None:
    keep(engine, rows(0, 5))
    assert running.step() == 5
    assert running.step() == 0
    keep(engine, rows(5, 7))
    assert running.step() == 2
    assert messages(loaded) == [record.message for record in rows(0, 7)]
    found = verified(engine, loaded)
    assert (found.records, found.checkpoints) == (7, 2)
    with engine.connect() as connection:
        size, signed = store.last_checkpoint(connection) or (0, b"")
    assert (size, signing.read(signed)) == (7, found.last)


def test_a_records_time_is_kept_to_the_microsecond(engine: sa.Engine, loaded: Loaded, running: Sequencer) -> None:
    times = [1, 999_999, 1_772_352_000_123_457, 4_102_444_799_999_999]
    keep(engine, [a_row(n, recorded=time) for n, time in enumerate(times)])
    running.step()
    found = SegmentLog(folder(loaded) / "segments").records()
    assert [round(record.recorded.timestamp() * 1e6) for record in found] == times


def test_more_than_a_batch_is_sealed_in_one_step_under_several_checkpoints(
    engine: sa.Engine, loaded: Loaded, running: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "BATCH", 3)
    keep(engine, rows(0, 8))
    assert [running.step(), running.step()] == [8, 0]
    found = verified(engine, loaded)
    assert (found.records, found.checkpoints) == (8, 3)


def test_a_record_that_cannot_be_indexed_is_left_out_and_those_behind_it_are_not(
    engine: sa.Engine, loaded: Loaded, running: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(connection: sa.Connection, records: list[Recorded], watcher: object) -> Indexed:
        if any(record.leaf_number == 2 for record in records):
            connection.execute(sa.text("SELECT nonsense FROM nowhere"))
        return indexed(connection, records)

    def fails_so(*arguments: object) -> Indexed:
        try:
            return fails(*arguments)  # type: ignore[arg-type]
        except sa.exc.OperationalError:  # as SQLite calls it
            raise ValueError from None

    monkeypatch.setattr(sequencer, "indexed", fails_so)
    keep(engine, rows(0, 5))
    assert running.step() == 5
    with engine.connect() as connection:
        assert store.position(connection, search.INDEX) == 5
        assert len(search.found(connection, search.Wanted(transaction="ITI-18"), 9)) == 5
    assert verified(engine, loaded).records == 5


def test_what_a_peer_puts_into_a_record_stops_no_index(engine: sa.Engine, running: Sequencer) -> None:
    thing = b"""<ParticipantObjectIdentification ParticipantObjectID="1.2"><ParticipantObjectIDTypeCode csd-code="9"
      codeSystemName="RFC-3881" originalText="Report Number"/><ParticipantObjectDetail type="Repository Unique ID"
      value="AA=="/></ParticipantObjectIdentification>"""
    event = b'<EventIdentification EventDateTime="2026-03-01T08:00:00Z" EventOutcomeIndicator="0"/>'
    keep(engine, [replace(a_row(0), message=b"<AuditMessage>" + event + thing + b"</AuditMessage>")])
    running.step()
    with engine.connect() as connection:
        assert len(search.found(connection, search.Wanted((("document", "1.2"),)), 9)) == 1


def test_a_late_commit_is_not_skipped(engine: sa.Engine, loaded: Loaded, running: Sequencer) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    with engine.connect() as late:
        store.record(late, rows(0, 1))
        keep(engine, rows(1, 3))
        assert running.step() == 2
        late.commit()
    assert running.step() == 1
    assert messages(loaded) == [a_row(n).message for n in (1, 2, 0)]
    assert verified(engine, loaded).records == 3


def test_two_sequencers_do_not_make_two_orders(engine: sa.Engine, loaded: Loaded) -> None:
    """The second waits for the first's lock, and goes on where it was."""
    stop, errors = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            while not stop.is_set():
                once(engine, loaded)
                time.sleep(0.001)
        except BaseException as problem:
            errors.append(problem)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(20):
        keep(engine, [a_row(n)])
    stop.set()
    for thread in threads:
        thread.join()
    once(engine, loaded)
    assert errors == []
    assert sorted(messages(loaded)) == sorted(record.message for record in rows(0, 20))
    assert verified(engine, loaded).records == 20


def test_two_nodes_with_files_of_their_own_write_the_same_records(
    engine: sa.Engine, loaded: Loaded, tmp_path: Path
) -> None:
    other = loaded.changed({"server.data": str(tmp_path / "other")}, "a test")
    here, there = Sequencer(engine, loaded), Sequencer(engine, other)
    for n in range(6):
        keep(engine, [a_row(n)])
        (here, there)[n % 2].step()
    here.step(), there.step()
    here.close(), there.close()
    assert messages(loaded) == messages(other) == [record.message for record in rows(0, 6)]


# Streams.


def a_stream(engine: sa.Engine, id_: str, owned_by: str, record: Recorded) -> None:
    with engine.begin() as connection:
        store.open_stream(connection, id_, owned_by, [record])


def dead() -> str:
    """A process that is no more."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", "print(open('/proc/self/stat').read().rpartition(')')[2].split()[19])"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    started, _ = process.communicate()
    return f"{socket.gethostname()} {process.pid} {started.strip()}"


def test_streams_of_dead_processes_become_failures_and_those_of_living_ones_do_not(
    engine: sa.Engine, running: Sequencer, loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted = [a_row(n, outcome=8) for n in range(4)]
    host, pid, started = owner().split(" ")
    a_stream(engine, "dead", dead(), interrupted[0])
    a_stream(engine, "living", owner(), interrupted[1])
    a_stream(engine, "of a process with its number", f"{host} {pid} {int(started) - 1}", interrupted[2])
    a_stream(engine, "elsewhere", "another-host 1 1", interrupted[3])
    with caplog.at_level(logging.WARNING):
        assert running.step() == 2
    assert sorted(messages(loaded)) == [interrupted[0].message, interrupted[2].message]
    assert {record.stream for record in caplog.records} == {"dead", "of a process with its number"}  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert {id_ for id_, _, _ in store.streams(connection)} == {"living", "elsewhere"}
    assert running.step() == 0


def test_streams_of_a_host_that_is_gone_become_failures_when_it_was_not_there_for_long(
    engine: sa.Engine, running: Sequencer, loaded: Loaded
) -> None:
    a_stream(engine, "of one that is gone", "gone-host 1 1", a_row(1, outcome=8))
    a_stream(engine, "of one that is slow", "slow-host 1 1", a_row(2, outcome=8))
    now = store.now_microseconds()
    with engine.begin() as connection:
        for host, seconds in (("gone-host", sequencer.GONE_SECONDS + 1), ("slow-host", sequencer.GONE_SECONDS - 60)):
            connection.execute(sa.insert(audit_node).values(host=host, seen=now - round(seconds * 1e6)))
    assert running.step() == 1
    assert messages(loaded) == [a_row(1, outcome=8).message]
    with engine.connect() as connection:
        assert [id_ for id_, _, _ in store.streams(connection)] == ["of one that is slow"]
        assert {*connection.scalars(sa.select(audit_node.c.host))} == {"gone-host", "slow-host", socket.gethostname()}


def test_a_process_lives_if_number_and_start_are_its_own() -> None:
    host, pid, started = owner().split(" ")
    assert alive(owner())
    assert not alive(f"{host} {pid} {int(started) + 1}")
    assert not alive(f"{host} 999999999 1")
    assert alive("another-host 999999999 1")


# Files and database tell one story.


def three_steps(engine: sa.Engine, loaded: Loaded) -> None:
    sequencer = Sequencer(engine, loaded)
    for begin in range(0, 9, 3):
        keep(engine, rows(begin, begin + 3))
        sequencer.step()
    sequencer.close()


def test_files_that_are_gone_are_made_again_and_meet_the_last_root(
    engine: sa.Engine, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "BATCH", 4)
    three_steps(engine, loaded)
    before = (folder(loaded) / "segments" / f"{0:020d}.log").read_bytes()
    shutil.rmtree(folder(loaded))
    keep(engine, rows(9, 10))
    assert once(engine, loaded) == 10
    after = (folder(loaded) / "segments" / f"{0:020d}.log").read_bytes()
    assert after.startswith(before)
    assert verified(engine, loaded).records == 10


def test_what_a_crash_left_unsealed_is_written_again(engine: sa.Engine, loaded: Loaded) -> None:
    three_steps(engine, loaded)
    keep(engine, rows(9, 11))
    with engine.begin() as connection:
        store.number(connection, 10)  # numbered, and the process died
    segment = folder(loaded) / "segments" / f"{0:020d}.log"
    segment.write_bytes(segment.read_bytes() + b"XDS-AUDIT-1 9 half")
    assert once(engine, loaded) == 2
    assert verified(engine, loaded).records == 11


def test_a_checkpoint_that_the_database_did_not_get_is_followed_by_the_next(engine: sa.Engine, loaded: Loaded) -> None:
    three_steps(engine, loaded)
    with engine.begin() as connection:
        connection.execute(sa.delete(audit_checkpoint).where(audit_checkpoint.c.size == 9))
    keep(engine, rows(9, 10))
    assert once(engine, loaded) == 1
    assert verified(engine, loaded).records == 10


def change_row(engine: sa.Engine, leaf: int) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(audit_record).where(audit_record.c.leaf_number == leaf).values(message=b"other"))


def back_date_row(engine: sa.Engine, leaf: int) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(audit_record).where(audit_record.c.leaf_number == leaf).values(recorded=1))


def remove_row(engine: sa.Engine, leaf: int) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(audit_record).where(audit_record.c.leaf_number == leaf))


@pytest.mark.parametrize(("spoil", "leaf"), [(change_row, 0), (back_date_row, 5), (remove_row, 5), (remove_row, 8)])
def test_rows_that_were_changed_are_not_sealed_anew_when_the_files_are_gone(
    engine: sa.Engine, loaded: Loaded, spoil: Callable[[sa.Engine, int], None], leaf: int
) -> None:
    three_steps(engine, loaded)
    shutil.rmtree(folder(loaded))
    spoil(engine, leaf)
    for _ in range(2):  # and not at the second start either
        with pytest.raises(Unusable, match="audit log"):
            Sequencer(engine, loaded)
    assert messages(loaded) == []


def test_files_of_another_history_are_not_gone_on_with(engine: sa.Engine, loaded: Loaded) -> None:
    three_steps(engine, loaded)
    saved = folder(loaded).with_name("saved")
    folder(loaded).rename(saved)
    with engine.begin() as connection:
        for table in (audit_record, audit_head, audit_checkpoint):
            connection.execute(sa.delete(table))
    keep(engine, [a_row(n) for n in range(100, 112)])
    once(engine, loaded)
    shutil.rmtree(folder(loaded))
    saved.rename(folder(loaded))
    with pytest.raises(Unusable, match="audit log"):
        Sequencer(engine, loaded)


def test_a_database_that_was_put_back_does_not_lose_new_records(engine: sa.Engine, loaded: Loaded) -> None:
    """Its head is behind the files: what it numbers now would never be written."""
    three_steps(engine, loaded)
    with engine.begin() as connection:
        connection.execute(sa.delete(audit_record).where(audit_record.c.leaf_number >= 6))
        connection.execute(sa.delete(audit_checkpoint).where(audit_checkpoint.c.size > 6))
        connection.execute(sa.update(audit_head).values(size=6))
    with pytest.raises(Unusable, match=r"9 records .* 6"):
        Sequencer(engine, loaded)


def test_a_refused_start_leaves_the_lock(engine: sa.Engine, loaded: Loaded) -> None:
    three_steps(engine, loaded)
    with engine.begin() as connection:
        connection.execute(sa.update(audit_head).values(size=6))
    with pytest.raises(Unusable):
        Sequencer(engine, loaded)
    with engine.begin() as connection:
        connection.execute(sa.update(audit_head).values(size=9))
    Sequencer(engine, loaded).close()


def test_a_row_lost_before_it_was_written_stops_the_sequencer(engine: sa.Engine, loaded: Loaded) -> None:
    running = Sequencer(engine, loaded)
    keep(engine, rows(0, 3))
    with engine.begin() as connection:
        store.number(connection, 10)
    remove_row(engine, 1)
    with pytest.raises(Unusable, match="record 1 is missing"):
        running.step()
    running.close()
    assert messages(loaded) == []


@pytest.mark.parametrize("spoil", [change_row, remove_row])
def test_a_changed_database_is_found_beside_the_files(
    engine: sa.Engine, loaded: Loaded, spoil: Callable[[sa.Engine, int], None]
) -> None:
    three_steps(engine, loaded)
    spoil(engine, 5)
    with pytest.raises(Tampered) as found:
        verified(engine, loaded)
    assert (found.value.step, found.value.leaf) == (6, 5)


def test_the_operators_key_signs_where_it_is_given(engine: sa.Engine, loaded: Loaded, tmp_path: Path) -> None:
    made = signing_key(loaded)
    for file in ("audit-signing.pem", "audit-signing.crt"):
        (loaded.settings.data / "keys" / file).rename(tmp_path / file)
    given = loaded.changed(
        {"audit.key": str(tmp_path / "audit-signing.pem"), "audit.certificate": str(tmp_path / "audit-signing.crt")},
        "a test",
    )
    assert signing_key(given).certificate == made.certificate
    keep(engine, rows(0, 1))
    once(engine, given)
    assert verify(folder(given), [made.certificate]).records == 1


# The process.


def test_the_process_seals_what_comes_and_what_is_left_when_it_is_stopped(
    engine: sa.Engine, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list = []  # type: ignore[type-arg]
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append((number, handler)))
    thread = threading.Thread(target=sequencer.run, args=(loaded,))
    keep(engine, rows(0, 2))
    thread.start()
    wait_for(lambda: len(messages(loaded)) == 2)
    keep(engine, rows(2, 3))
    wait_for(lambda: len(messages(loaded)) == 3)
    keep(engine, rows(3, 5))
    ((number, stop),) = handlers
    assert number == signal.SIGTERM
    stop(number, None)
    thread.join(10)
    assert not thread.is_alive()
    assert verified(engine, loaded).records == 5


def test_the_process_ends_with_its_parent(engine: sa.Engine, loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    parents = iter([1, 1, 2])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    keep(engine, rows(0, 1))
    sequencer.run(loaded)
    assert verified(engine, loaded).records == 1


def test_a_database_that_cannot_be_reached_for_a_while_is_waited_for(
    engine: sa.Engine, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list = []  # type: ignore[type-arg]
    monkeypatch.setattr(signal, "signal", lambda _, handler: handlers.append(handler))
    real, calls = Sequencer.step, list[datetime]()

    def step(self: Sequencer) -> int:
        calls.append(datetime.now(UTC))
        if len(calls) == 1:
            raise sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))
        if len(calls) == 3:
            handlers[0](signal.SIGTERM, None)
        return real(self)

    monkeypatch.setattr(Sequencer, "step", step)
    keep(engine, rows(0, 1))
    sequencer.run(loaded)
    assert len(calls) >= 3
    assert verified(engine, loaded).records == 1


def test_a_step_that_failed_after_writing_is_gone_on_with(
    engine: sa.Engine, loaded: Loaded, running: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away between the files' checkpoint and its own."""
    keep(engine, rows(0, 2))
    with monkeypatch.context() as patch:
        patch.setattr(store, "keep_checkpoint", lambda *_: (_ for _ in ()).throw(
            sa.exc.OperationalError("INSERT", {}, Exception("gone"))))  # fmt: skip
        with pytest.raises(sa.exc.OperationalError):
            running.step()
    keep(engine, [replace(a_row(2), outcome=4)])
    assert running.step() == 1
    assert verified(engine, loaded).records == 3


def test_what_the_sequencer_of_another_node_has_indexed_meanwhile_is_not_counted_twice(
    engine: sa.Engine, running: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(connection: sa.Connection, records: list[Recorded], watcher: Watcher) -> Indexed:
        monkeypatch.setattr(sequencer, "indexed", indexed)
        assert running._indexed(len(records)) == len(records)  # the other one, which comes in between
        return indexed(connection, records, watcher)

    keep(engine, rows(0, 5))
    monkeypatch.setattr(sequencer, "indexed", too_late)
    assert running.step() == 5
    with engine.connect() as connection:
        assert sum(search.hours(connection).values()) == 5
        assert store.position(connection, search.INDEX) == 5


def test_nothing_is_locked_while_records_are_read_for_what_they_are_searched_by(
    engine: sa.Engine, running: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def long(connection: sa.Connection, records: list[Recorded], watcher: Watcher) -> Indexed:
        keep(engine, rows(len(records), 1))  # would wait for a lock that this thread has
        return indexed(connection, records, watcher)

    keep(engine, rows(0, 5))
    monkeypatch.setattr(sequencer, "indexed", long)
    assert running.step() == 5
