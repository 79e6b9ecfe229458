"""A merge that was wrong is undone, and who has read meanwhile is told."""

from __future__ import annotations

from tests.builders import ANNA, BERT, a_submission, an_entry
from tests.conftest import database_url
from tests.endpoints.console.test_desk import seal
from tests.endpoints.test_mllp import fed_v3
from tests.hl7.test_v3 import ii
from tests.server.test_application import Site, of_bytes, site
from xds.audit.search.meanwhile import read_since_merged

__all__ = ["database_url", "site"]  # a server migrates its database itself: not the one that these tests share


def queries(site: Site) -> int:
    """How often either of the two was asked for while they were one."""
    seal(site)
    with site.application.engine.connect() as connection:
        found = read_since_merged(connection, str(BERT), str(ANNA))
    return sum(count for line in found for kind, count in line.kinds.items() if kind.startswith("ITI-18"))


def test_who_has_read_since_two_patients_were_merged_is_told(site: Site) -> None:
    for patient in (ANNA, BERT):
        entry = an_entry(patient_id=patient, **of_bytes(b"x"))
        site.provide(a_submission(patient=patient, entries=[entry]), [b"x"])
    site.find(ANNA)
    assert queries(site) == 1  # without a merge all there is
    assert fed_v3(site, "PRPA_IN201304UV02", ids=ii(ANNA), prior=ii(BERT))[0] == "CA"
    assert queries(site) == 0
    site.find(ANNA)
    assert queries(site) == 1
