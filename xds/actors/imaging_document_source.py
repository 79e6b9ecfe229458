"""The Imaging Document Source: gives the instances that its manifests promise.

RAD TF-2: 4.69; errors as XDS-I.b test tools expect them: XDSDocumentUniqueIdError for what is absent,
XDSRepositoryError for what cannot be encoded, XDSUnknownRepositoryId for another source's.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from xds.actors.streams import Streams
from xds.archives.interface import Archive, Gone, Held, Mislaid, NotAnswering, NotEncodable, Ready, SpoolFull
from xds.ebxml.xdsb import ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.imaging.group import Study
from xds.imaging.manifest import Patient
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

Find: TypeAlias = Callable[[str, str, str], Held | None]

MANY = 20
"""Instances of one series in a request, from which on the series is looked up as a whole."""

AT_ONCE = 8
"""Instances of one request that are fetched from an archive elsewhere at once."""


def _but(find: Find, withheld: Collection[str]) -> Find:
    """What finds instances, but none of some studies; these it looks for all the same, so that time does not tell."""

    def found(study: str, series: str, instance: str) -> Held | None:
        held = find(study, series, instance)
        return None if study in withheld else held

    return found


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that can be given: its size is known, its bytes are opened when they are sent."""

    request: InstanceRequest
    sop_class_uid: str
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]
    release: Callable[[], None]


class ImagingDocumentSource:
    """One source, by its Retrieve Location UID; its archive may be absent, and then it has nothing."""

    def __init__(
        self, retrieve_location_uid: str, archive: Archive | None, *, streams: int, share: float = 0.5,
        also: Collection[str] = (),
    ) -> None:  # fmt: skip
        """``also``: other sources that were merged into it, by their OIDs; it gives their images, too."""
        self.retrieve_location_uid, self._archive = retrieve_location_uid, archive
        self.locations = frozenset({retrieve_location_uid, *also})
        self.streams = Streams(streams, share)
        self._broken: set[str] = set()

    def retrieve(self, request: ImagingRequest, withheld: Collection[str] = ()) -> list[Instance | Finding]:
        """For each instance asked for, what can be given, or why it cannot; of ``withheld`` studies there is none.

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
        syntaxes = request.transfer_syntax_uids
        if self._archive is None or not self._archive.is_elsewhere or len(request.instances) == 1:
            find = self._finder(request.instances)
            find = _but(find, withheld)
            return [self._instance(instance, syntaxes, find) for instance in request.instances]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            find = _but(self._archive.find, withheld)
            return list(pool.map(lambda instance: self._instance(instance, syntaxes, find), request.instances))

    def _finder(self, requests: Sequence[InstanceRequest]) -> Find:
        """What finds each instance: of a series of which many are asked for, all are looked up at once."""
        archive = self._archive
        if archive is None:
            return lambda *_: None
        counts = Counter((one.study_instance_uid, one.series_instance_uid) for one in requests)
        many = {
            series: {held.sop_instance_uid: held for held in archive.members(*series)}
            for series, count in counts.items()
            if count >= MANY and all(series)
        }

        def find(study: str, series: str, instance: str) -> Held | None:
            members = many.get((study, series))
            return archive.find(study, series, instance) if members is None else members.get(instance)

        return find

    def _instance(self, request: InstanceRequest, syntaxes: Sequence[str], find: Find) -> Instance | Finding:
        uid = request.document.document_unique_id
        if request.document.repository_unique_id not in self.locations:
            rule = f"{request.document.repository_unique_id[:64]} is not this source, {self.retrieve_location_uid}"
            return Finding(ErrorCode.UNKNOWN_REPOSITORY_ID, rule, uid)
        try:
            held = find(request.study_instance_uid, request.series_instance_uid, uid)
            if self._archive is None or held is None:
                rule = "no such instance in that series of that study"
                return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, rule, uid)
            if uid in self._broken:
                return Finding(ErrorCode.REPOSITORY_ERROR, "the instance is damaged", uid)
            return self._opened(self._archive, request, held, syntaxes)
        except NotAnswering as problem:
            return Finding(ErrorCode.REPOSITORY_ERROR, f"{problem}; try again", uid)
        except NotEncodable as problem:
            return Finding(ErrorCode.REPOSITORY_ERROR, f"not in a listed transfer syntax: {problem}", uid)
        except Gone:
            return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "the instance is not there any more", uid)
        except SpoolFull:
            return Finding(ErrorCode.REPOSITORY_OUT_OF_RESOURCES, "no room to transcode now; try again", uid)

    # For DICOMweb.

    def members(self, study: str, series: str = "", instance: str = "") -> Sequence[Held]:
        """The instances of a study, or of a series of it, or one."""
        return [] if self._archive is None else self._archive.members(study, series, instance)

    def patient(self, study: str) -> Patient | None:
        """Whom a study shows, as its images say.

        Raises:
            NotAnswering: the archive does not say.
        """
        return None if self._archive is None else self._archive.patient(study)

    def studies(self, wanted: Mapping[str, Sequence[str]]) -> Iterator[Study]:
        """The studies that may meet a search: those that it names, else all."""
        if self._archive is None:
            return
        if "StudyInstanceUID" not in wanted:
            yield from self._archive.studies()
            return
        for uid in wanted["StudyInstanceUID"]:
            study = self._archive.study(uid)
            if study is not None:
                yield study

    def opened(self, held: Held, syntaxes: Sequence[str]) -> Ready:
        """An instance in one of the transfer syntaxes.

        Raises:
            NotEncodable, Gone, SpoolFull: as ``Archive.open`` does.
        """
        if self._archive is None:
            raise Gone("there are no images here")
        return self._archive.open(held, syntaxes)

    @contextmanager
    def as_file(self, held: Held, syntaxes: Sequence[str] = ()) -> Iterator[Path]:
        """An instance as a Part 10 file for as long as it is looked at; as it is stored, unless syntaxes are given.

        Raises:
            NotEncodable, Gone, SpoolFull: as ``Archive.open`` does.
        """
        with self.opened(held, syntaxes or [held.transfer_syntax_uid]) as ready, tempfile.NamedTemporaryFile() as file:
            for chunk in ready.chunks():
                file.write(chunk)
            file.flush()
            yield Path(file.name)

    def uncompressed(self, held: Held) -> AbstractContextManager[Path]:
        """An instance with native pixel data, little endian.

        Raises:
            NotEncodable, Gone, SpoolFull: as ``Archive.open`` does.
        """
        return self.as_file(held, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])

    def _opened(self, archive: Archive, request: InstanceRequest, held: Held, syntaxes: Sequence[str]) -> Instance:
        ready = archive.open(held, syntaxes)
        chunks = lambda: self._chunks(ready, held.sop_instance_uid)  # noqa: E731
        return Instance(request, held.sop_class_uid, ready.size_bytes, chunks, ready.close)

    def _chunks(self, ready: Ready, uid: str) -> Iterator[bytes]:
        try:
            with ready:
                yield from ready.chunks()
        except Mislaid:
            raise  # a retry gets it from the archive
        except Gone:
            self._broken.add(uid)  # a retry gets the rest, and an error for this one
            raise
