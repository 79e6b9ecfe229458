"""Publishing follows the archive: what comes is published, what changes replaced, what goes deprecated; never twice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
import sqlalchemy as sa

from tests.builders import AUTHORITY, BERT, REPOSITORY
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import SERIES, STUDY, a_kos, an_instance, put, saved
from tests.server.test_application import Site, serving
from xds.archives.interface import NotAnswering
from xds.archives.patients import PatientTable
from xds.demo.site import free_port
from xds.errors import Unusable
from xds.imaging import kos
from xds.imaging.manifest import Patient
from xds.initiating.publisher import Publisher
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.vocabulary import DOCUMENT_ENTRY_UNIQUE_ID
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit.records import now_microseconds
from xds.store.publications import Publication, listed
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import audit_record, document_entry, publication
from xds.wire.client import Client, NoReply

MRN = PatientId("MRN-1", Oid("1.2.3.50"))
ANNA = PatientId("anna", AUTHORITY)


class Follower:
    """A site whose images are published to itself."""

    def __init__(self, site: Site, images: Path, table: Path, url: str = "") -> None:
        """``url``: another way to call the site."""
        self.site, self.images, self.table = site, images, table
        settings, url = site.application.settings, url or site.url
        imaging = replace(settings.imaging_source, publish_to=f"{url}/repository", publish_registry=f"{url}/registry")
        self.domain = site.application.domains[DEFAULT_DOMAIN]
        self.domain.settings = replace(settings, imaging_source=imaging)
        self.publisher: Publisher = self.domain.publisher(site.spool)

    def step(self) -> int:
        self.publisher._archive.refresh()
        return self.publisher.step()

    def now(self) -> None:
        """Whatever waits is due."""
        with self.site.application.engine.begin() as connection:
            connection.execute(sa.update(publication).values(next_try=0))

    @property
    def state(self) -> Publication:
        with self.site.application.engine.connect() as connection:
            (one,) = listed(connection)
        return one

    def entries(self) -> list[tuple[str, str]]:
        """entryUUID and status of every entry registered."""
        statement = sa.select(document_entry.c.entry_uuid, document_entry.c.status)
        with self.site.application.engine.connect() as connection:
            return sorted((row.status, row.entry_uuid) for row in connection.execute(statement))

    def manifest(self) -> set[str]:
        """The instances of the manifest that is Approved."""
        (entry,) = self.site.find(ANNA).body.iter("{*}ExtrinsicObject")
        ids = {i.get("identificationScheme"): i.get("value") for i in entry.iter("{*}ExternalIdentifier")}
        (spooled,) = self.site.retrieve(ids[DOCUMENT_ENTRY_UNIQUE_ID] or "").contents.values()
        manifest = kos.read(spooled.path.read_bytes())
        return {one.sop_instance_uid for series in manifest.series for one in series.instances}


def an_image(number: int) -> Any:
    """An instance of a patient whose id has an issuer."""
    dataset = an_instance(number)
    dataset.PatientID = MRN.id
    dataset.IssuerOfPatientIDQualifiersSequence = []
    return dataset


@pytest.fixture
def follower(database_url: str, tmp_path: Path) -> Iterator[Follower]:
    images, table = tmp_path / "images", tmp_path / "patients.csv"
    table.write_text(f"# archive, domain\n{MRN},{ANNA}\n")
    for number in (1, 2):
        put(images, f"{number}.dcm", an_image(number))
    text = (
        f'[repository]\nunique_id = "{REPOSITORY}"\n[imaging_source]\nfolder = "{images}"\n'
        f'patients = "{table}"\nissuer = "{MRN.authority}"\npublish_quiet_seconds = 0.0\n'
    )
    with serving(database_url, tmp_path, text) as site:
        yield Follower(site, images, table)


def names(*numbers: int) -> set[str]:
    return {f"{SERIES}.{number}" for number in numbers}


def test_a_study_that_has_come_is_published_once(follower: Follower) -> None:
    assert follower.step() == 1
    assert follower.state.state == "published"
    assert follower.entries() == [("Approved", follower.state.entry_uuid)]
    assert follower.manifest() == names(1, 2)
    assert follower.step() == 0
    assert len(follower.entries()) == 1


def test_a_study_that_has_changed_has_its_manifest_replaced(follower: Follower) -> None:
    follower.step()
    first = follower.state.entry_uuid
    put(follower.images, "3.dcm", an_image(3))
    follower.step()
    assert follower.entries() == [("Approved", follower.state.entry_uuid), ("Deprecated", first)]
    assert follower.manifest() == names(1, 2, 3)


def test_what_a_rejection_note_takes_back_is_in_no_manifest_any_more(follower: Follower) -> None:
    follower.step()
    note = a_kos()
    note.ConceptNameCodeSequence[0].CodeValue = "113037"
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0]
    (reference, *_) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    reference.ReferencedSOPInstanceUID = f"{SERIES}.2"
    evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence = [reference]
    (follower.images / "note.dcm").write_bytes(saved(note))
    follower.step()
    assert follower.manifest() == names(1)


def test_a_study_that_is_gone_has_its_entry_deprecated_and_comes_back_anew(follower: Follower) -> None:
    follower.step()
    first = follower.state.entry_uuid
    kept = follower.images.with_name("kept")
    shutil.copytree(follower.images, kept)
    for path in follower.images.iterdir():
        path.unlink()
    follower.step()
    assert follower.state.state == "withdrawn"
    assert follower.entries() == [("Deprecated", first)]
    assert follower.step() == 0
    for path in kept.iterdir():
        shutil.copy(path, follower.images)
    follower.step()
    assert [status for status, _ in follower.entries()] == ["Approved", "Deprecated"]


def test_a_study_is_left_alone_until_it_is_quiet(follower: Follower) -> None:
    follower.publisher._where = replace(follower.publisher._where, quiet_seconds=60.0)
    assert follower.step() == 0
    with follower.site.application.engine.begin() as connection:
        connection.execute(sa.update(publication).values(seen=publication.c.seen - 61_000_000))
    assert follower.step() == 1


def test_a_patient_who_is_not_mapped_waits_with_the_reason_until_they_are(follower: Follower) -> None:
    follower.table.write_text("")
    assert follower.step() == 1
    assert (follower.state.state, "not mapped" in follower.state.reason) == ("waiting", True)
    assert follower.step() == 0  # not at once again
    follower.table.write_text(f"{MRN},{ANNA}\n")
    follower.now()
    follower.step()
    assert follower.state.state == "published"


def test_a_repository_that_does_not_answer_is_asked_again(follower: Follower) -> None:
    where = follower.publisher._where
    follower.publisher._where = replace(where, repository=Client("http://127.0.0.1:1/repository"))
    follower.step()
    assert (follower.state.state, follower.state.attempts) == ("sending", 1)
    assert "no connection" in follower.state.reason
    follower.publisher._where = where
    follower.now()
    follower.step()
    assert (follower.state.state, len(follower.entries())) == ("published", 1)


class Deaf(Client):
    """Sends, and never hears the answer."""

    def send(self, *given: Any, **named: Any) -> Any:
        super().send(*given, **named)
        raise NoReply("broken off")


def test_an_answer_that_is_lost_makes_no_second_submission(follower: Follower) -> None:
    where = follower.publisher._where
    follower.publisher._where = replace(where, repository=Deaf(where.repository.url))
    follower.step()
    first = follower.state.sending_entry
    assert follower.entries() == [("Approved", first)]
    put(follower.images, "3.dcm", an_image(3))  # changes while it is not known
    follower.publisher._where = where
    follower.now()
    follower.step()
    assert (follower.state.state, follower.state.entry_uuid) == ("published", first)
    follower.step()
    assert follower.entries() == [("Approved", follower.state.entry_uuid), ("Deprecated", first)]
    assert follower.manifest() == names(1, 2, 3)


def test_a_refusal_is_shown_and_tried_again_later(follower: Follower) -> None:
    registry = follower.domain.actors.registry
    registry._open = False
    follower.step()
    assert (follower.state.state, follower.state.reason) == ("refused", "refused: XDSUnknownPatientId")
    assert follower.step() == 0
    registry._open = True
    follower.now()
    follower.step()
    assert follower.state.state == "published"


def test_what_somebody_else_has_replaced_is_published_afresh(follower: Follower) -> None:
    follower.step()
    with follower.site.application.engine.begin() as connection:
        connection.execute(sa.update(document_entry).values(status="Deprecated"))
    put(follower.images, "3.dcm", an_image(3))
    follower.step()
    assert follower.state.state == "refused"
    follower.now()
    follower.step()
    assert follower.state.state == "published"


def test_each_sending_is_on_record(follower: Follower) -> None:
    follower.step()
    with follower.site.application.engine.connect() as connection:
        rows = connection.execute(sa.select(audit_record).where(audit_record.c.transaction == "RAD-68")).all()
    assert sorted((row.event, row.outcome, row.patient_id) for row in rows) == [
        ("110106", 0, str(ANNA)), ("110107", 0, str(ANNA)),
    ]  # fmt: skip


# What the archive says of its own accord.


class Saying:
    """Says which studies have changed."""

    def __init__(self) -> None:
        self.changed: set[str] | None = set()

    def studies(self) -> set[str] | None:
        return self.changed


def looked(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is looked at from now on: a study by its UID, everything by an empty text."""
    found, archive = list[str](), follower.publisher._archive
    real = archive.fingerprints

    def fingerprints(study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        found.append(study_instance_uid)
        return real(study_instance_uid)

    monkeypatch.setattr(archive, "fingerprints", fingerprints)
    return found


def test_only_what_is_said_to_have_changed_is_looked_at(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    saying, seen = Saying(), looked(follower, monkeypatch)
    follower.publisher._changes = saying
    assert follower.step() == 1  # everything, the first time
    put(follower.images, "3.dcm", an_image(3))
    assert follower.step() == 0
    saying.changed = {STUDY, "1.2.3"}
    assert follower.step() == 1
    assert follower.manifest() == names(1, 2, 3)
    saying.changed = None
    follower.step()
    assert seen == ["", "1.2.3", STUDY, ""]


def silent(_study_instance_uid: str = "") -> Any:
    raise NotAnswering("no answer")


def silenced(follower: Follower, where: str) -> tuple[Any, str, Any]:
    """The archive or what it says, answering no more."""
    if where == "archive":
        return follower.publisher._archive, "fingerprints", silent
    return follower.publisher._changes, "studies", silent


@pytest.mark.parametrize("where", ["archive", "changes"])
def test_what_was_said_when_it_could_not_be_noted_is_not_lost(
    follower: Follower, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    saying = Saying()
    follower.publisher._changes = saying
    follower.step()
    put(follower.images, "3.dcm", an_image(3))
    saying.changed = {STUDY}
    with monkeypatch.context() as broken:
        broken.setattr(
            follower.publisher._archive, "fingerprints", lambda *_: (_ for _ in ()).throw(NotAnswering("no"))
        )
        with pytest.raises(NotAnswering):
            follower.step()
    saying.changed = set()
    assert follower.step() == 1
    assert follower.manifest() == names(1, 2, 3)


def test_an_archive_that_takes_long_to_list_is_not_listed_all_the_time(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = looked(follower, monkeypatch)
    follower.step()
    follower.step()
    assert seen == ["", ""]
    follower.publisher._next_look = time.monotonic() + 60
    follower.step()
    assert seen == ["", ""]


# A patient who turns out to be another.


def found_of(follower: Follower, patient: PatientId) -> list[str]:
    return [entry.get("id") or "" for entry in follower.site.find(patient).body.iter("{*}ExtrinsicObject")]


def remapped(follower: Follower, text: str) -> None:
    """The table says otherwise, and the time has come to look at it."""
    follower.table.write_text(text)
    with follower.site.application.engine.begin() as connection:
        connection.execute(sa.update(publication).values(mapped=1, next_try=0))


def test_a_study_of_another_patient_is_taken_from_the_one_and_given_to_the_other(follower: Follower) -> None:
    follower.step()
    before = follower.state.entry_uuid
    remapped(follower, f"{MRN},{BERT}\n")
    for _ in range(3):  # it is refused as a replacement, deprecated, published afresh
        follower.step()
    assert follower.state.state == "published"
    assert found_of(follower, ANNA) == []
    assert found_of(follower, BERT) == [follower.state.entry_uuid]
    assert follower.entries() == [("Approved", follower.state.entry_uuid), ("Deprecated", before)]
    assert follower.step() == 0


def test_a_study_of_another_patient_waits_where_nobody_can_deprecate_it(follower: Follower) -> None:
    follower.step()
    where = follower.publisher._where
    follower.publisher._where = replace(where, registry=None)
    remapped(follower, f"{MRN},{BERT}\n")
    for _ in range(3):
        follower.step()
    assert (follower.state.state, "no registry is set" in follower.state.reason) == ("moving", True)
    assert found_of(follower, BERT) == []
    follower.publisher._where = replace(where, registry=Client("http://127.0.0.1:1/registry"))
    follower.now()
    follower.step()
    assert follower.state.state == "moving"
    follower.publisher._where = where
    for _ in range(2):
        follower.now()
        follower.step()
    assert found_of(follower, BERT) == [follower.state.entry_uuid]


def test_a_study_of_merged_patients_is_replaced(follower: Follower) -> None:
    follower.step()
    before = follower.state.entry_uuid
    with follower.site.application.engine.begin() as connection:
        store = SqlRegistry(connection, DEFAULT_DOMAIN)
        store.add_patient(BERT)
        store.merge(ANNA, BERT)
    remapped(follower, f"{MRN},{BERT}\n")
    follower.step()
    assert follower.entries() == [("Approved", follower.state.entry_uuid), ("Deprecated", before)]
    assert found_of(follower, BERT) == [follower.state.entry_uuid]


def test_a_study_whose_patient_is_mapped_no_more_stays_as_it_is(follower: Follower) -> None:
    follower.step()
    remapped(follower, "")
    assert follower.step() == 0
    assert (follower.state.state, follower.state.mapped > 1) == ("published", True)


def test_nobody_who_can_say_whose_it_is_changes_nothing(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    follower.step()

    def deaf(_own: PatientId) -> PatientId:
        raise NotAnswering("no answer")

    monkeypatch.setattr(follower.publisher._patients, "mapped", deaf)
    remapped(follower, f"{MRN},{BERT}\n")
    assert follower.step() == 0
    assert (follower.state.state, follower.state.entry_patient) == ("published", str(ANNA))


def test_an_id_that_is_longer_than_any_row_of_before_waits_as_others_do(follower: Follower) -> None:
    for number in (1, 2):
        dataset = an_image(number)
        with pydicom.config.disable_value_validation():
            dataset.PatientID = "&" * 200
            put(follower.images, f"{number}.dcm", dataset)
    follower.table.write_text(f"{PatientId('&' * 200, MRN.authority)},{ANNA}\n")
    assert follower.step() == 1
    assert follower.state.state == "published"


def test_a_study_that_has_gone_when_its_patient_changes_is_withdrawn(follower: Follower) -> None:
    follower.step()
    where = follower.publisher._where
    follower.publisher._where = replace(where, quiet_seconds=60)
    shutil.rmtree(follower.images)
    follower.images.mkdir()
    follower.step()
    remapped(follower, f"{MRN},{BERT}\n")
    follower.step()
    follower.publisher._where = where
    follower.step()
    assert follower.state.state == "withdrawn"
    assert found_of(follower, ANNA) == []


def test_a_study_that_moves_and_looks_again_as_it_did_is_moved_all_the_same(follower: Follower) -> None:
    follower.step()
    where = follower.publisher._where
    follower.publisher._where = replace(where, registry=None)
    put(follower.images, "3.dcm", an_image(3))
    follower.table.write_text(f"{MRN},{BERT}\n")
    for _ in range(2):
        follower.step()
    assert follower.state.state == "moving"
    (follower.images / "3.dcm").unlink()
    follower.publisher._where = where
    for _ in range(3):
        follower.now()
        follower.step()
    assert (found_of(follower, ANNA), found_of(follower, BERT)) == ([], [follower.state.entry_uuid])


def test_one_patient_of_whom_nothing_can_be_said_holds_up_no_other(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = an_image(1)
    other.StudyInstanceUID, other.SeriesInstanceUID, other.PatientID = "1.2.3.200", "1.2.3.200.1", "MRN-2"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.200.1.1"
    put(follower.images, "other.dcm", other)
    two = PatientId("MRN-2", MRN.authority)
    follower.table.write_text(f"{MRN},{ANNA}\n{two},{BERT}\n")
    follower.step()
    asked = list[PatientId]()

    def deaf_to_one(own: PatientId) -> PatientId:
        asked.append(own)
        if len(asked) == 1:
            raise NotAnswering("HTTP 400")
        return ANNA

    with follower.site.application.engine.begin() as connection:
        connection.execute(sa.update(publication).values(mapped=1))
    monkeypatch.setattr(follower.publisher._patients, "mapped", deaf_to_one)
    follower.publisher._remap(now_microseconds())
    assert sorted(asked) == sorted([MRN, two])


# Whose an id is.


@pytest.mark.parametrize(
    ("patient", "found"),
    [
        (Patient(id="MRN-1", issuer_oid="1.2.3.50"), ANNA),
        (Patient(id="MRN-1"), None),
        (Patient(id="MRN-2", issuer_oid="1.2.3.50"), None),
        (Patient(id="bert", issuer_oid=AUTHORITY), PatientId("bert", AUTHORITY)),
        (Patient(issuer_oid=AUTHORITY), None),
        (Patient(id="a^b", issuer_oid=AUTHORITY), PatientId("a^b", AUTHORITY)),
        (Patient(id="a\x01b", issuer_oid=AUTHORITY), None),
        (Patient(id="MRN-1", issuer_oid="north"), None),
    ],
)
def test_an_id_is_mapped_by_its_issuer_or_not_at_all(tmp_path: Path, patient: Patient, found: PatientId | None) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(f"{MRN},{ANNA}\n")
    table = PatientTable(path, [AUTHORITY], "")
    own = table.own(patient)
    assert (None if own is None else table.mapped(own)) == found


def test_a_table_that_cannot_be_read_is_said_so_and_the_one_before_holds(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    with pytest.raises(Unusable, match=r"patients\.csv"):
        PatientTable(path, [], "")
    path.write_text(f"{MRN},{ANNA}\n")
    table = PatientTable(path, [], "1.2.3.50")
    path.write_text("nonsense\n")
    assert table.own(Patient(id="MRN-1")) == MRN
    assert table.mapped(MRN) == ANNA
    with pytest.raises(Unusable, match="line 1: two patient ids"):
        PatientTable(path, [], "")


# As a process, and on the command line.


def test_a_server_publishes_what_is_put_into_its_folder(tmp_path: Path) -> None:
    images, port = tmp_path / "images", free_port()
    put(images, "1.dcm", an_image(1))
    imaging = {
        "folder": str(images), "publish_to": f"http://127.0.0.1:{port}/repository", "publish_quiet_seconds": 0.5,
        "refresh_seconds": 0.5, "issuer": AUTHORITY,
    }  # fmt: skip
    served = Served(tmp_path, {"imaging_source": imaging}, port=port).start()
    try:

        def states() -> list[str]:
            rows = xds("publications", "list", "--json", "--config", served.config).json
            return [row["state"] for row in rows]

        wait_for(lambda: states() == ["published"], 30)
        assert "published" in xds("publications", "list", "--state", "published", "--config", served.config).out
        assert xds("publications", "retry", STUDY, "--config", served.config).code == 0
        assert xds("publications", "retry", "1.2.9", "--config", served.config).code == 1
    finally:
        assert served.stop() == 0
