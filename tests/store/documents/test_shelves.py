"""Where the keys of a store lie, and what is said when they are somebody else's."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pytest

from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import kept
from tests.store.documents.test_sealing import TEXT, Store, store
from xds.errors import Unusable
from xds.store.documents import checking
from xds.store.documents.folder import NotReachable
from xds.store.documents.shelves import FolderShelf
from xds.system import private

__all__ = ["shared_engine", "store"]


def failing(number: int) -> Any:
    """What raises an error of the system, whatever it is called with: the tests may run as root."""

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(number, "no")

    return fails


def test_keys_that_the_service_may_not_read_are_named_at_its_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(store.open(), TEXT)
    monkeypatch.setattr(Path, "read_bytes", failing(errno.EACCES))
    with pytest.raises(Unusable, match=re.escape(str(store.keys_file))):
        checking.opens(store.place, store.engine)


def test_keys_that_may_not_be_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "write", failing(errno.EPERM))
    with pytest.raises(Unusable, match=re.escape(f"{tmp_path}/sealed/keys.json")):
        FolderShelf(tmp_path).write(b"x")


def test_a_disk_that_fails_may_answer_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "write", failing(errno.EIO))
    with pytest.raises(NotReachable):
        FolderShelf(tmp_path).write(b"x")
