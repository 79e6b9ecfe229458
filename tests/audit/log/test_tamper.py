"""The tamper matrix: each way of changing a log that was written, and where ``verify`` finds it.

What cannot be found from the files alone is here too, with what finds it instead.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import etree

from tests.audit.logs import (
    BATCH,
    NOW,
    RECORDS,
    SECOND_FILE,
    Frame,
    a_log,
    a_record,
    files,
    frames,
    other_key,
    our_key,
    records,
    write,
)
from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import NAMESPACE
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import HashTree, leaf_hash
from xds.audit.log.segments import Record, SegmentLog
from xds.audit.log.verify import Tampered, Verified, compare, verify, verify_record
from xds.audit.log.writer import LogWriter


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_log(tmp_path_factory.mktemp("written"))


@pytest.fixture
def log(written: Path, tmp_path: Path) -> Path:
    """A log of our own to spoil."""
    shutil.copytree(written, tmp_path / "log")
    return tmp_path / "log"


def check(folder: Path, key: SigningKey | None = None, *, every_signature: bool = False) -> Verified:
    return verify(folder, [(key or our_key()).certificate], every_signature=every_signature)


@pytest.mark.parametrize("every_signature", [False, True])
def test_the_log_as_written_holds(log: Path, every_signature: bool) -> None:
    progress: list[int] = []
    found = verify(log, [our_key().certificate], every_signature=every_signature, progress=progress.append)
    assert (found.records, found.checkpoints, found.unsealed, progress) == (RECORDS, 8, 0, [])
    assert found.last is not None
    assert (found.last.size, found.last.time) == (RECORDS, NOW + timedelta(seconds=RECORDS))
    assert [len(frames(path)) for path in files(log / "segments")] == [SECOND_FILE, RECORDS - SECOND_FILE]


def test_progress_is_told_every_thousand_records(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, our_key(), "1")
    writer.open()
    writer.append([a_record(n, b"") for n in range(2500)], NOW)
    writer.close()
    progress: list[int] = []
    verify(tmp_path, [our_key().certificate], progress=progress.append)
    assert progress == [1000, 2000]


# Records.


def content(folder: Path) -> list[Frame]:
    return [frame for path in files(folder / "segments") for frame in frames(path)]


def rewritten(folder: Path, entries: Sequence[Frame], *, renumbered: bool = False) -> None:
    """The segments anew: the second file begins where it did; renumbered, an attack that minds the numbers."""
    if renumbered:
        entries = [replace(frame, number=number) for number, frame in enumerate(entries)]
    first, second = files(folder / "segments")
    cut = next((n for n, frame in enumerate(entries) if frame.number >= SECOND_FILE), len(entries))
    write(first, entries[:cut])
    write(second, entries[cut:])


def spoil_bytes(leaf: int, old: bytes, new: bytes) -> Callable[[Path], None]:
    """Other bytes in the frame of one record, its length in the file kept."""

    def spoil(folder: Path) -> None:
        path = files(folder / "segments")[leaf >= SECOND_FILE]
        whole = path.read_bytes()
        frame = next(frame for frame in frames(path) if frame.number == leaf).bytes()
        assert frame.count(old) == 1
        assert len(old) == len(new)
        path.write_bytes(whole.replace(frame, frame.replace(old, new)))

    return spoil


def edit(change: Callable[[list[Frame]], list[Frame]], *, renumbered: bool = False) -> Callable[[Path], None]:
    return lambda folder: rewritten(folder, change(content(folder)), renumbered=renumbered)


def moved(e: list[Frame], begin: int, to: int) -> list[Frame]:
    rest = e[:begin] + e[begin + 1 :]
    return [*rest[:to], e[begin], *rest[to:]]


def said(e: list[Frame], at: int, header: bytes) -> list[Frame]:
    return [*e[:at], replace(e[at], said=header), *e[at + 1 :]]


def cut_bytes(count: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        path = files(folder / "segments")[1]
        path.write_bytes(path.read_bytes()[:-count])

    return cut


NEW = Frame(b"XDS-AUDIT-1", 12, b"2026-03-01T08:00:12.000000Z", b"<AuditMessage>what was not</AuditMessage>")
OLD_TIME, BACK_DATED = b"T08:00:12.000000Z", b"2025-03-01T08:00:12.000000Z"
MESSAGE = a_record(12).message

# attack: what is done, the step and the record that verify names
RECORD_ATTACKS: dict[str, tuple[Callable[[Path], object], int, int]] = {
    "the word of a header": (spoil_bytes(12, b"XDS-AUDIT-1", b"XDS-AUDIT-2"), 1, 12),
    "a record's number": (spoil_bytes(12, b"-1 12 ", b"-1 13 "), 1, 12),
    "where a record came from": (spoil_bytes(14, b"192.0.2.9", b"192.0.2.8"), 2, 14),
    "where a record came from, taken away": (edit(lambda e: said(e, 14, e[12].said.replace(b"12.", b"14."))), 2, 14),
    "where a record came from, put in": (edit(lambda e: said(e, 12, e[12].said + b";tcp%20192.0.2.9")), 2, 12),
    "a record's time": (spoil_bytes(12, OLD_TIME, b"T08:00:11.000000Z"), 2, 12),
    "a microsecond of a record's time": (spoil_bytes(12, OLD_TIME, b"T08:00:12.000001Z"), 2, 12),
    "a record's zone": (spoil_bytes(12, OLD_TIME, b"T08:00:12.000000z"), 2, 12),
    "a record's length, longer": (spoil_bytes(12, b"Z %d\n" % len(MESSAGE), b"Z %d\n" % (len(MESSAGE) + 1)), 1, 12),
    "a record's length, shorter": (spoil_bytes(12, b"Z %d\n" % len(MESSAGE), b"Z %d\n" % (len(MESSAGE) - 1)), 1, 12),
    "the end of a header": (spoil_bytes(12, b"Z %d\n" % len(MESSAGE), b"Z %d " % len(MESSAGE)), 1, 12),
    "a byte of a message": (spoil_bytes(12, b'number="00012"', b'number="10012"'), 2, 12),
    "the first byte of a message": (spoil_bytes(12, b"\n<A", b"\n>A"), 2, 12),
    "the last byte of a message": (spoil_bytes(12, b"e>\n", b"e<\n"), 2, 12),
    "the line end after a message": (spoil_bytes(12, b">\n", b"> "), 1, 12),
    "a byte of the very first record": (spoil_bytes(0, b'number="00000"', b'number="10000"'), 2, 0),
    "a byte of the very last record": (spoil_bytes(39, b'number="00039"', b'number="10039"'), 2, 39),
    "the line end after the last record": (spoil_bytes(39, b">\n", b"> "), 1, 39),
    "a record removed": (edit(lambda e: e[:12] + e[13:]), 1, 12),
    "a record removed and the rest renumbered": (edit(lambda e: e[:12] + e[13:], renumbered=True), 2, 12),
    "the first record removed": (edit(lambda e: e[1:]), 1, 0),
    "the first record removed and the rest renumbered": (edit(lambda e: e[1:], renumbered=True), 2, 0),
    "a file's last record removed": (edit(lambda e: e[:19] + e[20:]), 1, 19),
    "a record put in": (edit(lambda e: [*e[:12], NEW, *e[12:]]), 1, 13),
    "a record put in and the rest renumbered": (edit(lambda e: [*e[:12], NEW, *e[12:]], renumbered=True), 2, 12),
    "a record put in before the first": (edit(lambda e: [NEW, *e], renumbered=True), 2, 0),
    "a record replaced": (edit(lambda e: [*e[:12], NEW, *e[13:]]), 2, 12),
    "two records swapped": (edit(lambda e: moved(e, 12, 13)), 1, 12),
    "two records swapped and renumbered": (edit(lambda e: moved(e, 12, 13), renumbered=True), 2, 12),
    "two records swapped across a checkpoint": (edit(lambda e: moved(e, 14, 15), renumbered=True), 2, 14),
    "two records swapped across files": (edit(lambda e: moved(e, 19, 20), renumbered=True), 2, 19),
    "a record moved far": (edit(lambda e: moved(e, 3, 33), renumbered=True), 2, 3),
    "a record twice": (edit(lambda e: [*e[:13], *e[12:]]), 1, 13),
    "a record twice and the rest renumbered": (edit(lambda e: [*e[:13], *e[12:]], renumbered=True), 2, 13),
    "a record back-dated": (
        edit(lambda e: [*e[:12], replace(e[12], said=BACK_DATED), *e[13:]]), 2, 12,
    ),
    "a message emptied": (edit(lambda e: [*e[:12], replace(e[12], data=b""), *e[13:]]), 2, 12),
    "two records made one": (
        edit(lambda e: [*e[:12], replace(e[12], data=e[12].data + b"\n" + e[13].bytes()[:-1]), *e[14:]]), 1, 13,
    ),
    "the last record cut off": (edit(lambda e: e[:-1]), 5, 39),
    "the last three records cut off": (edit(lambda e: e[:-3]), 5, 37),
    "the last seven records cut off": (edit(lambda e: e[:-7]), 5, 33),
    "all records cut off": (edit(lambda _: []), 1, 0),
    "the last byte cut off": (cut_bytes(1), 1, 39),
    "half of the last record cut off": (cut_bytes(50), 1, 39),
    "most of the last record's header cut off": (cut_bytes(len(a_record(39).message) + 10), 1, 39),
    "the first file removed": (lambda f: files(f / "segments")[0].unlink(), 1, 0),
    "the second file removed": (lambda f: files(f / "segments")[1].unlink(), 5, SECOND_FILE),
    "the second file renamed": (
        lambda f: files(f / "segments")[1].rename(f / "segments" / f"{21:020d}.log"), 1, SECOND_FILE,
    ),
    "the files exchanged": (
        lambda f: [
            path.write_bytes(other)
            for path, other in zip(
                files(f / "segments"), [p.read_bytes() for p in reversed(files(f / "segments"))], strict=True
            )
        ], 1, 0,
    ),
    "the folder of records removed": (lambda f: shutil.rmtree(f / "segments"), 5, 0),
}  # fmt: skip


@pytest.mark.parametrize(("attack", "step", "leaf"), RECORD_ATTACKS.values(), ids=RECORD_ATTACKS)
def test_a_changed_record_is_found_and_named(log: Path, attack: Callable[[Path], object], step: int, leaf: int) -> None:
    attack(log)
    with pytest.raises(Tampered) as found:
        check(log)
    assert (found.value.step, found.value.leaf) == (step, leaf)
    assert f"step {step}, record {leaf}: " in str(found.value)


@pytest.mark.parametrize("leaf", range(RECORDS))
def test_whichever_record_is_changed_is_named(log: Path, leaf: int) -> None:
    spoil_bytes(leaf, b"<Audit", b"<AudiT")(log)
    with pytest.raises(Tampered, match=f"step 2, record {leaf}: not what was sealed"):
        check(log)


@pytest.mark.parametrize("tree", ["removed", "changed"])
def test_without_its_tree_the_log_is_still_verified_and_the_batch_named(log: Path, tree: str) -> None:
    """The tree's files only help to say which record it is; nothing is believed because of them."""
    if tree == "removed":
        shutil.rmtree(log / "tree")
    else:
        (log / "tree" / "level-00").write_bytes(bytes(32 * RECORDS))
    assert check(log).records == RECORDS
    spoil_bytes(13, b"<Audit", b"<AudiT")(log)
    with pytest.raises(Tampered) as found:
        check(log)
    assert (found.value.step, found.value.leaf) == (2, 10)
    assert (log / "tree").exists() == (tree == "changed")


@pytest.mark.parametrize("whole", [True, False])
def test_a_tree_changed_with_its_record_does_not_hide_it(log: Path, whole: bool) -> None:
    """The tree made again with the forged record in it, or its leaf changed alone under the nodes that were."""
    forged = replace(a_record(12), message=b"<AuditMessage>what was not</AuditMessage>")
    rewritten(log, [replace(f, data=forged.message) if f.number == 12 else f for f in content(log)])
    leaves = [leaf_hash(record.leaf_data()) for record in records(0, RECORDS)]
    leaves[12] = leaf_hash(forged.leaf_data())
    if whole:
        HashTree(log / "tree").truncate(0)
        HashTree(log / "tree").append(leaves)
    else:
        (log / "tree" / "level-00").write_bytes(b"".join(leaves))
    with pytest.raises(Tampered) as found:
        check(log)
    assert (found.value.step, found.value.leaf) == (2, 10)


def test_verifying_writes_nothing(log: Path) -> None:
    shutil.rmtree(log / "tree")
    before = sorted(log.rglob("*"))
    check(log)
    assert sorted(log.rglob("*")) == before


def test_records_that_wait_for_a_checkpoint_are_counted_and_not_judged(log: Path) -> None:
    SegmentLog(log / "segments").append(records(RECORDS, RECORDS + 3))
    cut_bytes(5)(log)
    found = check(log)
    assert (found.records, found.unsealed) == (RECORDS, 2)


# Checkpoints.


def chain(folder: Path) -> list[Frame]:
    (path,) = files(folder / "checkpoints")
    return frames(path)


def linked(folder: Path, entries: Sequence[Frame], *, renumbered: bool = True) -> None:
    if renumbered:
        entries = [replace(frame, number=number) for number, frame in enumerate(entries)]
    write(files(folder / "checkpoints")[0], entries)


def resigned(frame: Frame, key: SigningKey, **changes: object) -> Frame:
    """The checkpoint as an attacker signs it, after their changes."""
    return replace(frame, data=signing.sign(replace(signing.read(frame.data), **changes), key))  # type: ignore[arg-type]


def altered(frame: Frame, field: str, value: str) -> Frame:
    """Another value under the signature that was."""
    root = etree.fromstring(frame.data)
    element = root.find(f"{{{NAMESPACE}}}{field}")
    assert element is not None
    element.text = value
    return replace(frame, data=etree.tostring(root))


def edit_chain(change: Callable[[list[Frame]], list[Frame]], *, renumbered: bool = True) -> Callable[[Path], None]:
    return lambda folder: linked(folder, change(chain(folder)), renumbered=renumbered)


def alter(n: int, field: str, value: str) -> Callable[[Path], None]:
    return edit_chain(lambda c: [*c[:n], altered(c[n], field, value), *c[n + 1 :]])


def resign(n: int, key: Callable[[], SigningKey], **changes: object) -> Callable[[Path], None]:
    return edit_chain(lambda c: [*c[:n], resigned(c[n], key(), **changes), *c[n + 1 :]])


def under_our_name(folder: Path) -> None:
    ours, theirs = (signing.fingerprint(key.certificate).encode() for key in (our_key(), other_key()))
    last = resigned(chain(folder)[7], other_key())
    linked(folder, [*chain(folder)[:7], replace(last, data=last.data.replace(theirs, ours))])


def of_another_log(folder: Path) -> None:
    """The last checkpoint of another log with our key and the same records."""
    other = a_log(folder.with_name("other"), log_id="2.25.2")
    linked(folder, [*chain(folder)[:7], chain(other)[7]])


def signature_of_another(folder: Path) -> None:
    entries = chain(folder)
    last, before = (etree.fromstring(frame.data) for frame in (entries[7], entries[6]))
    last.replace(last[-1], before[-1])
    linked(folder, [*entries[:7], replace(entries[7], data=etree.tostring(last))])


ZERO = bytes(32)
LATER = "2027-03-01T08:00:00.000000+00:00"
EARLIER = "2026-02-28T08:00:00.000000+00:00"

# attack: what is done, the step that verify names, and what it says
CHECKPOINT_ATTACKS: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "one removed": (edit_chain(lambda c: c[:3] + c[4:], renumbered=False), 3, "checkpoint 3: .*not the next"),
    "one removed and the rest renumbered": (edit_chain(lambda c: c[:3] + c[4:]), 3, "checkpoint 3 does not name"),
    "the first removed": (edit_chain(lambda c: c[1:]), 3, "checkpoint 0 does not name"),
    "two swapped": (edit_chain(lambda c: [*c[:3], c[4], c[3], *c[5:]]), 3, "checkpoint 3 does not name"),
    "one twice": (edit_chain(lambda c: [*c[:4], *c[3:]]), 3, "checkpoint 4 does not name"),
    "the last twice": (edit_chain(lambda c: [*c, c[-1]]), 3, "checkpoint 8 does not name"),
    "half of the last cut off": (
        lambda f: files(f / "checkpoints")[0].write_bytes(files(f / "checkpoints")[0].read_bytes()[:-100]),
        3, "checkpoint 7: .*cut off",
    ),
    "one made unreadable": (alter(3, "Root", "00"), 3, "checkpoint 3: not a checkpoint"),
    "one replaced by rubbish": (
        edit_chain(lambda c: [*c[:3], replace(c[3], data=b"rubbish"), *c[4:]]), 3, "checkpoint 3: not a checkpoint",
    ),
    "the root of one altered": (alter(3, "Root", "00" * 32), 4, "checkpoint 3: the signature does not hold"),
    "the root of the last altered": (alter(7, "Root", "00" * 32), 4, "checkpoint 7: the signature does not hold"),
    "the size of one altered, more": (alter(3, "Size", "21"), 4, "checkpoint 3: the signature does not hold"),
    "the size of one altered, less": (alter(3, "Size", "19"), 4, "checkpoint 3: the signature does not hold"),
    "the size of one altered, less than before": (alter(3, "Size", "9"), 3, "checkpoint 3 counts fewer"),
    "the size of the last altered, absurd": (alter(7, "Size", "9" * 15), 4, "checkpoint 7: the signature"),
    "the time of one altered, later": (alter(3, "Time", LATER), 3, "checkpoint 4 does not name"),
    "the time of one altered, earlier": (alter(3, "Time", EARLIER), 3, "checkpoint 3 is older"),
    "the time of the last altered": (alter(7, "Time", LATER), 4, "checkpoint 7: the signature does not hold"),
    "the log id of the first altered": (alter(0, "LogId", "2.25.2"), 3, "checkpoint 1 does not name"),
    "the log id of one altered": (alter(3, "LogId", "2.25.2"), 3, "checkpoint 3 is of another log"),
    "the previous of one altered": (alter(3, "Previous", "00" * 32), 3, "checkpoint 3 does not name"),
    "the last signed with another key": (resign(7, other_key), 4, "checkpoint 7: signed by a key that is not trusted"),
    "the last signed with another key under our name": (under_our_name, 4, "checkpoint 7: the signature"),
    "one signed with another key": (resign(3, other_key), 3, "checkpoint 4 does not name"),
    "one signed again with our own key": (resign(3, our_key), 3, "checkpoint 4 does not name"),
    "the last of another log": (of_another_log, 3, "checkpoint 7 is of another log|does not name"),
    "the last under another's signature": (signature_of_another, 4, "checkpoint 7: the signature does not hold"),
    "all removed": (edit_chain(lambda _: []), 5, "no checkpoint"),
    "their folder removed": (lambda f: shutil.rmtree(f / "checkpoints"), 5, "no checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize("every_signature", [False, True])
@pytest.mark.parametrize(("attack", "step", "says"), CHECKPOINT_ATTACKS.values(), ids=CHECKPOINT_ATTACKS)
def test_a_changed_checkpoint_is_found_and_named(
    log: Path, attack: Callable[[Path], object], step: int, says: str, every_signature: bool
) -> None:
    attack(log)
    with pytest.raises(Tampered) as found:
        check(log, every_signature=every_signature)
    if every_signature and step == 3 and found.value.step == 4:
        return  # a broken signature is found before the link that does not lead to it
    assert found.value.step == step
    assert re.search(says, found.value.reason)


def test_each_signature_is_checked_where_that_is_asked_for(log: Path) -> None:
    """Links made again with another key, up to the last, which ours has signed: the links alone would hold.

    Without being asked, the last signature of each key is checked.
    """
    previous, entries = ZERO, []
    for n, frame in enumerate(chain(log)):
        entries.append(resigned(frame, our_key() if n == 7 else other_key(), previous=previous))
        previous = signing.digest(entries[-1].data)
    linked(log, entries)
    with pytest.raises(Tampered, match="step 4: checkpoint 6: signed by a key that is not trusted"):
        check(log)
    with pytest.raises(Tampered, match="step 4: checkpoint 0: signed by a key that is not trusted"):
        check(log, every_signature=True)


def test_a_whole_history_written_again_with_another_key_is_found(tmp_path: Path) -> None:
    forged = a_log(tmp_path / "forged", other_key())
    with pytest.raises(Tampered, match="step 4: checkpoint 7: signed by a key that is not trusted"):
        check(forged)
    assert check(forged, other_key()).records == RECORDS  # so the certificate must come from elsewhere


# What the files alone cannot tell, and what tells it.


rows = records
"""The database's rows."""


def rolled_back(folder: Path) -> None:
    """The last two checkpoints and their records cut off, the tree too: the log as it once was."""
    linked(folder, chain(folder)[:6])
    rewritten(folder, content(folder)[: 6 * BATCH])
    HashTree(folder / "tree").truncate(6 * BATCH)


def test_a_log_rolled_back_to_an_older_checkpoint_holds_for_the_files_alone(log: Path) -> None:
    rolled_back(log)
    found = check(log)
    assert (found.records, found.checkpoints) == (30, 6)


def test_a_log_rolled_back_is_found_by_the_databases_last_checkpoint(log: Path) -> None:
    kept = signing.read(chain(log)[-1].data)
    rolled_back(log)
    with pytest.raises(Tampered) as found:
        compare(log, rows(0, RECORDS), kept)
    assert (found.value.step, found.value.leaf) == (6, 30)


def test_a_log_rolled_back_is_found_even_if_the_database_was_too(log: Path) -> None:
    """A checkpoint that somebody else has kept is enough."""
    kept = signing.read(chain(log)[-1].data)
    rolled_back(log)
    with pytest.raises(Tampered, match="step 6, record 30"):
        compare(log, rows(0, 30), kept)


def test_a_log_written_again_with_our_own_key_is_found_by_a_kept_checkpoint(log: Path, tmp_path: Path) -> None:
    kept = signing.read(chain(log)[-1].data)
    forged = [a_record(n, b"<AuditMessage/>") for n in range(RECORDS)]
    writer = LogWriter(tmp_path / "forged", our_key(), kept.log_id)
    writer.open()
    writer.append(forged, kept.time)
    writer.close()
    assert check(tmp_path / "forged").records == RECORDS
    with pytest.raises(Tampered, match=r"step 6, record 39: .*checkpoint"):
        compare(tmp_path / "forged", forged, kept)


def test_last_checkpoints_alone_cut_off_leave_their_records_waiting(log: Path) -> None:
    """Not told from a crash before the checkpoint; nothing is lost, and the writer seals the rows' records again."""
    linked(log, chain(log)[:6])
    found = check(log)
    assert (found.records, found.unsealed) == (30, 10)


def test_the_database_and_the_files_agree(log: Path) -> None:
    kept = signing.read(chain(log)[-1].data)
    assert compare(log, rows(0, RECORDS)) == compare(log, rows(0, RECORDS), kept) == RECORDS
    assert compare(log, rows(0, 45), kept) == RECORDS  # five are numbered and still to be written
    assert compare(log, rows(0, RECORDS), signing.read(chain(log)[3].data)) == RECORDS


DATABASE_ATTACKS: dict[str, tuple[Callable[[], list[Record]], int, str]] = {
    "a row changed": (lambda: [*rows(0, 12), a_record(12, b"other"), *rows(13, RECORDS)], 12,
                      "is not the one in the files"),
    "a row back-dated": (lambda: [*rows(0, 12), replace(a_record(12), recorded=NOW), *rows(13, RECORDS)], 12,
                         "is not the one in the files"),
    "a row removed": (lambda: rows(0, 12) + rows(13, RECORDS), 12, "not in the database"),
    "the last row removed": (lambda: rows(0, 39), 39, "not in the database"),
    "all rows removed": (list, 0, "not in the database"),
    "two rows swapped": (lambda: [*rows(0, 12), replace(a_record(13), leaf=12), replace(a_record(12), leaf=13),
                                  *rows(14, RECORDS)], 12,
                         "is not the one in the files"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "leaf", "says"), DATABASE_ATTACKS.values(), ids=DATABASE_ATTACKS)
def test_a_changed_database_is_found_and_the_record_named(
    log: Path, make: Callable[[], list[Record]], leaf: int, says: str
) -> None:
    with pytest.raises(Tampered, match=says) as found:
        compare(log, make())
    assert (found.value.step, found.value.leaf) == (6, leaf)


def test_comparing_damaged_files_names_the_frame(log: Path) -> None:
    spoil_bytes(12, b"XDS-AUDIT-1", b"XDS-AUDIT-2")(log)
    with pytest.raises(Tampered, match="step 1, record 12"):
        compare(log, rows(0, RECORDS))


# One record, for a stranger.


@dataclass(frozen=True)
class Handed:
    """What a stranger is given."""

    proof: list[bytes]
    signed: bytes


@pytest.fixture
def handed(log: Path) -> Handed:
    return Handed(HashTree(log / "tree").inclusion_proof(12, RECORDS), chain(log)[-1].data)


def test_a_record_is_proven_to_a_stranger_without_the_log(handed: Handed) -> None:
    time = verify_record(a_record(12), handed.proof, handed.signed, [our_key().certificate])
    assert time == NOW + timedelta(seconds=RECORDS)


@pytest.mark.parametrize("other", [a_record(12, b"other"), replace(a_record(12), recorded=NOW), a_record(13)])
def test_another_record_is_not_proven(handed: Handed, other) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Tampered, match=f"step 2, record {other.leaf}"):
        verify_record(other, handed.proof, handed.signed, [our_key().certificate])


def test_a_record_is_not_proven_by_another_key(handed: Handed) -> None:
    with pytest.raises(Tampered, match="step 4, record 12"):
        verify_record(a_record(12), handed.proof, handed.signed, [other_key().certificate])


def test_what_has_no_checkpoint_is_no_log_that_holds(log: Path) -> None:
    for part in ("segments", "checkpoints"):
        for path in files(log / part):
            path.unlink()
    with pytest.raises(Tampered, match="there is no checkpoint") as found:
        check(log)
    assert found.value.step == 5
