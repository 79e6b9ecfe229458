"""What is known of a merge stays true, whatever comes in between; what is undone and what is proven goes by it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry
from tests.cli.command import xds
from tests.merging.south import (
    DORA,
    EMIL,
    OLD,
    Merging,
    a_history,
    adds,
    each,
    gives,
    mine,
    on_demand,
    says,
    states,
    theirs,
)
from tests.server.test_application import of_bytes
from xds.ebxml import rs
from xds.errors import Status
from xds.merging.running import Running
from xds.merging.source import Everything, Source
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import OFFLINE, AssociationType, AvailabilityStatus
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import association, document, document_entry
from xds.wire.client import NoReply


def test_who_was_named_is_not_named_for_one_run_and_is_named_again(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    names = (merging.folder / "patients.csv").read_text()
    merging.names()
    merging.run("survey")  # a run with a table that lacks them
    (merging.folder / "patients.csv").write_text(names)
    done = merging.run("copy", "--json").json
    assert (done["done"]["left"], done["reasons"]) == (0, [])
    assert merging.run("undo", "--json").json["objects"] == 20


def test_undo_leaves_a_document_that_was_here_before(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """South lists an on-demand entry that names our own repository."""
    a_history(merging)
    victim = mine(merging)
    own = merging.here.repository_unique_id
    lie = on_demand(own, unique_id=victim.unique_id)
    says(monkeypatch, adds(DORA, *theirs(entries=[lie])))
    merging.run("copy")
    merging.run("undo")
    assert gives(merging, victim.unique_id) == [b"bert's own"]


def test_undo_leaves_a_document_of_ours_that_is_registered_at_the_source_too(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody lies: south's registry has an entry of a document in our repository, and [repositories] names it."""
    a_history(merging)
    victim = mine(merging)
    own = merging.here.repository_unique_id
    text = merging.config.read_text().replace(
        "[repositories]\n", f'[repositories]\n"{own}" = "{merging.here.url}/repository"\n'
    )
    merging.config.write_text(text)
    there = an_entry(
        patient_id=EMIL, **{**of_bytes(b"bert's own"), "repository_unique_id": own}, unique_id=victim.unique_id
    )
    says(monkeypatch, adds(EMIL, *theirs(EMIL, entries=[there])))
    merging.run("copy")
    assert ("conflict", "it says that its document is in this repository, which has its own entries") in states(
        merging, EMIL
    )
    merging.run("undo")
    assert gives(merging, victim.unique_id) == [b"bert's own"]


def test_undo_of_one_patient_leaves_a_document_that_another_keeps(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    shared = begun.document_entries[1]
    twin = an_entry(patient_id=EMIL, **{**of_bytes(b"two"), "repository_unique_id": OLD}, unique_id=shared.unique_id)
    says(monkeypatch, adds(EMIL, *theirs(EMIL, entries=[twin])))
    merging.run("copy")
    assert twin.entry_uuid in merging.everything(merging.here, BERT)
    newer = an_entry(**of_bytes(b"newer"))  # Anna's are changed here, and stay
    replacing = an_association(AssociationType.RPLC, newer.entry_uuid, begun.document_entries[1].entry_uuid)
    answer = merging.here.provide(a_submission(entries=[newer], relations=[replacing]), [b"newer"])
    assert rs.read_response(answer.body)[0] is Status.SUCCESS
    merging.run("undo")
    assert shared.entry_uuid in merging.everything(merging.here, ANNA)
    assert gives(merging, shared.unique_id, OLD) == [b"two"]


def test_nothing_is_proven_of_a_source_that_was_never_asked(merging: Merging) -> None:
    a_history(merging)
    assert merging.run("prove").code == 1


def test_nothing_is_proven_while_a_patient_was_not_told(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    true = Source.everything

    def everything(self: Source, patient: Any) -> Everything:
        if patient == EMIL:
            raise NoReply("gone")
        return true(self, patient)

    monkeypatch.setattr(Source, "everything", everything)
    assert merging.run("copy").code == 1
    assert merging.run("prove").code == 1


def test_nothing_is_proven_after_it_was_undone(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    merging.run("undo")
    assert merging.run("prove").code == 1


def test_what_is_not_here_as_it_is_there_is_not_proven(merging: Merging) -> None:
    """Deprecated at the source, and that did not come."""
    begun, _ = a_history(merging)
    merging.run("copy")
    newer = an_entry(**of_bytes(b"newer"))
    for site, patient in ((merging.here, ANNA), (merging.south, DORA)):
        newer = an_entry(patient_id=patient, **of_bytes(b"newer"))
        replacing = an_association(AssociationType.RPLC, newer.entry_uuid, begun.document_entries[1].entry_uuid)
        site.provide(a_submission(patient=patient, entries=[newer], relations=[replacing]), [b"newer"])
    merging.run("copy")
    assert merging.run("prove").code == 1


def test_a_set_or_association_that_did_not_come_is_not_proven(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_history(merging)
    orphan = a_folder(patient_id=DORA, availability_status=AvailabilityStatus.APPROVED)
    says(monkeypatch, adds(DORA, orphan))
    assert merging.run("copy", "--json").json["done"]["left"] == 1
    assert merging.run("prove").code == 1


def test_an_offline_entry_with_its_hash_is_proven(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, _ = a_history(merging)
    one = begun.document_entries[1].entry_uuid
    says(monkeypatch, each(lambda x: x.entry_uuid == one, lambda x: replace(x, document_availability=OFFLINE)))
    assert merging.run("copy", "--json").json["done"]["left"] == 0
    done = merging.run("prove")
    assert done.code == 0, done.err


def test_an_upper_case_hash_is_proven(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    says(monkeypatch, each(lambda x: isinstance(x, DocumentEntry), lambda x: replace(x, hash=x.hash.upper())))
    assert merging.run("copy", "--json").json["done"]["left"] == 0
    done = merging.run("prove")
    assert done.code == 0, done.err


def test_a_patient_who_is_named_otherwise_since_is_told_or_moved(merging: Merging) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    merging.names((DORA, BERT), (EMIL, BERT))  # a mistake in the table is mended
    done = merging.run("copy", "--json").json
    moved = begun.document_entries[0].entry_uuid in merging.everything(merging.here, BERT)
    told = done["done"]["left"] > 0 or done["reasons"]
    assert moved or told


def test_an_entry_that_the_source_gives_of_two_patients_is_not_moved_to_and_fro(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    doras: list[Any] = []

    def change(patient: Any, found: Everything) -> None:
        if patient == DORA:
            doras[:] = [one for one in found.objects if isinstance(one, DocumentEntry | SubmissionSet)]
            doras[:] += [one for one in found.objects if isinstance(one, Association)]
        else:
            found.objects += [one if isinstance(one, Association) else replace(one, patient_id=EMIL) for one in doras]

    merging.run("copy")
    says(monkeypatch, change)
    for _ in range(2):
        merging.run("copy", "--jobs", 1)
        assert begun.document_entries[0].entry_uuid in merging.everything(merging.here, ANNA)


def test_the_association_of_a_moved_patient_are_moved_with_them_and_stay_copied(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    with merging.south.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(DORA, EMIL)
    for _ in range(2):
        done = merging.run("copy", "--json", "--jobs", 1).json
    assert done["done"]["gone"] == 0
    assert {one["state"] for one in done["objects"]} == {"copied"}
    assert merging.run("undo").code == 0
    assert merging.here.count(document_entry) == 0


def test_gone_noted_from_an_old_look_does_not_take_the_state_of_who_was_moved(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dora is merged into Emil there; both are run at once, and Dora's thread is slower."""
    a_history(merging)
    merging.run("copy")
    with merging.south.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(DORA, EMIL)
    emil_is_done, dora_has_looked = threading.Event(), threading.Event()
    true = Running._keep

    def keep(self: Running, theirs_: Any, *more: Any) -> None:
        if theirs_ == DORA:
            dora_has_looked.set()
            emil_is_done.wait(20)
        true(self, theirs_, *more)
        if theirs_ == EMIL:
            emil_is_done.set()

    told = Source.everything

    def everything(self: Source, patient: Any) -> Everything:
        if patient == EMIL:
            dora_has_looked.wait(20)
        return told(self, patient)

    with monkeypatch.context() as one:
        one.setattr(Running, "_keep", keep)
        one.setattr(Source, "everything", everything)
        merging.run("copy", "--jobs", 2)
    done = merging.run("copy", "--json", "--jobs", 1).json
    assert {one["why"] for one in done["reasons"] if one["state"] == "conflict"} == set()


def test_gone_and_back_again(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    away = {one.entry_uuid for one in begun.objects()}

    def change(_: Any, found: Everything) -> None:
        found.objects = [one for one in found.objects if one.entry_uuid not in away]

    with monkeypatch.context() as one:
        says(one, change)
        merging.run("copy")
    assert "gone" in {one.state for one in merging.objects(DORA)}
    done = merging.run("copy", "--json").json
    assert {one["state"] for one in done["objects"]} == {"copied"}
    assert merging.run("undo").code == 0
    assert merging.here.count(document_entry) == 0 == merging.here.count(document)
    done = merging.run("copy", "--json").json
    assert done["done"]["copied"] == 20
    assert merging.run("prove").code == 0


def test_a_survey_after_a_copy_loses_nothing(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    before = {one.entry_uuid: (one.state, one.here) for one in merging.objects(DORA)}
    merging.run("survey")
    assert {one.entry_uuid: (one.state, one.here) for one in merging.objects(DORA)} == before


def test_what_was_removed_here_is_not_gone_on_with_silently(merging: Merging) -> None:
    """ITI-62 here; then the source is copied again, and proven."""
    begun, _ = a_history(merging)
    merging.run("copy")
    with merging.here.application.engine.begin() as connection:
        registry = SqlRegistry(connection, "default")
        registry.remove(registry.kinds_of([begun.document_entries[1].entry_uuid]))
    merging.run("copy")
    assert merging.run("prove").code == 1


def test_undo_after_a_moved_patient_takes_all(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    with merging.south.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(DORA, EMIL)
    merging.run("copy", "--jobs", 1)
    done = merging.run("undo", "--json")
    assert (done.code, merging.here.count(document_entry), merging.here.count(association)) == (0, 0, 0)
    assert merging.here.count(document) == 0


def test_a_version_of_ours_is_ours_again_after_undo(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    victim = mine(merging)
    where = document_entry.c.unique_id == victim.unique_id
    with merging.here.application.engine.connect() as connection:
        uuid = connection.scalar(sa.select(document_entry.c.entry_uuid).where(where))
    lie = on_demand(OLD, logical_id=uuid, version="9")
    says(monkeypatch, adds(DORA, *theirs(entries=[lie])))
    merging.run("copy")
    merging.run("undo")
    with merging.here.application.engine.connect() as connection:
        assert connection.scalar(sa.select(document_entry.c.latest).where(where)) is True


def test_in_parts_after_it_was_copied_whole_nothing_is_gone(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    merging.south.application.domains["default"].actors.registry._most["LeafClass"] = 16
    assert merging.run("copy", "--json").json["done"]["gone"] == 0


def test_undo_after_the_patient_was_merged_here(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    with merging.here.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(ANNA, BERT)
    assert merging.run("copy", "--json").json["done"]["left"] == 0
    assert merging.run("prove").code == 0
    done = merging.run("undo", "--json")
    assert (done.code, merging.here.count(document_entry), merging.here.count(document)) == (0, 0, 0)


def test_a_long_named_merge(merging: Merging) -> None:
    a_history(merging)
    long = "n" * 80
    text = merging.config.read_text().replace("[merges.south]", f"[merges.{long}]")
    merging.config.write_text(text)
    done = xds("merge", "copy", long, "--config", merging.config)
    assert "does not answer" not in done.err, done.err


def test_what_is_undone_is_copied_anew_after_a_survey(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    merging.run("undo")
    merging.run("survey")
    assert merging.run("copy", "--json").json["done"]["copied"] == 20
    assert merging.run("undo", "--json").json["objects"] == 20
