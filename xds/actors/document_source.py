"""The (Imaging) Document Source's side of ITI-41 and RAD-68: documents with their metadata, sent and acknowledged.

ITI TF-2: 3.41; RAD TF-2: 4.68.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from xds.ebxml import lcm, rs
from xds.errors import Finding, Refused, Status
from xds.imaging import kos
from xds.imaging.entry import Defaults, document_entry
from xds.imaging.group import Study
from xds.imaging.manifest import Manifest
from xds.metadata import to_ebxml
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Code, Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId, new_oid
from xds.metadata.submission import Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType
from xds.wire.client import Client
from xds.wire.mtom import Piece
from xds.wire.spool import CHUNK_BYTES, Spool

CONTENT_TYPE = Code("18748-4", "2.16.840.1.113883.6.1", "Diagnostic imaging study")


@dataclass(frozen=True, slots=True)
class Content:
    """A document's bytes, opened when they are sent."""

    size_bytes: int
    sha1: str
    chunks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls(len(data), hashlib.sha1(data, usedforsecurity=False).hexdigest(), lambda: iter((data,)))

    @classmethod
    def of_file(cls, path: Path) -> Content:
        """A file, read once for its hash and once to be sent."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha1").hexdigest()
        return cls(path.stat().st_size, digest, lambda: _chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class _Part:
    """A document as an attachment of the request."""

    content_id: str
    content_type: str
    content: Content

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes

    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]:
        return self.content.chunks


def imaging_submission(
    study: Study, manifest: Manifest, patient_id: PatientId, source_id: Oid, defaults: Defaults
) -> tuple[Submission, Content]:
    """The RAD-68 submission of a study's manifest, with symbolic ids, and the manifest's bytes."""
    data = kos.write(manifest)
    entry = document_entry(study, manifest, data, patient_id, defaults, "manifest")
    return submission([entry], patient_id, source_id, CONTENT_TYPE), Content.of(data)


def submission(
    entries: Sequence[DocumentEntry], patient_id: PatientId, source_id: Oid, content_type: Code
) -> Submission:
    """A submission set around entries, with symbolic ids."""
    set_ = SubmissionSet(
        entry_uuid=EntryUuid("submission"),
        unique_id=UniqueId(new_oid()),
        source_id=source_id,
        patient_id=patient_id,
        content_type_code=content_type,
        submission_time=Dtm.of(datetime.now(UTC)),
        author=entries[0].author if entries else (),
    )
    members = tuple(
        Association(
            entry_uuid=EntryUuid(f"member{number}"),
            type=AssociationType.HAS_MEMBER,
            source=set_.entry_uuid,
            target=entry.entry_uuid,
            submission_set_status=SubmissionSetStatus.ORIGINAL,
        )
        for number, entry in enumerate(entries)
    )
    return Submission(set_, tuple(entries), (), members)


def provide(
    client: Client, action: str, value: Submission, contents: Sequence[Content], spool: Spool
) -> tuple[Finding, ...]:
    """Send a submission with its documents; return the repository's warnings.

    Raises:
        Refused: with what the repository, or the registry behind it, finds wrong.
        NoReply, Faulted: as ``Client.send`` does.
    """
    parts = [(e.entry_uuid, e.mime_type, c) for e, c in zip(value.document_entries, contents, strict=True)]
    return provide_written(client, action, written(value), parts, spool)


def written(value: Submission) -> bytes:
    """A submission's ebXML."""
    return etree.tostring(lcm.write_submit_objects(to_ebxml.submission(value)))


def provide_written(
    client: Client, action: str, metadata: bytes, parts: Sequence[tuple[str, str, Content]], spool: Spool
) -> tuple[Finding, ...]:
    """Send ebXML as it was written, with documents by entry id and media type; return the repository's warnings.

    Raises:
        Refused, NoReply, Faulted: as ``provide``.
    """
    pieces: list[Piece] = [b'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">', metadata]
    for id_, mime_type, content in parts:
        pieces.append(f'<xds:Document id="{id_}">'.encode())
        pieces.append(_Part(f"{new_oid()}@xds", mime_type, content))
        pieces.append(b"</xds:Document>")
    pieces.append(b"</xds:ProvideAndRegisterDocumentSetRequest>")
    answer = client.send(action, pieces, spool, as_mtom=True)
    status, findings = rs.read_response(answer.body)
    if status is not Status.SUCCESS:
        raise Refused(findings)
    return findings
