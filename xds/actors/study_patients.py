"""Whom the images that are given out show: as their header says, and as the affinity domain knows them.

An audit record of a retrieval names the patient (DICOM PS3.15: A.5.3.6, A.5.3.7), or nobody finds who has looked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from threading import Lock

from xds.archives.interface import NotAnswering
from xds.archives.patients import PatientTable
from xds.audit.messages.objects import StudyPatient
from xds.imaging.manifest import Patient

KNOWN, KNOWN_SECONDS = 10_000, 60.0
"""Studies of which a process remembers whose they are, and for how long: a patient may be merged, or a study moved."""

Published = Callable[[str], str]
"""Whose a study was published as, in the form of a CX; empty where it was not."""


class StudyPatients:
    """Safe with threads."""

    def __init__(
        self, header: Callable[[str], Patient | None], published: Published, table: PatientTable | None
    ) -> None:
        """``header``: what a study's images say, by its UID; ``table``: whose an id of the archive is."""
        self._header, self._published, self._table = header, published, table
        self._known: dict[str, tuple[float, StudyPatient]] = {}
        self._lock = Lock()

    def of(self, study_uids: Collection[str]) -> Mapping[str, StudyPatient]:
        """Whom studies show, each by its UID; of nobody where neither header nor domain says."""
        return {uid: self._one(uid) for uid in dict.fromkeys(study_uids)}

    def _one(self, uid: str) -> StudyPatient:
        now = time.monotonic()
        with self._lock:
            since, found = self._known.get(uid, (0.0, StudyPatient()))
            if since and now - since < KNOWN_SECONDS:
                return found
        found = self._asked(uid)
        with self._lock:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[uid] = now, found
        return found

    def _asked(self, uid: str) -> StudyPatient:
        try:
            patient = self._header(uid)
        except NotAnswering:
            patient = None
        if patient is None:
            return StudyPatient(self._published(uid))
        own = self._table.own(patient) if self._table else None
        mapped = self._table.mapped(own) if self._table and own else None
        archive_id = str(own) if own else patient.id
        return StudyPatient(self._published(uid) or (str(mapped) if mapped else ""), archive_id)
