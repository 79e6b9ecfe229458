"""A PACS as an archive: what it holds is asked for, and an instance is fetched into a bounded spool before it is sent.

With a cache an instance is kept there as it came, if there is room.  What the PACS lists is asked as without one: what
it has removed, or what was rejected, is not given.
Whichever way the PACS is spoken to, ``Pacs`` is the same; ``dicomweb.py`` and ``dimse.py`` are the ways.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pydicom

from xds.archives.cache import Cache, Key
from xds.archives.contents import Contents, Member, Members
from xds.archives.flights import Flights
from xds.archives.helpers import Helpers
from xds.archives.interface import Gone, Held, NotAnswering, Progress, Ready, Refreshed
from xds.archives.making import transcoded
from xds.archives.read_through import Copy, ReadThrough
from xds.archives.ready import ReadyFile
from xds.archives.spool import Spool
from xds.imaging import text
from xds.imaging.codes import KEY_OBJECT_SELECTION
from xds.imaging.dicom import NotDicom, form
from xds.imaging.elements import Malformed
from xds.imaging.instance import InstanceFacts, NotAnInstance, Rejection, read_file
from xds.imaging.manifest import Patient
from xds.imaging.study import Problem, Study, studies_of

log = logging.getLogger("xds.archives.pacs")

SPOOL_BYTES = 8 * 1024 * 1024 * 1024
"""Room for instances that are being sent, a process."""

_STEP = 4 * 1024 * 1024

Stamps: TypeAlias = Callable[[str], Mapping[str, str]]
"""Of a study, by SOP Instance UID, a text that is another one when the instance is; or raises ``NotAnswering``."""


class Way(Protocol):
    """How a PACS is spoken to.  ``gives_headers``: it gives them without the rest of the instance."""

    gives_headers: bool

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

    def fetch(self, study_instance_uid: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:
        """Hand on the Part 10 file of an instance as it is stored, or as near as can be, as it comes.

        Returns what the PACS calls this state of it, empty where it does not say.

        Raises:
            Gone: there is no such instance.
            NotAnswering: it does not give it, or breaks off.
        """
        ...

    def is_still(self, study_instance_uid: str, member: Member, tag: str) -> bool:
        """Whether an instance is in the state that the PACS called so.

        Raises:
            Gone: there is no such instance.
            NotAnswering: it does not say.
        """
        ...


class Pacs:
    """``interface.Archive`` over a PACS."""

    is_elsewhere = True

    def __init__(
        self, way: Way, spool: Path, *, zone: str = "UTC", spool_bytes: int = SPOOL_BYTES, helpers: int = 2,
        known_seconds: float = 30.0, cache: Cache | None = None, stamps: Stamps | None = None,
    ) -> None:  # fmt: skip
        """``known_seconds`` is how long what it said of a study is taken for true.

        ``cache``: where instances are kept; ``stamps``: by which it is known that one has changed, else the cache's
        age limit says when it is asked for again.

        Raises:
            OSError: the spool cannot be made.
            ValueError: there is no zone of that name.
        """
        text.zone(zone)
        self._way, self._zone = way, zone
        self._spool, self._helpers = Spool(spool, spool_bytes), Helpers(helpers)
        self._contents = Contents(self._listed, seconds=known_seconds)
        self._kept, self._stamps = None if cache is None else ReadThrough(cache), stamps
        self._patients = Flights[Patient | None]()

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

    def _listed(self, study_instance_uid: str) -> Members:
        """What a study holds; what the cache has beside that is not there any more."""
        members = self._unrejected(study_instance_uid)
        if self._kept is None:
            return members
        members = self._stamped(study_instance_uid, members)
        self._kept.cache.only(study_instance_uid, {key: one.stamp for key, one in members.items()})
        return members

    def _stamped(self, study_instance_uid: str, members: Members) -> Members:
        try:
            files = None if self._stamps is None else self._stamps(study_instance_uid)
        except NotAnswering as problem:
            log.warning("archive.stamps_not_told", extra={"reason": str(problem)})
            return {key: replace(one, stamp=None) for key, one in members.items()}
        return {
            key: replace(one, stamp=_stamp(one, "" if files is None else files.get(one.sop_instance_uid)))
            for key, one in members.items()
        }

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
        path = self._spooled(study_instance_uid, note)[0]
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
        return self._patients.once(study_instance_uid, lambda: self._patient(study_instance_uid))

    def _patient(self, study_instance_uid: str) -> Patient | None:
        first = next(iter(self._contents.of(study_instance_uid).values()), None)
        return None if first is None else _facts_of(self._header(study_instance_uid, first)).patient

    def _header(self, study_instance_uid: str, member: Member) -> pydicom.Dataset:
        """Of a PACS that gives whole instances only, the one is kept, if there is a cache."""
        if self._kept is None or self._way.gives_headers:
            return self._way.header(study_instance_uid, member)
        with self._copy(study_instance_uid, member) as copy:
            try:
                return pydicom.dcmread(copy.path, stop_before_pixels=True)
            except Exception as problem:  # pydicom raises whatever its parts do
                raise NotAnswering(f"what the archive gave is no dataset ({type(problem).__name__})") from None

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
        if self._kept is not None:
            self._kept.cache.close()

    def open(self, held: Held, transfer_syntaxes: Sequence[str]) -> Ready:
        member = self._contents.of(held.study_instance_uid).get((held.series_instance_uid, held.sop_instance_uid))
        if member is None:
            raise Gone("the archive lists the instance no more")
        copy = self._copy(held.study_instance_uid, member)
        if not _is_as_it_is(copy, transfer_syntaxes) and not copy.is_whole():
            assert copy.forget is not None  # noqa: S101  it is of the cache
            copy.forget()
            copy.free()
            copy = self._copy(held.study_instance_uid, member)
        try:
            return self._given(replace(held, size_bytes=copy.size_bytes, sha256=copy.sha256), copy, transfer_syntaxes)
        except BaseException:
            copy.free()
            raise

    def _given(self, held: Held, copy: Copy, listed: Sequence[str]) -> Ready:
        """As it came where that is listed, or where the caller takes what there is; else transcoded."""
        stored = copy.encoding.transfer_syntax_uid
        if _is_as_it_is(copy, listed):
            return ReadyFile(
                copy.path, transfer_syntax_uid=stored, file_bytes=held.size_bytes, file_sha256=held.sha256,
                without_preamble=copy.encoding.has_odd_preamble, freed=copy.free, mislaid=copy.forget,
            )  # fmt: skip
        known = replace(held, transfer_syntax_uid=stored, dataset_begin=copy.encoding.dataset_begin)
        made = transcoded(known, copy.path, listed, self._spool, self._helpers, lambda: True)
        copy.free()
        return made

    def _copy(self, study_instance_uid: str, member: Member) -> Copy:
        """An instance from the cache, or fetched."""
        fetch = partial(self._fetched, study_instance_uid, member)
        if self._kept is None:
            return fetch()
        key = Key(study_instance_uid, member.series_instance_uid, member.sop_instance_uid)
        is_still = partial(self._way.is_still, study_instance_uid, member)
        return self._kept.copy(key, member.stamp, fetch, is_still)

    def _fetched(self, study_instance_uid: str, member: Member) -> Copy:
        """An instance in the spool, which is the one that was asked for.

        Raises:
            Gone: it is not; or as the way does.
            NotAnswering: as the way does.
            SpoolFull: there is no room for it now.
        """
        path, size, sha256, tag = self._spooled(study_instance_uid, member)
        try:
            encoding, facts = form(path), read_file(path)
            uids = (study_instance_uid, member.series_instance_uid, member.sop_instance_uid)
            if not isinstance(facts, InstanceFacts) or uids != (
                facts.study_instance_uid, facts.series_instance_uid, facts.sop_instance_uid,
            ):  # fmt: skip
                raise Gone("the archive gave another instance than was asked for")
        except (NotDicom, Malformed, NotAnInstance):
            self._spool.free(path)
            raise Gone("the archive gave something else than an instance") from None
        except BaseException:
            self._spool.free(path)
            raise
        return Copy(path, size, sha256, encoding, lambda: self._spool.free(path), tag)

    def _spooled(self, study_instance_uid: str, member: Member) -> tuple[Path, int, str, str]:
        """What came of an instance, in the spool: its size in bytes, its SHA-256, and what the PACS calls its state.

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

                tag = self._way.fetch(study_instance_uid, member, keep)
            self._spool.grow(path, size)
        except OSError as problem:
            self._spool.free(path)
            raise NotAnswering(f"the spool cannot be written: {problem.strerror}") from None
        except BaseException:
            self._spool.free(path)
            raise
        return path, size, digest.hexdigest(), tag


def _is_as_it_is(copy: Copy, listed: Sequence[str]) -> bool:
    """Whether an instance is given as it came: that is listed, or the caller takes what there is."""
    return copy.encoding.transfer_syntax_uid in listed or not any(listed)


def _stamp(member: Member, file: str | None) -> str | None:
    """What is another text when a PACS lists an instance otherwise, or keeps another file of it."""
    if file is None:
        return None
    return repr((
        member.sop_class_uid, member.modality, member.series_number, member.instance_number, member.number_of_frames,
        file,
    ))  # fmt: skip


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
