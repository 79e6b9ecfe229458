"""Signed checkpoints: how long the log was at a time, its root, and the checkpoint before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from xds.audit.log import statement
from xds.audit.log.framing import FramedFiles
from xds.audit.log.keys import SigningKey
from xds.audit.log.statement import BadStatement, Kind, fingerprint, signer

__all__ = ["BadCheckpoint", "Checkpoint", "CheckpointLog", "digest", "fingerprint", "read", "sign", "signer", "verify"]

NAMESPACE = "urn:xds:audit:checkpoint:1"
NONE_BEFORE = bytes(32)
WORD = "XDS-CHECKPOINT-1"
KIND = Kind(NAMESPACE, "Checkpoint", ("LogId", "Size", "Root", "Time", "Previous"), "checkpoint")

BadCheckpoint = BadStatement


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``time`` is aware UTC; ``previous`` is the SHA-256 of the checkpoint before, as signed, or 32 zero bytes."""

    log_id: str
    size: int
    root: bytes
    time: datetime
    previous: bytes


def digest(signed: bytes) -> bytes:
    """What the next checkpoint names this one by."""
    return hashlib.sha256(signed).digest()


def sign(checkpoint: Checkpoint, signing: SigningKey) -> bytes:
    """The checkpoint as signed XML."""
    time = checkpoint.time.astimezone(UTC).isoformat(timespec="microseconds")
    values = (checkpoint.log_id, str(checkpoint.size), checkpoint.root.hex(), time, checkpoint.previous.hex())
    return statement.sign(KIND, values, signing)


def read(signed: bytes) -> Checkpoint:
    """What a checkpoint says; whether it is to be believed is ``verify``'s to find.

    Raises:
        BadCheckpoint: it is none.
    """
    log_id, size, root, time, previous = statement.values_of(KIND, signed)
    try:
        found = Checkpoint(
            log_id, int(size), bytes.fromhex(root), datetime.fromisoformat(time), bytes.fromhex(previous)
        )
    except ValueError as problem:
        raise BadCheckpoint(f"not a checkpoint: {problem}") from None
    if found.size < 0 or len(found.root) != 32 or len(found.previous) != 32 or found.time.tzinfo is None:
        raise BadCheckpoint("not a checkpoint: its values are not those of a checkpoint")
    return found


def verify(signed: bytes, certificates: Sequence[x509.Certificate]) -> Checkpoint:
    """What was signed, if one of the certificates, valid at the checkpoint's own time, signed it.

    Raises:
        BadCheckpoint: it is no checkpoint, or none of them did.
    """
    said = read(signed)
    statement.verify(KIND, signed, said.time, certificates)
    return said


def verify_signature(signed: bytes, certificate: x509.Certificate) -> None:
    """That what is read of a checkpoint was signed by the certificate's key, whenever that was.

    Raises:
        BadCheckpoint: it was not.
    """
    statement.verify_signature(KIND, signed, certificate)


class CheckpointLog:
    """The signed checkpoints in a folder, in order."""

    def __init__(self, folder: Path, roll_bytes: int = 16 * 1024 * 1024) -> None:
        self._files = FramedFiles(folder, WORD, roll_bytes)

    def append(self, number: int, checkpoint: Checkpoint, signed: bytes) -> None:
        """Add one, which follows the last; on disk when this returns."""
        self._files.append(number, [(str(checkpoint.size).encode(), signed)])

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Number and signed bytes of each.

        Raises:
            BadFrame: see ``FramedFiles.read``.
        """
        return ((number, signed) for number, _, signed in self._files.read())

    def first(self) -> bytes | None:
        """The first of all, which names the log.

        Raises:
            BadFrame: see ``FramedFiles.read``.
        """
        return next((signed for _, signed in self.all()), None)

    def last(self) -> tuple[int, bytes] | None:
        """Number and signed bytes of the newest; what a crash left half-written is cut.

        Raises:
            BadFrame: they are damaged otherwise than by a crash.
        """
        files = self._files.files()
        if not files:
            return None
        self._files.mend()
        found = None
        for number, _, signed in self._files.read(files[-1][0]):
            found = number, signed
        if found is None and len(files) > 1:
            for number, _, signed in self._files.read(files[-2][0]):
                found = number, signed
        return found
