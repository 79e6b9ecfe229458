"""Images of elsewhere, made fit for an archive here: under the patient's id of here, with what they were kept in them.

PS3.3: C.12.1 (Original Attributes Sequence), C.7.1.1 and 10.14 (patient ids and their issuers), 10.17 (issuers of other
numbers); PS3.4: B.4.1.3.  Pixels, UIDs and times of creation stay as they are, to the byte.
"""

from __future__ import annotations

import re
import shutil
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from xds.imaging import dicom, part10
from xds.imaging.bounded import NotDicom, inflated
from xds.imaging.elements import Reader, first
from xds.imaging.tags import PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_SEX
from xds.metadata.identifiers import PatientId

REASON, SYSTEM = "COERCE", "xds"
"""Reason for the Attribute Modification, and Modifying System (PS3.3: C.12.1.1.9)."""

CHANGED = ("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence",
           "AccessionNumber", "IssuerOfAccessionNumberSequence", "RequestAttributesSequence")  # fmt: skip
"""What may be changed."""

SHORT, LONG = 16, 64
"""Characters of an accession number, and of a patient's id (PS3.5: 6.2, SH and LO)."""

WRITTEN_ANEW_BYTES = 128 * 1024 * 1024
"""Of a deflated or big endian dataset, which is in memory while it is written anew."""

_IN_PLACE = (part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE)
_COPIED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Here:
    """Whose an image is to be in this archive, and ``was``: whose it was, by an id with its authority.

    ``ids`` are those that an image of theirs may have; one of any other shows somebody else.  ``source`` is where it
    comes from, for people.  ``issuer``: of its accession number, where it names none; ``prefix`` goes before that
    number, so that none of elsewhere is taken for one of here; one that has no room for it is left out.  ``born`` and
    ``sex`` are the patient's, where they are known: an image that says otherwise shows somebody else.

    Raises:
        ValueError: the id, or the prefix, is none that an image can have.
    """

    patient_id: PatientId
    was: PatientId
    ids: frozenset[str]
    source: str
    issuer: str = ""
    prefix: str = ""
    born: str = ""
    sex: str = ""

    def __post_init__(self) -> None:
        if not self.patient_id.id.isascii() or "\\" in self.patient_id.id or len(self.patient_id.id) > LONG:
            raise ValueError("the patient's id is none that an image can have (PS3.5: 6.2, LO)")
        if self.prefix and not re.fullmatch(r"[A-Za-z0-9._-]{1,8}", self.prefix):
            raise ValueError("a prefix of accession numbers has up to 8 letters, digits, or . _ -")


class AnotherPatient(Exception):
    """An image is of somebody else than it was fetched for."""


def copy(path: Path, out: Path, here: Here, now: datetime) -> bool:
    """Write an image as the archive's own; whether anything was changed.

    Raises:
        AnotherPatient: it has none of the patient's ids.
        NotDicom: the file is damaged, or is over a bound.
        OSError: it cannot be read, or ``out`` not written.
    """
    form = dicom.form(path)
    _is_theirs(dicom.read_header(path, [PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_SEX], form), here)  # and whole
    if not _is_in_place(form):
        with path.open("rb") as file:
            deflated = form.transfer_syntax_uid == part10.DEFLATED
            size = inflated(file, form.dataset_begin, 0)[1] if deflated else path.stat().st_size
        if size > WRITTEN_ANEW_BYTES:
            raise NotDicom(f"over {WRITTEN_ANEW_BYTES} bytes, in {form.transfer_syntax_uid}: cannot be written anew")
    with path.open("rb") as file, out.open("wb") as written:
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=not form.is_part10)
            behind = file.tell()
            changed = coerce(dataset, here, now)
            if not changed:
                file.seek(0)
                shutil.copyfileobj(file, written, _COPIED)
            elif _is_in_place(form):
                dataset.save_as(written, enforce_file_format=form.is_part10)
                file.seek(behind)
                shutil.copyfileobj(file, written, _COPIED)
            else:
                _whole(file, written, here, now, enforce=form.is_part10)
        # Of what it cannot write pydicom raises whatever its parts do.
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as problem:
            raise NotDicom(f"cannot be written anew ({type(problem).__name__})") from None
    return changed


def _is_theirs(header: Reader, here: Here) -> None:
    if first(header, PATIENT_ID) not in here.ids:
        raise AnotherPatient("its patient id is none of those that the study was registered by")
    born, sex = first(header, PATIENT_BIRTH_DATE), first(header, PATIENT_SEX)
    if born and here.born and not (born.startswith(here.born) or here.born.startswith(born)):
        raise AnotherPatient("its birth date is not the patient's")
    if {sex, here.sex} == {"F", "M"}:
        raise AnotherPatient("its sex is not the patient's")


def _is_in_place(form: dicom.Form) -> bool:
    """Whether what is behind the header can be copied as it is: deflated and big endian datasets are written anew."""
    syntax = form.transfer_syntax_uid
    return syntax in _IN_PLACE or (syntax not in (part10.DEFLATED, part10.EXPLICIT_BIG) and not form.is_implicit)


def _whole(file: BinaryIO, out: BinaryIO, here: Here, now: datetime, *, enforce: bool) -> None:
    file.seek(0)
    dataset = pydicom.dcmread(file, force=not enforce)
    coerce(dataset, here, now)
    dataset.save_as(out, enforce_file_format=enforce)


def coerce(dataset: Dataset, here: Here, now: datetime) -> bool:
    """Make a dataset one of the archive's own patient; whether there was anything to do.

    What was there before is kept in a new item of the Original Attributes Sequence; those that it has stay.
    """
    before = {keyword: deepcopy(dataset[keyword]) for keyword in CHANGED if keyword in dataset}
    _accession(dataset, here)
    for request in dataset.get("RequestAttributesSequence") or ():
        _accession(request, here)
    _patient(dataset, here)
    old = Dataset()
    for keyword, element in before.items():
        if keyword not in dataset or dataset[keyword] != element:
            old[keyword] = element
    if not old and not any(keyword in dataset and keyword not in before for keyword in CHANGED):
        return False
    item = Dataset()
    item.SourceOfPreviousValues = "".join(map(_plain, here.source))[:LONG]
    item.AttributeModificationDateTime = now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ModifyingSystem = SYSTEM
    item.ReasonForTheAttributeModification = REASON
    item.ModifiedAttributesSequence = Sequence([old])
    items = list(dataset.get("OriginalAttributesSequence") or ())
    dataset.OriginalAttributesSequence = Sequence([*items, item])
    return True


def _patient(dataset: Dataset, here: Here) -> None:
    if str(dataset.get("PatientID", "")) == here.patient_id.id and _authority(dataset) == here.patient_id.authority:
        return
    others = list(dataset.get("OtherPatientIDsSequence") or ())
    known = {(str(one.get("PatientID", "")), _authority(one)) for one in others}
    if (here.was.id, str(here.was.authority)) not in known:
        other = _identified(here.was)
        other.TypeOfPatientID = "TEXT"
        others.append(other)
    dataset.OtherPatientIDsSequence = Sequence(others)
    dataset.update(_identified(here.patient_id))


def _accession(dataset: Dataset, here: Here) -> None:
    number = str(dataset.get("AccessionNumber", "") or "")
    if not number:
        return
    if here.prefix:
        there = f"{here.prefix}{number}"
        dataset.AccessionNumber = there if len(there) <= SHORT else ""
    if here.issuer and not dataset.get("IssuerOfAccessionNumberSequence"):
        dataset.IssuerOfAccessionNumberSequence = Sequence([_entity(here.issuer)])


def _identified(patient_id: PatientId) -> Dataset:
    found = Dataset()
    found.PatientID, found.IssuerOfPatientID = patient_id.id, str(patient_id.authority)[:64]
    found.IssuerOfPatientIDQualifiersSequence = Sequence([_entity(patient_id.authority)])
    return found


def _entity(oid: str) -> Dataset:
    found = Dataset()
    found.UniversalEntityID, found.UniversalEntityIDType = str(oid), "ISO"
    return found


def _authority(dataset: Dataset) -> str:
    """The OID of who issued a patient id, where it is said."""
    qualifiers = list(dataset.get("IssuerOfPatientIDQualifiersSequence") or ())
    return str(qualifiers[0].get("UniversalEntityID", "")) if qualifiers else ""


def _plain(character: str) -> str:
    """What is in every character set, and divides no values."""
    return character if character.isascii() and character.isprintable() and character != "\\" else "?"
