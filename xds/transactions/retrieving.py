"""The answer that ITI-39, ITI-43 and RAD-69 share: xds:RetrieveDocumentSetResponse, documents streamed into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from xds.ebxml import rs
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Finding, Severity, Status
from xds.transactions.transaction import Attachment, Piece, Reply
from xds.wire.addressing import new_message_id
from xds.wire.xml import NAMESPACES


@dataclass(frozen=True, slots=True)
class Given:
    """A document that can be given: looked up, not opened."""

    request: DocumentRequest
    mime_type: str
    size_bytes: int | None
    chunks: Callable[[], Iterator[bytes]]
    new_repository_unique_id: str | None = None  # of what was made when it was asked for
    new_document_unique_id: str | None = None


def reply(given: Sequence[Given], findings: Sequence[Finding]) -> Reply:
    """Success with all, PartialSuccess with some, Failure with none (ITI TF-3: Table 4.2.4.2-3)."""
    wrong = any(finding.severity is Severity.ERROR for finding in findings)
    status = Status.SUCCESS if not wrong else Status.PARTIAL_SUCCESS if given else Status.FAILURE
    pieces: list[Piece] = [b'<xds:RetrieveDocumentSetResponse xmlns:xds="%b">' % NAMESPACES["xds"].encode()]
    pieces.append(etree.tostring(rs.write_response(status, findings)))
    of_reply = new_message_id().removeprefix("urn:uuid:")
    for number, item in enumerate(given):
        request = item.request
        head = (
            _element("HomeCommunityId", request.home_community_id)
            + _element("RepositoryUniqueId", request.repository_unique_id)
            + _element("DocumentUniqueId", request.document_unique_id)
            + _element("NewRepositoryUniqueId", item.new_repository_unique_id)
            + _element("NewDocumentUniqueId", item.new_document_unique_id)
            + _element("mimeType", item.mime_type)
        )
        pieces.append(f"<xds:DocumentResponse>{head}<xds:Document>".encode())
        pieces.append(Attachment(f"{number}.{of_reply}@xds", item.size_bytes, item.chunks, item.mime_type))
        pieces.append(b"</xds:Document></xds:DocumentResponse>")
    pieces.append(b"</xds:RetrieveDocumentSetResponse>")
    return Reply(tuple(pieces), tuple(findings), failed=status is Status.FAILURE)


def _element(local: str, text: str | None) -> str:
    return "" if text is None else f"<xds:{local}>{escape(text)}</xds:{local}>"
