"""Whom images show: by their header, by what was published, by the table of patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds.actors import study_patients
from xds.actors.study_patients import StudyPatients
from xds.archives.interface import NotAnswering
from xds.archives.patients import PatientTable
from xds.audit.messages.objects import StudyPatient
from xds.imaging.manifest import Patient

ARCHIVE, DOMAIN = "1.2.3", "1.2.4"
OWN, THEIRS, ANNA = f"77^^^&{ARCHIVE}&ISO", f"77^^^&{DOMAIN}&ISO", f"anna^^^&{DOMAIN}&ISO"


def table(tmp_path: Path, text: str = "") -> PatientTable:
    path = tmp_path / "patients.csv"
    path.write_text(text, "utf-8")
    return PatientTable(path, [DOMAIN], "")


@pytest.mark.parametrize(
    ("patient", "published", "rows", "wanted"),
    [
        (Patient("77", issuer_oid=ARCHIVE), "", "", StudyPatient("", OWN)),
        (Patient("77", issuer_oid=ARCHIVE), "", f'"{OWN}","{ANNA}"\n', StudyPatient(ANNA, OWN)),
        (Patient("77", issuer_oid=ARCHIVE), ANNA, "", StudyPatient(ANNA, OWN)),
        (Patient("77", issuer_oid=DOMAIN), "", "", StudyPatient(THEIRS, THEIRS)),
        (Patient("77"), ANNA, "", StudyPatient(ANNA, "77")),
        (Patient("77"), "", "", StudyPatient("", "77")),
        (Patient(), ANNA, "", StudyPatient(ANNA, "")),
        (None, ANNA, "", StudyPatient(ANNA, "")),
        (None, "", "", StudyPatient()),
    ],
)
def test_a_study_is_of_whom_it_was_published_as_or_the_table_has_beside_what_its_images_say(
    tmp_path: Path, patient: Patient | None, published: str, rows: str, wanted: StudyPatient
) -> None:
    found = StudyPatients(lambda _: patient, lambda _: published, table(tmp_path, rows))
    assert found.of(["1.2.5"]) == {"1.2.5": wanted}


def test_an_archive_that_does_not_answer_keeps_nobody_from_the_images(tmp_path: Path) -> None:
    def silent(_: str) -> Patient | None:
        raise NotAnswering("the PACS does not answer")

    assert StudyPatients(silent, lambda _: ANNA, table(tmp_path)).of(["1.2.5"]) == {"1.2.5": StudyPatient(ANNA)}


def test_it_is_asked_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def header(uid: str) -> Patient | None:
        asked.append(uid)
        return None

    found = StudyPatients(header, lambda _: "", table(tmp_path))
    found.of(["1.2.5", "1.2.5", "1.2.6"])
    found.of(["1.2.5"])
    assert asked == ["1.2.5", "1.2.6"]
    monkeypatch.setattr(study_patients, "KNOWN_SECONDS", 0.0)
    found.of(["1.2.5"])
    assert asked == ["1.2.5", "1.2.6", "1.2.5"]


@pytest.mark.parametrize(
    ("patient", "known_as"),
    [
        (StudyPatient(ANNA, OWN), (ANNA, (("Patient ID", OWN),))),
        (StudyPatient(ANNA, ANNA), (ANNA, ())),
        (StudyPatient(ANNA), (ANNA, ())),
        (StudyPatient("", OWN), (OWN, ())),
        (StudyPatient(), ("", ())),
    ],
)
def test_a_record_names_the_domain_s_id_with_the_archive_s_beside_it(
    patient: StudyPatient, known_as: tuple[str, tuple[tuple[str, str], ...]]
) -> None:
    assert patient.known_as == known_as
