"""What is withheld cannot be told from what does not exist: by content, count, error or order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.actors.test_metadata_update import an_update, becomes, replaces, version_of
from tests.builders import ANNA, REPOSITORY, a_submission, an_association, an_entry
from tests.hostile.test_who_may_what import OTHER_SOURCE, Held, V, by, certificates, settings, submitting
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.server.test_application import Site, of_bytes, serving
from xds.access import gate
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.ebxml import lcm, query, xdsb
from xds.ebxml.rim import Slot
from xds.metadata.datatypes import ReferenceId
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId, new_entry_uuid
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.queries import catalogue
from xds.store.registry import patients
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions import iti86_remove_documents as iti86
from xds.transactions import rad69_retrieve_imaging_document_set as rad69

__all__ = ["certificates"]


@pytest.fixture
def site(database_url: str, tmp_path: Path, certificates: dict[str, bytes]) -> Iterator[Site]:
    put(tmp_path / "images", "one.dcm", an_instance(1))
    more = f'[imaging_source]\nfolder = "{tmp_path / "images"}"\n'
    with serving(database_url, tmp_path, settings(more)) as site, by(site, certificates["owner"]):
        site.application.domains["default"].actors.imaging_source._archive.refresh()  # type: ignore[union-attr]
        yield site


def said(site: Site, path: str, action: str, element: Any) -> bytes:
    """The body of an answer."""
    return etree.tostring(site.send(path, action, [etree.tostring(element)], mtom=False).body)


def absent() -> DocumentEntry:
    """One that was never registered."""
    return an_entry()


def asked(query_: catalogue.StoredQuery, **parameters: str) -> Any:
    slots = tuple(Slot(f"${name}", (value,)) for name, value in parameters.items())
    return query.write_request(query.AdhocQuery(query_.id, "LeafClass", slots))


def reading(site: Site, entry: DocumentEntry) -> Iterator[tuple[str, bytes]]:
    """Every way to ask for a document by an id."""
    for name, value in (("EntryUUID", entry.entry_uuid), ("UniqueId", entry.unique_id)):
        for one, text in (
            (catalogue.GET_DOCUMENTS, f"('{value}')"), (catalogue.GET_DOCUMENTS_AND_ASSOCIATIONS, f"('{value}')"),
            (catalogue.GET_FOLDERS_FOR_DOCUMENT, f"'{value}'"),
        ):  # fmt: skip
            sent = asked(one, **{f"XDSDocumentEntry{name}": text})
            yield f"{one.id} {name}", said(site, "/registry", iti18.TRANSACTION.action, sent)
    for one in (catalogue.GET_ASSOCIATIONS, catalogue.GET_SUBMISSION_SETS):
        yield one.id, said(site, "/registry", iti18.TRANSACTION.action, asked(one, uuid=f"('{entry.entry_uuid}')"))
    wanted = xdsb.write_retrieve_request([xdsb.DocumentRequest(site.repository_unique_id, entry.unique_id)])
    yield "ITI-43", said(site, "/repository", "urn:ihe:iti:2007:RetrieveDocumentSet", wanted)


def changing(site: Site, entry: DocumentEntry) -> Iterator[tuple[str, bytes]]:
    """Every way to change one, as its own source would."""

    def mine(submission: Any) -> Any:
        own = replace(submission.submission_set, source_id=OTHER_SOURCE)
        return submitting(replace(submission, submission_set=own))

    new = an_entry(entry_uuid=new_entry_uuid())
    relation = an_association(AssociationType.RPLC, new.entry_uuid, entry.entry_uuid)
    sent = a_submission(entries=[new], relations=[relation])
    yield "RPLC", said(site, "/registry", iti42.TRANSACTION.action, mine(sent))
    operation = becomes(entry.entry_uuid, AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)
    yield "ITI-57", said(site, "/registry", iti57.TRANSACTION.action, mine(an_update(operation)))
    version = version_of(entry, repository_unique_id=REPOSITORY)
    yield (
        "ITI-57, a version",
        said(site, "/registry", iti57.TRANSACTION.action, mine(an_update(replaces(version), items=[version]))),
    )
    yield "ITI-62", said(site, "/registry", iti62.TRANSACTION.action, lcm.write_remove_objects([entry.entry_uuid]))
    request = [xdsb.DocumentRequest(site.repository_unique_id, entry.unique_id)]
    yield "ITI-86", said(site, "/repository", iti86.TRANSACTION.action, xdsb.write_remove_request(request))


Tries: TypeAlias = Callable[[Site, DocumentEntry], Iterator[tuple[str, bytes]]]


def alike(answer: bytes) -> bytes:
    """An answer without the ids that differ from one request to the next."""
    return re.sub(rb"urn:uuid:[0-9a-f-]{36}|2\.25\.\d+", b"ID", answer)


@pytest.mark.parametrize(
    ("who", "how"), [("consumer", reading), ("source", reading), ("source", changing)], ids=lambda one: str(one)[:20]
)
def test_a_document_that_is_withheld_is_answered_as_one_that_is_not_there(
    site: Site, certificates: dict[str, bytes], who: str, how: Tries
) -> None:  # fmt: skip
    held = Held(site, V)
    with by(site, certificates[who]):
        there, not_there = dict(how(site, held.entry)), dict(how(site, absent()))
    for name, answer in there.items():
        assert alike(answer) == alike(not_there[name]), name
    with by(site, certificates["owner"]):
        assert held.entry.unique_id.encode() in etree.tostring(site.find().body)  # and it is there still


@pytest.mark.parametrize("who", ["consumer", "source"])
def test_what_is_withheld_is_looked_for_by_the_statements_that_look_for_what_is_not_there(
    site: Site, certificates: dict[str, bytes], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time tells nothing; ``tests.bench withheld`` measures that."""
    monkeypatch.setattr(gate, "LOOK_SECONDS", 1e9)  # what is looked at every few seconds is no request's
    held, counts = Held(site, V), dict[str, list[int]]()
    with by(site, certificates[who]), counted(site.application.engine) as number:
        for entry in (held.entry, absent()):
            before = number()
            for name, _ in reading(site, entry):
                counts.setdefault(name, []).append(number() - before)
                before = number()
    assert all(there == not_there for there, not_there in counts.values()), counts


@contextmanager
def counted(engine: sa.Engine) -> Iterator[Callable[[], int]]:
    """How many statements an engine has executed; what peers use is counted once a second, whoever asks for what."""
    executed: list[str] = []

    def seen(_connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        if "peer_use" not in statement:
            executed.append(statement)

    sa.event.listen(engine, "before_cursor_execute", seen)
    try:
        yield lambda: len(executed)
    finally:
        sa.event.remove(engine, "before_cursor_execute", seen)


def test_what_a_patient_withholds_is_neither_found_nor_counted_nor_are_its_images(
    site: Site, certificates: dict[str, bytes]
) -> None:
    study = ReferenceId.of(STUDY, "urn:ihe:iti:xds:2016:studyInstanceUID")
    entries = [an_entry(reference_id_list=(study,)), an_entry(**of_bytes(b"another"))]
    site.provide(a_submission(entries=[replace(e, **of_bytes(b"x")) for e in entries]), [b"x", b"x"])
    source = site.application.settings.imaging_source.retrieve_location_uid
    actors = site.application.domains["default"].actors
    actors.studies._patients_of = lambda uids: dict.fromkeys(uids, str(ANNA))

    def seen() -> tuple[int, bool, int]:
        with by(site, certificates["consumer"]):
            found = len(re.findall(rb"<[^>]*ExtrinsicObject ", etree.tostring(site.find().body)))
            wanted = xdsb.InstanceRequest(STUDY, SERIES, xdsb.DocumentRequest(source, f"{SERIES}.1"))
            body = xdsb.write_imaging_request(xdsb.ImagingRequest((wanted,), ("1.2.840.10008.1.2.1",)))
            got = site.send("/imaging-source", rad69.TRANSACTION.action, [etree.tostring(body)], mtom=True).contents
            try:
                with urlopen(f"{site.url}/dicomweb/studies/{STUDY}/series") as reply:  # noqa: S310
                    listed = len(reply.read()) > 2
            except HTTPError:
                listed = False
            return found, bool(got), int(listed)

    assert seen() == (2, True, 1)
    with site.application.engine.begin() as connection:
        key = patients.key_of(connection, "default", ANNA)
        assert key is not None
        said = Directive(permit=False, studies=frozenset({STUDY}), organisations=frozenset({"Consumer"}))
        set_directive(connection, key, said, "x")
    site.application.gate._any_directive = True  # or within seconds
    assert seen() == (1, False, 0)


@pytest.mark.parametrize("tells", [True, False])
def test_an_answer_tells_that_something_is_withheld_only_where_the_domain_wants_it(
    database_url: str, tmp_path: Path, certificates: dict[str, bytes], tells: bool
) -> None:
    text = f"[policy]\ntell_withheld = {str(tells).lower()}\n{settings()}"
    with serving(database_url, tmp_path, text) as site:
        with by(site, certificates["owner"]):
            Held(site, V)
            assert b"withheld" not in etree.tostring(site.find().body)
        with by(site, certificates["consumer"]):
            assert (b"something is withheld" in etree.tostring(site.find().body)) is tells


def test_a_patient_of_whom_nothing_may_be_told_is_refused_like_one_who_is_unknown(
    database_url: str, tmp_path: Path, certificates: dict[str, bytes]
) -> None:
    """Where unknown patients are refused; where they are not, an answer without anything is all that there is."""
    text = f'[registry]\nunknown_patient = "refused"\n{settings()}'
    with serving(database_url, tmp_path, text) as site:
        with by(site, certificates["owner"]):
            Held(site)

        def found(patient: PatientId, who: str) -> bytes:
            with by(site, certificates[who]):
                answer = etree.tostring(site.find(patient).body)
            return alike(answer).replace(escape(str(patient)).encode(), b"WHOM")

        nobody = replace(ANNA, id="nobody-1")
        unknown = found(nobody, "consumer")
        assert b"XDSUnknownPatientId" in unknown
        assert b"ExtrinsicObject" in found(ANNA, "consumer")
        with site.application.engine.begin() as connection:
            key = patients.key_of(connection, "default", ANNA)
            assert key is not None
            set_directive(connection, key, Directive(permit=False, organisations=frozenset({"Consumer"})), "x")
        site.application.gate._any_directive = True  # or within seconds
        assert found(ANNA, "consumer") == unknown
        assert b"ExtrinsicObject" in found(ANNA, "owner")
