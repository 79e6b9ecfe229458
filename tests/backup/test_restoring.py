"""What is refused before a backup is brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xds.backup.restoring import restore
from xds.errors import Unusable
from xds.settings.configuration import load
from xds.store.documents import wrapping


def brought_back(tmp_path: Path, key: Path) -> None:
    (tmp_path / "xds.toml").write_text("")
    given = {"server.data": str(tmp_path / "data"), "server.documents_key": str(key)}
    identities: Any = None
    restore(
        tmp_path / "backup", load(tmp_path / "xds.toml", {}).changed(given, "command line"), identities, lambda *_: None
    )


def test_a_key_that_lies_where_documents_are_brought_back_to_is_said_to_be_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data" / "keys").mkdir(parents=True)
    wrapping.add(tmp_path / "data" / "keys" / "documents")
    with pytest.raises(Unusable, match=r"server\.documents_key: .*not within server\.data, which must be empty"):
        brought_back(tmp_path, tmp_path / "data" / "keys" / "documents")
    wrapping.add(tmp_path / "documents.keys")
    with pytest.raises(Unusable, match="holds no backup"):
        brought_back(tmp_path, tmp_path / "documents.keys")
