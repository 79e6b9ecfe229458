"""A PACS as an archive: what it holds is asked for, and an instance is fetched into a bounded spool before it is sent.

Whichever way the PACS is spoken to, ``Pacs`` is the same; ``dicomweb.py`` and ``dimse.py`` are the ways.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pydicom

from xds.archives.contents import Contents, Member, Members
from xds.archives.helpers import Helpers
from xds.archives.interface import Gone, Held, NotAnswering, Progress, Ready, Refreshed
from xds.archives.making import transcoded
from xds.archives.ready import ReadyFile
from xds.archives.spool import Spool
from xds.imaging import text
from xds.imaging.codes import KEY_OBJECT_SELECTION
from xds.imaging.dicom import NotDicom, form
from xds.imaging.elements import Malformed
from xds.imaging.instance import InstanceFacts, NotAnInstance, Rejection, read_file
from xds.imaging.manifest import Patient
from xds.imaging.study import Problem, Study, studies_of

SPOOL_BYTES = 8 * 1024 * 1024 * 1024
"""Room for instances that are being sent, a process."""

_STEP = 4 * 1024 * 1024


class Way(Protocol):
    """How a PACS is spoken to."""

    def studies(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        """Every study that it lists, or the one, by its UID, with how many instances it has.

        Raises:
            NotAnswering: it does not say.
        """
        ...

    def members(self, study_instance_uid: str) -> Members:
        """The instances of a study; none where there is no such study.

        Raises:
            NotAnswering: it does not say.
        """
        ...

    def header(self, study_instance_uid: str, member: Member) -> pydicom.Dataset:
        """The attributes of an instance that a manifest needs, without its pixels.

        Raises:
            Gone: there is no such instance.
            NotAnswering: it does not say.
        """
        ...

    def fetch(self, study_instance_uid: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> None:
        """Hand on the Part 10 file of an instance as it is stored, or as near as can be, as it comes.

        Raises:
            Gone: there is no such instance.
            NotAnswering: it does not give it, or breaks off.
        """
        ...


class Pacs:
    """``interface.Archive`` over a PACS."""

    is_elsewhere = True

    def __init__(
        self, way: Way, spool: Path, *, zone: str = "UTC", spool_bytes: int = SPOOL_BYTES, helpers: int = 2,
        known_seconds: float = 30.0,
    ) -> None:  # fmt: skip
        """``known_seconds`` is how long what it said of a study is taken for true.

        Raises:
            OSError: the spool cannot be made.
            ValueError: there is no zone of that name.
        """
        text.zone(zone)
        self._way, self._zone = way, zone
        self._spool, self._helpers = Spool(spool, spool_bytes), Helpers(helpers)
        self._contents = Contents(self._unrejected, seconds=known_seconds)

    def find(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Held | None:
        member = self._contents.of(study_instance_uid).get((series_instance_uid, sop_instance_uid))
        return None if member is None else member.held(study_instance_uid)

    def members(self, study_instance_uid: str, series_instance_uid: str = "", sop_instance_uid: str = "") -> list[Held]:
        found = sorted(self._contents.of(study_instance_uid).values(), key=lambda member: member.order)
        return [
            member.held(study_instance_uid)
            for member in found
            if series_instance_uid in ("", member.series_instance_uid)
            and sop_instance_uid in ("", member.sop_instance_uid)
        ]

    def _unrejected(self, study_instance_uid: str) -> Members:
        """What a study holds but for manifests, rejection notes and what these take back."""
        members = self._way.members(study_instance_uid)
        notes = [one for one in members.values() if one.sop_class_uid == KEY_OBJECT_SELECTION]
        rejected = {uid for note in notes for uid in self._rejects(study_instance_uid, note)}
        return {
            key: one
            for key, one in members.items()
            if one.sop_class_uid != KEY_OBJECT_SELECTION and one.sop_instance_uid not in rejected
        }

    def _rejects(self, study_instance_uid: str, note: Member) -> Sequence[str]:
        path = self._fetched(study_instance_uid, note)[0]
        try:
            found = read_file(path)
        except NotAnInstance:
            return ()  # a manifest
        finally:
            self._spool.free(path)
        if not isinstance(found, Rejection):
            return ()
        return [uid for study, uid in found.instances if study == study_instance_uid]

    def fingerprints(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        return self._way.studies(study_instance_uid)

    def studies(self) -> Iterator[Study]:
        for uid, _ in self._way.studies():
            study = self.study(uid)
            if study is not None:
                yield study

    def patient(self, study_instance_uid: str) -> Patient | None:
        first = next(iter(self._contents.of(study_instance_uid).values()), None)
        return None if first is None else _facts_of(self._way.header(study_instance_uid, first)).patient

    def study(self, study_instance_uid: str) -> Study | None:
        found = studies_of(self._facts(study_instance_uid), zone=self._zone).studies
        return found[0] if found else None

    def _facts(self, study_instance_uid: str) -> Iterator[InstanceFacts]:
        """Facts of each instance: what a series has in common is read once."""
        read: dict[str, InstanceFacts] = {}
        for member in sorted(self._contents.of(study_instance_uid).values(), key=lambda one: one.order):
            uid = member.series_instance_uid
            if uid not in read:
                read[uid] = _facts_of(self._way.header(study_instance_uid, member))
            yield replace(
                read[uid], sop_class_uid=member.sop_class_uid, sop_instance_uid=member.sop_instance_uid,
                instance_number=member.instance_number, number_of_frames=member.number_of_frames,
            )  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        return iter(())

    def refresh(self, progress: Progress | None = None) -> Refreshed:  # noqa: ARG002
        """Ask anew from now on."""
        self._contents.forget()
        return Refreshed(0, 0, 0, 0, 0)

    def close(self) -> None:
        self._helpers.close()

    def open(self, held: Held, transfer_syntaxes: Sequence[str]) -> Ready:
        member = self._contents.of(held.study_instance_uid).get((held.series_instance_uid, held.sop_instance_uid))
        if member is None:
            raise Gone("the archive lists the instance no more")
        path, size, sha256 = self._fetched(held.study_instance_uid, member)
        try:
            return self._given(replace(held, size_bytes=size, sha256=sha256), path, transfer_syntaxes)
        except BaseException:
            self._spool.free(path)
            raise

    def _given(self, held: Held, path: Path, listed: Sequence[str]) -> Ready:
        """As it came where that is listed, or where the caller takes what there is; else transcoded."""
        try:
            encoding = form(path)
            facts = read_file(path)
        except (NotDicom, Malformed, NotAnInstance):
            raise Gone("the archive gave something else than an instance") from None
        uids = (held.study_instance_uid, held.series_instance_uid, held.sop_instance_uid)
        if not isinstance(facts, InstanceFacts) or uids != (
            facts.study_instance_uid, facts.series_instance_uid, facts.sop_instance_uid,
        ):  # fmt: skip
            raise Gone("the archive gave another instance than was asked for")
        stored = encoding.transfer_syntax_uid
        if stored in listed or not any(listed):
            return ReadyFile(
                path, transfer_syntax_uid=stored, file_bytes=held.size_bytes, file_sha256=held.sha256,
                freed=lambda: self._spool.free(path),
            )  # fmt: skip
        known = replace(held, transfer_syntax_uid=stored, dataset_begin=encoding.dataset_begin)
        made = transcoded(known, path, listed, self._spool, self._helpers, lambda: True)
        self._spool.free(path)
        return made

    def _fetched(self, study_instance_uid: str, member: Member) -> tuple[Path, int, str]:
        """An instance in the spool, its size in bytes and its SHA-256.

        Raises:
            Gone, NotAnswering: as the way does.
            SpoolFull: there is no room for it now.
        """
        path, digest, size = self._spool.take(0), hashlib.sha256(), 0
        try:
            with path.open("wb", buffering=1024 * 1024) as file:

                def keep(chunk: bytes | memoryview) -> None:
                    nonlocal size
                    if size // _STEP != (size + len(chunk)) // _STEP or not size:
                        self._spool.grow(path, size + len(chunk) + _STEP)
                    size += len(chunk)
                    digest.update(chunk)
                    file.write(chunk)

                self._way.fetch(study_instance_uid, member, keep)
            self._spool.grow(path, size)
        except OSError as problem:
            self._spool.free(path)
            raise NotAnswering(f"the spool cannot be written: {problem.strerror}") from None
        except BaseException:
            self._spool.free(path)
            raise
        return path, size, digest.hexdigest()


def _facts_of(dataset: Any) -> InstanceFacts:
    """Facts from a header that came as a dataset: written as a file, and read as any other.

    Raises:
        NotAnswering: it is no dataset of an instance.
    """

    try:
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta = meta
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotAnswering(f"the archive's metadata are no dataset ({type(problem).__name__})") from None
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(out.getvalue())
        file.flush()
        try:
            found = read_file(Path(file.name))
        except NotAnInstance as problem:
            raise NotAnswering(f"the archive's metadata: {problem}") from None
    if not isinstance(found, InstanceFacts):
        raise NotAnswering("the archive's metadata are of a note")
    return found
