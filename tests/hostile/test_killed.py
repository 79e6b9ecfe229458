"""kill -9 in a stream of submissions: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.builders import a_submission, an_entry
from tests.conftest import wait_for
from tests.hostile.server import Served
from xds.actors.document_source import Content, provide
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Refused
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.spool import Spool

THREADS = 4


class Stream:
    """Submissions of two documents each, one after another, and what became of them."""

    def __init__(self, served: Served, folder: Path, number: int) -> None:
        self._served, self._folder, self._number = served, folder, number
        self.acknowledged: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.unknown: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    def run(self, stop: threading.Event) -> None:
        client = Client(f"{self._served.url}/repository", seconds=20)
        while not stop.is_set():
            turn = len(self.acknowledged) + len(self.unknown)
            contents = tuple(f"{self._number} {turn} {part} ".encode() * 20_000 for part in "ab")
            documents = [Content.of(content) for content in contents]
            entries = [an_entry(hash=d.sha1, size=d.size_bytes, repository_unique_id=None) for d in documents]
            ids = (str(entries[0].unique_id), str(entries[1].unique_id))
            try:
                with Spool(self._folder / str(self._number)) as spool:
                    provide(client, ITI_41.action, a_submission(entries=entries), documents, spool)
            except (NoReply, Faulted, Refused):
                self.unknown[ids] = (contents[0], contents[1])
                stop.wait(0.05)
            else:
                self.acknowledged[ids] = (contents[0], contents[1])


def test_after_kill_9_what_was_acknowledged_is_there_and_the_rest_wholly_or_not_at_all(tmp_path: Path) -> None:
    served = Served(tmp_path / "serve").start()
    streams = [Stream(served, tmp_path, number) for number in range(THREADS)]
    stop = threading.Event()

    def acknowledged() -> int:
        return sum(len(stream.acknowledged) for stream in streams)

    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(stream.run, stop) for stream in streams]
        try:
            wait_for(lambda: acknowledged() >= 6, 30)
            os.kill(served.web_worker(), signal.SIGKILL)  # it is started again by itself
            before = acknowledged()
            wait_for(lambda: acknowledged() >= before + 6, 30)
            served.kill()
        finally:
            stop.set()
        for each in running:
            each.result()
    assert any(stream.unknown for stream in streams)

    served.start()
    try:
        repository, found = served.settings.repository.unique_id, served.found()
        for stream in streams:
            for ids, contents in stream.acknowledged.items():
                assert set(ids) <= found
                assert [served.retrieved(DocumentRequest(repository, id_)) for id_ in ids] == list(contents)
            for ids, contents in stream.unknown.items():
                held = [served.retrieved(DocumentRequest(repository, id_)) for id_ in ids]
                assert held in ([None, None], list(contents))
                assert len(found & set(ids)) == (2 if held[0] else 0)
        request = served.provide(b"afterwards", tmp_path / "afterwards")
        assert served.retrieved(request) == b"afterwards"
    finally:
        assert served.stop() == 0
    command = [sys.executable, "-m", "xds", "audit", "verify", "--database", "--config", str(served.config)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr
    assert "the log holds" in verified.stdout
