"""Whose a patient id of the archive is in the affinity domain: by a table, or because the domain issues it itself."""

from __future__ import annotations

import csv
import logging
from collections.abc import Collection
from pathlib import Path
from threading import Lock
from typing import Protocol

from xds.errors import Unusable
from xds.imaging.manifest import Patient
from xds.metadata.identifiers import Oid, PatientId, is_oid

log = logging.getLogger("xds.archives.patients")


class Patients(Protocol):
    """Whose patient ids of the archive are."""

    def own(self, patient: Patient) -> PatientId | None:
        """The id that the archive has for a patient, where it says who issued it."""
        ...

    def mapped(self, own: PatientId) -> PatientId | None:
        """The affinity domain's id for it; None when that cannot be told.

        Raises:
            NotAnswering: whoever knows it does not answer.
        """
        ...


class PatientTable:
    """A CSV file of two columns, the archive's CX and the domain's, read again when it changes.

    Raises:
        Unusable: it cannot be read the first time.
    """

    def __init__(
        self, path: Path | None, authorities: Collection[str], issuer: str, *, setting: str = "imaging_source.patients",
        backwards: bool = False,
    ) -> None:  # fmt: skip
        """``issuer`` is the OID of ids that name none; empty: of nobody.

        ``setting``: what names the file; ``backwards``: what is looked up is in its second column.
        """
        self._path, self._authorities, self._issuer = path, frozenset(authorities), issuer
        self._setting, self._backwards = setting, backwards
        self._lock, self._stamp = Lock(), self._stamped()
        self._table = self._read()

    def own(self, patient: Patient) -> PatientId | None:
        """See ``Patients``."""
        issuer = patient.issuer_oid or self._issuer
        if not patient.id or not is_oid(issuer):
            return None
        try:
            return PatientId.of(patient.id, Oid(issuer))
        except ValueError:
            return None

    def mapped(self, own: PatientId) -> PatientId | None:
        """See ``Patients``."""
        return self._current().get(own) or (own if own.authority in self._authorities else None)

    def _current(self) -> dict[PatientId, PatientId]:
        with self._lock:
            try:
                stamp = self._stamped()
                if stamp != self._stamp:
                    self._stamp, self._table = stamp, self._read()
            except Unusable as problem:
                log.error("patients.not_read", extra={"reason": str(problem)})
            return self._table

    def _stamped(self) -> tuple[int, int]:
        if self._path is None:
            return 0, 0
        try:
            status = self._path.stat()
        except OSError as problem:
            raise Unusable(f"{self._setting}: {self._path}: {problem.strerror}") from None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> dict[PatientId, PatientId]:
        if self._path is None:
            return {}
        found = {}
        try:
            with self._path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                for row in rows:
                    if row and not row[0].startswith("#"):
                        one, other = (PatientId.parse(cell.strip()) for cell in row)
                        found.update({other: one} if self._backwards else {one: other})
        except (OSError, UnicodeDecodeError, csv.Error) as problem:
            raise Unusable(f"{self._setting}: {self._path}: {type(problem).__name__}") from None
        except ValueError:
            line = f"{self._path}, line {rows.line_num}"
            raise Unusable(f"{self._setting}: {line}: two patient ids as CX") from None
        return found
