#!/usr/bin/env python3
"""Checks an xds audit log, or a bundle of its records, without xds: standard library, cryptography and lxml alone.

    verify_audit_log.py log FOLDER CERTIFICATE.pem … [--witness FILE …]   the folder has segments/ and checkpoints/
    verify_audit_log.py bundle FILE.zip CERTIFICATE.pem …

A witness's FILE is what it has seen of the log: a line a checkpoint, base64, the newest last; or one checkpoint as XML.

It is written apart from the package's own verifier, from this description, so that each is a check of the other:

(1) A file *.log is a row of entries: a line ``WORD NUMBER SAID LENGTH``, LENGTH bytes, a line end.  In segments/ WORD
    is XDS-AUDIT-1 and SAID the time, and of what another node has sent TIME;ORIGIN, percent-encoded; in checkpoints/
    XDS-CHECKPOINT-1 and the size.  Numbers run 0, 1, 2 … through all files.
(2) A record's leaf is its header line, a line end, and its bytes.  Leaves are hashed into a tree as RFC 6962, section
    2.1 says, with SHA-256; a checkpoint names the root over its first Size leaves.
(3) Checkpoints name the SHA-256 of the one before, and one LogId; Size and Time never shrink.
(4) A checkpoint is signed: enveloped XML signature, exclusive canonicalisation, ECDSA P-256 with SHA-256, by the
    certificate whose SHA-256 is its KeyName, valid at its Time.
(5) No record is missing that a checkpoint counts.
(7) The log begins with what a witness has seen: where its checkpoint's Size is reached, the root is its Root.
(8) Records may be erased when their time is over.  FIRST.erased then stands for a file of segments/: a line
    ``XDS-ERASED-1 FIRST END LENGTH``, LENGTH bytes of a signed statement, a line end, and the 32 bytes of the hash of
    each leaf.  The statement is signed as a checkpoint is, and names LogId, First, End, and the Root over these hashes.

A bundle's records are held to proofs.json and checkpoint.xml, and it may hold nothing else but certificates/,
README.txt and report.html, which are for people: what counts is in records/.

Exit code 0: it holds; 1: it does not, and the first step and record that does not hold is printed; 2: wrong use, or
what was named is not there or no such file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
LONGEST = 64 * 1024 * 1024


class DoesNotHold(Exception):
    """The first step that does not, and where."""

    def __init__(self, step: int, where: str, reason: str) -> None:
        super().__init__(f"step {step}, {where}: {reason}")
        self.step = step


def entries(folder: Path, word: bytes, step: int) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Number, what the header says, and bytes of each entry; of an erased one its hash, and no bytes."""
    expected = 0
    files = sorted([*numbered(folder, "log"), *gone_from(folder)])
    for place, path in enumerate(files):
        with path.open("rb") as file:
            if int(path.stem) != expected:
                raise DoesNotHold(step, f"{path.name}", f"begins with {int(path.stem)}, not {expected}")
            if path.suffix == ".erased":
                for hash_ in erased(path)[2]:
                    yield expected, hash_, None
                    expected += 1
                continue
            while header := file.readline(1024):
                parts = header.rstrip(b"\n").split(b" ")
                whole = header.endswith(b"\n") and len(parts) == 4 and parts[0] == word and parts[3].isdigit()
                length = int(parts[3]) if whole else -1
                data = file.read(length + 1) if 0 <= length <= LONGEST else b""
                if not whole or len(data) != length + 1 or data[-1:] != b"\n" or parts[1] != b"%d" % expected:
                    at_end = place + 1 == len(files) and not file.read(1)
                    raise DoesNotHold(step, f"entry {expected}", "cut off" if at_end else "not what was written")
                yield expected, parts[2], data[:-1]
                expected += 1


def numbered(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder that are called by a number; others are none of the log's."""
    return [path for path in folder.glob(f"*.{suffix}") if path.stem.isascii() and path.stem.isdigit()]


def gone_from(folder: Path) -> list[Path]:
    """What stands for files that were erased."""
    return [path for path in numbered(folder, "erased") if not path.with_suffix(".log").exists()]


def erased(path: Path) -> tuple[int, bytes, list[bytes]]:
    """Where an erased part ends, its statement, and the hashes."""
    header, _, rest = path.read_bytes().partition(b"\n")
    parts = header.split(b" ")
    if len(parts) != 4 or parts[0] != b"XDS-ERASED-1" or not all(part.isdigit() for part in parts[1:]):
        raise DoesNotHold(1, path.name, "not an erased part")
    first, end, length = map(int, parts[1:])
    hashes_ = rest[length + 1 :]
    if (
        first != int(path.stem)
        or end <= first
        or rest[length : length + 1] != b"\n"
        or len(hashes_) != 32 * (end - first)
    ):
        raise DoesNotHold(1, path.name, "an erased part is not whole")
    return end, rest[:length], [hashes_[at : at + 32] for at in range(0, len(hashes_), 32)]


def leaf(number: int, said: bytes, message: bytes) -> bytes:
    return hashlib.sha256(b"\0XDS-AUDIT-1 %d %b %d\n%b" % (number, said, len(message), message)).digest()


def joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """Roots of whole subtrees, the largest first: what is needed to go on, and to tell the root."""

    def __init__(self) -> None:
        self.size, self.parts = 0, list[tuple[int, bytes]]()

    def add(self, hash_: bytes) -> None:
        height = 0
        while self.parts and self.parts[-1][0] == height:
            hash_ = joined(self.parts.pop()[1], hash_)
            height += 1
        self.parts.append((height, hash_))
        self.size += 1

    def root(self) -> bytes:
        if not self.parts:
            return hashlib.sha256(b"").digest()
        root = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            root = joined(left, root)
        return root


def read(signed: bytes, kind: str, fields: list[str], where: str, step: int) -> tuple[etree._Element, dict[str, str]]:
    """What a statement says."""
    name = f"{{urn:xds:audit:{kind.lower()}:1}}"
    try:
        root = etree.fromstring(signed, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except etree.XMLSyntaxError:
        raise DoesNotHold(step, where, "not XML") from None
    if root.tag != name + kind or [c.tag for c in root] != [
        *(name + field for field in fields),
        SIGNATURE + "Signature",
    ]:
        raise DoesNotHold(step, where, f"not a {kind.lower()}")
    said = {field: root.findtext(name + field) or "" for field in fields}
    said["Signer"] = root.findtext(f".//{SIGNATURE}KeyName") or ""
    return root, said


def checkpoint(signed: bytes, certificates: list[x509.Certificate], where: str, believe: bool) -> dict[str, str]:
    """What a checkpoint says; where it is to be believed, its signature holds."""
    root, said = read(signed, "Checkpoint", ["LogId", "Size", "Root", "Time", "Previous"], where, 3)
    try:
        lengths = [len(bytes.fromhex(said[field])) for field in ("Root", "Previous")]
        whole = int(said["Size"]) >= 0 and lengths == [32, 32] and datetime.fromisoformat(said["Time"]).tzinfo
    except ValueError:
        whole = None
    if not whole:
        raise DoesNotHold(3, where, "not a checkpoint")
    if believe:
        signature_holds(root, said, certificates, where)
    return said


def signature_holds(
    root: etree._Element, said: dict[str, str], certificates: list[x509.Certificate], where: str
) -> None:
    """Step (4)."""
    trusted = [c for c in certificates if c.fingerprint(hashes.SHA256()).hex() == said["Signer"]]
    if not trusted:
        raise DoesNotHold(4, where, "signed by a key that is not trusted")
    time = datetime.fromisoformat(said["Time"])
    if not trusted[0].not_valid_before_utc <= time <= trusted[0].not_valid_after_utc:
        raise DoesNotHold(4, where, "signed outside the time that its certificate is valid")
    try:
        verified(root, trusted[0], where)
    except (ValueError, AttributeError, IndexError, TypeError):
        raise DoesNotHold(4, where, "the signature is malformed") from None


def verified(root: etree._Element, certificate: x509.Certificate, where: str) -> None:
    """That the signature is by a certificate's holder, over all of it."""
    signature = root.find(SIGNATURE + "Signature")
    info = signature.find(SIGNATURE + "SignedInfo")
    references = info.findall(SIGNATURE + "Reference")
    transforms = [t.get("Algorithm") for t in info.iter(SIGNATURE + "Transform")]
    methods = [
        info.find(SIGNATURE + "CanonicalizationMethod").get("Algorithm"),
        info.find(SIGNATURE + "SignatureMethod").get("Algorithm"),
        *(r.find(SIGNATURE + "DigestMethod").get("Algorithm") for r in references),
        *(r.get("URI") for r in references),
    ]
    if methods != [EXCLUSIVE, ECDSA_SHA256, SHA256, ""] or transforms not in ([ENVELOPED, EXCLUSIVE], [ENVELOPED]):
        raise DoesNotHold(4, where, "the signature is of another kind")
    value, stated = (
        base64.b64decode("".join((parent.findtext(SIGNATURE + name) or "").split()), validate=True)
        for parent, name in ((signature, "SignatureValue"), (references[0], "DigestValue"))
    )
    canonical = etree.tostring(info, method="c14n", exclusive=True)
    half = len(value) // 2
    der = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DoesNotHold(4, where, "the key is of another kind")
    try:
        key.verify(der, canonical, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise DoesNotHold(4, where, "the signature does not hold") from None
    root.remove(signature)
    if hashlib.sha256(etree.tostring(root, method="c14n", exclusive=True)).digest() != stated:
        raise DoesNotHold(4, where, "what was signed is another checkpoint")


def check_erased(folder: Path, certificates: list[x509.Certificate], last: dict[str, str] | None) -> None:
    """Step (8)."""
    for path in sorted(gone_from(folder)):
        end, signed, leaves = erased(path)
        fields = ["LogId", "First", "End", "Root", "Time", "Sha256", "Reason"]
        root, said = read(signed, "Erasure", fields, path.name, 8)
        try:
            signature_holds(root, said, certificates, path.name)
        except (DoesNotHold, ValueError) as problem:
            raise DoesNotHold(8, path.name, str(problem)) from None
        tree = Tree()
        for hash_ in leaves:
            tree.add(hash_)
        stated = (said["LogId"], said["First"], said["End"], said["Root"])
        if last is None or end > int(last["Size"]) or stated != (
            last["LogId"], str(int(path.stem)), str(end), tree.root().hex(),
        ):  # fmt: skip
            raise DoesNotHold(8, path.name, "the statement is of something else")


def witness_of(path: Path, certificates: list[x509.Certificate]) -> dict[str, str]:
    """What a witness has seen last."""
    data = path.read_bytes()
    try:
        signed = (
            data if data.lstrip().startswith(b"<") else base64.b64decode(data[: data.rindex(b"\n")].split(b"\n")[-1])
        )
        return checkpoint(signed, certificates, path.name, believe=True)
    except (DoesNotHold, ValueError) as problem:
        raise DoesNotHold(7, path.name, str(problem)) from None


def check_log(folder: Path, certificates: list[x509.Certificate], seen: list[dict[str, str]] | None = None) -> str:
    """Steps (1) to (8) over a whole log."""
    tree, records = Tree(), entries(folder / "segments", b"XDS-AUDIT-1", 1)
    before, last, count = b"", None, 0
    marks = [(int(one["Size"]), one) for one in seen or []]
    for number, _, signed in entries(folder / "checkpoints", b"XDS-CHECKPOINT-1", 3):
        where = f"checkpoint {number}"
        said = checkpoint(signed, certificates, where, believe=False)
        if said["Previous"] != (hashlib.sha256(before).hexdigest() if before else "00" * 32):
            raise DoesNotHold(3, where, "does not name the one before")
        if last is not None and (
            said["LogId"] != last["LogId"]
            or int(said["Size"]) < int(last["Size"])
            or datetime.fromisoformat(said["Time"]) < datetime.fromisoformat(last["Time"])
        ):
            raise DoesNotHold(3, where, "is of another log, or goes back")
        checkpoint(signed, certificates, where, believe=True)
        while tree.size < int(said["Size"]):
            found = next(records, None)
            if found is None:
                raise DoesNotHold(5, f"record {tree.size}", "is missing, and a checkpoint counts it")
            number_, said_, message = found
            tree.add(said_ if message is None else leaf(number_, said_, message))
            if any(size == tree.size and one["Root"] != tree.root().hex() for size, one in marks):
                raise DoesNotHold(7, f"records up to {tree.size - 1}", "not what a witness has seen")
        if tree.root().hex() != said["Root"]:
            raise DoesNotHold(2, f"{where}, records up to {tree.size - 1}", "not what was sealed")
        before, last, count = signed, said, count + 1
    if last is None:
        raise DoesNotHold(5, "record 0", "there is no checkpoint")
    for size, one in marks:
        if size > tree.size or one["LogId"] != last["LogId"]:
            raise DoesNotHold(7, f"record {tree.size}", "is missing, or the witness has seen another log")
    check_erased(folder / "segments", certificates, last)
    return f"holds: {tree.size} records under {count} checkpoints"


def check_bundle(path: Path, certificates: list[x509.Certificate]) -> str:
    """That each record of a bundle is under its checkpoint, by its proof, and that the signature holds."""
    with zipfile.ZipFile(path) as bundle:
        proofs = json.loads(bundle.read("proofs.json"))
        said = checkpoint(bundle.read("checkpoint.xml"), certificates, "the checkpoint", believe=True)
        listed = [one["file"] for one in proofs["records"]]
        for name in bundle.namelist():
            known = name in ("proofs.json", "checkpoint.xml", "README.txt", "report.html", *listed)
            if not known and not name.startswith("certificates/"):
                raise DoesNotHold(1, name, "is proven by nothing in the bundle")
        if not listed or len(set(listed)) != len(listed) or len(bundle.namelist()) != len(set(bundle.namelist())):
            raise DoesNotHold(1, "the bundle", "holds no records, or something twice")
        for one in proofs["records"]:
            number, where = one["leaf"], f"record {one['leaf']}"
            hash_ = leaf(number, one["time"].encode(), bundle.read(one["file"]))
            if (
                proven(hash_, number, int(said["Size"]), [bytes.fromhex(part) for part in one["proof"]]).hex()
                != said["Root"]
            ):
                raise DoesNotHold(2, where, "is not under the checkpoint")
    counted = f"{len(proofs['records'])} records of a log of {said['Size']}, sealed at {said['Time']}"
    return f"holds: {counted}; report.html is for reading and was not checked"


def proven(hash_: bytes, number: int, size: int, proof: list[bytes]) -> bytes:
    """The root that a leaf and its audit path lead to (RFC 9162: 2.1.3.2); no root for a path of another length."""
    if number >= size:
        return b""
    last = size - 1
    for part in proof:
        if last == 0:
            return b""
        if number & 1 or number == last:
            hash_ = joined(part, hash_)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            hash_ = joined(hash_, part)
        number, last = number >> 1, last >> 1
    return hash_ if last == 0 else b""


def main(given: list[str]) -> int:
    if len(given) < 3 or given[0] not in ("log", "bundle"):
        print(__doc__, file=sys.stderr)
        return 2
    at = given.index("--witness") if "--witness" in given else len(given)
    try:
        certificates = [one for path in given[2:at] for one in x509.load_pem_x509_certificates(Path(path).read_bytes())]
        if given[0] == "log" and not (Path(given[1]) / "checkpoints").is_dir():
            print(f"{given[1]} holds no audit log", file=sys.stderr)
            return 2
        if given[0] == "log":
            seen = [witness_of(Path(path), certificates) for path in given[at + 1 :] if path != "--witness"]
            print(check_log(Path(given[1]), certificates, seen))
        else:
            print(check_bundle(Path(given[1]), certificates))
    except DoesNotHold as problem:
        print(f"DOES NOT HOLD: {problem}")
        return 1
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as problem:
        print(f"cannot be read: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
