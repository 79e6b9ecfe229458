"""What DICOMweb addresses answer, each with its audit record.

PS3.18: 9.4, 10.4, 10.5, 10.6; RAD TF-2: 4.55, 4.107, 4.108.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl

import sqlalchemy as sa
from werkzeug.exceptions import HTTPException

from xds.access.gate import NotPermitted
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.study_patients import StudyPatients
from xds.archives.interface import Gone, Held, NotAnswering, NotEncodable, Ready, SpoolFull
from xds.audit.messages.events import AuditEvent
from xds.endpoints.dicomweb import datasets, documents, multipart, native_model, pixels, render, replies, search, store
from xds.endpoints.dicomweb.accept import ANY_SYNTAX, DICOM, JSON, OCTETS, XML, Wanted
from xds.endpoints.dicomweb.asked import (
    ADDRESSES,
    JPEG,
    PNG,
    THUMBNAIL,
    UID,
    Asked,
    Refusal,
    chosen,
    metadata_type,
    negotiated,
    numbers,
    parameters,
    warning,
)
from xds.endpoints.dicomweb.bulk import Collected
from xds.endpoints.dicomweb.deciding import Deciding
from xds.endpoints.dicomweb.documents import PDF
from xds.endpoints.dicomweb.views import not_done, uri_view, view
from xds.endpoints.failures import Failures
from xds.endpoints.stream import Stream
from xds.endpoints.stream_ends import end_stream
from xds.errors import Refused
from xds.imaging.part10 import EXPLICIT_LITTLE
from xds.store.audit.records import open_stream, record
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.metrics import Metrics
from xds.wire.mtom import new_boundary
from xds.wire.refusals import Reason

log = logging.getLogger("xds.endpoints.dicomweb")

RAD_55, RAD_107, RAD_129 = ("RAD-55", "WADO Retrieve"), ("RAD-107", "WADO-RS Retrieve"), ("RAD-129", "QIDO-RS Query")

NewEvent: TypeAlias = Callable[[tuple[str, str], HttpRequest], AuditEvent]


class DicomWeb:
    """The DICOMweb side of an Imaging Document Source."""

    def __init__(
        self,
        source: ImagingDocumentSource,
        engine: sa.Engine,
        new_event: NewEvent,
        owner: str,
        metrics: Metrics,
        patients: StudyPatients,
        deciding: Deciding,
        storing: store.Storing | None = None,
        failures: Failures | None = None,
    ) -> None:
        """``deciding`` says who may; ``storing`` takes what STOW-RS sends; without it nothing is taken.

        ``failures``: which have a record.
        """
        self._failures = failures
        self._source, self._engine, self._new_event, self._patients = source, engine, new_event, patients
        self._owner, self._metrics, self._storing, self._deciding = owner, metrics, storing, deciding
        self._answers: Mapping[str, Callable[[Asked], HttpReply]] = {
            "retrieve": self._retrieve, "metadata": self._metadata, "rendered": self._rendered,
            "thumbnail": self._rendered, "frames": self._frames, "bulkdata": self._bulk_data,
            "bulkdata/all": self._bulk, "bulkdata/pixels": self._bulk, "uri": self._uri,
            "search/studies": self._search, "search/series": self._search, "search/instances": self._search,
        }  # fmt: skip

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer one request; its audit record is kept before its first byte goes out."""
        try:
            what, uids = ADDRESSES.bind("").match(request.path)
        except HTTPException:
            return replies.text(404, "there is nothing at this address")
        if any(re.fullmatch(UID, uids[name]) is None for name in ("study", "series", "instance") if name in uids):
            return replies.text(400, "a UID is digits and dots, at most 64")
        if request.method == "POST" and (what == "search/studies" or (what == "retrieve" and "series" not in uids)):
            return self._stored(request, uids.get("study", ""))
        if request.method not in ("GET", "HEAD"):
            return replies.text(405, "GET only")
        try:
            request = request if what == "uri" else negotiated(request)
        except Refusal as refusal:
            return replies.text(refusal.status, refusal.reason)
        number = RAD_129 if what.startswith("search/") else RAD_55 if what == "uri" else RAD_107
        asked = Asked(request, what, uids, self._new_event(number, request))
        try:
            searches = what.startswith("search/") and "study" not in uids
            asked.access = self._deciding.ask(request, number[0], asked.event, searches=searches)
        except NotPermitted as denied:
            asked.event.refused(str(denied))
            self._metrics.answered(number[0], "refused", self._deciding.name(request), 0.0)
            return self._recorded(asked, replies.text(403, "this is not permitted"))
        return self._recorded(asked, self._answered(asked, number[0]))

    def _answered(self, asked: Asked, number: str) -> HttpReply:
        outcome, started = "fault", time.monotonic()
        try:
            reply = self._answers[asked.what](asked)
            outcome = "done"
        except Refusal as refusal:
            reply, outcome = replies.text(refusal.status, refusal.reason), "refused"
        except NotAnswering as problem:
            reply, outcome = replies.text(503, f"{problem}; try again", ("Retry-After", "30")), "refused"
        except Refused as busy:
            self._metrics.refused.labels(Reason.STREAMS).inc()
            reply, outcome = (
                replies.text(503, "; ".join(f.context for f in busy.findings), ("Retry-After", "5")),
                "refused",
            )
        except Exception:
            log.exception("dicomweb.failed", extra={"transaction": number})
            reply = replies.text(500, "an internal error")
        self._metrics.answered(number, outcome, self._deciding.name(asked.request), time.monotonic() - started)
        return reply

    def _stored(self, request: HttpRequest, study: str) -> HttpReply:
        """STOW-RS: its records are in the log before its answer, and stand as failures if the process dies."""
        if self._storing is None:
            return replies.text(405, "nothing is taken here: imaging_source.stow_rs is off")
        outcome, started = "fault", time.monotonic()
        try:
            event = self._new_event(store.RAD_108, request)
            self._deciding.ask(request, store.RAD_108[0], event)
            done = self._storing.answer(request, study, event)
            outcome = "done" if done.status == 200 else "refused"
            return done
        except NotPermitted as denied:
            outcome = "refused"
            event.refused(str(denied))
            with self._engine.begin() as connection:
                record(connection, event.records())
            return replies.text(403, "this is not permitted")
        except store.BadRequest as problem:
            outcome = "refused"
            return replies.text(problem.status, str(problem))
        except Exception:
            log.exception("dicomweb.failed", extra={"transaction": "RAD-108"})
            return replies.text(500, "an internal error")
        finally:
            self._metrics.answered("RAD-108", outcome, self._deciding.name(request), time.monotonic() - started)

    def _recorded(self, asked: Asked, reply: HttpReply) -> HttpReply:
        """With the audit record written, and closed after the last byte; else the request is refused."""
        event, stream_id = asked.event, new_boundary()
        if reply.status >= 400:
            asked.stack.close()
            if not event.settled:
                event.refused(f"HTTP {reply.status}")
        try:
            with self._engine.begin() as connection:
                if reply.status >= 400:
                    records, peer = event.records(), asked.request.told_by
                    record(connection, self._failures.kept(peer, records) if self._failures else records)
                    return reply
                open_stream(connection, stream_id, self._owner, event.records())
        except Exception:
            log.exception("audit.not_recorded", extra={"transaction": event.transaction[0]})
            asked.stack.close()
            return replies.text(503, "the request cannot be recorded and was not carried out")

        def ended(whole: bool) -> None:
            asked.stack.close()
            event.end(failed=not whole)
            self._metrics.streamed(event.transaction[0], whole=whole)
            if asked.failed and whole:
                event.partly_failed(asked.failed)
            end_stream(self._engine, stream_id, event.records())

        return HttpReply(reply.status, reply.headers, Stream(reply.chunks, ended), reply.length)

    # WADO-RS.

    def _members(self, asked: Asked) -> Sequence[Held]:
        """The instances that an address names, at least one."""
        study = asked.uids["study"]
        found = self._source.members(study, asked.uids.get("series", ""), asked.uids.get("instance", ""))
        # Asked also of what is not there: the time that it takes tells nothing.
        hidden, whose = self._deciding.withheld(asked.access, [study]), self._patients.of([study])
        if hidden or not found:
            asked.event.about_instances([(study, "")])
            asked.event.of_patients(whose)
            raise Refusal(404, "there is no such study, series or instance here")
        asked.event.about_instances((one.study_instance_uid, one.sop_instance_uid) for one in found)
        asked.event.of_classes((one.sop_instance_uid, one.sop_class_uid) for one in found)
        asked.event.of_patients(whose)
        return found

    def _retrieve(self, asked: Asked) -> HttpReply:
        wanted = chosen(asked.request.accept, (DICOM, OCTETS))
        if wanted.of == OCTETS and wanted.is_multipart:
            return self._bulk(asked)  # "retained for historical reasons" (PS3.18: 10.4.4)
        if wanted.of == OCTETS:
            raise Refusal(406, f"what is accepted is none of {DICOM}")
        if not wanted.is_multipart and wanted.media_type == DICOM and "instance" not in asked.uids:
            raise Refusal(406, "several instances come as multipart/related")
        members = self._members(asked)
        asked.stack.callback(self._source.streams.enter())
        parts = []
        for held, ready in self._opened(asked, members, wanted.syntax):
            content = f"{DICOM}; transfer-syntax={ready.transfer_syntax_uid}"
            parts.append(multipart.Part(content, asked.address(held), ready.size_bytes, replies.chunks(ready)))
        if not parts:
            raise Refusal(406, "no instance can be given in the transfer syntax that is accepted")
        if wanted.media_type == DICOM:
            return multipart.single(200, parts[0])
        return multipart.reply(206 if asked.failed else 200, DICOM, parts)

    def _opened(self, asked: Asked, members: Sequence[Held], syntax: str) -> Iterator[tuple[Held, Ready]]:
        """What can be given: in the syntax that is accepted; without any in explicit VR, or else as it is stored."""
        for held in members:
            wanted = held.transfer_syntax_uid if syntax == ANY_SYNTAX else syntax or EXPLICIT_LITTLE
            try:
                yield held, asked.stack.enter_context(self._source.opened(held, [wanted]))
            except NotEncodable:
                if syntax:
                    asked.failed.append(held.sop_instance_uid)
                else:
                    yield held, asked.stack.enter_context(self._source.opened(held, [held.transfer_syntax_uid]))
            except Gone:
                asked.failed.append(held.sop_instance_uid)
            except SpoolFull:
                raise Refusal(503, "no room to transcode now; try again") from None

    def _metadata(self, asked: Asked) -> HttpReply:
        is_xml = metadata_type(asked.request.accept) == XML
        found, parts = [], []
        for held in self._members(asked):
            with self._source.as_file(held) as path:
                if is_xml:
                    parts.append(multipart.of_bytes(XML, native_model.metadata(path, asked.address(held))))
                else:
                    found.append(datasets.metadata(path, asked.address(held)))
        return multipart.reply(200, XML, parts) if is_xml else replies.json(200, found)

    def _bulk_data(self, asked: Asked) -> HttpReply:
        (held,) = self._members(asked)[:1]
        tag = asked.uids["tag"].upper()
        if tag in datasets.PIXELS:
            return self._pixels(asked, held, [])
        with self._source.as_file(held) as path:
            found = datasets.content(path)
        if tag == documents.DOCUMENT and PDF in asked.request.accept:
            document = documents.of(found)
            is_pdf = document is not None and document.media_type == PDF
            wanted = chosen(asked.request.accept, (OCTETS, PDF) if is_pdf else (OCTETS,))
            if document is not None and wanted.of == PDF:
                return replies.whole(multipart.of_bytes(PDF, document.data, asked.request.url), wanted)
        data = datasets.bulk_data(found, tag)
        if data is None:
            raise Refusal(404, "there are no such bulk data")
        return self._octets(asked, [(len(data), lambda: iter((data,)))])

    def _bulk(self, asked: Asked) -> HttpReply:
        """All bulk data of what the address names, or its pixels alone, in parts."""
        if not chosen(asked.request.accept, (OCTETS,)).is_multipart and asked.request.accept.strip() not in ("", "*/*"):
            raise Refusal(406, "bulk data of a whole resource come as multipart/related")
        members = self._members(asked)
        asked.stack.callback(self._source.streams.enter())
        found = Collected(asked.stack)
        for held in members:
            try:
                uncompressed, address = self._source.uncompressed(held), asked.address(held)
                found.instance(uncompressed, address, pixels_only=asked.what == "bulkdata/pixels")
            except (NotEncodable, Gone):
                asked.failed.append(held.sop_instance_uid)
            except SpoolFull:
                raise Refusal(503, "no room to decode now; try again") from None
        if not found.parts:
            raise Refusal(404, "there are no such bulk data")
        return multipart.reply(206 if asked.failed else 200, OCTETS, found.parts)

    def _frames(self, asked: Asked) -> HttpReply:
        (held,) = self._members(asked)[:1]
        return self._pixels(asked, held, numbers(asked.uids["frames"]))

    def _pixels(self, asked: Asked, held: Held, numbers: Sequence[int]) -> HttpReply:
        """Frames of uncompressed pixel data, all of them where none are named."""
        chosen(asked.request.accept, (OCTETS,))
        asked.stack.callback(self._source.streams.enter())
        try:
            path = asked.stack.enter_context(self._source.uncompressed(held))
            found = pixels.native_frames(path, numbers)
        except (NotEncodable, pixels.NotRendered) as problem:
            raise Refusal(404, str(problem)) from None
        return self._octets(asked, [(one.size_bytes, one.chunks) for one in found])

    def _octets(self, asked: Asked, found: Sequence[tuple[int, Callable[[], Iterator[bytes]]]]) -> HttpReply:
        wanted = chosen(asked.request.accept, (OCTETS,))
        content = f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}"
        parts = [multipart.Part(content, asked.request.url, size, chunks) for size, chunks in found]
        if wanted.media_type == OCTETS and len(parts) == 1:
            return multipart.single(200, parts[0])
        return multipart.reply(200, OCTETS, parts)

    # Pictures.

    def _rendered(self, asked: Asked) -> HttpReply:
        held, is_pdf = documents.shown(self._members(asked))
        if is_pdf and asked.what == "rendered" and "frames" not in asked.uids:
            wanted = chosen(asked.request.accept, (PDF,), multipart_too=False)
            return self._document(held, wanted)
        kind = chosen(asked.request.accept, (JPEG, PNG), multipart_too=False).media_type
        given = parameters(asked.request.query)
        if asked.what == "thumbnail":
            given.setdefault("viewport", f"{THUMBNAIL},{THUMBNAIL}")
        how = view(given, asked.uids.get("frames", ""))
        reply = self._picture(held, how, PNG if kind == PNG else JPEG)
        reply.headers.extend(("Warning", warning(asked.base, text)) for text in not_done(given))
        return reply

    def _document(self, held: Held, wanted: Wanted) -> HttpReply:
        with self._source.as_file(held) as path:
            document = documents.read(path)
        if document is None or document.media_type != PDF:
            raise Refusal(406, "there is no PDF in it")
        return replies.whole(multipart.of_bytes(PDF, document.data), wanted)

    def _picture(self, held: Held, view: render.View, kind: str) -> HttpReply:
        try:
            with self._source.uncompressed(held) as path:
                data = render.picture(path, view, kind)
        except (NotEncodable, pixels.NotRendered) as problem:
            raise Refusal(406, str(problem)) from None
        except Gone:
            raise Refusal(404, "the instance is not there any more") from None
        return multipart.single(200, multipart.of_bytes(kind, data))

    # WADO-URI.

    def _uri(self, asked: Asked) -> HttpReply:
        given = parameters(asked.request.query)
        uids = {name: given.get(f"{name}UID", "") for name in ("study", "series", "object")}
        if given.get("requestType") != "WADO" or not uids["object"]:
            raise Refusal(400, "requestType=WADO, studyUID, seriesUID and objectUID are required (PS3.18: 9.4.1)")
        if not all(re.fullmatch(UID, uid) for uid in uids.values()):
            raise Refusal(404, "there is no such instance here")
        asked.uids = {"study": uids["study"], "series": uids["series"], "instance": uids["object"]}
        (held,) = self._members(asked)[:1]
        types = [one.strip().lower() for one in given.get("contentType", "").split(",") if one.strip()]
        if given.get("anonymize", "no") not in ("", "no"):
            raise Refusal(406, "anonymising is not supported")
        if DICOM in types:
            asked.stack.callback(self._source.streams.enter())
            for _, ready in self._opened(asked, [held], given.get("transferSyntax", "")):
                return multipart.single(200, multipart.Part(DICOM, "", ready.size_bytes, replies.chunks(ready)))
            raise Refusal(406, "the instance cannot be given in that transfer syntax")
        if documents.is_pdf(held) and PDF in (types or [PDF]):
            return self._document(held, Wanted(PDF))
        kind = next((one for one in types or [JPEG] if one in (JPEG, PNG)), "")
        if not kind:
            raise Refusal(406, f"contentType is one of {DICOM}, {JPEG}, {PNG}")
        reply = self._picture(held, uri_view(given), kind)
        reply.headers.extend(("Warning", warning(asked.base, text)) for text in not_done(given))
        return reply

    # QIDO-RS.

    def _search(self, asked: Asked) -> HttpReply:
        chosen(asked.request.accept, (JSON, "application/json"), multipart_too=False)
        level = asked.what.partition("/")[2]
        names = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
        known = {names[name]: uid for name, uid in asked.uids.items()}
        try:
            wanted = search.read(level, parse_qsl(asked.request.query, max_num_fields=200), known)
        except (search.BadSearch, ValueError) as problem:
            raise Refusal(400, str(problem)) from None
        asked.event.about_search(asked.request.url + "?" + asked.request.query)
        withheld = partial(self._deciding.withheld, asked.access)
        found, more = search.matches(wanted, self._source.studies(wanted.wanted), asked.base, withheld)
        reply = replies.json(200, found)
        more_remain = ("more results remain; ask with offset",) if more else ()
        reply.headers.extend(("Warning", warning(asked.base, text)) for text in (*wanted.warnings, *more_remain))
        return reply
