"""One feed makes no crowd of patients known, and whom it makes known is on record, each of them."""

from __future__ import annotations

import time

import pytest

from tests.builders import AUTHORITY
from tests.endpoints.test_mllp import fed, fed_v3, known, outcomes
from tests.hl7.test_v2 import adt
from tests.hl7.test_v3 import ii
from tests.server.test_application import Site, site
from xds.endpoints.dicomweb.asked import Refusal, numbers
from xds.hl7 import v2
from xds.hl7.feed import IDENTIFIERS
from xds.metadata.identifiers import PatientId

__all__ = ["site"]


def many(count: int) -> list[PatientId]:
    return [PatientId(f"m{number}", AUTHORITY) for number in range(count)]


def test_a_message_of_thousands_of_identifiers_is_refused_and_makes_nobody_known(site: Site) -> None:
    for event in ("A01", "A08", "A40"):
        for count, code, why in ((1000, "AE", f"{IDENTIFIERS} repetitions"), (20_000, "AR", f"{v2.PARTS} fields")):
            crowd, began = "~".join(map(str, many(count))), time.process_time()
            answer = fed(site, adt(event, pid=crowd, mrg="x^^^&1.2.3&ISO" if event == "A40" else ""))
            assert answer.startswith(f"MSA|{code}|17")
            assert f"more than {why}" in answer
            assert time.process_time() - began < 2
    code, reason = fed_v3(site, "PRPA_IN201301UV02", ids="".join(map(ii, many(IDENTIFIERS + 1))))
    assert (code, f"more than {IDENTIFIERS} times" in reason) == ("CE", True)
    assert known(site) == []
    assert {outcome for _, _, outcome in outcomes(site, "ITI-8")} == {4}


def test_a_merge_of_thousands_is_refused(site: Site) -> None:
    fed(site, adt(pid=str(many(1)[0])))
    answer = fed(site, adt("A40", pid=str(many(1)[0]), mrg="~".join(map(str, many(1000)))))
    assert "MRG-1 has more than" in answer


@pytest.mark.parametrize("way", ["ITI-8", "ITI-44"])
def test_each_patient_that_a_message_makes_known_has_a_record(site: Site, way: str) -> None:
    several = many(3)
    if way == "ITI-8":
        assert fed(site, adt(pid="~".join(map(str, several)))) == "MSA|AA|17\r"
    else:
        assert fed_v3(site, "PRPA_IN201301UV02", ids="".join(map(ii, several)))[0] == "CA"
    assert known(site) == several
    assert sorted(outcomes(site, way)) == [("C", str(one), 0) for one in several]


def test_a_frame_is_not_asked_for_again_and_again() -> None:
    assert numbers("3,1,2") == [3, 1, 2]
    with pytest.raises(Refusal) as refused:
        numbers(",".join(["1", "2"] * 75))
    assert refused.value.status == 400
