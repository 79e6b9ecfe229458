"""Which studies somebody may see the images of: both ends are held to the same decision, manifest and images.

A study is seen where one of its manifests is, as the registry of this process has them; where it has none, as a
manifest of the study would be that is published now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from xds.metadata.identifiers import PatientId
from xds.metadata.visible import Access, Facts
from xds.store.interface import Criteria, Kind
from xds.store.registry.sql_reader import NOBODY, NOBODYS_ID, SqlReader
from xds.store.work import Database

STUDY_TYPES = ("urn:ihe:iti:xds:2016:studyInstanceUID", "urn:ihe:iti:xds:2013:studyInstanceUID")
"""CXi.5 of a Study Instance UID in referenceIdList (ITI TF-3: 4.2.3.1.7), and what the text of 2013 called it."""

PatientsOf = Callable[[Collection[str]], Mapping[str, str]]
"""Of each of the studies whose it is."""

_MOST = 1000


def references(study_instance_uid: str) -> frozenset[str]:
    """A Study Instance UID as referenceIdList has it."""
    return frozenset(f"{study_instance_uid}^^^^{kind}" for kind in STUDY_TYPES)


class Studies:
    """The studies of an Imaging Document Source.

    ``patients_of`` says whose studies are in the affinity domain, as CX; ``usual`` is what decisions ask of a manifest.
    """

    def __init__(self, database: Database, patients_of: PatientsOf, usual: Facts) -> None:
        self._database, self._patients_of, self._usual = database, patients_of, usual

    def withheld(self, access: Access, study_instance_uids: Collection[str]) -> set[str]:
        """Those of the studies that somebody with this access may not see."""
        if access.everything:
            return set()
        whose = self._patients_of(study_instance_uids)  # before: it may ask an archive, and the database itself
        with self._database.work(access).asking() as (registry, _):
            return {uid for uid, cx in whose.items() if not self._shown(registry, access, uid, cx)}

    def _shown(self, registry: SqlReader, access: Access, uid: str, cx: str) -> bool:
        try:
            whose = PatientId.parse(cx)
        except ValueError:
            whose = NOBODYS_ID
        keys = registry.chain(whose)
        of_study = Criteria(values=(("referenceIdList", tuple(references(uid))),))
        # Whether there are any or not, the same is asked: the time that it takes tells nothing.
        there = registry.unrestricted().find(Kind.DOCUMENT_ENTRY, keys or NOBODY, of_study, _MOST)
        seen = registry.references().find(Kind.DOCUMENT_ENTRY, keys, of_study, _MOST)
        if there:
            return bool(seen)
        see = access.of(registry.connection, keys)
        several = {**self._usual.multiple, "referenceIdList": references(uid)}
        return see.shows(replace(self._usual, multiple=several, patient_key=keys[0] if keys else 0))
