"""Signed checkpoints: how long the log was at a time, its root, and the checkpoint before.

XML signed with signxml: enveloped, ECDSA P-256 with SHA-256, exclusive canonicalisation.  The certificate is
pinned by who verifies; the signature names it by its fingerprint only, because there are many checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import signxml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from lxml import etree
from signxml.exceptions import SignXMLException

from xds.audit.framing import FramedFiles
from xds.audit.keys import SigningKey
from xds.wire.xml import Element, NotXml, parse

NAMESPACE = "urn:xds:audit:checkpoint:1"
NONE_BEFORE = bytes(32)
WORD = "XDS-CHECKPOINT-1"
_DS = "http://www.w3.org/2000/09/xmldsig#"
_FIELDS = ("LogId", "Size", "Root", "Time", "Previous")

_SIGNER = signxml.XMLSigner(
    method=signxml.SignatureConstructionMethod.enveloped,
    signature_algorithm=signxml.SignatureMethod.ECDSA_SHA256,
    digest_algorithm=signxml.DigestAlgorithm.SHA256,
    c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
)


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be read, or whose signature does not hold."""


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


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def sign(checkpoint: Checkpoint, signing: SigningKey) -> bytes:
    """The checkpoint as signed XML."""
    prefixes: dict[Any, str] = {None: NAMESPACE}
    root = etree.Element(f"{{{NAMESPACE}}}Checkpoint", nsmap=prefixes)
    values = (
        checkpoint.log_id,
        str(checkpoint.size),
        checkpoint.root.hex(),
        checkpoint.time.astimezone(UTC).isoformat(timespec="microseconds"),
        checkpoint.previous.hex(),
    )
    for field, value in zip(_FIELDS, values, strict=True):
        etree.SubElement(root, f"{{{NAMESPACE}}}{field}").text = value
    key_info = etree.Element(f"{{{_DS}}}KeyInfo", nsmap={"ds": _DS})
    etree.SubElement(key_info, f"{{{_DS}}}KeyName").text = fingerprint(signing.certificate)
    return etree.tostring(_SIGNER.sign(root, key=signing.key, key_info=key_info))


def read(signed: bytes) -> Checkpoint:
    """What a checkpoint says; whether it is to be believed is ``verify``'s to find.

    Raises:
        BadCheckpoint: it is none.
    """
    try:
        return _read(parse(signed))
    except (NotXml, ValueError) as problem:
        raise BadCheckpoint(f"not a checkpoint: {problem}") from None


def _read(root: Element) -> Checkpoint:
    children = [child for child in root if child.tag != f"{{{_DS}}}Signature"]
    if root.tag != f"{{{NAMESPACE}}}Checkpoint" or [c.tag for c in children] != [
        f"{{{NAMESPACE}}}{field}" for field in _FIELDS
    ]:
        raise ValueError("its elements are not those of a checkpoint")
    log_id, size, root_hash, time, previous = (child.text or "" for child in children)
    found = Checkpoint(
        log_id, int(size), bytes.fromhex(root_hash), datetime.fromisoformat(time), bytes.fromhex(previous)
    )
    if found.size < 0 or len(found.root) != 32 or len(found.previous) != 32 or found.time.tzinfo is None:
        raise ValueError("its values are not those of a checkpoint")
    return found


def verify(signed: bytes, certificates: Sequence[x509.Certificate]) -> Checkpoint:
    """What was signed, if one of the certificates, valid at the checkpoint's own time, signed it.

    Raises:
        BadCheckpoint: it is no checkpoint, or none of them did.
    """
    said = read(signed)
    trusted = [c for c in certificates if fingerprint(c) == signer(signed)]
    if not trusted:
        raise BadCheckpoint("signed by a key that is not trusted")
    if not trusted[0].not_valid_before_utc <= said.time <= trusted[0].not_valid_after_utc:
        raise BadCheckpoint("signed outside the time that its certificate is valid")
    verify_signature(signed, trusted[0])
    return said


def signer(signed: bytes) -> str:
    """The fingerprint of the certificate that a checkpoint says it is signed by; empty if it does not say."""
    return parse(signed).findtext(f".//{{{_DS}}}KeyName") or ""


def verify_signature(signed: bytes, certificate: x509.Certificate) -> None:
    """That what is read of a checkpoint was signed by the certificate's key, whenever that was.

    Raises:
        BadCheckpoint: it was not.
    """
    configuration = signxml.SignatureConfiguration(
        signature_methods=frozenset({signxml.SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA256}),
        location="./",
        verification_time=certificate.not_valid_before_utc,
    )
    try:
        result = signxml.XMLVerifier().verify(signed, x509_cert=certificate, expect_config=configuration)
    except (SignXMLException, etree.LxmlError, ValueError) as problem:
        raise BadCheckpoint(f"the signature does not hold: {type(problem).__name__}") from None
    if isinstance(result, list) or result.signed_xml is None:
        raise BadCheckpoint("more than one thing is signed")
    try:
        same = _read(result.signed_xml) == read(signed)
    except ValueError as problem:
        raise BadCheckpoint(f"what was signed is no checkpoint: {problem}") from None
    if not same:
        raise BadCheckpoint("what was signed is another checkpoint")


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
