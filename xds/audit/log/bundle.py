"""Records with all that proves them, in one ZIP file: for a court's expert, who has nothing else of ours.

The records' exact bytes, each one's path to the root of a signed checkpoint, the checkpoint, certificates, and a report
to read.  ``deploy/verify_audit_log.py`` checks it without this package.
"""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from xds.audit.log import checkpoint as signing
from xds.audit.log.merkle import HashTree
from xds.audit.log.segments import Record
from xds.audit.log.verify import verify_record
from xds.audit.messages.plain import summary, words

_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit records</title><style>
body { font: 11pt/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #14213d; }
h1 { margin: 0; } section { border-top: 1px solid #dbe3f0; padding: .8rem 0; break-inside: avoid; }
h2 { font-size: 1rem; margin: 0; } code { overflow-wrap: anywhere; } small, dt { color: #5b6b8c; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; }
</style></head><body>"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a bundle holds."""

    records: int
    size: int
    sealed: datetime


def write(
    path: Path, tree: HashTree, records: Sequence[Record], signed: bytes, certificates: Sequence[x509.Certificate]
) -> Exported:
    """Write a bundle; each proof is verified before it is written.

    Raises:
        Tampered: a record is not under the checkpoint, or its signature does not hold.
        OSError: the file cannot be written.
    """
    checkpoint, listed = signing.read(signed), []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for record in records:
            proof = tree.inclusion_proof(record.leaf, checkpoint.size)
            verify_record(record, proof, signed, certificates)
            name = f"records/{record.leaf:012d}.xml"
            bundle.writestr(name, record.message)
            path_ = [part.hex() for part in proof]
            listed.append({"leaf": record.leaf, "time": record.said.decode(), "file": name, "proof": path_})
        bundle.writestr("proofs.json", json.dumps({"log": checkpoint.log_id, "records": listed}, indent=1))
        bundle.writestr("checkpoint.xml", signed)
        for number, one in enumerate(certificates):
            bundle.writestr(f"certificates/{number}.pem", one.public_bytes(serialization.Encoding.PEM))
        bundle.writestr("report.html", report(records, checkpoint, certificates))
        bundle.writestr("README.txt", _README)
    return Exported(len(records), checkpoint.size, checkpoint.time)


_README = """Audit records, exported from xds.

report.html      what each record means
records/         the records, byte for byte as they were sealed
proofs.json      each record's number, its time and origin, and its path to the root of the tree (RFC 6962)
checkpoint.xml   the signed statement of that root
certificates/    who signs; compare their fingerprints with what the operator publishes

verify_audit_log.py bundle THIS.zip CERTIFICATE.pem checks the records, their proofs and the checkpoint, without xds.
Do not take the certificate from here: whoever could write the bundle could write that, too; and report.html, which is
for reading: what counts is in records/.
"""


def report(records: Sequence[Record], checkpoint: signing.Checkpoint, certificates: Sequence[x509.Certificate]) -> str:
    """A page to read and print."""
    prints = "".join(f"<dt>Certificate</dt><dd><code>{signing.fingerprint(one)}</code></dd>" for one in certificates)
    begin = (
        f"{_HEAD}<h1>Audit records</h1><p>{len(records)} of the {checkpoint.size} records that were sealed on "
        f"{checkpoint.time.astimezone(UTC):%Y-%m-%d at %H:%M:%S} UTC.</p><dl><dt>Log</dt>"
        f"<dd><code>{html.escape(checkpoint.log_id)}</code></dd>"
        f"<dt>Root</dt><dd><code>{checkpoint.root.hex()}</code></dd>{prints}</dl>"
    )
    return begin + "".join(map(_section, records)) + "</body></html>"


def _section(record: Record) -> str:
    said = summary(record.message)
    time = f"{record.recorded.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
    origin = f"<dt>Came from</dt><dd>{html.escape(record.origin)}</dd>" if record.origin else ""
    patient = f"<dt>Patient</dt><dd>{html.escape(said['patient'])}</dd>" if said.get("patient") else ""
    return (
        f"<section><h2>Record {record.leaf}: {html.escape(said['event'])}</h2>"
        f"<p>{html.escape(words(record.message, record.origin))}</p>"
        f"<dl><dt>Recorded</dt><dd>{time}</dd>{origin}{patient}</dl></section>"
    )
