"""kill -9 while instances are set apart and decided upon: each file has its row then, and no decision is half done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.hostile.test_set_apart import (
    REASON,
    WHO,
    apart_of,
    files,
    listed,
    not_its_own,
    of_another,
    sent,
    settings,
    site,
    stored,
    undecided,
)
from tests.imaging.images import an_instance
from tests.server.test_application import Site
from xds.archives.intake import Intake
from xds.archives.quarantine import Quarantine
from xds.endpoints.apart import Apart
from xds.store.engine import make_engine
from xds.store.tables import apart
from xds.system.whose import mark

__all__ = ["settings", "site"]


class Killed(BaseException):
    """The end of a process, as far as its own code goes on."""


def ended_process() -> str:
    """The mark of one that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return mark().replace(str(os.getpid()), str(process.pid), 1)


def test_a_file_that_no_row_names_is_removed_where_its_process_is_gone(site: Site) -> None:
    sent(site, of_another())
    (kept,) = files(site)
    for name in (f"apart-{ended_process()}-00ff", f"apart-{mark()}-00ff"):
        (kept.parent / name).write_bytes(b"images of a patient")
    assert apart_of(site).recovered() == 1
    assert files(site) == sorted([kept, kept.parent / f"apart-{mark()}-00ff"])  # this process lives: its row may come


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, of: type, at: str) -> Iterator[None]:
    """What is done inside comes as far as this, and not back."""

    def ends(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(of, at, ends)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize(
    ("decision", "at"),
    [("take", "_done"), ("take", "keep"), ("take", "remove"), ("discard", "_done"), ("discard", "remove")],
)
def test_a_decision_that_was_made_is_done_by_the_next_start(
    site: Site, monkeypatch: pytest.MonkeyPatch, decision: str, at: str
) -> None:
    not_its_own(site)
    sent(site, an_instance(2))
    one = apart_of(site)

    with killed(monkeypatch, {"_done": Apart, "keep": Intake, "remove": Quarantine}[at], at):
        getattr(one, decision)(1, WHO, REASON)
    assert (undecided(site), len(files(site))) == ((0, 0), 1)
    assert one.recovered() == 1
    assert (files(site), one.recovered()) == ([], 0)
    assert listed(site).count(b'"00080018"') == (2 if decision == "take" else 1)


def test_what_cannot_be_taken_in_any_more_at_the_next_start_waits_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_its_own(site)
    sent(site, an_instance(2))
    one = apart_of(site)

    with killed(monkeypatch, Apart, "_done"):
        one.take(1, WHO, REASON)
    (held,) = Path(site.application.settings.imaging_source.folder).rglob("*.dcm")
    of_another(1).save_as(held, enforce_file_format=True)
    one._intake._archive.refresh()
    one.recovered()
    assert (undecided(site), len(files(site))) == ((1, 1), 1)


def test_after_kill_9_in_a_stream_each_file_has_its_row_and_each_row_its_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    imaging = {"folder": str(tmp_path / "images"), "stow_rs": True}
    served = Served(tmp_path / "serve", {"imaging_source": imaging}).start()
    assert stored(served, an_instance(1)) == 200
    stop, numbers, told = threading.Event(), iter(range(2, 100_000)), list[int]()

    def stream() -> None:
        while not stop.is_set():
            number = next(numbers)
            try:
                if stored(served, of_another(number)) == 409:
                    told.append(number)
            except (URLError, OSError):
                stop.wait(0.05)

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(stream) for _ in range(3)]
        try:
            wait_for(lambda: len(told) > 20, 60)
            served.kill()
        finally:
            stop.set()
        for each in running:
            each.result()
    served.start()
    engine = make_engine(served.settings.database_url, connections=1)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(apart.c.file, apart.c.sop_instance_uid)).all()
        assert {row.file for row in rows} == {path.name for path in (tmp_path / "images/.apart").iterdir()}
        assert {int(row.sop_instance_uid.rpartition(".")[2]) for row in rows} >= set(told)
        with urlopen(f"{served.url}/metrics") as reply:  # noqa: S310
            assert f'xds_apart_undecided{{of="instances"}} {len(rows)}' in reply.read().decode()
    finally:
        engine.dispose()
        assert served.stop() == 0
