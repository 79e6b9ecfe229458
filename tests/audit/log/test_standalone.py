"""The verifier in one file, which knows nothing of the package, agrees with the package's own on every case."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from tests.audit.log.test_retention import ATTACKS as ERASURE_ATTACKS
from tests.audit.log.test_retention import Log as RetentionLog
from tests.audit.log.test_retention import an_erased
from tests.audit.log.test_tamper import CHECKPOINT_ATTACKS, RECORD_ATTACKS, check, log, written
from tests.audit.log.test_witness import checkpoints, rewritten
from tests.audit.logs import a_log, a_record, other_key, our_key, records
from tests.places import ROOT
from xds.audit.log import bundle
from xds.audit.log.checkpoint import CheckpointLog
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import HashTree
from xds.audit.log.verify import Tampered, verify

SCRIPT = ROOT / "deploy/verify_audit_log.py"


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("verify_audit_log", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


standalone = loaded()


__all__ = ["log", "written"]  # fixtures


def test_it_knows_nothing_of_the_package() -> None:
    assert "xds." not in SCRIPT.read_text().split("from __future__", 1)[1].split("def ", 1)[0]


def test_a_log_as_written_holds(log: Path) -> None:
    said = standalone.check_log(log, [our_key().certificate])
    assert said.startswith(f"holds: {check(log).records} records")


ATTACKS = {name: attack[0] for name, attack in {**RECORD_ATTACKS, **CHECKPOINT_ATTACKS}.items()}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_both_find_what_was_changed_at_the_same_step(log: Path, attack: Callable[[Path], object]) -> None:
    attack(log)
    with pytest.raises(Tampered) as found:
        check(log, every_signature=True)
    with pytest.raises(standalone.DoesNotHold) as alone:
        standalone.check_log(log, [our_key().certificate])
    assert alone.value.step == found.value.step, (str(found.value), str(alone.value))


def alone(log_: Path, *witnessed: bytes, folder: Path) -> int:
    """The step that does not hold; 0 if all do."""
    (folder / "witness").write_bytes(b"".join(base64.b64encode(one) + b"\n" for one in witnessed))
    try:
        seen = [standalone.witness_of(folder / "witness", [our_key().certificate])] if witnessed else []
        standalone.check_log(log_, [our_key().certificate], seen)
    except standalone.DoesNotHold as problem:
        return int(problem.step)
    return 0


def ours(log_: Path, *witnessed: bytes) -> int:
    try:
        verify(log_, [our_key().certificate], every_signature=True, witnessed=witnessed[-1:])
    except Tampered as problem:
        return problem.step
    return 0


def test_both_hold_a_log_against_a_witness(log: Path, tmp_path: Path) -> None:
    history, short = rewritten(tmp_path / "other"), a_log(tmp_path / "short", count=20)
    stranger = a_log(tmp_path / "stranger", other_key())
    for log_, witnessed, step in (
        (log, checkpoints(log)[:3], 0), (log, checkpoints(log), 0), (history, [], 0),
        (history, checkpoints(log)[:5], 7), (history, checkpoints(log)[:2], 0),
        (short, checkpoints(log)[:6], 7), (log, checkpoints(stranger), 7),
    ):  # fmt: skip
        assert (ours(log_, *witnessed), alone(log_, *witnessed, folder=tmp_path)) == (step, step)
    (tmp_path / "witness.xml").write_bytes(checkpoints(log)[2])
    certificate = pem(tmp_path, our_key())
    assert run("log", log, certificate, "--witness", tmp_path / "witness.xml")[0] == 0
    assert run("log", history, certificate, "--witness", tmp_path / "witness.xml")[0] == 1


@pytest.mark.parametrize("attack", [lambda log_: an_erased(log_), *(one[0] for one in ERASURE_ATTACKS.values()),
                                    lambda log_: log_.over()[0].path.unlink()])  # fmt: skip
def test_both_agree_on_what_was_erased(
    engine: sa.Engine, tmp_path: Path, attack: Callable[[RetentionLog], object]
) -> None:
    log_ = RetentionLog(engine, tmp_path / "audit")
    attack(log_)
    assert alone(log_.folder, folder=tmp_path) == ours(log_.folder)


# A bundle.


def bundled(log: Path, path: Path, key: SigningKey | None = None) -> Path:
    last = CheckpointLog(log / "checkpoints").last()
    assert last is not None
    listed = records(3, 9)
    bundle.write(path, HashTree(log / "tree"), listed, last[1], [(key or our_key()).certificate])
    return path


def pem(tmp_path: Path, key: SigningKey) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_bytes(key.certificate.public_bytes(serialization.Encoding.PEM))
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_a_bundle_is_checked_by_a_stranger(log: Path, tmp_path: Path) -> None:
    path, certificate = bundled(log, tmp_path / "court.zip"), pem(tmp_path, our_key())
    assert run("bundle", path, certificate) == (0, run("bundle", path, certificate)[1])
    assert run("bundle", path, certificate)[1].startswith("holds: 6 records of a log of")
    assert run("log", log, certificate)[0] == 0
    assert run("bundle", path, pem(tmp_path, other_key()))[0] == 1
    assert run("nonsense")[0] == 2
    with zipfile.ZipFile(path) as opened:
        page = opened.read("report.html").decode()
        assert page.count("<section>") == 6


def changed(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as opened:
        held = {one: opened.read(one) for one in opened.namelist()}
    held[name] = change(held.get(name, b""))
    with zipfile.ZipFile(path, "w") as written_:
        for one, data in held.items():
            written_.writestr(one, data)


def spoilt_proof(data: bytes) -> bytes:
    proofs = json.loads(data)
    proofs["records"][0]["proof"][0] = "00" * 32
    return json.dumps(proofs).encode()


def renumbered(data: bytes) -> bytes:
    proofs = json.loads(data)
    proofs["records"][0]["leaf"] += 1
    return json.dumps(proofs).encode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("records/000000000004.xml", lambda data: data[:-1] + b"x"),
        ("proofs.json", spoilt_proof),
        ("proofs.json", renumbered),
        ("checkpoint.xml", lambda data: data.replace(b"<Size>", b"<Size>1")),
        ("checkpoint.xml", lambda data: data.replace(b"SignatureValue>", b"SignatureValue>!", 1)),
        ("proofs.json", lambda data: json.dumps({**json.loads(data), "records": []}).encode()),
        ("proofs.json", lambda data: json.dumps({"records": json.loads(data)["records"] * 2}).encode()),
        ("records/000000009999.xml", lambda _: b"<AuditMessage/>"),
    ],
)
def test_a_bundle_that_was_changed_does_not_hold(
    log: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    path = bundled(log, tmp_path / "court.zip")
    changed(path, name, change)
    assert run("bundle", path, pem(tmp_path, our_key()))[0] == 1


def test_what_cannot_be_read_is_said_in_a_line(log: Path, tmp_path: Path) -> None:
    path, certificate = bundled(log, tmp_path / "court.zip"), pem(tmp_path, our_key())
    nothing, other = tmp_path / "nothing", tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("x", b"y")
    for arguments in (
        ("log", nothing, certificate), ("log", log, nothing), ("log", log, path), ("bundle", nothing, certificate),
        ("bundle", certificate, certificate), ("bundle", other, certificate), ("bundle", path, path),
    ):  # fmt: skip
        code, said = run(*arguments)
        assert (code, len(said.splitlines()), "Traceback" in said) == (2, 1, False)


def test_both_pass_over_files_that_are_none_of_the_logs(log: Path, tmp_path: Path) -> None:
    for name in ("x.erased", "x.log", "notes.txt"):
        (log / "segments" / name).write_bytes(b"x")
    assert alone(log, folder=tmp_path) == ours(log)
    assert run("log", log, pem(tmp_path, our_key()))[0] == 0


def test_both_take_what_has_no_checkpoint_for_no_log(log: Path, tmp_path: Path) -> None:
    for part in ("segments", "checkpoints"):
        for path in (log / part).iterdir():
            path.unlink()
    assert alone(log, folder=tmp_path) == ours(log)
    assert run("log", log, pem(tmp_path, our_key()))[0] == 1


def test_what_is_not_under_the_checkpoint_is_not_exported(log: Path, tmp_path: Path) -> None:
    last = CheckpointLog(log / "checkpoints").last()
    assert last is not None
    other = a_record(4, b"other")
    with pytest.raises(Tampered):
        bundle.write(tmp_path / "x.zip", HashTree(log / "tree"), [other], last[1], [our_key().certificate])
