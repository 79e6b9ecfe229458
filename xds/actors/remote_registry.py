"""A Document Registry elsewhere, as a Document Repository reaches it: ITI-42, and ITI-18 to settle what was unclear."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lxml import etree

from xds.actors.document_consumer import listed
from xds.actors.document_repository import NoAnswer
from xds.ebxml import query, rim, rim_writing, rs
from xds.ebxml.lcm import write_submit_objects
from xds.errors import ErrorCode, Finding, Refused, Status
from xds.queries.catalogue import GET_DOCUMENTS
from xds.wire.client import Answer, Client, Faulted, NoReply
from xds.wire.spool import Spool


class RemoteRegistry:
    """The registry at a URL."""

    def __init__(self, client: Client, register_action: str, query_action: str) -> None:
        self.url = client.url
        self._client, self._register_action, self._query_action = client, register_action, query_action

    def register(self, objects: rim.RegistryObjectList) -> tuple[Finding, ...]:
        """Send ITI-42; return the registry's warnings.

        Raises:
            Refused: with the registry's findings; nothing was registered.
            NoAnswer: it may or may not have been.
        """
        # Markers that stood beside their packages go along as they came.
        element = write_submit_objects(objects.objects())
        for classification in objects.classifications:
            element[0].append(rim_writing.write_classification(classification))
        answer = self._send(self._register_action, etree.tostring(element))
        status, findings = rs.read_response(answer.body)
        if status is not Status.SUCCESS:
            raise Refused(findings)
        return findings

    def holds(self, unique_id: str) -> bool:
        """Whether a document of this uniqueId is registered.

        Raises:
            Refused, NoAnswer: it did not say.
        """
        answer = self._send(self._query_action, settling_query(unique_id)[1])
        status, findings = rs.read_response(answer.body)
        if status is not Status.SUCCESS:
            raise Refused(findings)
        return answer.body.find(".//{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}ObjectRef") is not None

    def _send(self, action: str, body: bytes) -> Answer:
        try:
            with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
                return self._client.send(action, [body], spool, as_mtom=False)
        except Faulted as fault:
            raise Refused([Finding(ErrorCode.REGISTRY_ERROR, f"the registry answered with a fault: {fault}")]) from None
        except (NoReply, ValueError):
            raise NoAnswer from None


def settling_query(unique_id: str) -> tuple[query.AdhocQuery, bytes]:
    """The stored query that asks for a document by its uniqueId, as a value and as it is sent."""
    slot = rim.Slot("$XDSDocumentEntryUniqueId", (listed([unique_id]),))
    asked = query.AdhocQuery(GET_DOCUMENTS.id, "ObjectRef", (slot,))
    return asked, etree.tostring(query.write_request(asked))
