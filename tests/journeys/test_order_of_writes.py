"""What is acknowledged is on disk: write, sync, rename, sync of the folder, commit, reply, in this order.

kill -9 says nothing of syncing, so each step is recorded, and each is made to fail in turn.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import AUTHORITY, a_submission, an_entry
from xds.ebxml import lcm, rs
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.server.application import Application
from xds.settings.configuration import load
from xds.store.deployment import prepare, with_identity
from xds.store.documents.folder import BlobStore
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.engine import make_engine
from xds.store.tables import audit_record, document, document_entry, locator
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.transactions.transaction import Attachment
from xds.wire import mtom
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.http import HttpRequest
from xds.wire.soap import around
from xds.wire.spool import NotKept, Writing
from xds.wire.xml import name, parse

ORDER = ["write", "fsync file", "rename", "fsync folder", "commit", "reply"]
CONTENT = b"the document" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def application(database_url: str, tmp_path: Path) -> Iterator[Application]:
    loaded = with_identity(
        load(environment={}).changed(
            {
                "server.data": str(tmp_path / "data"),
                "server.database": database_url,
                "domain.patients": "open",
                "domain.assigning_authorities": (AUTHORITY,),
            },
            "command line",
        )
    )
    engine = make_engine(database_url)
    prepare(engine, loaded)
    engine.dispose()
    application = Application(loaded)
    # The folders of one blob are made once; here only what belongs to a submission counts.
    BlobStore(application.settings.documents_folder).path(SHA256).parent.mkdir(parents=True)
    yield application
    application.close()


class Steps:
    """Records the steps of a submission; the one named ``fails`` is made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine) -> None:
        self.seen: list[str] = []
        self.fails = ""
        finish, fsync, rename = Writing.finish, os.fsync, os.rename

        def finishing(writing: Writing) -> object:
            self.step("write")
            return finish(writing)

        def syncing(descriptor: int) -> None:
            folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
            self.step("fsync folder" if folder else "fsync file")
            fsync(descriptor)

        def renaming(source: object, target: object, **more: object) -> None:
            self.step("rename")
            rename(source, target, **more)  # type: ignore[call-overload]

        monkeypatch.setattr(Writing, "finish", finishing)
        monkeypatch.setattr(os, "fsync", syncing)
        monkeypatch.setattr(os, "rename", renaming)

        @sa.event.listens_for(engine, "before_cursor_execute")
        def executing(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
            if statement == "COMMIT":  # on PostgreSQL in one round trip with the audit record
                self.step("commit")

        @sa.event.listens_for(engine, "commit")
        def committing(connection: sa.Connection) -> None:
            if not connection.get_execution_options().get("reading"):
                self.step("commit")

    def step(self, what: str) -> None:
        if not self.seen or self.seen[-1] != what:
            self.seen.append(what)
        if what == self.fails:
            self.fails = ""
            if what == "write":
                raise NotKept(f"{what} was made to fail")
            raise OSError(f"{what} was made to fail")


@pytest.fixture
def steps(application: Application, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch, application.engine)


def a_message() -> tuple[str, bytes]:
    """An ITI-41 with one document: content type and body."""
    digest = hashlib.sha1(CONTENT).hexdigest()  # noqa: S324
    submission = a_submission(entries=[an_entry(hash=digest, size=len(CONTENT), repository_unique_id=None)])
    entry = submission.document_entries[0]
    head, tail = around(request_headers(ITI_41.action, "http://127.0.0.1/repository", new_message_id()))
    part = Attachment("document@test", len(CONTENT), lambda: iter([CONTENT]))
    message = mtom.mtom(
        (
            head,
            b'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">',
            etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission))),
            f'<xds:Document id="{entry.entry_uuid}">'.encode(),
            part,
            b"</xds:Document></xds:ProvideAndRegisterDocumentSetRequest>",
            tail,
        )
    )
    return dict(message.headers)["Content-Type"], b"".join(message.chunks)


def send(application: Application, steps: Steps, message: tuple[str, bytes]) -> Status | None:
    """The status of the answer; None where it is a fault."""
    content_type, body = message
    request = HttpRequest(
        "POST", "/repository", "", content_type, io.BytesIO(body).read, "127.0.0.1", "http://127.0.0.1/repository"
    )
    reply = application.reply(request)
    assert reply is not None
    data = b"".join(reply.chunks)
    steps.step("reply")
    response = parse(data[data.index(b"<?xml") : data.rindex(b"Envelope>") + 9]).find(
        f".//{name('rs:RegistryResponse')}"
    )
    return None if response is None else rs.read_response(response)[0]


def count(application: Application, table: sa.Table) -> int:
    with application.engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_the_steps_of_a_submission_come_in_their_order(application: Application, steps: Steps) -> None:
    assert send(application, steps, a_message()) is Status.SUCCESS
    assert steps.seen == ORDER


@pytest.mark.parametrize("fails", ORDER[:-1])
def test_a_submission_of_which_a_step_fails_is_wholly_absent_and_can_be_sent_again(
    application: Application, steps: Steps, fails: str
) -> None:
    message = a_message()
    steps.fails = fails
    assert send(application, steps, message) is not Status.SUCCESS
    assert "reply" in steps.seen
    assert [count(application, table) for table in (document, document_entry, locator)] == [0, 0, 0]
    # At most a blob that no row names is left, and the sweep takes it.
    application.database.blobs.sweep(application.engine, now=time.time() + SWEEP_SECONDS + 60)
    assert list(application.database.blobs.names()) == []
    assert list(application.database.blobs.staging.iterdir()) == []
    assert send(application, steps, message) is Status.SUCCESS
    assert [count(application, table) for table in (document, document_entry)] == [1, 1]


def test_a_submission_whose_reply_is_lost_is_there(application: Application, steps: Steps) -> None:
    steps.fails = "reply"
    with pytest.raises(OSError, match="reply"):
        send(application, steps, a_message())
    assert [count(application, table) for table in (document, document_entry)] == [1, 1]
    assert BlobStore(application.settings.documents_folder).path(SHA256).read_bytes() == CONTENT
    assert count(application, audit_record) == 3


def test_a_failed_step_leaves_its_failure_in_the_audit_log(application: Application, steps: Steps) -> None:
    steps.fails = "rename"
    send(application, steps, a_message())
    with application.engine.connect() as connection:
        # A failure of ours, not of the sender's: serious.
        assert list(connection.scalars(sa.select(audit_record.c.outcome))) == [8]
