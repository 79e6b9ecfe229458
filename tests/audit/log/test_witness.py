"""A witness takes what extends the history that it has seen, and nothing else; and a log is held against it."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.log.test_tamper import log, written
from tests.audit.logs import BATCH, LOG_ID, NOW, RECORDS, a_log, a_record, other_key, our_key, records
from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import Checkpoint, CheckpointLog
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import HashTree
from xds.audit.log.verify import Tampered, verify
from xds.audit.log.witness import FileWitness, NotWitnessed, Offer, extends, newest
from xds.audit.log.writer import LogWriter

__all__ = ["log", "written"]  # fixtures

CERTIFICATES = [our_key().certificate]


def checkpoints(folder: Path) -> list[bytes]:
    return [signed for _, signed in CheckpointLog(folder / "checkpoints").all()]


def offer(folder: Path, begin: int, nth: int = -1) -> Offer:
    """The nth checkpoint of a log, with the proof that it extends its first ``begin`` records."""
    signed = checkpoints(folder)[nth]
    size = signing.read(signed).size
    return Offer(signed, begin, tuple(HashTree(folder / "tree").consistency_proof(begin, size)))


def rewritten(folder: Path, key: SigningKey | None = None) -> Path:
    """Another history of the same log, by the right key: record 12 is another."""
    writer = LogWriter(folder, key or our_key(), LOG_ID)
    writer.open()
    for begin in range(0, RECORDS, BATCH):
        new = [replace(one, message=b"<other/>") if one.leaf == 12 else one for one in records(begin, begin + BATCH)]
        writer.append(new, NOW + timedelta(seconds=begin + BATCH))
    writer.close()
    return folder


def test_a_log_that_goes_on_is_witnessed_step_by_step(log: Path, tmp_path: Path) -> None:
    witness = FileWitness(tmp_path / "witness", lambda: CERTIFICATES)
    assert witness.last(LOG_ID) is None
    begin = 0
    for nth in range(8):
        witness.add(offer(log, begin, nth))
        begin = (nth + 1) * BATCH
        assert witness.last(LOG_ID) == checkpoints(log)[nth]
    witness.add(offer(log, begin))  # the same again
    assert len((tmp_path / "witness").read_bytes().splitlines()) == 8


@pytest.mark.parametrize("seen", [0, 2, 7])
def test_another_history_is_refused_though_the_key_is_right(log: Path, tmp_path: Path, seen: int) -> None:
    other = rewritten(tmp_path / "other")
    kept = checkpoints(log)[seen]
    begin = signing.read(kept).size
    if begin <= 12:
        assert extends(kept, offer(other, begin), CERTIFICATES).size == RECORDS  # it differs in what came later
        return
    with pytest.raises(NotWitnessed, match="does not extend") as refused:
        extends(kept, offer(other, begin), CERTIFICATES)
    assert refused.value.is_evidence


def test_a_log_that_was_cut_off_is_refused_and_an_older_checkpoint_of_it_is_no_evidence(log: Path) -> None:
    later = signing.sign(replace(signing.read(checkpoints(log)[3]), time=NOW + timedelta(days=1)), our_key())
    for signed, evidence in ((checkpoints(log)[3], False), (later, True)):
        with pytest.raises(NotWitnessed) as refused:
            extends(checkpoints(log)[5], Offer(signed, 30, ()), CERTIFICATES)
        assert refused.value.is_evidence is evidence


def a_strange_proof(good: Offer) -> Offer:
    return replace(good, proof=(*good.proof[:-1], bytes(32)))


SPOILT: dict[str, tuple[Callable[[Offer], Offer], bool]] = {
    "another proof": (a_strange_proof, True),
    "a proof cut short": (lambda good: replace(good, proof=good.proof[:-1]), True),
    "a proof of another beginning": (lambda good: replace(good, begin=10), False),
    "a proof without end": (lambda good: replace(good, proof=(bytes(32),) * 1000), False),
    "a checkpoint without end": (lambda good: replace(good, signed=good.signed + b" " * 70_000), False),
    "no checkpoint": (lambda good: replace(good, signed=b"<x/>"), False),
    "a forged signature": (lambda good: replace(good, signed=good.signed.replace(b"<Size>40", b"<Size>41")), False),
}


@pytest.mark.parametrize(("spoil", "evidence"), SPOILT.values(), ids=SPOILT)
def test_an_offer_that_is_not_right_is_refused(log: Path, spoil: Callable[[Offer], Offer], evidence: bool) -> None:
    kept = checkpoints(log)[4]
    assert extends(kept, offer(log, 25), CERTIFICATES).size == RECORDS
    with pytest.raises(NotWitnessed) as refused:
        extends(kept, spoil(offer(log, 25)), CERTIFICATES)
    assert refused.value.is_evidence is evidence


def test_a_stranger_is_not_witnessed(log: Path) -> None:
    with pytest.raises(NotWitnessed, match="not trusted"):
        extends(None, offer(log, 0), [other_key().certificate])


def test_a_time_that_runs_back_is_another_history(log: Path) -> None:
    last = signing.read(checkpoints(log)[-1])
    early = signing.sign(replace(last, time=NOW), our_key())
    with pytest.raises(NotWitnessed, match="runs back"):
        extends(checkpoints(log)[4], Offer(early, 25, offer(log, 25).proof), CERTIFICATES)


def test_a_witness_file_is_of_one_log_and_says_what_is_wrong_with_it(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "witness"
    witness = FileWitness(path, lambda: CERTIFICATES)
    witness.add(offer(log, 0))
    with pytest.raises(NotWitnessed, match="another log"):
        witness.last("2.25.9")
    path.write_bytes(path.read_bytes() + b"half a li")
    assert witness.last(LOG_ID) == checkpoints(log)[-1]
    path.write_bytes(base64.b64encode(checkpoints(log)[2]) + b"\n" + base64.b64encode(checkpoints(log)[4])[:500])
    witness.add(offer(log, 15))
    assert witness.last(LOG_ID) == checkpoints(log)[-1]
    path.write_bytes(b"!!\n")
    with pytest.raises(NotWitnessed):
        witness.last(LOG_ID)
    with pytest.raises(NotWitnessed, match="No such file"):
        FileWitness(tmp_path / "not" / "there", lambda: CERTIFICATES).add(offer(log, 0))
    assert newest(tmp_path / "nothing") is None


@given(st.integers(1, 60), st.integers(0, 60))
def test_every_log_extends_each_of_its_beginnings(size: int, begin: int) -> None:
    import tempfile

    begin = min(begin, size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = LogWriter(folder, our_key(), LOG_ID)
        writer.open()
        if begin:
            writer.append([a_record(n) for n in range(begin)], NOW)
        writer.append([a_record(n) for n in range(begin, size)], NOW)
        writer.close()
        kept = checkpoints(folder)[0] if begin else None
        assert extends(kept, offer(folder, begin), CERTIFICATES).size == size


# A log held against what a witness has seen.


@pytest.mark.parametrize("seen", range(8))
def test_a_log_holds_against_each_checkpoint_that_a_witness_may_have(log: Path, seen: int) -> None:
    assert verify(log, CERTIFICATES, witnessed=[checkpoints(log)[seen]]).records == RECORDS


def test_a_rewritten_history_is_found_by_an_older_witness_and_by_nothing_else(log: Path, tmp_path: Path) -> None:
    other = rewritten(tmp_path / "other")
    assert verify(other, CERTIFICATES, every_signature=True).records == RECORDS
    with pytest.raises(Tampered) as found:
        verify(other, CERTIFICATES, witnessed=[checkpoints(log)[4]])
    assert (found.value.step, found.value.leaf) == (7, 24)


def test_a_log_cut_off_at_a_checkpoint_is_found_by_a_witness(log: Path, tmp_path: Path) -> None:
    short = a_log(tmp_path / "short", count=20)
    assert verify(short, CERTIFICATES).records == 20
    with pytest.raises(Tampered) as found:
        verify(short, CERTIFICATES, witnessed=[checkpoints(log)[5]])
    assert (found.value.step, found.value.leaf) == (7, 20)


def test_what_a_witness_has_seen_of_another_log_or_by_another_key_is_said(log: Path, tmp_path: Path) -> None:
    stranger = a_log(tmp_path / "stranger", other_key())
    of_another = signing.sign(Checkpoint("9", 20, bytes(32), NOW, bytes(32)), our_key())
    for witnessed in (checkpoints(stranger)[3], of_another):
        with pytest.raises(Tampered) as found:
            verify(log, CERTIFICATES, witnessed=[witnessed])
        assert found.value.step == 7


@pytest.mark.parametrize("seen", [0, 3, 4])
def test_an_older_witness_does_not_hide_what_another_has_seen(log: Path, seen: int) -> None:
    forged = signing.sign(Checkpoint(LOG_ID, 30, bytes(32), NOW, bytes(32)), our_key())
    empty = signing.sign(Checkpoint(LOG_ID, 0, hashlib.sha256(b"").digest(), NOW, bytes(32)), our_key())
    for witnessed in ([checkpoints(log)[seen], forged], [forged, checkpoints(log)[seen]], [empty, forged]):
        with pytest.raises(Tampered) as found:
            verify(log, CERTIFICATES, trusted=checkpoints(log)[4], witnessed=witnessed)
        assert found.value.step == 7


# Going on from a checkpoint that was verified before.


@pytest.mark.parametrize("nth", range(8))
def test_a_log_is_verified_from_a_checkpoint_that_is_trusted(log: Path, nth: int) -> None:
    found = verify(log, CERTIFICATES, trusted=checkpoints(log)[nth], every_signature=True)
    assert (found.records, found.checkpoints, found.signed) == (RECORDS, 8, checkpoints(log)[-1])


def test_what_was_changed_behind_the_trusted_checkpoint_is_found_and_before_it_was_verified_then(log: Path) -> None:
    for path in (log / "segments").glob("*.log"):
        path.write_bytes(path.read_bytes().replace(b'number="00003"', b'number="10003"'))
    assert verify(log, CERTIFICATES, trusted=checkpoints(log)[2]).records == RECORDS
    for path in (log / "segments").glob("*.log"):
        path.write_bytes(path.read_bytes().replace(b'number="00033"', b'number="10033"'))
    with pytest.raises(Tampered) as found:
        verify(log, CERTIFICATES, trusted=checkpoints(log)[2])
    assert (found.value.step, found.value.leaf) == (2, 33)


def test_a_checkpoint_is_trusted_only_if_it_is_the_logs_and_the_tree_leads_to_it(log: Path, tmp_path: Path) -> None:
    other = rewritten(tmp_path / "other")
    cases = [(3, log, checkpoints(other)[4]), (4, log, checkpoints(log)[4].replace(b"<Size>25", b"<Size>26"))]
    for step, folder, trusted in cases:
        with pytest.raises(Tampered) as found:
            verify(folder, CERTIFICATES, trusted=trusted)
        assert found.value.step == step
    shutil.rmtree(log / "tree")
    with pytest.raises(Tampered, match="verify from the first record"):
        verify(log, CERTIFICATES, trusted=checkpoints(log)[4])
