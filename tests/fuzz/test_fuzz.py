"""Every reader of strangers' bytes keeps its promise of exceptions, time and memory: over kept inputs, and new ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.extent import examples
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
"""A folder a target: what has broken one once, and what leads far into it."""

some = settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_break_nothing(name: str) -> None:
    target = TARGETS[name]
    for data in (*target.seeds(), *(file.read_bytes() for file in sorted((CORPUS / name).glob("*")))):
        target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_input_with_a_part_spoilt_breaks_nothing(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    @some
    @given(st.sampled_from(seeds), st.integers(0, 5000), st.integers(0, 40), st.binary(max_size=40))
    def spoilt(seed: bytes, at: int, cut: int, put: bytes) -> None:
        at = at % (len(seed) + 1)
        target.run(seed[:at] + put + seed[at + cut :])

    spoilt()


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_reader(name: str) -> None:
    target = TARGETS[name]

    @some
    @given(st.binary(max_size=2000))
    def nonsense(data: bytes) -> None:
        target.run(data)

    nonsense()
