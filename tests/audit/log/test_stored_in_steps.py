"""A log that is put into an object store piece by piece: however it is broken off, it is gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.databases import database_url, engine, shared_postgres
from tests.audit.log.test_retention import CERTIFICATES, COUNT, Log
from tests.audit.log.test_stored import found, given, log, objects, same, server, storing
from tests.audit.logs import LOG_ID
from tests.store.engines import engines
from xds.audit.log import stored as module
from xds.audit.log.stored import CHECKPOINTS, SEGMENTS, Slice, Stored
from xds.audit.log.verify import verify
from xds.store.audit.objects import AuditObjects, NotStored

__all__ = ["database_url", "engine", "engines", "given", "log", "objects", "server", "shared_postgres"]


@pytest.mark.parametrize("run", [2, 10_000])
def test_a_log_that_begins_with_an_erased_part_is_gone_on_with_wherever_it_was_broken_off(
    log: Log, objects: AuditObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: int
) -> None:
    monkeypatch.setattr(module, "RUN", run)
    first, second, *_ = log.over()
    for segment in (first, second):
        log.erase(segment)
    put, tries = objects.put, 0

    def once(name: str, data: bytes) -> None:
        if left.pop():
            put(name, data)
        else:
            raise NotStored("broken off")

    monkeypatch.setattr(objects, "put", once)
    while tries < 100:
        left, tries = [False, True], tries + 1  # one is put each time
        try:
            storing(log, objects).step()
            break
        except NotStored:
            continue
    assert 3 < tries < 100
    back = found(objects, tmp_path)
    assert (back.records, back.erased) == (COUNT, second.end)
    assert same(log.folder, tmp_path / "back")


def test_what_stands_in_the_place_of_what_was_erased_is_put_where_an_earlier_version_broke_off_before_it(
    log: Log, objects: AuditObjects, tmp_path: Path
) -> None:
    first, *_ = log.over()
    log.erase(first)
    storing(log, objects).step()
    objects.remove(Stored(objects, LOG_ID).path(SEGMENTS, Slice(0, first.end, is_erased=True)))
    assert storing(log, objects).step() == COUNT
    assert found(objects, tmp_path).erased == first.end


def test_checkpoints_are_put_so_many_at_once_each_with_their_records(
    log: Log, objects: AuditObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUN", 3)
    assert storing(log, objects).step() == COUNT
    assert [one.end - one.first for one in Stored(objects, LOG_ID).slices(CHECKPOINTS)] == [3, 3, 3, 1]
    assert found(objects, tmp_path) == verify(log.folder, CERTIFICATES)
    assert same(log.folder, tmp_path / "back")
