"""What a source's patients and codes are here; nobody and nothing is guessed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from xds.archives.patients import Patients, PatientTable
from xds.ebxml.rim import Slot
from xds.errors import Unusable
from xds.metadata.association import Association
from xds.metadata.datatypes import Code
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, FOLDER_CODES, MANY, SUBMISSION_SET_CODES
from xds.settings.merging import Merge

MERGED_FROM = "urn:xds:merge:source"
"""The slot of entries, sets and folders that says which source they were merged from."""

_Item = TypeVar("_Item", bound=MetadataObject)


@dataclass(frozen=True, slots=True)
class Codes:
    """What codes of the source are here, by ``code^^scheme``; what is not named is the same."""

    of: Mapping[str, Code]

    def mapped(self, code: Code) -> Code:
        return self.of.get(code.key, code)


def read_codes(path: str, setting: str) -> Codes:
    """The codes of a file.  TOML: a table a coding scheme of the source's, in it each code with what it is here::

        ["1.2.3.4"]
        CT-SCAN = ["IMG", "1.3.6.1.4.1.19376.1.2.6.1", "Images"]

    Raises:
        Unusable: it cannot be read, or says something else.
    """
    if not path:
        return Codes({})
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise Unusable(f"{setting}: {path}: {problem}") from None
    found: dict[str, Code] = {}
    for scheme, codes in tables.items():
        if not isinstance(codes, dict):
            raise Unusable(f"{setting}: {path}: {scheme} is no table of codes")
        for code, here in codes.items():
            if not (isinstance(here, list) and len(here) == 3 and all(isinstance(one, str) for one in here)):
                raise Unusable(f"{setting}: {path}: {code} of {scheme} needs a code, its scheme and its name")
            found[f"{code}^^{scheme}"] = Code(*here)
    return Codes(found)


def patient_table(label: str, merge: Merge) -> PatientTable:
    """What the settings themselves say of a source's patients.

    Raises:
        Unusable: the table cannot be read.
    """
    path = Path(merge.patients) if merge.patients else None
    return PatientTable(path, merge.authorities, "", setting=f"merges.{label}.patients")


class Mapped:
    """Of one source: whose its patients are, what its codes are, and how its objects are written here."""

    def __init__(self, label: str, merge: Merge, patients: Patients) -> None:
        """``patients``: who says whose the source's ids are.

        Raises:
            Unusable: a file of the settings cannot be read.
        """
        self._label, self._patients = label, patients
        self._codes = read_codes(merge.codes, f"merges.{label}.codes")

    def patient(self, theirs: PatientId) -> PatientId | None:
        """Who it is here; None where nobody has said so.

        Raises:
            NotAnswering: whoever knows it does not answer.
        """
        return self._patients.mapped(theirs)

    def mapped(self, item: _Item, here: PatientId) -> _Item:
        """An object of the source's as it is here: of the patient, with our codes, and from where it came.

        Its ids, its hash and its history stay, and so does what the source's own patient id was.
        """
        if isinstance(item, Association):
            return replace(item, home_community_id=None, documentation=self._code(item.documentation))
        changes: dict[str, Any] = {
            name: self._coded(getattr(item, name), several=coded.most == MANY)
            for name, coded in _CODED[type(item)].items()
        }
        slots = tuple(slot for slot in item.extra_slots if slot.name != MERGED_FROM)
        slots = (*slots, Slot(MERGED_FROM, (self._label,)))
        return replace(item, patient_id=here, home_community_id=None, extra_slots=slots, **changes)

    def _coded(self, value: Code | Iterable[Code], *, several: bool) -> Any:
        return tuple(map(self._codes.mapped, value)) if several else self._codes.mapped(value)  # type: ignore[arg-type]

    def _code(self, code: Code | None) -> Code | None:
        return None if code is None else self._codes.mapped(code)


_CODED: Mapping[type, Mapping[str, Any]] = {
    DocumentEntry: DOCUMENT_ENTRY_CODES, SubmissionSet: SUBMISSION_SET_CODES, Folder: FOLDER_CODES,
}  # fmt: skip


def patients_of(path: Path) -> list[PatientId]:
    """The patients that a file names, one a line as CX, first where a line has several; # begins a comment.

    Raises:
        Unusable: it cannot be read, or a line is no patient id.
    """
    found: dict[PatientId, None] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"{path}: {problem}") from None
    for number, line in enumerate(lines, 1):
        text = line.partition(",")[0].strip()
        if text and not text.startswith("#"):
            try:
                found[PatientId.parse(text)] = None
            except ValueError as problem:
                raise Unusable(f"{path}, line {number}: {problem}") from None
    return list(found)
