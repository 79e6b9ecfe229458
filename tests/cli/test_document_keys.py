"""``xds documents key`` and ``encrypt``: documents at rest, from a key that is made to one that is taken away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.cli.command import xds
from tests.cli.test_documents import nothing_is_young
from tests.hostile.server import Served
from xds.store.documents import wrapping
from xds.store.engine import make_engine
from xds.store.tables import audit_record

__all__ = ["nothing_is_young"]

TEXT = b"Anna Schmidt " * 50_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A deployment that does not encrypt yet."""
    served = Served(tmp_path / "site")
    yield served
    if served.process is not None and served.process.poll() is None:
        served.kill()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "documents.keys"
    done = xds("documents", "key", "new", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(wrapping.KeyFile(path).newest.id)
    return path


def switched_on(served: Served, keys: Path) -> Served:
    served.sections = {**served.sections, "server": {**served.sections.get("server", {}), "documents_key": str(keys)}}
    served.write_config()
    return served


def readable(served: Served) -> list[Path]:
    """The files that somebody could read who has the disk."""
    documents = served.data / "documents"
    return [path for path in documents.rglob("*") if path.is_file() and b"Schmidt" in path.read_bytes()]


def on_record(served: Served, what: str) -> int:
    engine = make_engine(served.settings.database_url, connections=1)
    with engine.connect() as connection:
        said = [bytes(row.message) for row in connection.execute(sa.select(audit_record.c.message))]
    engine.dispose()
    return sum(what.encode() in message for message in said)


def documents(served: Served, *more: object) -> Any:
    done = xds("documents", *more, "--config", served.config)
    assert (done.code, done.err) == (0, ""), done.out
    return done


def test_what_a_deployment_has_is_encrypted_while_it_runs_and_its_key_is_changed(
    served: Served, keys: Path, tmp_path: Path
) -> None:
    served.start()
    sent = [served.provide(TEXT, tmp_path / "spool"), served.provide(b"Schmidt", tmp_path / "spool")]
    assert len(readable(served)) == 2
    assert served.stop() == 0

    switched_on(served, keys).start()
    sent.append(served.provide(TEXT[::-1], tmp_path / "spool"))
    contents = [TEXT, b"Schmidt", TEXT[::-1]]
    assert [served.retrieved(one) for one in sent] == contents
    assert "2 would be encrypted" in documents(served, "encrypt", "--dry-run").out
    assert "2 encrypted" in documents(served, "encrypt").out
    assert len(readable(served)) == 2
    ended = documents(served, "encrypt", "--finish")
    assert "0 encrypted" in ended.out
    assert "no document is left in clear" in ended.out
    assert readable(served) == []
    assert [served.retrieved(one) for one in sent] == contents

    first = wrapping.KeyFile(keys).newest.id
    assert xds("documents", "key", "remove", first, "--config", served.config).code == 1
    xds("documents", "key", "new", keys)
    second = wrapping.KeyFile(keys).newest.id
    assert f"wrapped anew by {second}" in documents(served, "key", "rotate").out
    listed = xds("documents", "key", "list", "--config", served.config, "--json").json
    assert [(one["key"], one["used"], len(one["needed_by"])) for one in listed["keys"]] == [
        (first, False, 0), (second, True, 1)
    ]  # fmt: skip
    documents(served, "key", "remove", first)
    assert [served.retrieved(one) for one in sent] == contents
    assert served.stop() == 0
    served.start()
    sent.append(served.provide(b"after that", tmp_path / "spool"))
    assert [served.retrieved(one) for one in sent] == [*contents, b"after that"]
    assert xds("doctor", "documents", "--read", "--config", served.config).out == "every document is there\n"
    assert served.stop() == 0
    assert on_record(served, "urn:xds:documents:encrypt") == 2
    assert on_record(served, "urn:xds:documents:key") == 1


def test_a_server_whose_key_is_gone_does_not_start_and_says_which(served: Served, keys: Path, tmp_path: Path) -> None:
    switched_on(served, keys).start()
    sent = served.provide(b"Schmidt", tmp_path / "spool")
    assert served.stop() == 0
    needed, kept = wrapping.KeyFile(keys).newest.id, keys.read_bytes()
    keys.unlink()
    refused = [("xds documents key new FILE makes one", lambda: None)]
    refused.append((f"need the key {needed}", lambda: xds("documents", "key", "new", keys)))
    for said, change in refused:
        change()
        served.launch()
        assert served.process is not None
        assert served.process.wait(60) == 1
        assert said in served.log
        assert "Traceback" not in served.log
    served.sections = {}
    served.launch()
    assert served.process.wait(60) == 1
    assert f"are encrypted by the key {needed}: server.documents_key must name where it is" in served.log
    keys.write_bytes(kept)
    switched_on(served, keys).start()
    assert served.retrieved(sent) == b"Schmidt"


def test_a_document_that_cannot_be_opened_is_refused_and_told_the_operator(
    served: Served, keys: Path, tmp_path: Path
) -> None:
    """The first who asks learns it as the reply breaks off, as of any damaged document; who comes then, before."""
    switched_on(served, keys).start()
    sent = served.provide(b"Schmidt", tmp_path / "spool")
    (file,) = (served.data / "documents" / "sealed").glob("??/??/*")
    sealed = file.read_bytes()
    file.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    for _ in range(2):
        try:
            assert served.retrieved(sent) is None
        except Exception as problem:
            assert "Schmidt" not in str(problem)
    assert "document.not_opened" in served.log
    assert "Schmidt" not in served.log


def test_what_is_not_encrypted_has_no_keys_to_speak_of(served: Served) -> None:
    served.write_config()
    served.settings  # noqa: B018  it is made
    for command in (["key", "list"], ["key", "rotate"], ["key", "remove", "0" * 16], ["encrypt"]):
        done = xds("documents", *command, "--config", served.config)
        assert (done.code, done.out) == (1, "")
        assert "server.documents_key is not set" in done.err


def test_another_user_than_the_service_s_changes_no_keys(
    served: Served, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service could not read them any more."""
    assert switched_on(served, keys).start().stop() == 0
    xds("documents", "key", "new", keys)
    file = served.data / "documents" / "sealed" / "keys.json"
    before = file.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    done = xds("documents", "key", "rotate", "--config", served.config)
    assert (done.code, done.out) == (1, "")
    assert "could not read what is made here: sudo -u" in done.err
    assert file.read_bytes() == before


def test_a_file_that_is_none_of_keys_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    path.chmod(0o600)
    done = xds("documents", "key", "new", path)
    assert (done.code, "is no key" in done.err) == (1, True)
    assert path.read_text() == "buy milk\n"
    assert xds("documents", "key", "new", tmp_path / "no" / "where").code == 1
