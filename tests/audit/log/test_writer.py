"""The log's writer: what it has acknowledged is in the log, whatever breaks and whenever."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.audit.faults import Crash, Disk
from tests.audit.logs import (
    LOG_ID,
    NOW,
    SEGMENT_BYTES,
    a_key,
    a_log,
    a_record,
    files,
    frames,
    other_key,
    our_key,
    records,
    write,
)
from tests.places import ROOT
from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import CheckpointLog
from xds.audit.log.keys import load_or_make
from xds.audit.log.segments import SegmentLog
from xds.audit.log.verify import verify
from xds.audit.log.writer import LogWriter
from xds.errors import Unusable


def a_writer(folder: Path, segment_bytes: int = SEGMENT_BYTES) -> LogWriter:
    return LogWriter(folder, our_key(), LOG_ID, segment_bytes)


def holds(folder: Path, count: int) -> None:
    """The log verifies, and is the records 0 to ``count``."""
    found = verify(folder, [our_key().certificate], every_signature=True)
    assert (found.records, found.unsealed) == (count, 0)
    assert list(SegmentLog(folder / "segments").records()) == records(0, count)


def test_what_was_appended_is_in_the_log_and_under_the_checkpoint(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    assert writer.open() == writer.size == 0
    signed = writer.append(records(0, 3), NOW)
    checkpoint = signing.verify(signed, [our_key().certificate])
    assert (checkpoint.log_id, checkpoint.size, checkpoint.time) == (LOG_ID, 3, NOW)
    assert writer.size == 3
    writer.append([], NOW)
    writer.close()
    holds(tmp_path, 3)
    assert verify(tmp_path, [our_key().certificate]).checkpoints == 2


def test_a_reopened_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for size in range(0, 12, 3):
        writer = a_writer(tmp_path)
        assert writer.open() == size
        writer.append(records(size, size + 3), NOW)
        writer.close()
    holds(tmp_path, 12)


@pytest.mark.parametrize(
    "wrong", [[a_record(4)], [a_record(2)], [a_record(3), a_record(5)], [a_record(4), a_record(3)]]
)
def test_a_gap_is_refused_and_nothing_is_written(tmp_path: Path, wrong: list) -> None:  # type: ignore[type-arg]
    writer = a_writer(tmp_path)
    writer.open()
    writer.append(records(0, 3), NOW)
    with pytest.raises(ValueError, match="without a gap"):
        writer.append(wrong, NOW)
    writer.append(records(3, 4), NOW)
    writer.close()
    holds(tmp_path, 4)


def test_a_clock_that_runs_back_does_not_make_the_log_do_so(tmp_path: Path) -> None:
    for begin, hours in ((0, 0), (1, -5), (2, -3)):
        writer = a_writer(tmp_path)
        writer.open()
        writer.append(records(begin, begin + 1), NOW + timedelta(hours=hours))
        writer.append([], NOW + timedelta(hours=hours - 1))
        writer.close()
    holds(tmp_path, 3)
    times = {signing.read(data).time for _, data in CheckpointLog(tmp_path / "checkpoints").all()}
    assert times == {NOW}


def test_a_second_writer_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    first, second, opened = a_writer(tmp_path), a_writer(tmp_path), threading.Event()
    first.open()
    sizes: list[int] = []

    def open_() -> None:
        sizes.append(second.open())
        opened.set()

    threading.Thread(target=open_, daemon=True).start()
    first.append(records(0, 3), NOW)
    assert not opened.wait(0.1)
    first.close()
    assert opened.wait(5)
    assert sizes == [3]
    second.append(records(3, 5), NOW)
    second.close()
    holds(tmp_path, 5)


def test_a_new_key_goes_on_with_the_log_of_the_one_before(tmp_path: Path) -> None:
    a_log(tmp_path)
    key = replace(other_key(), earlier=(our_key().certificate,))
    writer = LogWriter(tmp_path, key, LOG_ID, SEGMENT_BYTES)
    assert writer.open() == 40
    writer.append(records(40, 45), NOW + timedelta(hours=1))
    writer.close()
    certificates = [our_key().certificate, other_key().certificate]
    assert verify(tmp_path, certificates, every_signature=True).records == 45


def test_a_log_whose_certificate_has_run_out_is_opened_still_and_signed_no_more(tmp_path: Path) -> None:
    key = a_key(NOW - timedelta(days=400), 401)
    for begin in (0, 5):
        writer = LogWriter(tmp_path, key, LOG_ID)
        assert writer.open() == begin
        writer.append(records(begin, begin + 5), NOW)
        writer.close()
    writer = LogWriter(tmp_path, key, LOG_ID)
    assert writer.open() == 10
    with pytest.raises(Unusable, match="not valid now"):
        writer.append(records(10, 15), NOW + timedelta(days=2))
    writer.close()
    holds_by = verify(tmp_path, [key.certificate], every_signature=True)
    assert (holds_by.records, holds_by.unsealed) == (10, 5)


# Crashes.

HOW = ["written", "synced", "half of the rest"]


def life(folder: Path, acknowledged: list[int]) -> None:
    """Two starts of a writer, with a crash's rubbish between them."""
    for _ in range(2):
        writer = a_writer(folder, 300)
        try:
            size = writer.open()
            for _ in range(2):
                writer.append(records(size, size + 3), NOW)
                acknowledged.append(size := size + 3)
        finally:
            writer.close()
        with (folder / "segments" / f"{size:020d}.log").open("wb") as file:
            file.write(b"XDS-AUDIT-1 %d 2026-03-01T08:00:00.000000Z 100\nhalf" % size)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("how", HOW)
def test_whichever_call_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, part: int
) -> None:
    for fails_at in range(1 + part, 10_000, 4):
        folder, acknowledged, disk = tmp_path / str(fails_at), [0], Disk(fails_at)
        with monkeypatch.context() as patch:
            disk.patch(patch)
            with suppress(Crash):
                life(folder, acknowledged)
        if disk.crashed:
            disk.lose(folder, how)
        writer = a_writer(folder, 300)
        size = writer.open()
        assert acknowledged[-1] <= size <= 12
        writer.append(records(size, 13), NOW)
        writer.close()
        holds(folder, 13)
        if not disk.crashed:
            assert fails_at > 60
            return


def test_a_writer_whose_write_has_failed_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = a_writer(tmp_path)
    writer.open()
    writer.append(records(0, 3), NOW)
    with monkeypatch.context() as patch:
        Disk(5).patch(patch)
        with pytest.raises(Crash):
            writer.append(records(3, 6), NOW)
    with pytest.raises(Unusable, match="opened anew"):
        writer.append(records(3, 6), NOW)
    writer.close()
    again = a_writer(tmp_path)
    assert again.open() == 3
    again.append(records(3, 6), NOW)
    again.close()
    holds(tmp_path, 6)


_FOREVER = """
import sys
from pathlib import Path
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.audit.logs import LOG_ID, NOW, records
from xds.audit.log.keys import load_or_make
from xds.audit.log.writer import LogWriter
folder = Path(sys.argv[1])
writer = LogWriter(folder / "log", load_or_make(folder), LOG_ID, 2000)
size = writer.open()
while True:
    writer.append(records(size, size + 3), NOW)
    size += 3
    print(size, flush=True)
"""


def test_a_writer_that_is_killed_again_and_again_loses_nothing_acknowledged(tmp_path: Path) -> None:
    key = load_or_make(tmp_path, **_given(tmp_path))
    last = 0
    for n in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True,
            cwd=ROOT,
        )  # fmt: skip
        assert process.stdout
        before, last = last, int(process.stdout.readline())
        assert last > before
        for _ in range(3 * n):
            last = int(process.stdout.readline())
        process.kill()
        *more, _ = process.stdout.read().split("\n")
        last = int(more[-1]) if more else last
        process.wait()
        process.stdout.close()
    writer = LogWriter(tmp_path / "log", key, LOG_ID)
    size = writer.open()
    writer.close()
    assert size >= last
    found = verify(tmp_path / "log", [key.certificate], every_signature=True)
    assert found.records == size
    assert list(SegmentLog(tmp_path / "log" / "segments").records()) == records(0, size)


def _given(folder: Path) -> dict[str, str]:
    """Our key, valid at NOW, where ``load_or_make`` finds it."""
    pem, key = serialization.Encoding.PEM, our_key()
    plain = key.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "audit-signing.pem").write_bytes(plain)
    (folder / "audit-signing.crt").write_bytes(key.certificate.public_bytes(pem))
    return {"key": str(folder / "audit-signing.pem"), "certificate": str(folder / "audit-signing.crt")}


# Files that no crash leaves so: the writer stops, and leaves the evidence as it is.


def changed(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def altered_last(folder: Path, field: str, value: str) -> None:
    """The last checkpoint with another value and the signature it had."""
    (path,) = files(folder / "checkpoints")
    entries = frames(path)
    old = b"<%b>" % field.encode()
    head, _, rest = entries[-1].data.partition(old)
    _, _, tail = rest.partition(b"<")
    write(path, [*entries[:-1], replace(entries[-1], data=head + old + value.encode() + b"<" + tail)])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a record's header": lambda f: changed(files(f / "segments")[1], b"XDS-AUDIT-1 30 ", b"XDS-AUDIT+1 30 "),
    "a segment's end cut off": lambda f: files(f / "segments")[1].write_bytes(
        files(f / "segments")[1].read_bytes()[:-3]
    ),
    "the last segment missing": lambda f: files(f / "segments")[1].unlink(),
    "all segments missing": lambda f: [path.unlink() for path in files(f / "segments")],
    "a checkpoint's header": lambda f: changed(
        files(f / "checkpoints")[0], b"XDS-CHECKPOINT-1 3 ", b"XDS-CHECKPOINT+1 3 "
    ),
    "the last checkpoint's time": lambda f: altered_last(f, "Time", "2026-03-01T08:00:39.000000+00:00"),
    "the last checkpoint's log id": lambda f: altered_last(f, "LogId", "2.25.2"),
    "the last checkpoint's size": lambda f: altered_last(f, "Size", "39"),
    "the last checkpoint's root": lambda f: altered_last(f, "Root", "00" * 32),
    "the last checkpoint's XML": lambda f: altered_last(f, "Size", "<"),
    "the tree cut off": lambda f: (f / "tree" / "level-00").write_bytes(b""),
    "the tree's top": lambda f: (f / "tree" / "level-05").write_bytes(bytes(32)),
    "a level of the tree missing": lambda f: (f / "tree" / "level-05").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_log_that_was_tampered_with_is_not_gone_on_with(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    a_log(tmp_path)
    damage(tmp_path)
    logs = ("segments", "checkpoints")
    before = {path: path.read_bytes() for log in logs for path in files(tmp_path / log)}
    writer = a_writer(tmp_path)
    with pytest.raises(Unusable, match="audit log"):
        writer.open()
    writer.close()
    assert {path: path.read_bytes() for log in logs for path in files(tmp_path / log)} == before


def test_the_log_and_its_lock_are_for_the_owner_only(tmp_path: Path) -> None:
    a_log(tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
