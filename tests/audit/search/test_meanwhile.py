"""A merge that was wrong is undone, and who has read meanwhile is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import ANNA, BERT, a_submission, an_entry
from tests.endpoints.console.test_desk import seal
from tests.endpoints.test_mllp import fed_v3
from tests.hl7.test_v3 import ii
from tests.server.test_application import Site, of_bytes, serving
from xds.audit.search.meanwhile import read_since_merged


@pytest.mark.parametrize("merged", [True, False])
def test_who_has_read_since_two_patients_were_merged_is_told(database_url: str, tmp_path: Path, merged: bool) -> None:
    with serving(database_url, tmp_path) as site:
        for patient in (ANNA, BERT):
            site.provide(
                a_submission(patient=patient, entries=[an_entry(patient_id=patient, **of_bytes(b"x"))]), [b"x"]
            )
        site.find(ANNA)
        if merged:
            assert fed_v3(site, "PRPA_IN201304UV02", ids=ii(ANNA), prior=ii(BERT))[0] == "CA"
        assert lines(site) == ({} if merged else {"ITI-18": 1, "ITI-41": 2})
        site.find(ANNA)
        assert lines(site).get("ITI-18") == (1 if merged else 2)


def lines(site: Site) -> dict[str, int]:
    """What was done, and how often, by whom it may be."""
    seal(site)
    with site.application.engine.connect() as connection:
        found = read_since_merged(connection, str(BERT), str(ANNA))
    counts: dict[str, int] = {}
    for line in found:
        for kind, count in line.kinds.items():
            number = next((word for word in ("ITI-18", "ITI-41") if word in kind or word in line.key), kind)
            counts[number] = counts.get(number, 0) + count
    return counts
