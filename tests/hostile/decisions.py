"""Every address: what is asked there before anything is read or written, and which test holds it to that."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("decisions.md")
MATRIX = "hostile/test_who_may_what.py::test_only_whose_role_it_is_may"


class Row(NamedTuple):
    """One kind of request: where it comes in, what it is, what may be decided, and the test of that."""

    endpoint: str
    action: str
    decision: str
    test: str


_REGIONS = "journeys/test_regions.py::test_what_the_policy_of_the_north_withholds_"
_FILTER, _OWN = "permit, filter, deny", "permit what is the peer's own, deny"
ROWS = (
    Row("SOAP /registry", "ITI-18", _FILTER, f"{MATRIX}[ITI-18]"),
    Row("SOAP /registry", "ITI-51", f"{_FILTER}; all patients: deny", f"{MATRIX}[ITI-51 of all patients]"),
    Row("SOAP /registry", "ITI-42", _OWN, f"{MATRIX}[ITI-42, a replacement]"),
    Row("SOAP /registry", "ITI-61", _OWN, "access/test_policy.py::test_sources_write_change_and_read_their_own_only"),
    Row("SOAP /registry", "ITI-57", _OWN, f"{MATRIX}[ITI-57]"),
    Row("SOAP /registry", "ITI-92", _OWN, f"{MATRIX}[ITI-92]"),
    Row("SOAP /registry", "ITI-62", _OWN, f"{MATRIX}[ITI-62]"),
    Row("SOAP /registry", "ITI-44", "permit of the peer's authorities, deny", f"{MATRIX}[ITI-44]"),
    Row("SOAP /repository", "ITI-41", _OWN, f"{MATRIX}[ITI-41 with the owner's sourceId]"),
    Row("SOAP /repository", "RAD-68", "as ITI-41, whose message it is", f"{MATRIX}[ITI-41 with the owner's sourceId]"),
    Row("SOAP /repository", "ITI-43", _FILTER, f"{MATRIX}[ITI-43]"),
    Row("SOAP /repository", "ITI-86", _OWN, f"{MATRIX}[ITI-86]"),
    Row("SOAP /imaging-source", "RAD-69", _FILTER, f"{MATRIX}[RAD-69]"),
    Row("SOAP /gateway", "ITI-18", f"{_FILTER}; what others answer, too", f"{_REGIONS}is_absent_also_of_the_south_s"),
    Row("SOAP /gateway", "ITI-43", f"{_FILTER}; what others have, too", f"{_REGIONS}is_absent_also_of_the_south_s"),
    Row("SOAP /gateway", "RAD-69", f"{_FILTER} by the manifest; what others have, too",
        "journeys/test_images_across_regions.py::test_who_may_see_a_manifest_may_see_its_images_once_it_was_fetched"),
    Row("SOAP /responding-gateway", "ITI-38", _FILTER, f"{MATRIX}[ITI-38]"),
    Row("SOAP /responding-gateway", "ITI-39", _FILTER, f"{MATRIX}[ITI-39]"),
    Row("SOAP /responding-gateway", "RAD-75", _FILTER, f"{MATRIX}[RAD-75]"),
    Row("SOAP /responding-gateway", "ITI-55", "permit, deny; of whom nothing may be told nobody hears",
        "journeys/test_patient_discovery.py"),
    Row("DICOMweb /dicomweb", "RAD-107", _FILTER, f"{MATRIX}[RAD-107]"),
    Row("DICOMweb /dicomweb", "RAD-129", f"{_FILTER}; all patients: deny", f"{MATRIX}[RAD-129]"),
    Row("DICOMweb /dicomweb", "RAD-108", "permit, deny", f"{MATRIX}[RAD-108]"),
    Row("WADO-URI /wado", "RAD-55", _FILTER, f"{MATRIX}[RAD-55]"),
    Row("MLLP", "ITI-8", "permit of the peer's authorities, deny", f"{MATRIX}[ITI-8]"),
    Row("C-STORE", "C-STORE", "permit, reject the association", "hostile/test_who_may_send.py"),
    Row("syslog", "ITI-20", "permit, close the connection", "hostile/test_who_may_send.py"),
    Row("FHIR /fhir", "ITI-81", "permit, deny", f"{MATRIX}[ITI-81]"),
    Row("pages /console", "console", "by account and role, then as the transactions it asks",
        "endpoints/console/test_glass.py::test_only_a_privacy_officer_sees_what_patients_want_and_who_has_broken_the_glass"),
    Row("pages /console/apart", "take, discard", "permit an operator with a reason, once; of another patient: deny",
        "endpoints/console/test_setting_apart.py::test_only_an_operator_or_administrator_sees_and_decides_what_is_set_apart"),
    Row("DICOMweb, C-STORE", "against another's study", "set apart until a person decides; over a bound: deny",
        "hostile/test_set_apart.py::test_what_would_mix_two_patients_is_set_apart_and_the_study_stays_as_it_is"),
    Row("/audit/witness", "witness", "by signature", "initiating/test_witnesses.py"),
    Row("/healthz, /readyz, /metrics, ?wsdl, ?xsd", "none", "open: they tell of nobody",
        "hostile/test_who_may_what.py::test_what_tells_of_nobody_is_open"),
)  # fmt: skip


def written() -> str:
    """The table as Markdown."""
    lines = [
        "# Who decides what is answered",
        "",
        "Written by `python -m tests.hostile`, held by `test_decisions.py`.",
        "",
    ]
    lines += ["| endpoint | action | decision | test |", "|---|---|---|---|"]
    lines += [f"| {row.endpoint} | {row.action} | {row.decision} | `{row.test}` |" for row in ROWS]
    return "\n".join(lines) + "\n"
