"""Images of elsewhere, made fit for an archive here: under the patient's id of here, with what they were kept in them.

PS3.3: C.12.1 (Original Attributes Sequence), C.7.1.1 and 10.14 (patient ids and their issuers), 10.17 (issuers of other
numbers); PS3.4: B.4.1.3.  Pixels, UIDs and times of creation stay as they are, to the byte.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from xds.imaging import dicom, part10
from xds.imaging.bounded import NotDicom
from xds.imaging.tags import PATIENT_ID
from xds.metadata.identifiers import PatientId

REASON, SYSTEM = "COERCE", "xds"
"""Reason for the Attribute Modification, and Modifying System (PS3.3: C.12.1.1.9)."""

CHANGED = ("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence",
           "AccessionNumber", "IssuerOfAccessionNumberSequence")  # fmt: skip
"""What may be changed."""

ACCESSION = 16
"""Characters of an accession number (PS3.5: 6.2, SH)."""

_IN_PLACE = (part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE)
_COPIED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Here:
    """Whose an image is to be in this archive, and ``was``: whose it was, by an id with its authority.

    ``source`` is where it comes from, for people.  ``issuer``: of its accession number, where it names none; ``prefix``
    goes before that number, so that none of elsewhere is taken for one of here.
    """

    patient_id: PatientId
    was: PatientId
    source: str
    issuer: str = ""
    prefix: str = ""


def copy(path: Path, out: Path, here: Here, now: datetime) -> bool:
    """Write an image as the archive's own; whether anything was changed.

    Raises:
        NotDicom: the file is damaged, or is over a bound.
        OSError: it cannot be read, or ``out`` not written.
    """
    form = dicom.form(path)
    dicom.read_header(path, [PATIENT_ID], form)  # within bounds, and whole
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
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as problem:
            raise NotDicom(f"cannot be written anew ({type(problem).__name__})") from None
    return changed


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
    before = Dataset()
    for keyword in CHANGED:
        if keyword in dataset:
            before[keyword] = dataset[keyword]
    changed = [_accession(dataset, here), _patient(dataset, here)]
    if not any(changed):
        return False
    item = Dataset()
    item.SourceOfPreviousValues = here.source[:64]
    item.AttributeModificationDateTime = now.strftime("%Y%m%d%H%M%S.%f%z")
    item.ModifyingSystem = SYSTEM
    item.ReasonForTheAttributeModification = REASON
    item.ModifiedAttributesSequence = Sequence([before])
    items = list(dataset.get("OriginalAttributesSequence") or ())
    dataset.OriginalAttributesSequence = Sequence([*items, item])
    return True


def _patient(dataset: Dataset, here: Here) -> bool:
    old = str(dataset.get("PatientID", "") or "")
    if old == here.patient_id.id and _authority(dataset) == here.patient_id.authority:
        return False
    others = list(dataset.get("OtherPatientIDsSequence") or ())
    known = {(str(one.get("PatientID", "")), _authority(one)) for one in others}
    if (here.was.id, str(here.was.authority)) not in known:
        other = _identified(here.was)
        other.TypeOfPatientID = "TEXT"
        others.append(other)
    dataset.OtherPatientIDsSequence = Sequence(others)
    dataset.update(_identified(here.patient_id))
    return True


def _accession(dataset: Dataset, here: Here) -> bool:
    number = str(dataset.get("AccessionNumber", "") or "")
    if not number:
        return False
    changed = False
    if here.prefix and not number.startswith(here.prefix):
        dataset.AccessionNumber, changed = f"{here.prefix}{number}"[:ACCESSION], True
    if here.issuer and not dataset.get("IssuerOfAccessionNumberSequence"):
        dataset.IssuerOfAccessionNumberSequence, changed = Sequence([_entity(here.issuer)]), True
    return changed


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
