"""Another region's registry and repository are merged into this one: all of it comes as it is there, or is told."""

from __future__ import annotations

import subprocess
import sys

import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_submission, an_association, an_entry, symbolic
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.merging.south import DORA, EMIL, OLD, Merging, a_history, as_there
from tests.places import ROOT
from tests.server.test_application import of_bytes
from xds.ebxml import rs
from xds.errors import Status
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.settings.configuration import load
from xds.store.alone import alone
from xds.store.deployment import with_identity
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import audit_record, document, document_entry, merged_object


def test_everything_of_a_source_comes_with_its_history_and_is_given_by_its_old_ids(merging: Merging) -> None:
    begun, later = a_history(merging)
    survey = merging.run("survey", "--json")
    assert survey.code == 0, survey.err
    assert {one["state"] for one in survey.json["objects"]} == {"found"}
    assert merging.here.count(document_entry) == 0
    assert "nothing" not in merging.run("copy").err
    for theirs, ours in ((DORA, ANNA), (EMIL, BERT)):
        there, here = merging.everything(merging.south, theirs), merging.everything(merging.here, ours)
        assert len(there) > 2
        assert {uuid: as_there(item) for uuid, item in here.items()} == {
            uuid: as_there(item) for uuid, item in there.items()
        }
    statuses = {uuid: item.status for uuid, item in merging.everything(merging.here, ANNA).items()}
    assert statuses[begun.document_entries[0].entry_uuid] == AvailabilityStatus.DEPRECATED
    for entry, content in ((begun.document_entries[1], b"two"), (later.document_entries[0], b"one, again")):
        got = merging.here.retrieve(entry.unique_id, repository=OLD)
        assert [one.read() for one in got.contents.values()] == [content]
    proof = merging.run("prove", "--json", "--read", 10, "--out", merging.folder / "proof.xml")
    assert (proof.code, proof.json["holds"], proof.json["there"], proof.json["readBack"]) == (0, True, 4, 4)
    assert proof.json["rootThere"] == proof.json["rootHere"]
    assert b"SignatureValue" in (merging.folder / "proof.xml").read_bytes()


def test_what_is_copied_is_not_copied_again_and_what_is_new_or_has_changed_follows(merging: Merging) -> None:
    begun, _ = a_history(merging)
    assert merging.run("copy", "--json").json["done"]["copied"] == 20
    again = merging.run("copy", "--json").json["done"]
    assert (again["copied"], again["changed"], again["left"]) == (0, 0, 0)
    fresh = an_entry(patient_id=DORA, **of_bytes(b"three"))
    replacing = an_association(AssociationType.RPLC, fresh.entry_uuid, begun.document_entries[1].entry_uuid)
    merging.provide(a_submission(patient=DORA, entries=[fresh], relations=[replacing]), b"three")
    done = merging.run("copy", "--json").json["done"]
    # Its set, itself and four associations; the document that it replaces, and the folder that it is put in.
    assert (done["copied"], done["left"]) == (6, 0)
    assert done["changed"] in (1, 2)  # a time that is the same second is the same
    here, there = merging.everything(merging.here, ANNA), merging.everything(merging.south, DORA)
    assert {uuid: as_there(one) for uuid, one in here.items()} == {uuid: as_there(one) for uuid, one in there.items()}
    assert merging.run("prove").code == 0
    assert "nothing that is new" in merging.run("follow", "--every", 0).out


def test_who_is_not_named_waits_and_nobody_is_guessed(merging: Merging) -> None:
    a_history(merging)
    merging.names((DORA, ANNA))
    merging.folder.joinpath("all.txt").write_text(f"{DORA}\n{EMIL}\n")
    done = merging.run("copy", "--json", "--patients", merging.folder / "all.txt")
    assert done.json["patients"] == {"even": 1, "waiting": 1}
    assert done.json["done"]["left"] == 3
    assert [(one["state"], one["why"]) for one in done.json["reasons"]] == [
        ("waiting", "nobody has said who the patient is here")
    ]
    assert merging.everything(merging.here, BERT) == {}
    merging.names((DORA, ANNA), (EMIL, BERT))
    assert merging.run("copy", "--json").json["done"]["copied"] == 3


def test_a_document_that_is_another_than_its_entry_says_keeps_its_submission_away(merging: Merging) -> None:
    begun, _ = a_history(merging)
    spoilt = begun.document_entries[0].unique_id
    with merging.south.application.engine.begin() as connection:  # its bytes are another document's
        other = connection.execute(sa.select(document).where(document.c.document_unique_id != spoilt)).first()
        assert other is not None
        changed = {"sha256": other.sha256, "size": other.size, "sha1": other.sha1}
        connection.execute(sa.update(document).where(document.c.document_unique_id == spoilt).values(changed))
    done = merging.run("copy", "--json").json
    assert {one["why"] for one in done["reasons"]} >= {"its document's SHA-1 is not the entry's hash"}
    assert begun.submission_set.entry_uuid not in merging.everything(merging.here, ANNA)
    assert spoilt not in {str(item) for item in merging.everything(merging.here, ANNA)}
    proof = merging.run("prove", "--json")
    assert (proof.code, proof.json["holds"]) == (1, False)
    assert proof.json["rootThere"] != proof.json["rootHere"]


def test_an_id_that_is_something_elses_here_is_a_conflict_and_nothing_of_it_comes(merging: Merging) -> None:
    begun, _ = a_history(merging)
    mine = a_submission(patient=ANNA, entries=[an_entry(**of_bytes(b"mine"))], unique_id=begun.submission_set.unique_id)
    assert rs.read_response(merging.here.provide(mine, [b"mine"]).body)[0] is Status.SUCCESS
    done = merging.run("survey", "--json").json
    assert ("conflict", "its uniqueId is another submission set's here") in {
        (one["state"], one["why"]) for one in done["reasons"]
    }
    merging.run("copy")
    assert begun.document_entries[0].entry_uuid not in merging.everything(merging.here, ANNA)


def test_what_was_changed_here_and_there_is_told_and_stays(merging: Merging) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    kept = begun.document_entries[1]
    for site, patient in ((merging.here, ANNA), (merging.south, DORA)):
        newer = an_entry(patient_id=patient, **of_bytes(b"newer"))
        replacing = an_association(AssociationType.RPLC, newer.entry_uuid, kept.entry_uuid)
        sent = a_submission(patient=patient, entries=[newer], relations=[replacing])
        assert rs.read_response(site.provide(sent, [b"newer"]).body)[0] is Status.SUCCESS
    done = merging.run("copy", "--json").json
    assert "it was changed here and at the source" in {one["why"] for one in done["reasons"]}
    here = merging.everything(merging.here, ANNA)
    assert here[kept.entry_uuid].status == AvailabilityStatus.DEPRECATED


def test_a_merge_is_undone_except_where_something_was_changed_here_since(merging: Merging) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    newer = an_entry(**of_bytes(b"newer"))
    replacing = an_association(AssociationType.RPLC, newer.entry_uuid, begun.document_entries[1].entry_uuid)
    assert rs.read_response(
        merging.here.provide(a_submission(entries=[newer], relations=[replacing]), [b"newer"]).body
    )[0] is Status.SUCCESS  # fmt: skip
    before = merging.everything(merging.here, ANNA)
    would = merging.run("undo", "--dry-run", "--json")
    assert (would.code, would.json["objects"], would.json["documents"]) == (1, 3, 1)
    assert len(merging.everything(merging.here, BERT)) == 3
    assert merging.run("undo").code == 1
    assert merging.everything(merging.here, BERT) == {}
    assert merging.everything(merging.here, ANNA) == before
    assert merging.run("copy", "--json").json["done"]["copied"] == 3
    assert len(merging.everything(merging.here, BERT)) == 3


def test_what_the_source_has_no_more_stays_and_is_told(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    emils = merging.everything(merging.south, EMIL)
    with merging.south.application.engine.begin() as connection:
        registry = SqlRegistry(connection, "default")
        registry.remove(registry.kinds_of(emils))
    done = merging.run("copy", "--json").json["done"]
    assert (done["gone"], done["left"]) == (3, 0)
    assert len(merging.everything(merging.here, BERT)) == 3


def test_each_query_each_document_and_each_submission_is_on_record(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        rows = connection.execute(
            sa.select(audit_record.c.transaction, audit_record.c.event, audit_record.c.outcome)
        ).all()
    kinds = [(row.transaction, row.event) for row in rows if row.outcome == 0]
    assert kinds.count(("ITI-18", "110112")) >= 2
    assert ("ITI-43", "110107") in kinds
    assert kinds.count(("", "110107")) == 3  # each submission


def test_a_source_that_does_not_answer_is_told_and_the_rest_goes_on(merging: Merging) -> None:
    a_history(merging)
    merging.south.application.engine.dispose()
    text = merging.config.read_text().replace(merging.south.url, "http://127.0.0.1:9")
    merging.config.write_text(text)
    done = merging.run("copy", "--json")
    assert (done.code, done.json["done"]["failed"], done.json["patients"]) == (1, 2, {"failed": 2})
    assert merging.here.count(merged_object) == 0


def test_a_copy_that_is_killed_anywhere_is_gone_on_with_and_nothing_is_there_twice(merging: Merging) -> None:
    wanted = [b"%06d" % number * 700 for number in range(120)]
    for number, content in enumerate(wanted):
        entry = an_entry(patient_id=(DORA, EMIL)[number % 2], **of_bytes(content))
        merging.provide(symbolic(a_submission(patient=entry.patient_id, entries=[entry])), content)
    command = [sys.executable, "-m", "xds", "merge", "copy", "south", "--config", str(merging.config)]
    midway = list[bool]()
    for least in (1, 30, 60):
        slowly = subprocess.Popen([*command, "--bytes-per-second", "100000"], stdout=subprocess.DEVNULL, cwd=ROOT)
        try:
            wait_for(lambda least=least: merging.here.count(document) >= least)  # type: ignore[misc]
        finally:
            slowly.kill()
            slowly.wait()
        midway.append(merging.here.count(document) < len(wanted))
    assert any(midway)  # on a machine that is very slow to look the last of them may have come to its end
    done = merging.run("copy", "--json").json
    assert (done["done"]["left"], done["done"]["failed"]) == (0, 0)
    assert merging.here.count(document) == merging.here.count(document_entry) == len(wanted)
    assert merging.run("prove", "--read", len(wanted)).code == 0


def test_two_merges_of_one_source_at_once_are_refused(merging: Merging) -> None:
    a_history(merging)
    settings = with_identity(load(merging.config, {})).settings
    with alone(settings, "merge south", "south is being merged"):
        refused = merging.run("copy")
    assert (refused.code, refused.err) == (1, "xds: south is being merged by another process\n")


def test_a_patient_who_was_merged_at_the_source_is_moved_here_too(merging: Merging) -> None:
    begun, _ = a_history(merging)
    merging.run("copy")
    with merging.south.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(DORA, EMIL)
    done = merging.run("copy", "--json").json["done"]
    assert (done["copied"], done["left"]) == (0, 0)
    assert begun.submission_set.entry_uuid in merging.everything(merging.here, BERT)
    assert len(merging.everything(merging.here, BERT)) == 20
    assert merging.everything(merging.here, ANNA) == {}


def test_a_source_that_is_not_in_the_settings_is_refused(merging: Merging) -> None:
    refused = xds("merge", "copy", "north", "--config", merging.config)
    assert (refused.code, refused.out) == (1, "")
    assert "the settings have no [merges.north]; there are: south" in refused.err


def test_documents_of_a_repository_that_nobody_would_answer_for_are_not_copied(merging: Merging) -> None:
    a_history(merging)
    merging.config.write_text(merging.config.read_text().replace(f'also = ["{OLD}"]', "also = []"))
    done = merging.run("copy", "--json").json
    assert merging.here.count(document) == 0
    assert f"repository.also does not name {OLD}: nobody could fetch its documents here" in {
        one["why"] for one in done["reasons"]
    }


def test_codes_are_written_as_they_are_here(merging: Merging) -> None:
    a_history(merging)
    codes = merging.folder / "codes.toml"
    codes.write_text('["2.16.840.1.113883.5.111"]\nHOSP = ["HOSPITAL", "1.2.3.77", "A hospital"]\n')
    merging.config.write_text(merging.config.read_text() + f'codes = "{codes}"\n')
    merging.run("copy")
    with merging.here.application.engine.connect() as connection:
        kept = set(connection.scalars(sa.select(document_entry.c.healthcare_facility_type_code)))
    assert kept == {"HOSPITAL^^1.2.3.77"}
