"""Instances taken into the folder of a site without an archive of its own, from STOW-RS and C-STORE.

DICOM PS3.18: 10.5; PS3.4: B.2.  An instance is on disk and in the index before it is acknowledged; what is there
already is never written over, and of a study that is there nobody else, and no other patient, changes what it shows.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from xds.archives.folder import FolderArchive
from xds.archives.interface import SpoolFull
from xds.archives.quarantine import Quarantine
from xds.archives.senders import UNKNOWN, Sender, may_take_back
from xds.imaging import reading, tags
from xds.imaging.codes import KEY_OBJECT_SELECTION
from xds.imaging.dicom import NotDicom, form, read_header
from xds.imaging.elements import Malformed, first
from xds.imaging.group import is_another
from xds.imaging.instance import InstanceFacts, NotAnInstance, Rejection, read_file
from xds.imaging.manifest import Patient
from xds.imaging.study import INCOMING
from xds.system.disk import LOW, Reserve
from xds.system.durable import sync_file, sync_folder
from xds.wire.peers import spent

_UIDS = (tags.SOP_CLASS_UID, tags.SOP_INSTANCE_UID, tags.SERIES_INSTANCE_UID, tags.STUDY_INSTANCE_UID)
_PATIENT = (tags.PATIENT_ID, tags.ISSUER_OF_PATIENT_ID, tags.ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE)
_MIXES = "of another patient than the study shows"
_ANOTHER_INSTANCE = "another instance of that SOP Instance UID is there"


class Reason(IntEnum):
    """Why an instance is not taken.  PS3.4: Table B.2-1; PS3.18: Table 10.5.3-2; PS3.7: C.5.8."""

    DUPLICATE = 0x0111
    OUT_OF_RESOURCES = 0xA700
    NO_MATCH = 0xA900
    NOT_UNDERSTOOD = 0xC000


class NotTaken(Exception):
    """An instance is refused; the message names no value."""

    def __init__(self, reason: Reason, message: str, sop_class_uid: str = "", sop_instance_uid: str = "") -> None:
        super().__init__(message)
        self.reason, self.sop_class_uid, self.sop_instance_uid = reason, sop_class_uid, sop_instance_uid


class AnothersStudy(NotTaken):
    """It would change what another's study shows, or whose it is: a person decides.

    ``study``: the one that it would change.  ``is_apart``: it is kept until a person has.
    """

    is_apart = False

    def __init__(self, reason: Reason, message: str, study: str, *of: str) -> None:
        super().__init__(reason, message, *of)
        self.study = study

    def __str__(self) -> str:
        return f"set apart: {self.args[0]}" if self.is_apart else str(self.args[0])


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole file that waits to be kept, and what it holds.

    ``rejects``: of a rejection note, the Study and SOP Instance UIDs that it takes back.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient: Patient
    rejects: tuple[tuple[str, str], ...] = ()
    description: str = ""  # of the study

    @property
    def patient_id(self) -> str:
        return as_cx(self.patient)

    def refused(self, reason: Reason, message: str) -> NotTaken:
        return NotTaken(reason, message, self.sop_class_uid, self.sop_instance_uid)

    def anothers(self, message: str, study: str = "", reason: Reason = Reason.NO_MATCH) -> AnothersStudy:
        of = study or self.study_instance_uid
        return AnothersStudy(reason, message, of, self.sop_class_uid, self.sop_instance_uid)


def as_cx(patient: Patient) -> str:
    """A patient's id as CX; with its issuer where the file names one by an OID."""
    return f"{patient.id}^^^&{patient.issuer_oid}&ISO" if patient.id and patient.issuer_oid else patient.id


class Intake:
    """What takes instances into one folder.

    ``from_all``: instances of a study's own patient are taken from everybody, not only from who stored it.
    """

    def __init__(self, archive: FolderArchive, *, from_all: bool = False, disk: Reserve | None = None) -> None:
        self.disk = disk
        self._archive, self._root, self._from_all = archive, archive.root, from_all
        self.quarantine = Quarantine(archive.root)

    @property
    def archive(self) -> FolderArchive:
        return self._archive

    @property
    def incoming(self) -> Path:
        """Where files are written to; it is of the same file system, and its files are not the archive's."""
        return self._root / INCOMING

    def examined(self, path: Path) -> Arrived:
        """What a file that has arrived holds.

        Raises:
            NotTaken: it is no DICOM file, is cut off, lacks a UID, or is nothing that could be given again.
        """
        try:
            found = read_file(path)
        except NotAnInstance as problem:
            raise _named(path).refused(Reason.NOT_UNDERSTOOD, str(problem)) from None
        arrived = _of(path, found) if isinstance(found, InstanceFacts) else _note(path, found)
        uids = (arrived.sop_class_uid, arrived.sop_instance_uid, arrived.series_instance_uid,
                arrived.study_instance_uid)  # fmt: skip
        if not all(map(reading.is_uid, uids)):
            raise arrived.refused(Reason.NOT_UNDERSTOOD, "a UID is absent or malformed (PS3.5: 9.1)")
        return arrived

    def keep(self, arrived: Arrived, sender: Sender = UNKNOWN, *, decided: bool = False) -> bool:
        """Put it where it belongs, on disk for good; False when it lies there already.

        What lies there stays, also where it is the same in another encoding: the sender has what it wanted, and what
        manifests list does not change.  ``decided``: a person has, so that it may be of another sender; never of
        another patient.

        Raises:
            AnothersStudy: the study shows another patient, or another sender stored it.
            NotTaken: another instance of that UID is there, or it cannot be written.
        """
        self.demand_room(arrived)
        try:
            with self._archive.stored_by.alone_with(arrived.study_instance_uid):
                there = self._put(arrived, sender, decided=decided)
            # To compare takes a while where the encodings differ; nobody waits for that.
            return there is None or self._same(arrived, there, sender)
        except OSError as problem:
            message = f"cannot be kept: {problem.strerror}"
            raise arrived.refused(Reason.OUT_OF_RESOURCES, message) from None

    def demand_takable(self, arrived: Arrived, *, comparing: bool = True) -> None:
        """That it can be kept by the decision of a person, as far as is known now.

        ``comparing``: it may be here already, byte for byte; it takes a while to see whether it is.

        Raises:
            NotTaken: it cannot, as ``keep``.
        """
        there = self._there(arrived)
        if there is None:
            self._demand_its_own(arrived, UNKNOWN, decided=True, noting=False)
        elif not comparing or _dataset(arrived.path) != _dataset(there):
            raise arrived.refused(Reason.DUPLICATE, _ANOTHER_INSTANCE)

    def shown(self, study_instance_uid: str) -> tuple[list[Patient], str]:
        """Whom a study that is here shows, and how it is described."""
        return self._archive.patients(study_instance_uid), self._archive.description(study_instance_uid)

    def _there(self, arrived: Arrived) -> Path | None:
        held = self._archive.find(arrived.study_instance_uid, arrived.series_instance_uid, arrived.sop_instance_uid)
        return None if held is None else self._root / held.locator

    def demand_room(self, arrived: Arrived | None = None) -> None:
        """That nothing is taken in before the disk is full: the audit log is to go on.

        Raises:
            NotTaken: less is free than is kept for it.
        """
        if self.disk is not None and self.disk.is_low():
            raise arrived.refused(Reason.OUT_OF_RESOURCES, LOW) if arrived else NotTaken(Reason.OUT_OF_RESOURCES, LOW)

    def _put(self, arrived: Arrived, sender: Sender, *, decided: bool) -> Path | None:
        """Put it in its place, or say where one of its UIDs lies."""
        self._archive.look_at(arrived.study_instance_uid)
        there = self._there(arrived)
        if there is not None:
            return there
        study, series = arrived.study_instance_uid, arrived.series_instance_uid
        target = self._root / study / series / f"{arrived.sop_instance_uid}.dcm"
        self._demand_its_own(arrived, sender, decided=decided)
        self._make(target.parent)
        sync_file(arrived.path)
        try:
            os.link(arrived.path, target)
            spent(size_bytes=target.stat().st_size)
        except FileExistsError:
            return target
        sync_folder(target.parent)
        self._archive.took(target)
        return None

    def _demand_its_own(self, arrived: Arrived, sender: Sender, *, decided: bool, noting: bool = True) -> None:
        """That it is the sender's to add to this study; who sends the first instance of one has stored it.

        Raises:
            AnothersStudy: it is not.
            NotTaken: it takes back what is not here.
        """
        study = arrived.study_instance_uid
        if arrived.sop_class_uid == KEY_OBJECT_SELECTION:
            self._demand_may_take_back(arrived, sender, decided=decided)
            return
        if not self._archive.patients(study):
            if noting:
                self._archive.stored_by.note(study, sender)
        elif self._mixes(arrived):
            raise arrived.anothers(_MIXES)
        elif not decided and not self._from_all and self._is_anothers(study, sender):
            raise arrived.anothers("of a study that another sender stored")

    def _mixes(self, arrived: Arrived) -> bool:
        return any(is_another(one, arrived.patient) for one in self._archive.patients(arrived.study_instance_uid))

    def _is_anothers(self, study_instance_uid: str, sender: Sender) -> bool:
        """Whether somebody else stored it; of what was put into the folder by hand nobody is known to have."""
        return self._archive.stored_by.of(study_instance_uid) not in ("", sender.key)

    def _demand_may_take_back(self, arrived: Arrived, sender: Sender, *, decided: bool) -> None:
        studies = sorted({study for study, _ in arrived.rejects})
        for study in filter(reading.is_uid, studies):
            self._archive.look_at(study)
        if any(not reading.is_uid(study) or not self._archive.patients(study) for study in studies):
            raise arrived.refused(Reason.NO_MATCH, "takes back what is not here")
        for study in studies:
            if not decided and not may_take_back(sender, self._archive.stored_by.of(study)):
                raise arrived.anothers("takes back what another sender stored", study)

    def _make(self, folder: Path) -> None:
        """Folders of a series and a study, their names on disk too."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
            sync_folder(self._root)

    def _same(self, arrived: Arrived, there: Path, sender: Sender) -> bool:
        try:
            if _dataset(arrived.path) == _dataset(there) or self._archive.is_same(arrived.path, there):
                return False
        except SpoolFull:
            raise arrived.refused(Reason.OUT_OF_RESOURCES, "no room to compare it with what is there") from None
        if self._mixes(arrived):
            raise arrived.anothers(_MIXES)
        if self._is_anothers(arrived.study_instance_uid, sender):
            raise arrived.anothers("would replace what another sender stored", reason=Reason.DUPLICATE)
        raise arrived.refused(Reason.DUPLICATE, _ANOTHER_INSTANCE)


def _of(path: Path, facts: InstanceFacts) -> Arrived:
    return Arrived(
        path, facts.sop_class_uid, facts.sop_instance_uid, facts.series_instance_uid, facts.study_instance_uid,
        facts.patient, description=facts.study_description,
    )  # fmt: skip


def _note(path: Path, found: Rejection) -> Arrived:
    return replace(_named(path), rejects=found.instances)


def _named(path: Path) -> Arrived:
    """What a file that is no instance says of itself: a rejection note, or what is refused; perhaps nothing."""
    try:
        header = read_header(path, (*_UIDS, *_PATIENT), form(path), "")
        sop_class, sop_instance, series, study = (first(header, tag) for tag in _UIDS)
        return Arrived(path, sop_class, sop_instance, series, study, reading.patient(header))
    except (NotDicom, Malformed):
        return Arrived(path, "", "", "", "", Patient())


def _dataset(path: Path) -> tuple[str, str]:
    """Transfer syntax and digest of a dataset, without its file meta information."""
    encoding = form(path)
    with path.open("rb") as file:
        file.seek(encoding.dataset_begin)
        return encoding.transfer_syntax_uid, hashlib.file_digest(file, "sha256").hexdigest()
