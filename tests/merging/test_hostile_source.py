"""What a hostile or a broken source can say, and what a merge must not do then: to others' documents above all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, an_association
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
    registered,
    says,
    theirs,
)
from xds.merging.source import Everything
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.vocabulary import OFFLINE, AssociationType, AvailabilityStatus
from xds.settings.configuration import load
from xds.store.alone import alone
from xds.store.deployment import with_identity
from xds.store.tables import document, document_entry


def test_a_code_that_is_not_known_while_an_entry_is_deprecated_there(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    entry = begun.document_entries[1].entry_uuid
    deprecated = AvailabilityStatus.DEPRECATED
    with monkeypatch.context() as one:
        says(one, each(lambda x: x.entry_uuid == entry, lambda x: replace(x, availability_status=deprecated)))
        config = merging.config.read_text()
        merging.config.write_text(config.replace(f'also = ["{OLD}"]', "also = []"))
        merging.run("copy")
        merging.config.write_text(config)
        done = merging.run("copy", "--json").json
        assert (done["done"]["left"], done["reasons"]) == (0, [])


def test_an_entry_that_cannot_be_read_for_one_answer(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    bad = begun.document_entries[1].entry_uuid

    def change(patient: Any, found: Everything) -> None:
        if patient == DORA:
            found.objects = [one for one in found.objects if one.entry_uuid != bad]
            found.unread[bad] = "DE", "something"

    with monkeypatch.context() as one:
        says(one, change)
        merging.run("copy")
    done = merging.run("copy", "--json").json
    assert (done["done"]["left"], done["reasons"]) == (0, [])


def test_an_id_of_anothers_that_cannot_be_read_does_not_take_its_state(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    bad = begun.document_entries[1].entry_uuid

    def change(patient: Any, found: Everything) -> None:
        if patient == EMIL:
            found.unread[bad] = "DE", "something"

    with monkeypatch.context() as one:
        says(one, change)
        merging.run("copy", "--jobs", 1)
    done = merging.run("copy", "--json").json
    assert (done["done"]["left"], done["reasons"]) == (0, [])


def test_a_stranger_in_anothers_answer_does_not_take_its_state(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_history(merging)
    merging.run("copy")
    doras: list[Any] = []

    def change(patient: Any, found: Everything) -> None:
        if patient == DORA:
            doras.extend(found.objects)
        else:
            found.objects += [one for one in doras if isinstance(one, DocumentEntry)]

    with monkeypatch.context() as one:
        says(one, change)
        merging.run("copy", "--jobs", 1)
    done = merging.run("copy", "--json").json
    assert (done["done"]["left"], done["reasons"]) == (0, [])


def test_an_entry_of_annas_does_not_lead_to_berts_document(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    victim = mine(merging)
    own = merging.here.repository_unique_id
    lie = on_demand(own, unique_id=victim.unique_id)
    says(monkeypatch, adds(DORA, *theirs(entries=[lie])))
    merging.run("copy")
    assert registered(merging, lie.entry_uuid) == []


def test_a_change_at_the_source_does_not_lead_to_berts_document(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    victim = mine(merging)
    own, entry = merging.here.repository_unique_id, begun.document_entries[1].entry_uuid
    lie = {"unique_id": victim.unique_id, "repository_unique_id": own}
    says(monkeypatch, each(lambda x: x.entry_uuid == entry, lambda x: replace(x, **lie)))
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        where = (document_entry.c.unique_id == victim.unique_id, document_entry.c.entry_uuid == entry)
        assert connection.execute(sa.select(document_entry.c.entry_uuid).where(*where)).all() == []
    merging.run("undo")
    assert gives(merging, victim.unique_id) == [b"bert's own"]


def test_a_version_of_what_is_ours_does_not_supersede_it(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    victim = mine(merging)
    with merging.here.application.engine.connect() as connection:
        where = document_entry.c.unique_id == victim.unique_id
        uuid = connection.scalar(sa.select(document_entry.c.entry_uuid).where(where))
    lie = on_demand(OLD, logical_id=uuid, version="9")
    says(monkeypatch, adds(DORA, *theirs(entries=[lie])))
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        where = document_entry.c.unique_id == victim.unique_id
        assert connection.scalar(sa.select(document_entry.c.latest).where(where)) is True


def test_an_association_does_not_put_berts_entry_into_annas_set(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    victim = mine(merging)
    with merging.here.application.engine.connect() as connection:
        where = document_entry.c.unique_id == victim.unique_id
        uuid = str(connection.scalar(sa.select(document_entry.c.entry_uuid).where(where)))
    ok = AvailabilityStatus.APPROVED
    for kind in (AssociationType.RPLC, AssociationType.HAS_MEMBER):
        start = begun.submission_set if kind == AssociationType.HAS_MEMBER else begun.document_entries[1]
        lie = an_association(kind, start.entry_uuid, uuid, availability_status=ok)
        with monkeypatch.context() as one:
            says(one, adds(DORA, lie))
            merging.run("copy")
        assert lie.entry_uuid not in merging.everything(merging.here, ANNA), kind
        merging.run("undo")


@pytest.mark.parametrize(
    "bad",
    [
        {"version": "99999999999"},
        {"version": "9" * 5000},
        {"version": "1.1"},
        {"version": "²"},
        {"availability_status": "urn:oasis:names:tc:ebxml-regrep:StatusType:Submitted"},
        {"availability_status": "urn:oasis:names:tc:ebxml-regrep:StatusType:SomethingThatIsLong"},
        {"entry_uuid": "urn:uuid:" + "x" * 200},
        {"logical_id": "x" * 200, "version": "2"},
    ],
    ids=lambda one: ",".join(f"{k}={v[-12:]}" for k, v in one.items()),
)
def test_one_weird_object_does_not_end_the_run(
    merging: Merging, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    a_history(merging)
    entry = on_demand(OLD, **bad)
    if "version" in bad and "logical_id" not in bad:
        entry = replace(entry, logical_id=new_entry_uuid())
    says(monkeypatch, adds(DORA, *theirs(entries=[entry])))
    done = merging.run("copy", "--jobs", 1, "--json")
    assert done.code == 0, done.err
    assert len(merging.everything(merging.here, BERT)) == 3
    known = set()
    for one in merging.everything(merging.here, ANNA).values():
        known.add(getattr(one, "status", None))
    assert known <= {AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED}


def test_an_association_with_weird_fields_does_not_end_the_run(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = a_history(merging)
    ok = AvailabilityStatus.APPROVED
    set_, entry = begun.submission_set.entry_uuid, begun.document_entries[0].entry_uuid
    says(
        monkeypatch,
        adds(DORA, an_association("urn:" + "x" * 300, set_, entry, availability_status=ok)),
    )
    done = merging.run("copy", "--jobs", 1, "--json")
    assert done.code == 0, done.err
    assert len(merging.everything(merging.here, BERT)) == 3


def test_an_unreadable_object_with_a_long_id_does_not_end_the_run(
    merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_history(merging)

    def change(patient: Any, found: Everything) -> None:
        if patient == DORA:
            found.unread["x" * 300] = "DE", "something"

    says(monkeypatch, change)
    done = merging.run("copy", "--jobs", 1, "--json")
    assert done.code == 0, done.err
    assert len(merging.everything(merging.here, BERT)) == 3


def test_a_document_that_was_offline_comes_once_it_is_online(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, _ = a_history(merging)
    two = begun.document_entries[1]
    with monkeypatch.context() as one:
        says(one, each(lambda x: x.entry_uuid == two.entry_uuid, lambda x: replace(x, document_availability=OFFLINE)))
        merging.run("copy")
    merging.run("copy")
    assert gives(merging, two.unique_id, OLD) == [b"two"]
    assert merging.run("prove").code == 0


def test_no_patient_is_in_an_error_line(merging: Merging) -> None:
    a_history(merging)
    file = merging.folder / "who.txt"
    file.write_text("SECRET-MUELLER-19560527^^^broken\n")
    done = merging.run("copy", "--patients", file)
    assert "SECRET" not in done.err


def test_a_report_can_be_had_while_it_is_copied(merging: Merging) -> None:
    a_history(merging)
    settings = with_identity(load(merging.config, {})).settings
    with alone(settings, "merge south", "south is being merged"):
        assert merging.run("report").code == 0


def test_documents_over_document_bytes_are_not_taken(merging: Merging) -> None:
    a_history(merging)
    merging.config.write_text(merging.config.read_text() + "document_bytes = 2\n")
    merging.run("copy")
    assert merging.here.count(document) == 0


def test_doctor_looks_at_merged_documents(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    assert merging.here.count(document) == 4
    for path in merging.folder.rglob("*"):
        if path.is_file() and path.read_bytes() in (b"one", b"two", b"emil's", b"one, again"):
            path.write_bytes(b"xxx")
    done = xds("doctor", "documents", "--read", "--config", merging.config)
    assert done.code == 1, done.out


@pytest.mark.parametrize("end", ["not-a-uuid", "urn:uuid:00000000-0000-0000-0000-000000000001"])
def test_one_association_to_nowhere_does_not_keep_a_whole_history_away(
    merging: Merging, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    begun, _ = a_history(merging)
    lie = an_association(
        AssociationType.XFRM, begun.document_entries[1].entry_uuid, end, availability_status=AvailabilityStatus.APPROVED
    )
    says(monkeypatch, adds(DORA, lie))
    done = merging.run("copy", "--json")
    assert done.code == 0
    assert begun.submission_set.entry_uuid in merging.everything(merging.here, ANNA)


def test_an_association_of_a_long_type(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, later = a_history(merging)
    lie = an_association(
        "urn:" + "x" * 300,
        later.document_entries[0].entry_uuid,
        begun.document_entries[0].entry_uuid,
        availability_status=AvailabilityStatus.APPROVED,
    )
    says(monkeypatch, adds(DORA, lie))
    done = merging.run("copy", "--json", "--jobs", 1)
    assert done.code == 0, done.err
    assert len(merging.everything(merging.here, BERT)) == 3


def test_a_status_that_xds_does_not_know_is_not_registered(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)
    entry = on_demand(OLD, availability_status="urn:oasis:names:tc:ebxml-regrep:StatusType:Submitted")
    says(monkeypatch, adds(DORA, *theirs(entries=[entry])))
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        assert set(connection.scalars(sa.select(document_entry.c.status))) <= {"Approved", "Deprecated"}


def test_in_parts_nothing_is_left_out(merging: Merging) -> None:
    a_history(merging)
    there = merging.everything(merging.south, DORA)
    merging.south.application.domains["default"].actors.registry._most["LeafClass"] = 16
    assert len(there) > 16
    merging.run("copy")
    here = merging.everything(merging.here, ANNA)
    assert {k: type(v).__name__ for k, v in there.items() if k not in here} == {}


def test_on_demand_of_old_repository_with_berts_unique_id(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered: who sees Anna's entry sees, by the uniqueId alone, Bert's document."""
    a_history(merging)
    victim = mine(merging)
    lie = on_demand(OLD, unique_id=victim.unique_id)
    says(monkeypatch, adds(DORA, *theirs(entries=[lie])))
    merging.run("copy")
    assert registered(merging, lie.entry_uuid) == []


def test_a_hash_that_changes_for_one_entry(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash and size of an entry change: its document is not asked for again, and yet it is registered so."""
    begun, _ = a_history(merging)
    merging.run("copy")
    two = begun.document_entries[1]
    lie = {"hash": "0" * 40, "size": 7}
    says(monkeypatch, each(lambda x: x.entry_uuid == two.entry_uuid, lambda x: replace(x, **lie)))
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        where = document_entry.c.entry_uuid == two.entry_uuid
        assert connection.scalar(sa.select(document_entry.c.hash).where(where)) == two.hash


def test_the_disk_that_fills_does_not_end_in_a_traceback(merging: Merging) -> None:
    a_history(merging)
    text = merging.config.read_text().replace("[server]\n", "[server]\nleast_free_bytes = 999999999999999\n")
    merging.config.write_text(text)
    done = merging.run("copy", "--json")
    assert done.out
    assert "Traceback" not in done.err


def test_a_merge_whose_name_is_a_path(merging: Merging) -> None:
    text = merging.config.read_text().replace("[merges.south]", '[merges."a/b"]')
    merging.config.write_text(text)
    done = xds("merge", "report", "a/b", "--config", merging.config)
    assert "Traceback" not in done.err
