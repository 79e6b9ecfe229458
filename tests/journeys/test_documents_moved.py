"""Documents move to another store while they are sent and fetched: each that was acknowledged is there at any time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import xds
from tests.conftest import copied, wait_for
from tests.extent import LONG, size
from tests.hostile.server import Served
from tests.store.object_stores import Server, s3_server
from xds.ebxml.xdsb import DocumentRequest
from xds.store.documents.stores import places
from xds.store.engine import make_engine
from xds.store.interface import Blobs

__all__ = ["s3_server"]

BEFORE, LEAST = 24, 12
"""Documents that are there at the beginning, and requests of each kind that are seen meanwhile."""

SLOWLY = "--bytes-per-second", "400000"
"""So that it lasts for some seconds."""


_NOTHING_IS_YOUNG = """
from xds.cli import main
from xds.store.documents import moving
moving.SWEEP_SECONDS = -60
main()
"""


class Load:
    """Documents that are sent, and all that were acknowledged being fetched, one after another."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served, self.folder = served, folder
        self.acknowledged: list[tuple[DocumentRequest, bytes]] = []
        self.sent = self.fetched = 0
        self._stop = threading.Event()

    def send(self) -> None:
        content = f"document {len(self.acknowledged)} {time.time_ns()} ".encode() * 2000
        self.acknowledged.append((self.served.provide(content, self.folder / "sent"), content))

    def _sends(self) -> None:
        while not self._stop.is_set():
            self.send()
            self.sent += 1
            time.sleep(0.02)

    def _fetches(self) -> None:
        number = 0
        while not self._stop.is_set():
            number = (number + 7) % len(self.acknowledged)
            self.fetch(*self.acknowledged[number])
            self.fetched += 1

    def fetch(self, request: DocumentRequest, content: bytes) -> None:
        assert self.served.retrieved(request) == content, request.document_unique_id

    def fetch_all(self) -> None:
        for one in self.acknowledged:
            self.fetch(*one)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Until it is left; what went wrong meanwhile is raised."""
        self._stop.clear()
        with ThreadPoolExecutor(3) as threads:
            running = [threads.submit(what) for what in (self._sends, self._fetches, self._fetches)]
            try:
                yield
            finally:
                self._stop.set()
            for one in running:
                one.result()

    def some_more(self) -> None:
        """Wait until some were sent and fetched."""
        sent, fetched = self.sent, self.fetched
        wait_for(lambda: self.sent >= sent + LEAST and self.fetched >= fetched + LEAST)


def mover(served: Served, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _NOTHING_IS_YOUNG, "documents", "move", "--config", str(served.config), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL  # it had not ended by itself


def done(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out + err
    return out


@pytest.mark.large
@pytest.mark.parametrize(("to", "database"), [("s3", "sqlite"), ("folder", "postgres")][: size(1, 2)])
def test_documents_move_under_load_and_the_mover_is_killed(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: Server, to: str, database: str
) -> None:
    request.param = database
    bucket, folder = f"s3://{s3_server.bucket()}/xds", f"file:{tmp_path / 'documents'}"
    old, new = (folder, bucket) if to == "s3" else (bucket, folder)
    server = {"documents": old, "database": copied(request, tmp_path)}
    served = Served(tmp_path / "site", {"server": server, "s3": {"endpoint": s3_server.url, "seconds": 5.0}})
    load = Load(served.start(), tmp_path)
    try:
        for _ in range(BEFORE):
            load.send()
        served.stop()
        server |= {"documents": new, "documents_also": old}
        served.start()
        engine = make_engine(served.settings.database_url, connections=2)
        there, before = (place.open(engine) for place in places(served.settings))
        with load.going_on():
            load.some_more()
            first = mover(served, *SLOWLY)
            wait_for(lambda: both(there, before) > 2)
            killed(first)
            assert 0 < both(there, before) < BEFORE
            assert "nothing was removed" in done(mover(served))
            assert both(there, before) == BEFORE
            load.some_more()
            last = mover(served, "--finish", *SLOWLY)
            wait_for(lambda: len([*before.names()]) < BEFORE - 2)
            killed(last)
            assert len([*before.names()]) > 0
            load.some_more()
            assert "nothing is left there" in done(mover(served, "--finish"))
            load.some_more()
        assert list(before.names()) == []
        load.fetch_all()
        served.stop()
        del server["documents_also"]
        served.start()
        load.fetch_all()
        engine.dispose()
    finally:
        assert served.stop() == 0
    assert xds("doctor", "documents", "--read", "--config", served.config).code == 0


def both(one: Blobs, other: Blobs) -> int:
    """How many documents are in both."""
    return len({*one.names()} & {*other.names()})


@pytest.mark.large
@pytest.mark.skipif(not LONG, reason="two nodes are started five times, half a minute: make test-long")
def test_two_nodes_are_told_of_the_new_store_one_after_the_other(
    postgres_databases: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """First each reads from the new one, too; then each writes there.  In between both give all that either took."""
    request.param = "postgres"
    old, new = f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}"
    repository = {"unique_id": "1.2.3.4.5"}
    database = copied(request, tmp_path)
    servers = [{"documents": old, "database": database} for _ in range(2)]
    nodes = [Served(tmp_path / f"node-{number}", {"server": server, "repository": repository}).start()
             for number, server in enumerate(servers)]  # fmt: skip
    taken: list[tuple[DocumentRequest, bytes]] = []

    def all_is_there() -> None:
        for node in nodes:
            content = f"{len(taken)}".encode()
            taken.append((node.provide(content, tmp_path / "sent"), content))
        for node in nodes:
            assert [node.retrieved(asked) for asked, _ in taken] == [content for _, content in taken]

    try:
        all_is_there()
        for documents, also in ((old, new), (new, old)):
            for node, server in zip(nodes, servers, strict=True):
                node.stop()
                server |= {"documents": documents, "documents_also": also}
                node.start()
                all_is_there()
        assert "nothing is left there" in done(mover(nodes[0], "--finish"))
        for node, server in zip(nodes, servers, strict=True):
            node.stop()
            del server["documents_also"]
            node.start()
            all_is_there()
    finally:
        for node in nodes:
            node.stop()
