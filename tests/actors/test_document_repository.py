"""The repository keeps documents and registers them: all or nothing, whatever its registry answers."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import a_submission, an_entry
from tests.store.databases import shared_engine
from xds.actors.document_repository import EMPTY_SHA1, DocumentRepository, NoAnswer
from xds.ebxml import lcm, rim
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.metadata import to_ebxml
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.submission import Submission
from xds.store.documents.folder import BlobStore, Kept
from xds.store.work import Database
from xds.wire.peers import serving
from xds.wire.spool import Spool

__all__ = ["shared_engine"]

WARNING = Finding(ErrorCode.EXTRA_METADATA_NOT_SAVED, "one slot", severity=Severity.WARNING)
REFUSAL = Finding(ErrorCode.REGISTRY_METADATA, "a rule")


class Registry:
    """A registry elsewhere that does as it is told; what it took, and what it was asked."""

    def __init__(self) -> None:
        self.taken: list[rim.RegistryObjectList] = []
        self.does: Callable[[], tuple[Finding, ...]] = lambda: ()

    def __call__(self, objects: rim.RegistryObjectList) -> tuple[Finding, ...]:
        self.taken.append(objects)
        return self.does()

    def refuses(self, *findings: Finding) -> None:
        def refuse() -> tuple[Finding, ...]:
            raise Refused(findings or (REFUSAL,))

        self.does = refuse

    def is_silent(self) -> None:
        def silence() -> tuple[Finding, ...]:
            raise NoAnswer

        self.does = silence


class Desk:
    """A repository of its own, with its registry in the same process or elsewhere."""

    def __init__(self, engine: sa.Engine, folder: Path, *, remote: bool) -> None:
        self.oid = f"2.25.{uuid.uuid4().int}"
        self.database = Database(engine, BlobStore(folder), "default", self.oid)
        self.repository = DocumentRepository(self.oid, self.database.blobs, remote=remote, streams=2)
        self.registry = Registry()

    def provide(self, submission: Submission, *contents: bytes, **named: bytes) -> tuple[Finding, ...]:
        """Contents in order of the entries, or by the id of the entry."""
        ids = [entry.entry_uuid for entry in submission.document_entries]
        pairs = [*zip(ids, contents, strict=False), *named.items()]
        objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))
        return self.send(objects, pairs)

    def send(self, objects: rim.RegistryObjectList, pairs: list[tuple[Any, bytes]]) -> tuple[Finding, ...]:
        work = self.database.work()
        with Spool(self.database.blobs.staging) as spool:
            staged = []
            for id_, data in pairs:
                writing = spool.new()
                writing.write(data)
                staged.append((id_, writing.finish()))
            try:
                warnings = self.repository.provide_and_register(objects, staged, work, self.registry)
                work.commit()
                return warnings
            finally:
                work.close()

    def refusal(self, submission: Submission, *contents: bytes, **named: bytes) -> list[ErrorCode]:
        with pytest.raises(Refused) as refused:
            self.provide(submission, *contents, **named)
        return [finding.code for finding in refused.value.findings]

    def state(self, unique_id: str) -> str:
        with self.database.work().reading() as (_, table):
            return getattr(table.find(unique_id), "state", "")

    def retrieve(self, *unique_ids: str) -> list[Kept | Finding]:
        requests = [DocumentRequest(self.oid, unique_id) for unique_id in unique_ids]
        return self.repository.retrieve(requests, self.database.work())

    def bytes_of(self, unique_id: str) -> bytes:
        (kept,) = self.retrieve(unique_id)
        assert isinstance(kept, Kept)
        return b"".join(self.repository.chunks(kept))

    def settle(self, holds: Callable[[str], bool], age: float = 0.0) -> int:
        return self.repository.settle(holds, age, self.database.work())


@pytest.fixture(params=["here", "elsewhere"])
def desk(request: pytest.FixtureRequest, shared_engine: sa.Engine, tmp_path: Path) -> Iterator[Desk]:
    """With its registry in this process, and elsewhere."""
    return Desk(shared_engine, tmp_path / "documents", remote=request.param == "elsewhere")


@pytest.fixture
def apart(shared_engine: sa.Engine, tmp_path: Path) -> Desk:
    """With its registry elsewhere."""
    return Desk(shared_engine, tmp_path / "documents", remote=True)


def entry_of(content: bytes, **changes: Any) -> DocumentEntry:
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return an_entry(hash=sha1, size=len(content), **changes)


def bare(submission: Submission) -> rim.RegistryObjectList:
    """As most sources send: no hash, size or repository."""
    objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))
    ours = ("hash", "size", "repositoryUniqueId")
    entries = (replace(e, slots=tuple(s for s in e.slots if s.name not in ours)) for e in objects.extrinsic_objects)
    return replace(objects, extrinsic_objects=tuple(entries))


def test_documents_are_kept_and_registered_with_what_the_repository_knows(desk: Desk) -> None:
    one, other = an_entry(), an_entry()
    desk.registry.does = lambda: (WARNING,)
    pairs = [(one.entry_uuid, b"one"), (other.entry_uuid, b"other")]
    assert desk.send(bare(a_submission(entries=[one, other])), pairs) == (WARNING,)
    (taken,) = desk.registry.taken
    for sent, content in zip(taken.extrinsic_objects, (b"one", b"other"), strict=True):
        slots = {slot.name: slot.values for slot in sent.slots}
        assert slots["hash"] == (hashlib.sha1(content, usedforsecurity=False).hexdigest(),)
        assert slots["size"] == (str(len(content)),)
        assert slots["repositoryUniqueId"] == (desk.oid,)
    assert [desk.bytes_of(e.unique_id) for e in (one, other)] == [b"one", b"other"]
    assert [desk.state(e.unique_id) for e in (one, other)] == ["registered"] * 2


def test_what_the_source_says_of_its_document_is_held_to_it(desk: Desk) -> None:
    content = b"content"
    good = entry_of(content)
    assert good.hash is not None
    desk.provide(a_submission(entries=[replace(good, hash=good.hash.upper())]), content)
    for spoilt in (replace(entry_of(content), hash="0" * 40), replace(entry_of(content), size=8)):
        assert desk.refusal(a_submission(entries=[spoilt]), content) == [ErrorCode.REPOSITORY_METADATA]
    both = replace(entry_of(content), hash="0" * 40, size=8)
    assert desk.refusal(a_submission(entries=[both]), content) == [ErrorCode.REPOSITORY_METADATA] * 2
    assert len(desk.registry.taken) == 1


def test_a_document_to_be_assembled_later_is_announced_as_empty(desk: Desk) -> None:
    entry = an_entry(hash=EMPTY_SHA1, size=0)
    desk.provide(a_submission(entries=[entry]), b"not yet all")
    assert desk.bytes_of(entry.unique_id) == b"not yet all"


@pytest.mark.parametrize("given", [0, 1])
def test_every_entry_has_its_document(desk: Desk, given: int) -> None:
    entries = [entry_of(b"x"), entry_of(b"x")]
    codes = desk.refusal(a_submission(entries=entries), *[b"x"] * given)
    assert codes == [ErrorCode.MISSING_DOCUMENT] * (2 - given)
    assert desk.registry.taken == []


def test_every_document_has_its_entry(desk: Desk) -> None:
    codes = desk.refusal(a_submission(entries=[entry_of(b"x")]), b"x", stranger=b"y")
    assert codes == [ErrorCode.MISSING_DOCUMENT_METADATA]


def test_an_id_is_of_one_document(desk: Desk) -> None:
    entry = entry_of(b"x")
    with pytest.raises(Refused) as refused:
        desk.send(bare(a_submission(entries=[entry])), [(entry.entry_uuid, b"x"), (entry.entry_uuid, b"x")])
    assert [f.code for f in refused.value.findings] == [ErrorCode.REPOSITORY_METADATA]


def test_a_unique_id_comes_once_in_a_message(desk: Desk) -> None:
    one = entry_of(b"x")
    codes = desk.refusal(a_submission(entries=[one, entry_of(b"x", unique_id=one.unique_id)]), b"x", b"x")
    assert codes == [ErrorCode.REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE]


@pytest.mark.parametrize("unique_id", ["", "x" * 129])
def test_a_document_has_a_unique_id_that_can_be_kept(desk: Desk, unique_id: str) -> None:
    codes = desk.refusal(a_submission(entries=[entry_of(b"x", unique_id=unique_id)]), b"x")
    assert codes == [ErrorCode.REPOSITORY_METADATA]


def test_everything_that_is_wrong_is_said_at_once(desk: Desk) -> None:
    entries = [replace(entry_of(b"x"), size=9), entry_of(b"y", unique_id=""), entry_of(b"z")]
    codes = desk.refusal(a_submission(entries=entries), b"x", b"y", stranger=b"s")
    assert sorted(codes) == sorted(
        [ErrorCode.REPOSITORY_METADATA] * 2 + [ErrorCode.MISSING_DOCUMENT, ErrorCode.MISSING_DOCUMENT_METADATA]
    )


def test_the_same_document_may_come_again_and_another_under_its_id_may_not(desk: Desk) -> None:
    entry = entry_of(b"first")
    desk.provide(a_submission(entries=[entry]), b"first")
    desk.provide(a_submission(entries=[entry_of(b"first", unique_id=entry.unique_id)]), b"first")
    same_size = entry_of(b"other", unique_id=entry.unique_id)
    assert desk.refusal(a_submission(entries=[same_size]), b"other") == [ErrorCode.NON_IDENTICAL_HASH]
    longer = entry_of(b"longer", unique_id=entry.unique_id)
    assert desk.refusal(a_submission(entries=[longer]), b"longer") == [
        ErrorCode.NON_IDENTICAL_SIZE, ErrorCode.NON_IDENTICAL_HASH,
    ]  # fmt: skip
    assert desk.bytes_of(entry.unique_id) == b"first"


def test_another_document_that_comes_in_between_is_found_when_the_row_is_added(desk: Desk) -> None:
    entry = entry_of(b"mine")
    add = desk.repository._add

    def beaten(table: Any, document: Any, state: str, submission: str) -> None:
        other = Kept(entry.unique_id, "text/plain", 6, "a" * 40, "b" * 64)
        table.add(other)
        add(table, document, state, submission)

    desk.repository._add = beaten  # type: ignore[method-assign]
    assert desk.refusal(a_submission(entries=[entry]), b"mine") == [ErrorCode.NON_IDENTICAL_HASH]
    assert desk.state(entry.unique_id) == ""


def test_a_refused_submission_leaves_no_row(desk: Desk) -> None:
    entries = [entry_of(b"x"), entry_of(b"y")]
    desk.registry.refuses()
    assert desk.refusal(a_submission(entries=entries), b"x", b"y") == [REFUSAL.code]
    assert [desk.state(e.unique_id) for e in entries] == ["", ""]


# What is asked for.


def test_what_cannot_be_given_is_said_by_its_id(desk: Desk) -> None:
    entry = entry_of(b"x" * 100)
    desk.provide(a_submission(entries=[entry]), b"x" * 100)
    elsewhere = DocumentRequest("1.2.99" + "9" * 100, entry.unique_id)
    found = desk.repository.retrieve(
        [elsewhere, DocumentRequest(desk.oid, "1.2.unknown"), DocumentRequest(desk.oid, entry.unique_id)],
        desk.database.work(),
    )
    assert [(f.code, f.location) for f in found if isinstance(f, Finding)] == [
        (ErrorCode.UNKNOWN_REPOSITORY_ID, entry.unique_id),
        (ErrorCode.DOCUMENT_UNIQUE_ID, "1.2.unknown"),
    ]
    assert isinstance(found[2], Kept)
    os.truncate(desk.database.blobs.path(found[2].sha256), 10)
    (damaged,) = desk.retrieve(entry.unique_id)
    assert isinstance(damaged, Finding)
    assert damaged.code is ErrorCode.REPOSITORY_ERROR


def test_only_so_many_streams_run_at_once(desk: Desk) -> None:
    first, second = desk.repository.streams.enter(), desk.repository.streams.enter()
    with pytest.raises(Refused) as refused:
        desk.repository.streams.enter()
    assert [f.code for f in refused.value.findings] == [ErrorCode.REPOSITORY_BUSY]
    first()
    desk.repository.streams.enter()()
    second()


def test_streams_of_one_peer_leave_places_for_those_of_others(desk: Desk) -> None:
    streams = desk.repository.streams
    with serving("greedy"):
        held = [streams.enter(), streams.enter()]
    with serving("another"):
        held.append(streams.enter())
    with serving("a third"):
        held.append(streams.enter())
    with serving("a fourth"), pytest.raises(Refused):
        streams.enter()
    for give_back in held:
        give_back()


# A registry that does not answer.


def test_documents_wait_while_the_registry_is_silent(apart: Desk) -> None:
    entry = entry_of(b"x")
    apart.registry.is_silent()
    assert apart.refusal(a_submission(entries=[entry]), b"x") == [ErrorCode.REGISTRY_NOT_AVAILABLE]
    assert apart.state(entry.unique_id) == "pending"


@pytest.mark.parametrize("registered", [True, False])
def test_what_waits_is_settled_as_the_registry_says(apart: Desk, registered: bool) -> None:
    entries = [entry_of(b"x"), entry_of(b"y")]
    apart.registry.is_silent()
    apart.refusal(a_submission(entries=entries), b"x", b"y")
    asked: list[str] = []

    def holds(unique_id: str) -> bool:
        asked.append(unique_id)
        return registered

    assert apart.settle(holds, age=60) == 0
    assert apart.settle(holds) == 2
    assert asked == [e.unique_id for e in entries]
    assert [apart.state(e.unique_id) for e in entries] == ["registered" if registered else ""] * 2
    assert apart.settle(holds) == 0


def test_what_the_registry_does_not_say_waits_on(apart: Desk) -> None:
    entries = [entry_of(b"x"), entry_of(b"y")]
    apart.registry.is_silent()
    apart.refusal(a_submission(entries=entries), b"x", b"y")

    def holds(unique_id: str) -> bool:
        if unique_id == entries[1].unique_id:
            raise NoAnswer
        return True

    with pytest.raises(NoAnswer):
        apart.settle(holds)
    assert [apart.state(e.unique_id) for e in entries] == ["registered", "pending"]


def test_a_resend_takes_over_what_waits(apart: Desk) -> None:
    submission = a_submission(entries=[entry_of(b"x")])
    unique_id = submission.document_entries[0].unique_id
    apart.registry.is_silent()
    apart.refusal(submission, b"x")
    apart.registry.does = lambda: ()
    apart.provide(a_submission(entries=[entry_of(b"x", unique_id=unique_id)]), b"x")
    assert apart.state(unique_id) == "registered"
    assert apart.settle(lambda _: False) == 0
    assert apart.bytes_of(unique_id) == b"x"


def test_a_resend_with_other_bytes_is_refused_and_the_first_waits_on(apart: Desk) -> None:
    entry = entry_of(b"x")
    apart.registry.is_silent()
    apart.refusal(a_submission(entries=[entry]), b"x")
    other = entry_of(b"y", unique_id=entry.unique_id)
    assert apart.refusal(a_submission(entries=[other]), b"y") == [ErrorCode.NON_IDENTICAL_HASH]
    assert apart.state(entry.unique_id) == "pending"


def test_a_refused_resend_does_not_take_away_what_may_be_registered(apart: Desk) -> None:
    """The first ITI-42 was lost on its way back; its resend is refused because it was registered."""
    submission = a_submission(entries=[entry_of(b"x")])
    unique_id = submission.document_entries[0].unique_id
    apart.registry.is_silent()
    apart.refusal(submission, b"x")
    apart.registry.refuses(Finding(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "SubmissionSet.uniqueId"))
    apart.refusal(submission, b"x")
    apart.settle(lambda _: True)
    assert apart.state(unique_id) == "registered"
    assert apart.bytes_of(unique_id) == b"x"


def test_a_refusal_leaves_what_was_registered_before(apart: Desk) -> None:
    entry = entry_of(b"x")
    apart.provide(a_submission(entries=[entry]), b"x")
    apart.registry.refuses()
    apart.refusal(a_submission(entries=[entry_of(b"x", unique_id=entry.unique_id)]), b"x")
    assert apart.state(entry.unique_id) == "registered"


def test_what_is_seen_of_one_repository_is_not_seen_of_another() -> None:
    def one(patient: str, repository: str) -> Kept:
        return Kept("X", "text/plain", 1, "a", "b", patient_id=patient, repository_unique_id=repository)

    for remote in (True, False):
        repository = DocumentRepository("1.1", None, remote=remote, streams=1, also=("1.2",))  # type: ignore[arg-type]
        only_anna = SimpleNamespace(
            sees_everything=False,
            wants_of=lambda cx: SimpleNamespace(shows=lambda _facts: cx == "anna"),
            documents_by_unique_id=lambda _ids: [SimpleNamespace(unique_id="X", repository_unique_id="1.2")],
        )
        asked = [DocumentRequest("1.1", "X"), DocumentRequest("1.2", "X")]
        seen = repository._seen([one("bert", "1.1"), one("anna", "1.2")], asked, only_anna)  # type: ignore[arg-type]
        assert [isinstance(found, Kept) for found in seen] == [False, True], f"remote={remote}"


def test_what_is_seen_of_another_repository_is_not_seen_of_ours() -> None:
    repository = DocumentRepository("1.1", None, remote=False, streams=1, also=("1.2",))  # type: ignore[arg-type]
    only_anna = SimpleNamespace(
        sees_everything=False,
        documents_by_unique_id=lambda _ids: [SimpleNamespace(unique_id="X", repository_unique_id="1.2")],
    )
    berts = Kept("X", "text/plain", 1, "a", "b", patient_id="bert", repository_unique_id="1.1")
    seen = repository._seen([berts], [DocumentRequest("1.1", "X")], only_anna)  # type: ignore[arg-type]
    assert not isinstance(seen[0], Kept)
