"""STOW-RS: instances taken in as Part 10 files of a multipart/related body.  PS3.18: 10.5; RAD TF-2: 4.108."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xds.archives.intake import AnothersStudy, Arrived, Intake, NotTaken, Reason
from xds.archives.senders import Sender
from xds.audit.messages.events import AuditEvent
from xds.endpoints.dicomweb import multipart
from xds.endpoints.dicomweb.accept import DICOM, JSON, MULTIPART
from xds.endpoints.dicomweb.datasets import value
from xds.endpoints.intake_records import NotRecorded, Recording
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.mime import ContentType, Limits, Malformed, PartReader, TooLong, boundary_of
from xds.wire.spool import NotKept, Spool, Spooled

log = logging.getLogger("xds.endpoints.dicomweb.store")

RAD_108 = ("RAD-108", "STOW-RS Store")

# PS3.18: Table 10.5.3-1, DICOM JSON's names of the elements.
_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_TAKEN, _FAILED, _FAILURE_REASON = "00081199", "00081198", "00081197"


class BadRequest(Exception):
    """A request that is refused as a whole."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class _Outcome:
    """What became of the instances of one request."""

    taken: list[Arrived] = field(default_factory=list)
    failed: list[NotTaken] = field(default_factory=list)

    @property
    def status(self) -> int:
        """PS3.18: Table 10.5.3-1."""
        if not self.failed:
            return 200
        return 202 if self.taken else 409


class Storing:
    """What answers STOW-RS."""

    def __init__(
        self, intake: Intake, recording: Callable[[AuditEvent], Recording], limits: Limits,
        sender: Callable[[HttpRequest], Sender] | None = None,
    ) -> None:  # fmt: skip
        """``sender`` says who a request is from."""
        self._intake, self._recording, self._limits = intake, recording, limits
        self._sender = sender or sender_of

    def answer(self, request: HttpRequest, study: str, event: AuditEvent) -> HttpReply:
        """Take what is sent: all that arrives whole and can be given again; ``study`` is the only one it may be of.

        Raises:
            BadRequest: the body is none of STOW-RS, breaks off or is over a limit; nothing is kept of it.
        """
        try:
            self._intake.demand_room()
        except NotTaken as refusal:  # before the body is read
            raise BadRequest(503, f"{refusal}; try again later") from None
        with Spool(self._intake.incoming, disk=self._intake.disk) as spool:
            outcome, arrived = _Outcome(), list[Arrived]()
            for one in self._parts(request, spool):
                try:
                    arrived.append(self._examined(one, study))
                except NotTaken as refusal:
                    outcome.failed.append(refusal)
            try:
                self._kept(arrived, outcome, self._recording(event), self._sender(request))
            except NotRecorded:
                raise BadRequest(503, "the request cannot be recorded; try again") from None
        return _reply(outcome, request.url.partition("/dicomweb")[0] + "/dicomweb")

    def _kept(self, arrived: Sequence[Arrived], outcome: _Outcome, recording: Recording, sender: Sender) -> None:
        unreadable, refused = len(outcome.failed), list[Arrived]()
        recording.begin(arrived)
        for one in arrived:
            try:
                self._intake.keep(one, sender)
                outcome.taken.append(one)
            except NotTaken as refusal:
                outcome.failed.append(refusal)
                refused.append(one)
                if isinstance(refusal, AnothersStudy):
                    recording.against(one, refusal, sender)
                    log.warning("stow_rs.anothers_study", extra={"reason": str(refusal)})
        recording.end(outcome.taken, refused, unreadable)

    def _examined(self, file: Spooled, study: str) -> Arrived:
        arrived = self._intake.examined(file.path)
        if study and arrived.study_instance_uid != study:
            raise arrived.refused(Reason.NO_MATCH, "of another study than the address names (PS3.18: 10.5.1.1)")
        return arrived

    def _parts(self, request: HttpRequest, spool: Spool) -> Sequence[Spooled]:
        kind = ContentType.parse(request.content_type)
        if kind.media_type != MULTIPART or kind.parameters.get("type", DICOM).lower() != DICOM:
            raise BadRequest(415, f'the body is multipart/related; type="{DICOM}" (PS3.18: 10.5.1.2)')
        try:
            return self._read(PartReader(boundary_of(kind), request.read), spool)
        except TooLong:
            raise BadRequest(413, f"an instance is over {self._limits.part_bytes} bytes") from None
        except Malformed as problem:
            raise BadRequest(400, str(problem)) from None
        except (NotKept, OSError):
            raise BadRequest(503, "no room to take it in now; try again") from None

    def _read(self, reader: PartReader, spool: Spool) -> Sequence[Spooled]:
        reader.skip_to_delimiter()
        found = list[Spooled]()
        while not reader.closed():
            if len(found) >= self._limits.parts:
                raise BadRequest(413, f"more than {self._limits.parts} instances")
            content = ContentType.parse(reader.headers().get("content-type", DICOM)).media_type
            if content != DICOM:
                raise BadRequest(415, f"each part is {DICOM} (PS3.18: 8.7.3)")
            found.append(reader.spooled(spool, self._limits.part_bytes))
        if not found:
            raise BadRequest(400, "there is no instance in the body")
        return found


def sender_of(request: HttpRequest) -> Sender:
    """Who sends, told by the certificate, else by the address."""
    return Sender(request.told_by)


def _reply(outcome: _Outcome, base: str) -> HttpReply:
    """The store instances response.  PS3.18: 10.5.3.2."""
    studies = {one.study_instance_uid for one in outcome.taken}
    found: dict[str, Any] = {}
    if len(studies) == 1:
        found[_RETRIEVE_URL] = {"vr": "UR", "Value": [f"{base}/studies/{studies.pop()}"]}
    if outcome.failed:
        found[_FAILED] = {"vr": "SQ", "Value": [_failed(one) for one in outcome.failed]}
    if outcome.taken:
        found[_TAKEN] = {"vr": "SQ", "Value": [_taken(one, base) for one in outcome.taken]}
    return multipart.single(outcome.status, multipart.of_bytes(JSON, json.dumps(found).encode()))


def _taken(one: Arrived, base: str) -> dict[str, Any]:
    where = f"/studies/{one.study_instance_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
    return {**_named(one.sop_class_uid, one.sop_instance_uid), _RETRIEVE_URL: {"vr": "UR", "Value": [base + where]}}


# What is set apart is among the failures, and where nothing else came the answer is 409: the origin server «was unable
# to store» it (PS3.18: Table 10.5.3-1).  A Warning Reason is of what is stored, so that its sender could delete it.  Of
# Table I.2-2 A9xx is the nearest to say of it; what becomes of it later is a person's to decide.
def _failed(one: NotTaken) -> dict[str, Any]:
    named = _named(one.sop_class_uid, one.sop_instance_uid)
    return {**named, _FAILURE_REASON: {"vr": "US", "Value": [int(one.reason)]}}


def _named(sop_class_uid: str, sop_instance_uid: str) -> dict[str, Any]:
    """Which instance; of one that cannot be read, none."""
    pairs = ((_SOP_CLASS, sop_class_uid), (_SOP_INSTANCE, sop_instance_uid))
    return {tag: value("UI", uid) for tag, uid in pairs}
