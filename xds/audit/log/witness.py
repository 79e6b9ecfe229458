"""A witness keeps the newest checkpoint that it has seen of a log, and takes a newer one only if it extends that.

Whoever holds the signing key can write another history; that a witness elsewhere has seen another one he cannot undo.
RFC 6962: 2.1.2 (consistency proofs).  Here: the rule, and a witness that is a file.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import BadCheckpoint, Checkpoint
from xds.audit.log.merkle import BadProof, verify_consistency
from xds.system.durable import sync_folder

SIGNED_BYTES = 64 * 1024
"""Of a checkpoint."""

HASHES = 128
"""Of a proof; a log of 2^64 records needs no more."""


class NotWitnessed(Exception):
    """A checkpoint that a witness does not take; ``is_evidence``: because it is another history than it has seen."""

    def __init__(self, reason: str, *, is_evidence: bool = False) -> None:
        super().__init__(reason)
        self.is_evidence = is_evidence


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed checkpoint, and the proof that it extends the one of size ``begin``."""

    signed: bytes
    begin: int
    proof: tuple[bytes, ...]


class Witness(Protocol):
    """Whoever keeps checkpoints."""

    def last(self, log_id: str) -> bytes | None:
        """The newest checkpoint of a log that was seen, as signed.

        Raises:
            NotWitnessed: it does not say now.
        """
        ...

    def add(self, offer: Offer) -> None:
        """Show it a newer one.

        Raises:
            NotWitnessed: it does not take it.
        """
        ...


def extends(kept: bytes | None, offer: Offer, certificates: Sequence[x509.Certificate]) -> Checkpoint:
    """The checkpoint of an offer, if it goes on from what is kept.

    Raises:
        NotWitnessed: it is not signed by who is trusted, or goes on from something else.
    """
    if len(offer.signed) > SIGNED_BYTES or len(offer.proof) > HASHES:
        raise NotWitnessed("longer than any checkpoint")
    try:
        said = signing.verify(offer.signed, certificates)
        before = None if kept is None else signing.read(kept)
    except BadCheckpoint as problem:
        raise NotWitnessed(str(problem)) from None
    if before is None:
        return said
    if offer.begin != before.size:
        raise NotWitnessed(f"the proof must begin with {before.size} records")
    try:
        if said.time < before.time and said.size >= before.size:
            raise BadProof("its time runs back")
        verify_consistency(before.size, said.size, before.root, said.root, offer.proof)
    except BadProof as problem:
        # An older checkpoint, which anybody may have kept, says nothing; all else is worth a look: a spoilt proof may
        # be anybody's too, but a node that has another history than was seen can show nothing better.
        evidence = said.size >= before.size or said.time > before.time
        raise NotWitnessed(f"it does not extend the history that was seen: {problem}", is_evidence=evidence) from None
    return said


class FileWitness:
    """A file elsewhere, such as on a disk that is only written to: a line a checkpoint, base64, the newest last."""

    def __init__(self, path: Path, certificates: Callable[[], Sequence[x509.Certificate]]) -> None:
        self._path, self._certificates = path, certificates

    def last(self, log_id: str) -> bytes | None:
        try:
            found = newest(self._path)
            if found is not None and signing.read(found).log_id != log_id:
                raise NotWitnessed("the file is the witness of another log")
        except OSError as problem:
            raise NotWitnessed(f"{self._path}: {problem.strerror}") from None
        except BadCheckpoint as problem:
            raise NotWitnessed(f"{self._path}: {problem}") from None
        return found

    def add(self, offer: Offer) -> None:
        try:
            new = not self._path.exists()
            with self._path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if file.tell() and not _ends(self._path):
                    file.write(b"\n")  # a line that a crash has cut off ends here
                said = extends(self.last(signing.read(offer.signed).log_id), offer, self._certificates())
                if said.size > offer.begin or new:
                    file.write(base64.b64encode(offer.signed) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            if new:
                sync_folder(self._path.parent)
        except OSError as problem:
            raise NotWitnessed(f"{self._path}: {problem.strerror}") from None


def _ends(path: Path) -> bool:
    """Whether the last line of a file is whole."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def newest(path: Path) -> bytes | None:
    """The newest checkpoint of a witness's file; a line that a crash has cut off counts for nothing.

    Raises:
        OSError: it cannot be read.
        BadCheckpoint: its last line is no base64.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 3 * SIGNED_BYTES))
        whole, _, _ = file.read().rpartition(b"\n")
    line = whole.rpartition(b"\n")[2].strip()
    try:
        return base64.b64decode(line, validate=True) if line else None
    except ValueError:
        raise BadCheckpoint("the last line of the witness's file is none") from None
