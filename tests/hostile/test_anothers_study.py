"""Nobody makes another's study vanish, mixes two patients in it, or takes its images back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.archives.trees import archive
from tests.endpoints.dicomweb.test_store import as_bytes, body, posted
from tests.imaging.images import SERIES, STUDY, a_rejection_note, an_instance, put
from tests.server.test_application import Site, serving
from xds.archives.folder import FolderArchive
from xds.archives.intake import AnothersStudy, Intake, NotTaken, Reason
from xds.archives.senders import Sender, may_take_back
from xds.store.tables import audit_record

__all__ = ["archive"]

B, A = Sender("key of hospital B"), Sender("key of hospital A")


@pytest.fixture
def intake(archive: FolderArchive) -> Intake:
    """With a study of three instances that B has stored."""
    intake = Intake(archive)
    for number in (1, 2, 3):
        sent(intake, an_instance(number), B)
    return intake


def sent(intake: Intake, dataset: Any, sender: Sender) -> bool:
    return intake.keep(intake.examined(put(intake.incoming, uuid4().hex, dataset)), sender)


def refused(intake: Intake, dataset: Any, sender: Sender) -> NotTaken:
    with pytest.raises(NotTaken) as refusal:
        sent(intake, dataset, sender)
    return refusal.value


def listed(archive: FolderArchive) -> list[tuple[str, str, int]]:
    found = [archive.study(uid) for uid, _ in archive.fingerprints()]
    return [(one.study_instance_uid, one.patient.id, len(list(one.series[0].instances))) for one in found if one]


OF_B = [(STUDY, "4711", 3)]

ANOTHER_PATIENT = [
    {"PatientID": "P2"},
    {"PatientID": None},
    {"PatientBirthDate": "20000101"},
    {"PatientID": "", "PatientName": "Other^Name"},
]


@pytest.mark.parametrize("changes", ANOTHER_PATIENT)
@pytest.mark.parametrize("sender", [A, B], ids=["a stranger", "who stored it"])
def test_an_instance_of_another_patient_is_refused_and_the_study_stays(
    intake: Intake, archive: FolderArchive, changes: dict[str, Any], sender: Sender
) -> None:
    before = list(archive.fingerprints())
    other = an_instance(9, SeriesInstanceUID="1.2.3.100.9", SOPInstanceUID="1.2.3.100.9.1", **changes)
    refusal = refused(intake, other, sender)
    assert isinstance(refusal, AnothersStudy)
    assert refusal.reason is Reason.NO_MATCH == 0xA900
    assert listed(archive) == OF_B
    assert list(archive.fingerprints()) == before  # what the publisher looks at: nothing is published or withdrawn


def test_a_patient_is_compared_with_all_that_the_study_shows_not_with_one_instance(archive: FolderArchive) -> None:
    intake = Intake(archive, from_all=True)
    sent(intake, an_instance(1, PatientBirthDate=None), B)
    sent(intake, an_instance(2), B)
    assert isinstance(refused(intake, an_instance(3, PatientBirthDate="20000101"), A), AnothersStudy)
    assert sent(intake, an_instance(3), A)


def test_an_instance_of_a_study_that_somebody_else_stored_is_refused(intake: Intake, archive: FolderArchive) -> None:
    older = an_instance(9, Modality="US", StudyDate="18000101")
    assert isinstance(refused(intake, older, A), AnothersStudy)
    assert listed(archive) == OF_B


def test_where_the_settings_say_so_several_senders_add_to_one_study_of_one_patient(
    intake: Intake, archive: FolderArchive
) -> None:
    lenient = Intake(archive, from_all=True)
    assert sent(lenient, an_instance(9), A)
    assert isinstance(refused(lenient, an_instance(10, PatientID="P2"), A), AnothersStudy)
    assert isinstance(refused(lenient, a_rejection_note(f"{SERIES}.1"), A), AnothersStudy)


def test_who_stored_a_study_is_known_after_a_restart_and_without_the_index(intake: Intake, tmp_path: Path) -> None:
    del intake
    (tmp_path / "index.sqlite").unlink()
    again = FolderArchive(tmp_path / "images", tmp_path / "index.sqlite", tmp_path / "spool")
    again.refresh()
    assert isinstance(refused(Intake(again), an_instance(9), A), AnothersStudy)
    assert sent(Intake(again), an_instance(9), B)
    again.close()


def test_the_very_same_instance_from_somebody_else_changes_nothing(intake: Intake, archive: FolderArchive) -> None:
    assert not sent(intake, an_instance(1), A)
    assert listed(archive) == OF_B


def test_a_study_of_the_folders_own_takes_instances_of_its_patient_alone(
    intake: Intake, archive: FolderArchive
) -> None:
    put(archive.root, "by hand.dcm", an_instance(1, StudyInstanceUID="1.2.9", SOPInstanceUID="1.2.9.1"))
    archive.refresh()
    assert isinstance(refused(intake, an_instance(2, StudyInstanceUID="1.2.9", PatientID="P2"), A), AnothersStudy)
    assert sent(intake, an_instance(2, StudyInstanceUID="1.2.9", SOPInstanceUID="1.2.9.2"), A)


# Rejection notes.


def test_a_rejection_note_of_somebody_else_is_refused(intake: Intake, archive: FolderArchive) -> None:
    assert isinstance(refused(intake, a_rejection_note(f"{SERIES}.1"), A), AnothersStudy)
    # Its own study is the sender's; what it lists is not.
    hidden = a_rejection_note(f"{SERIES}.1", StudyInstanceUID="1.2.77")
    assert isinstance(refused(intake, hidden, A), AnothersStudy)
    assert listed(archive) == OF_B


def test_who_stored_a_study_takes_images_of_it_back(intake: Intake, archive: FolderArchive) -> None:
    assert sent(intake, a_rejection_note(f"{SERIES}.1"), B)
    assert listed(archive) == [(STUDY, "4711", 2)]


def test_a_note_about_a_study_that_is_not_here_rejects_nothing_that_comes_later(archive: FolderArchive) -> None:
    intake = Intake(archive)
    assert refused(intake, a_rejection_note(f"{SERIES}.1"), A).reason is Reason.NO_MATCH
    assert sent(intake, an_instance(1), B)
    assert listed(archive) == [(STUDY, "4711", 1)]


def test_a_note_reaches_no_further_than_the_study_that_it_names(intake: Intake, archive: FolderArchive) -> None:
    """The same SOP Instance UID in a study of the sender's own is no way to another's."""
    own = {"StudyInstanceUID": "1.2.911", "SeriesInstanceUID": "1.2.911.1", "SOPInstanceUID": f"{SERIES}.1"}
    assert sent(intake, an_instance(1, PatientID="PA", **own), A)
    assert sent(intake, a_rejection_note(f"{SERIES}.1", study="1.2.911", series="1.2.911.1"), A)
    assert listed(archive)[0] == OF_B[0]
    assert archive.find("1.2.911", "1.2.911.1", f"{SERIES}.1") is None


def test_a_document_administrator_may_take_back_what_others_stored() -> None:
    assert may_take_back(Sender("anybody", is_administrator=True), B.key)
    assert may_take_back(B, B.key)
    assert not may_take_back(A, B.key)
    assert not may_take_back(A, "")  # of who put it there nothing is known


# On the record.


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "images").mkdir()
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{tmp_path}/images"\nstow_rs = true\n') as site:
        yield site


def recorded(site: Site) -> list[tuple[str, int, str]]:
    site.outcomes()
    columns = (audit_record.c.event, audit_record.c.outcome, audit_record.c.patient_id)
    with site.application.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(audit_record.c.id))]


def test_what_is_refused_for_a_study_is_an_alert_and_stow_rs_says_why(site: Site) -> None:
    assert posted(site, body(as_bytes(an_instance(1))))[0] == 200
    status, answer = posted(site, body(*(as_bytes(an_instance(n, PatientID="P2")) for n in (2, 3))))
    assert status == 409
    assert [one["00081197"]["Value"] for one in answer["00081198"]["Value"]] == [[0xA900]] * 2
    assert [event for event, _, _ in recorded(site)].count("110113") == 1  # one a study, however many instances
    assert ("110113", 4, "P2") in recorded(site)


def test_taking_images_back_is_recorded_as_a_deletion(site: Site) -> None:
    assert posted(site, body(as_bytes(an_instance(1))))[0] == 200
    assert posted(site, body(as_bytes(a_rejection_note(f"{SERIES}.1"))))[0] == 200
    deleted = [(event, outcome) for event, outcome, _ in recorded(site) if event == "110105"]
    assert deleted == [("110105", 0)]
    with site.application.engine.connect() as connection:
        (text,) = connection.execute(
            sa.select(audit_record.c.message).where(audit_record.c.event == "110105")
        ).scalars()
    assert f'ParticipantObjectID="{STUDY}"'.encode() in text
    assert b64encode(f"{SERIES}.1".encode()) in text
