"""A large registry is loaded only where it fits, and goes on from where it was."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench import province
from tests.bench.province import Reckoned
from tests.bench.run import Run, Size


@pytest.mark.parametrize(
    ("seconds", "size_bytes", "fits"), [(3600.0, 80.0, True), (3601.0, 80.0, False), (3600.0, 81.0, False)]
)
def test_a_load_fits_in_an_hour_and_most_of_the_disk(seconds: float, size_bytes: float, fits: bool) -> None:
    assert Reckoned(1, seconds, size_bytes, 100).fits is fits


@pytest.mark.parametrize("empty_database_url", ["postgres"], indirect=True)
def test_a_load_is_reckoned_from_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setattr(province, "TRIED", 200)
    monkeypatch.setattr(Run, "new_database", lambda _bench, _kind: empty_database_url)
    with ExitStack() as stack:
        found = province.reckon(Run(tmp_path, Size.SMOKE, 0, stack), 20_000)
    assert found.seconds > 0
    assert 20_000 * 300 < found.size_bytes < 20_000 * 30_000
    assert "20,000 documents reckoned at" in str(found)


def test_what_does_not_fit_is_loaded_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(province, "reckon", lambda _, documents: Reckoned(documents, 9e9, 1.0, 100))
    with ExitStack() as stack:
        size, said = province._as_many_as_fit(Run(tmp_path, Size.FULL, 0, stack), 10_000_000)
    assert size == province.INSTEAD
    assert said.endswith("3,000,000 instead")
    assert said in capsys.readouterr().err
