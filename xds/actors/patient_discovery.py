"""Patient discovery: under which id this community knows whom another looks for.  Nobody is guessed.

ITI TF-2: 3.55.4.1.3, 3.55.4.2; what agrees stands in ``rules/patient_matching.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from xds.hl7.discovery import NOT_AVAILABLE, Discovery, Outcome
from xds.metadata.demographics import Demographics
from xds.metadata.identifiers import Oid, PatientId
from xds.rules.patient_matching import contradicts, is_alike, shares, telling_apart
from xds.store.registry.sql_reader import SqlReader


class PatientDiscovery:
    """One affinity domain's."""

    def __init__(self, authorities: Iterable[Oid], *, keeps_demographics: bool) -> None:
        self._authorities, self._keeps = frozenset(authorities), keeps_demographics

    def discover(self, sought: Discovery, store: SqlReader) -> Outcome:
        """The one patient who is meant; what more must be said where several may be; or nobody.

        By an id of this domain it is its patient, unless what is known of them says otherwise; of other ids nothing is
        known here, and then name and birth date decide.
        """
        ours = [one for one in sought.ids if one.authority in self._authorities]
        if ours:
            return self._by_id(ours, sought, store)
        if not (sought.demographics.names and sought.demographics.born):
            return Outcome()
        if not self._keeps:
            return Outcome(error=NOT_AVAILABLE, text="who patients are is not kept here; ask by an identifier")
        return self._by_description(sought.demographics, store)

    def _by_description(self, asked: Demographics, store: SqlReader) -> Outcome:
        """Judged by all who have the name and the birth date, also those of whom nothing may be told."""
        found, more = store.alike(asked.names, asked.born)
        alike = [one for one in found if is_alike(asked, one.demographics)]
        agreed = [one for one in alike if not contradicts(asked, one.demographics)]
        if not agreed and not more:
            return Outcome()
        several = Outcome(error=NOT_AVAILABLE, text="several patients may be meant; ask by an identifier")
        if more or any(store.known_as(one.patient_id) is None for one in agreed if len(agreed) > 1):
            return several
        if len(agreed) == 1 and (len(alike) == 1 or shares(asked, agreed[0].demographics)):
            (one,) = agreed
            return Outcome(one.patient_id, one.demographics) if store.known_as(one.patient_id) else Outcome()
        wanted = telling_apart(asked, [one.demographics for one in (agreed if len(agreed) > 1 else alike)])
        return Outcome(wanted=[one.value for one in wanted]) if wanted else several

    def _by_id(self, ids: Iterable[PatientId], sought: Discovery, store: SqlReader) -> Outcome:
        found = {one.patient_id: one for one in map(store.known_as, ids) if one is not None}
        if len(found) != 1:  # of several the message says that they are one, and the registry that they are not
            return Outcome()
        (one,) = found.values()
        if contradicts(sought.demographics, one.demographics):
            return Outcome()
        return Outcome(one.patient_id, one.demographics)
