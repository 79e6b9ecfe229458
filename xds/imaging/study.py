"""Studies from the headers of DICOM files: what a folder holds, whose it is, what a manifest lists.

DICOM PS3.3: C.7.1 to C.7.3 (patient, study, series); IHE RAD TF XDS-I.b (manifests), RAD IOCM (rejection notes).
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xds.imaging import text
from xds.imaging.group import Series, Study, is_another, study
from xds.imaging.instance import InstanceFacts, NotAnInstance, Rejection, read_file
from xds.imaging.manifest import MANIFEST_TITLE, Code, InstanceReference, Manifest, SeriesReference
from xds.metadata.identifiers import new_oid

__all__ = [
    "APART",
    "INCOMING",
    "STORED_BY",
    "InstanceFacts",
    "Problem",
    "Scan",
    "Series",
    "Study",
    "files",
    "manifest_of",
    "scan",
    "studies_of",
]

INCOMING, APART, STORED_BY = ".incoming", ".apart", ".stored-by"
"""Folders in a tree of what is still arriving, of what is set apart, and of who stored what: none is the tree's."""

MANUFACTURER = "xds"
"""Of the software that makes the manifests, (0008,0070)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file, or a study by one of its files, that is left out, and why; the message holds no patient data."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds."""

    studies: tuple[Study, ...]
    problems: tuple[Problem, ...]


def scan(
    folder: Path,
    *,
    zone: str = "UTC",
    fallback_character_set: str = "",
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Read every file of a tree; what cannot be used is a problem, and the rest goes on.

    ``zone`` is where times without an offset of their own are from.  ``progress`` is told how many files
    were read.

    Raises:
        OSError: the folder itself cannot be listed.
        ValueError: there is no zone of that name.
    """
    text.zone(zone)
    found: list[InstanceFacts | Rejection] = []
    problems = []
    for number, path in enumerate(files(folder), 1):
        try:
            if path.is_symlink():
                raise NotAnInstance("a symbolic link, which is not followed")
            found.append(read_file(path, fallback_character_set=fallback_character_set))
        except NotAnInstance as problem:
            problems.append(Problem(path, str(problem)))
        except OSError as problem:
            problems.append(Problem(path, f"cannot be read: {problem.strerror}"))
        if progress:
            progress(number)
    rejected = {pair for note in found if isinstance(note, Rejection) for pair in note.instances}
    instances = [one for one in found if isinstance(one, InstanceFacts)]
    taken_back = [one for one in instances if (one.study_instance_uid, one.sop_instance_uid) in rejected]
    gone = {one.path for one in taken_back}
    grouped = studies_of((one for one in instances if one.path not in gone), zone=zone)
    problems += [Problem(one.path, "taken back by a rejection note") for one in taken_back]
    return Scan(grouped.studies, (*problems, *grouped.problems))


def files(folder: Path) -> Iterator[Path]:
    """Every file of a tree, and every symbolic link, in order of name; folders behind links are not entered.

    Nor are those of what is still arriving, of what is set apart, and of who stored what.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    left = [*reversed(_entries(folder))]
    while left:
        entry = left.pop()
        if entry.name in (INCOMING, APART, STORED_BY):
            continue
        if entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):  # not ours to read, or gone meanwhile
                left += reversed(_entries(entry.path))


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def studies_of(instances: Iterable[InstanceFacts], *, zone: str = "UTC") -> Scan:
    """Group instances into studies, in order of their UIDs.

    A study with instances of two patients is a problem and is left out; of two files with one SOP Instance
    UID the first is taken.
    """
    by_study: defaultdict[str, dict[str, InstanceFacts]] = defaultdict(dict)
    problems = []
    for instance in instances:
        kept = by_study[instance.study_instance_uid].setdefault(instance.sop_instance_uid, instance)
        if kept is not instance:
            problems.append(Problem(instance.path, f"the same SOP Instance UID as {kept.path.name}, which is taken"))
    studies = []
    for uid in sorted(by_study):
        members = list(by_study[uid].values())
        other = next((one for one in members if is_another(members[0].patient, one.patient)), None)
        if other is None:
            studies.append(study(uid, members, zone))
        else:
            problems.append(
                Problem(other.path, f"another patient than in {members[0].path.name}, of the same study: all left out")
            )
    return Scan(tuple(studies), tuple(problems))


def manifest_of(
    study: Study,
    *,
    retrieve_location_uid: str,
    retrieve_ae_title: str,
    retrieve_url: str = "",
    sop_instance_uid: str | None = None,
    created: datetime | None = None,
    title: Code = MANIFEST_TITLE,
    institution_name: str | None = None,
    description: str = "",
) -> Manifest:
    """The manifest of a whole study.

    ``retrieve_location_uid`` is the OID of the Imaging Document Source that holds it.  UIDs are made under
    2.25 where none is given; ``created``, an aware time, is now where none is given.
    """
    moment = created or datetime.now(UTC).replace(microsecond=0)
    return Manifest(
        sop_instance_uid=sop_instance_uid or new_oid(),
        series_instance_uid=new_oid(),
        study_instance_uid=study.study_instance_uid,
        created=moment.astimezone(UTC),
        patient=study.patient,
        series=tuple(
            SeriesReference(
                series_instance_uid=series.series_instance_uid,
                modality=series.modality,
                retrieve_ae_title=retrieve_ae_title,
                retrieve_location_uid=retrieve_location_uid,
                retrieve_url=retrieve_url,
                instances=tuple(
                    InstanceReference(one.sop_class_uid, one.sop_instance_uid, one.number_of_frames)
                    for one in series.instances
                ),
            )
            for series in study.series
        ),
        title=title,
        study_date=study.study_date,
        study_time=study.study_time,
        timezone_offset=study.timezone_offset,
        study_id=study.study_id,
        study_description=study.description,
        requests=study.requests,
        referring_physician=study.referring_physician,
        institution_name=study.institution_name if institution_name is None else institution_name,
        manufacturer=MANUFACTURER,
        description=description,
    )
