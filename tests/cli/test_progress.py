"""The bar of ``xds fetch`` counts images and bytes each as what they are."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xds.cli.fetch import _said
from xds.cli.fetching import Outcome
from xds.cli.progress import progress


def shown(images: int, sizes: list[int]) -> str:
    out = io.StringIO()
    with progress(quiet=False, console=Console(file=out, width=120, force_terminal=True, color_system=None)) as bar:
        task = bar.study("study …1", images)
        for size in sizes:
            bar.came(task, size)
    return out.getvalue()


def test_images_are_counted_and_bytes_are_told_in_their_units() -> None:
    last = shown(500, [500_000] * 500)
    assert "500/500 images" in last
    assert "250.0 MB" in last
    assert "/s" in last
    assert "500 bytes" not in last


def test_what_was_here_before_or_did_not_come_has_no_bytes() -> None:
    assert "2/3 images" in shown(3, [0, 0])
    assert "0 bytes" in shown(3, [0, 0])


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(0, 0, 0), "0 studies: 0 of 0 images arrived"),
        (Outcome(1, 1, 1, 0, 2_500_000), "1 study: 1 of 1 image arrived, 2.5 MB"),
        (Outcome(2, 10, 9, 1, 1_000), "2 studies: 9 of 10 images arrived, 1 of them was here before, 1.0 kB"),
        (Outcome(2, 10, 10, 10), "2 studies: 10 of 10 images arrived, 10 of them were here before"),
    ],
)
def test_the_sum_counts_each_as_what_it_is(outcome: Outcome, said: str) -> None:
    assert _said(outcome) == said
