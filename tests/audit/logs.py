"""A key, a record and a small log, for tests to spoil."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xds.audit.log.keys import SigningKey
from xds.audit.log.segments import Record
from xds.audit.log.writer import LogWriter

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
LOG_ID = "2.25.1"
SEGMENT_BYTES = 2600
RECORDS, BATCH = 40, 5
SECOND_FILE = 20
"""The first record of the second segment file."""
FROM_NORTH = 14
"""A record that another node has sent."""


def a_key(begin: datetime = NOW - timedelta(days=1), days: int = 730) -> SigningKey:
    """A new key, with a certificate that is valid from ``begin``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's audit log")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return SigningKey(key, certificate)


@functools.cache
def our_key() -> SigningKey:
    """The key of every log here that is not forged."""
    return a_key()


@functools.cache
def other_key() -> SigningKey:
    return a_key()


def a_record(leaf: int, message: bytes | None = None) -> Record:
    text = b'<AuditMessage number="%05d">%b</AuditMessage>' % (leaf, b"x" * 40)
    origin = "tls 192.0.2.9 CN=north" if leaf == FROM_NORTH else ""
    return Record(leaf, NOW + timedelta(seconds=leaf), text if message is None else message, origin)


def records(begin: int, end: int) -> list[Record]:
    return [a_record(leaf) for leaf in range(begin, end)]


def a_log(folder: Path, key: SigningKey | None = None, log_id: str = LOG_ID, count: int = RECORDS) -> Path:
    """Forty records under eight checkpoints, in two segment files."""
    writer = LogWriter(folder, key or our_key(), log_id, SEGMENT_BYTES)
    writer.open()
    for begin in range(0, count, BATCH):
        writer.append(records(begin, begin + BATCH), NOW + timedelta(seconds=begin + BATCH))
    writer.close()
    return folder


# Files taken apart by other code than ours, so that tests can put them together wrongly.

_HEADER = re.compile(rb"(\S+) (\d+) (\S+) (\d+)\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry of a framed file."""

    word: bytes
    number: int
    said: bytes
    data: bytes

    def bytes(self) -> bytes:
        return b"%b %d %b %d\n%b\n" % (self.word, self.number, self.said, len(self.data), self.data)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def frames(path: Path) -> list[Frame]:
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        header = _HEADER.match(content, at)
        assert header
        end = header.end() + int(header[4])
        found.append(Frame(header[1], int(header[2]), header[3], content[header.end() : end]))
        at = end + 1
    return found


def write(path: Path, entries: Sequence[Frame]) -> None:
    path.write_bytes(b"".join(entry.bytes() for entry in entries))
