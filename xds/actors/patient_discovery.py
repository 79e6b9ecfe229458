"""Patient discovery: under which id this community knows whom another looks for.  Nobody is guessed.

ITI TF-2: 3.55.4.1.3, 3.55.4.2; what agrees stands in ``rules/patient_matching.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xds.hl7.discovery import NOT_AVAILABLE, Discovery, Outcome
from xds.metadata.identifiers import Oid, PatientId
from xds.rules.patient_matching import agrees, contradicts, telling_apart
from xds.store.registry.demographics import Candidate, TooLittle
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
        alike = [one for one in self._candidates(sought, store) if agrees(sought.demographics, one.demographics)]
        if len(alike) == 1:
            return Outcome(alike[0].patient_id, alike[0].demographics)
        if not alike:
            return Outcome()
        wanted = telling_apart(sought.demographics, [one.demographics for one in alike])
        if wanted:
            return Outcome(wanted=[one.value for one in wanted])
        return Outcome(error=NOT_AVAILABLE, text="several patients agree in all that is known; ask by an identifier")

    def _by_id(self, ids: Iterable[PatientId], sought: Discovery, store: SqlReader) -> Outcome:
        found = {one.patient_id: one for one in map(store.known_as, ids) if one is not None}
        if len(found) != 1:  # of several the message says that they are one, and the registry that they are not
            return Outcome()
        (one,) = found.values()
        if contradicts(sought.demographics, one.demographics):
            return Outcome()
        return Outcome(one.patient_id, one.demographics)

    def _candidates(self, sought: Discovery, store: SqlReader) -> Iterator[Candidate]:
        """Each once, by any of the names."""
        seen = set[PatientId]()
        for name in sought.demographics.names:
            try:
                found = store.named(f"{name.family} {name.given.partition(' ')[0]}", sought.demographics.born)
            except TooLittle:
                continue
            for one in found:
                if one.patient_id not in seen:
                    seen.add(one.patient_id)
                    yield one
