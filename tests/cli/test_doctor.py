"""``xds doctor submission``: what the registry would say, before it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import ANNA, AUTHORITY, BERT, a_submission, an_entry
from tests.cli.command import Done, xds
from tests.wire.messages import an_envelope
from xds.ebxml import lcm
from xds.metadata import to_ebxml
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND
from xds.settings.configuration import load
from xds.store.deployment import prepare, with_identity
from xds.store.documents.folder import BlobStore, DocumentTable, Kept
from xds.store.engine import make_engine
from xds.wire.spool import Spool
from xds.wire.xml import name


def written(path: Path, submission: Submission) -> Path:
    path.write_bytes(etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission))))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "xds.toml"
    path.write_text(f"[server]\ndata = '{tmp_path / 'data'}'\n[domain]\nassigning_authorities = ['{AUTHORITY}']\n")
    return path


def doctor(file: Path, *more: object) -> Done:
    return xds("doctor", "submission", file, *more)


@pytest.mark.parametrize("around", ["", "provide", "envelope"])
def test_a_good_submission_would_be_registered_however_it_is_wrapped(tmp_path: Path, around: str) -> None:
    file = written(tmp_path / "message.xml", a_submission())
    element = etree.fromstring(file.read_bytes())
    if around == "provide":
        outer = etree.Element(name("xds:ProvideAndRegisterDocumentSetRequest"))
        outer.append(element)
        file.write_bytes(etree.tostring(outer))
    elif around == "envelope":
        file.write_bytes(an_envelope(body=etree.tostring(element).decode()))
    done = doctor(file)
    assert (done.code, done.out) == (0, f"{file}: would be registered\n")
    assert doctor(file, "--json").json == []


def test_an_on_demand_entry_is_held_to_the_rules_of_its_own_transaction(tmp_path: Path) -> None:
    entry = an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    assert doctor(written(tmp_path / "message.xml", a_submission(entries=[entry]))).code == 0


def test_all_findings_are_told_with_object_rule_and_clause(tmp_path: Path) -> None:
    good, foreign = an_entry(), an_entry(patient_id=BERT)
    late = an_entry(service_stop_time=replace(good.creation_time, text="2001"))  # type: ignore[type-var]
    file = written(tmp_path / "message.xml", a_submission(entries=[good, foreign, late]))
    done = doctor(file)
    assert done.code == 1
    assert done.out.endswith("2 findings\n")
    found = doctor(file, "--json").json
    assert {(each["code"], each["object"]) for each in found} == {
        ("XDSPatientIdDoesNotMatch", foreign.entry_uuid),
        ("XDSRegistryMetadataError", late.entry_uuid),
    }
    assert all("ITI TF-" in each["context"] for each in found)


def test_a_schema_violation_is_told_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path / "message.xml", a_submission())
    file.write_bytes(
        file.read_bytes().replace(b"<rim:RegistryObjectList>", b"<rim:RegistryObjectList>\n<rim:Unheard/>")
    )
    (found,) = doctor(file, "--json").json
    assert found["context"].startswith("line 2: ")
    assert "Unheard" in found["context"]


def test_with_a_deployment_it_is_held_to_what_is_registered_and_nothing_is_kept(tmp_path: Path, config: Path) -> None:
    file = written(tmp_path / "message.xml", a_submission())
    (found,) = doctor(file, "--config", config, "--json").json
    assert found["code"] == "XDSUnknownPatientId"
    xds("patient", "add", ANNA, "--config", config)
    for _ in range(2):  # the first has left nothing that the second would meet
        assert doctor(file, "--config", config).code == 0


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "not well-formed"), (b"<a/>", "exactly one"), (b"<!DOCTYPE a><a/>", "document type")]
)
def test_what_is_no_submission_is_said_in_a_line(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "message.xml"
    file.write_bytes(data)
    done = doctor(file)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def late(path: Path) -> Path:
    """A submission with a time that XDS does not allow."""
    file = written(path, a_submission())
    file.write_bytes(file.read_bytes().replace(b"<rim:Value>20240102030405<", b"<rim:Value>2024-01-02T03:04:05Z<"))
    return file


def test_what_could_be_tolerated_of_a_sender_is_said_and_what_to_do(tmp_path: Path) -> None:
    done = doctor(late(tmp_path / "message.xml"))
    assert done.code == 1
    assert "Correct the attribute that is named" in done.out
    assert "could be tolerated: times, 2 times (times with a fraction, a zone or punctuation)" in done.out
    fixes = {finding["fix"] for finding in doctor(tmp_path / "message.xml", "--json").json}
    assert fixes == {"Correct the attribute that is named; the clause says what it must be."}


def test_a_message_is_held_to_what_its_sender_is_held_to(tmp_path: Path, config: Path) -> None:
    file = late(tmp_path / "message.xml")
    config.write_text(config.read_text() + "[senders.pacs]\nsource_ids = ['1.2']\ntolerate = ['times']\n")
    xds("patient", "add", ANNA, "--config", config)
    done = doctor(file, "--config", config, "--sender", "pacs")
    assert (done.code, "tolerated: times, 2 times" in done.out) == (0, True)
    assert doctor(file, "--config", config).code == 1
    unknown = doctor(file, "--config", config, "--sender", "other")
    assert (unknown.code, "no sender other" in unknown.err) == (1, True)
    assert doctor(file, "--sender", "pacs").code == 1


# Documents.


@pytest.fixture
def kept(tmp_path: Path, config: Path) -> tuple[BlobStore, dict[str, str]]:
    """A repository's documents: their SHA-256 by uniqueId."""
    loaded = with_identity(load(config, {}))
    engine = make_engine(loaded.settings.database_url)
    prepare(engine, loaded)
    blobs, names = BlobStore(loaded.settings.documents_folder), {}
    with Spool(blobs.staging) as spool, engine.begin() as connection:
        for number in range(3):
            writing = spool.new()
            writing.write(b"document %d" % number)
            one = writing.finish()
            blobs.put(one)
            names[f"2.25.{number}"] = one.sha256
            row = Kept(f"2.25.{number}", "text/plain", one.size_bytes, one.sha1, one.sha256)
            DocumentTable(connection, loaded.settings.repository.unique_id).add(row)
    engine.dispose()
    return blobs, names


def test_documents_that_are_there_are_said_to_be(kept: tuple[BlobStore, dict[str, str]], config: Path) -> None:
    done = xds("doctor", "documents", "--read", "--config", config)
    assert (done.code, done.out) == (0, "every document is there\n")


def test_documents_that_are_missing_or_changed_are_named(kept: tuple[BlobStore, dict[str, str]], config: Path) -> None:
    blobs, names = kept
    blobs.path(names["2.25.0"]).unlink()
    blobs.path(names["2.25.2"]).write_bytes(b"document X")
    missing = {"document": "2.25.0", "problem": "missing, or of another size"}
    quick = xds("doctor", "documents", "--json", "--config", config)
    assert (quick.code, quick.json) == (1, [missing])
    whole = xds("doctor", "documents", "--read", "--json", "--config", config)
    assert whole.json == [missing, {"document": "2.25.2", "problem": "changed"}]
    assert "2 damaged" in xds("doctor", "documents", "--read", "--config", config).out


def test_an_object_store_that_does_not_answer_is_said_so(
    kept: tuple[BlobStore, dict[str, str]], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "documents = 's3://documents'\n[s3]\nendpoint = 'http://127.0.0.1:1'\nseconds = 1.0\n"
    config.write_text(config.read_text().replace("[domain]", text + "[domain]"))
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "x")
    done = xds("doctor", "documents", "--config", config)
    assert (done.code, "does not answer" in done.err) == (1, True)
