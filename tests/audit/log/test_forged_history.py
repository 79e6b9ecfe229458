"""What a restart, another key or a reader at work must not bring about."""

from __future__ import annotations

import fcntl
import multiprocessing
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.audit.logs import LOG_ID, NOW, SEGMENT_BYTES, a_log, a_record, other_key, our_key, records
from xds.audit.log import checkpoint as signing
from xds.audit.log import keys
from xds.audit.log.checkpoint import CheckpointLog
from xds.audit.log.framing import FramedFiles
from xds.audit.log.keys import SigningKey, load_or_make
from xds.audit.log.verify import Tampered, verify
from xds.audit.log.writer import LogWriter
from xds.errors import Unusable


def forged(folder: Path, log_id: str = LOG_ID) -> None:
    """A history of another key's in the place of ours."""
    writer = LogWriter(folder, other_key(), log_id)
    writer.open()
    writer.append([a_record(n, b"forged") for n in range(3)], NOW)
    writer.close()


def opened(folder: Path, key: SigningKey, log_id: str = LOG_ID) -> int:
    writer = LogWriter(folder, key, log_id, SEGMENT_BYTES)
    try:
        return writer.open()
    finally:
        writer.close()


def test_the_writer_does_not_sign_over_a_history_that_another_key_wrote(tmp_path: Path) -> None:
    forged(tmp_path)
    with pytest.raises(Unusable, match="a key that is not known"):
        opened(tmp_path, our_key())


def test_nor_over_one_that_bears_our_keys_name(tmp_path: Path) -> None:
    forged(tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("*.log")
    ours, theirs = (signing.fingerprint(key.certificate).encode() for key in (our_key(), other_key()))
    path.write_bytes(path.read_bytes().replace(theirs, ours))
    with pytest.raises(Unusable, match="does not hold"):
        opened(tmp_path, our_key())


def test_the_key_before_is_known_by_its_certificate(tmp_path: Path) -> None:
    a_log(tmp_path)
    assert opened(tmp_path, replace(other_key(), earlier=(our_key().certificate,))) == 40
    with pytest.raises(Unusable, match="a key that is not known"):
        opened(tmp_path, other_key())


def test_a_forged_history_that_our_key_goes_on_with_is_found_by_its_last_signature(tmp_path: Path) -> None:
    """Were the writer ever led to it: a last signature of ours does not vouch for what another key began."""
    forged(tmp_path)
    writer = LogWriter(tmp_path, replace(our_key(), earlier=(other_key().certificate,)), LOG_ID)
    writer.open()
    writer.append(records(3, 5), NOW)
    writer.close()
    with pytest.raises(Tampered, match="not trusted") as found:
        verify(tmp_path, [our_key().certificate])
    assert (found.value.step, found.value.leaf) == (4, None)
    assert verify(tmp_path, [our_key().certificate, other_key().certificate]).records == 5


def test_the_writer_goes_on_with_its_own_log_only(tmp_path: Path) -> None:
    a_log(tmp_path)
    with pytest.raises(Unusable, match=r"of log 2\.25\.1, not 2\.25\.2"):
        opened(tmp_path, our_key(), "2.25.2")


def test_a_log_that_rolls_over_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    framed = FramedFiles(tmp_path, "WORD-1", 100)
    framed.append(0, [(b"said", b"entry")])
    seen = []
    for number, _, _ in framed.read():
        seen.append(number)
        if number < 30:
            framed.append(number + 1, [(b"said", b"entry")])
    assert seen == list(range(31))
    assert len(framed.files()) > 3


@pytest.mark.parametrize("ahead", [1, 7])
def test_a_log_that_goes_on_while_it_is_verified_holds(tmp_path: Path, ahead: int) -> None:
    writer = LogWriter(tmp_path, our_key(), LOG_ID, 200)
    writer.open()
    size = 0

    def more() -> None:
        nonlocal size
        writer.append(records(size, size + ahead), NOW + timedelta(seconds=size))
        size += ahead

    more()
    read = CheckpointLog.all

    def all_and_more(log: CheckpointLog):  # type: ignore[no-untyped-def]
        for entry in read(log):
            if size < 60:
                more()
            yield entry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointLog, "all", all_and_more)
        assert verify(tmp_path, [our_key().certificate]).records == size
    writer.close()


def _sleeps(begun: object, done: object) -> None:
    begun.set()  # type: ignore[attr-defined]
    done.wait(20)  # type: ignore[attr-defined]


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writer, begun, done = LogWriter(tmp_path, our_key(), LOG_ID), context.Event(), context.Event()
    writer.open()
    child = context.Process(target=_sleeps, args=(begun, done))
    child.start()
    assert begun.wait(20)
    with (tmp_path / "lock").open("w") as lock:
        with pytest.raises(BlockingIOError):  # the parent's own is not let go by the fork
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        writer.close()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    done.set()
    child.join()


# A key of ours is renewed, and the log goes on.


def made(folder: Path, patch: pytest.MonkeyPatch, days: int) -> SigningKey:
    patch.setattr(keys, "LIFETIME", timedelta(days=days))
    key = load_or_make(folder)
    patch.undo()
    return key


def test_a_key_that_ends_soon_is_renewed_and_the_log_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made(tmp_path / "keys", monkeypatch, 30)
    now = datetime.now(UTC)
    for begin in (0, 3):
        key = load_or_make(tmp_path / "keys")
        writer = LogWriter(tmp_path / "log", old if begin == 0 else key, LOG_ID)
        assert writer.open() == begin
        writer.append(records(begin, begin + 3), now)
        writer.close()
    assert key.certificate != old.certificate
    assert key.earlier == (old.certificate,)
    assert load_or_make(tmp_path / "keys").certificate == key.certificate
    certificates = keys.load_certificates(tmp_path / "keys" / "audit-signing.crt")
    assert verify(tmp_path / "log", certificates, every_signature=True).records == 6


def test_a_key_that_lasts_is_kept(tmp_path: Path) -> None:
    assert load_or_make(tmp_path).certificate == load_or_make(tmp_path).certificate
    assert load_or_make(tmp_path).earlier == ()


@pytest.mark.parametrize("renames", range(4))
def test_a_renewal_that_a_crash_breaks_off_is_finished_or_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    old = made(tmp_path, monkeypatch, 30)
    rename, left = Path.rename, [renames]

    def break_off(path: Path, target: Path) -> Path:
        if left[0] == 0:
            raise OSError("crashed")
        left[0] -= 1
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", break_off)
    if renames < 3:
        with pytest.raises(Unusable, match="crashed"):
            load_or_make(tmp_path)
    monkeypatch.undo()
    new = load_or_make(tmp_path)
    assert new.certificate != old.certificate
    assert new.earlier == (old.certificate,)
    assert not (tmp_path / "audit-signing.next").exists()


def test_given_files_are_never_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made(tmp_path, monkeypatch, 30)
    for name in ("pem", "crt"):
        shutil.copy(tmp_path / f"audit-signing.{name}", tmp_path / f"given.{name}")
    given = load_or_make(tmp_path, key=str(tmp_path / "given.pem"), certificate=str(tmp_path / "given.crt"))
    assert given.certificate == old.certificate


def test_a_given_file_may_hold_the_certificates_before(tmp_path: Path) -> None:
    load_or_make(tmp_path)
    path = tmp_path / "audit-signing.crt"
    path.write_bytes(path.read_bytes() + our_key().certificate.public_bytes(serialization.Encoding.PEM))
    certificates: tuple[x509.Certificate, ...] = load_or_make(tmp_path).earlier
    assert certificates == (our_key().certificate,)
