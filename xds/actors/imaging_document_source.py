"""The Imaging Document Source: gives the instances that its manifests promise.

RAD TF-2: 4.69; errors as XDS-I.b test tools expect them: XDSDocumentUniqueIdError for what is absent,
XDSRepositoryError for what cannot be encoded, XDSUnknownRepositoryId for another source's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from xds.actors.streams import Streams
from xds.archives.interface import Archive, Gone, Held, NotEncodable, Ready, SpoolFull
from xds.ebxml.xdsb import ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding, Refused


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that can be given: its size is known, its bytes are opened when they are sent."""

    request: InstanceRequest
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]
    release: Callable[[], None]


class ImagingDocumentSource:
    """One source, by its Retrieve Location UID; its archive may be absent, and then it has nothing."""

    def __init__(self, retrieve_location_uid: str, archive: Archive | None, *, streams: int) -> None:
        self.retrieve_location_uid, self._archive = retrieve_location_uid, archive
        self.streams = Streams(streams)
        self._broken: set[str] = set()

    def retrieve(self, request: ImagingRequest) -> list[Instance | Finding]:
        """For each instance asked for, what can be given, or why it cannot.

        Raises:
            Refused: the request as a whole cannot be answered.
        """
        findings = [
            Finding(ErrorCode.XDSI_REQUEST, f"{what} is empty (RAD TF-2: 4.69.4.1.2)")
            for what in ("studyInstanceUID", "seriesInstanceUID")
            if any(not getattr(i, what.replace("InstanceUID", "_instance_uid")) for i in request.instances)
        ]
        if not any(request.transfer_syntax_uids):
            rule = "TransferSyntaxUIDList names no transfer syntax (RAD TF-2: 4.69.4.1.2)"
            findings.append(Finding(ErrorCode.REPOSITORY_ERROR, rule))
        if findings:
            raise Refused(findings)
        return [self._instance(instance, request.transfer_syntax_uids) for instance in request.instances]

    def _instance(self, request: InstanceRequest, syntaxes: Sequence[str]) -> Instance | Finding:
        uid = request.document.document_unique_id
        if request.document.repository_unique_id != self.retrieve_location_uid:
            rule = f"{request.document.repository_unique_id[:64]} is not this source, {self.retrieve_location_uid}"
            return Finding(ErrorCode.UNKNOWN_REPOSITORY_ID, rule, uid)
        held = None
        if self._archive is not None:
            held = self._archive.find(request.study_instance_uid, request.series_instance_uid, uid)
        if self._archive is None or held is None:
            rule = "no such instance in that series of that study"
            return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, rule, uid)
        if uid in self._broken:
            return Finding(ErrorCode.REPOSITORY_ERROR, "the instance is damaged", uid)
        try:
            return self._opened(self._archive, request, held, syntaxes)
        except NotEncodable as problem:
            return Finding(ErrorCode.REPOSITORY_ERROR, f"not in a listed transfer syntax: {problem}", uid)
        except Gone:
            return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "the instance is not there any more", uid)
        except SpoolFull:
            return Finding(ErrorCode.REPOSITORY_OUT_OF_RESOURCES, "no room to transcode now; try again", uid)

    def _opened(self, archive: Archive, request: InstanceRequest, held: Held, syntaxes: Sequence[str]) -> Instance:
        ready = archive.open(held, syntaxes)
        return Instance(request, ready.size_bytes, lambda: self._chunks(ready, held.sop_instance_uid), ready.close)

    def _chunks(self, ready: Ready, uid: str) -> Iterator[bytes]:
        try:
            with ready:
                yield from ready.chunks()
        except Gone:
            self._broken.add(uid)  # a retry gets the rest, and an error for this one
            raise
