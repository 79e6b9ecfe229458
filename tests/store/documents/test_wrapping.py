"""The file of an operator's keys, when more than one changes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.store.databases import at_once
from xds.errors import Unusable
from xds.store.documents import wrapping


def added(path: Path, count: int) -> list[str]:
    """The ids of keys that so many have added at the same time."""
    made = at_once([partial(wrapping.add, path)] * count)
    return [one.id for one in made if isinstance(one, wrapping.FileKey)]


def test_of_keys_that_are_added_at_the_same_time_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = wrapping.add(path)
    made = added(path, 16)
    assert len(made) == 16
    assert {*wrapping.KeyFile(path).keys} == {first.id, *made}
    at_once([partial(wrapping.remove, path, one) for one in made])
    assert [*wrapping.KeyFile(path).keys] == [first.id]


def test_of_who_make_the_file_at_the_same_time_each_has_a_key_in_it(tmp_path: Path) -> None:
    made = added(tmp_path / "keys", 8)
    assert len(made) == 8
    assert {*wrapping.KeyFile(tmp_path / "keys").keys} == {*made}


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"):
        wrapping.add(tmp_path / "none" / "keys")
