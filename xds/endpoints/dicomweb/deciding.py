"""Whether a DICOMweb request may be answered, and of which studies.  The decision is that of SOAP's transactions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from xds.access.gate import Gate
from xds.access.studies import Studies
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.people import asking
from xds.metadata.visible import Access
from xds.wire.http import HttpRequest

_NAMING = frozenset((
    "PatientID", "00100020", "StudyInstanceUID", "0020000D", "AccessionNumber", "00080050", "SeriesInstanceUID",
    "0020000E", "SOPInstanceUID", "00080018",
))  # fmt: skip
"""Keys by which a search is about somebody, when they have a value without wildcards."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """Asks for the addresses of one affinity domain."""

    gate: Gate
    domain: str
    studies: Studies

    def ask(self, request: HttpRequest, number: str, event: AuditEvent, *, searches: bool = False) -> Access:
        """What who asks may see.

        Raises:
            NotPermitted: nothing; or they search for all patients.
        """
        peer = self.gate.peer(request.certificate, request.remote_address, ours=request.ours)
        every = searches and not request.ours and not _names_somebody(request.query)
        granted = self.gate.ask(peer, number, self.domain, asking(), every_patient=every)
        if granted.note:
            event.noted(granted.note)
        return granted.access

    def name(self, request: HttpRequest) -> str:
        """What who asks is called in the settings; empty: nothing."""
        return self.gate.peer(request.certificate, request.remote_address, ours=request.ours).name

    def withheld(self, access: Access, study_instance_uids: Collection[str]) -> set[str]:
        """See ``Studies``."""
        return self.studies.withheld(access, study_instance_uids)


def _names_somebody(query: str) -> bool:
    return any(key in _NAMING and text and not {"*", "?"} & set(text) for key, text in parse_qsl(query))
