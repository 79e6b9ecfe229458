"""What a copy takes is reckoned by what is found and not here, and by documents that are read as a sample."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest

from tests.builders import a_submission, an_entry, symbolic
from tests.merging.south import DORA, Merging, a_history
from tests.server.test_application import of_bytes
from xds.merging import estimating
from xds.merging.estimating import COPYING, ROW_BYTES, Estimate, told


def test_a_copy_takes_as_long_as_reading_does_and_what_keeping_adds() -> None:
    found = Estimate(documents=1_000, size_bytes=1_000_000, sampled=10, sampled_bytes=10_000, sampled_seconds=1.0)
    assert found.seconds(1) == pytest.approx(COPYING * 100)
    assert found.seconds(4) == pytest.approx(COPYING * 25)
    assert found.room_bytes == 1_000_000 + 1_000 * ROW_BYTES


def test_a_few_that_are_very_large_take_as_long_as_their_bytes() -> None:
    found = Estimate(documents=2, size_bytes=10_000_000, sampled=1, sampled_bytes=10_000, sampled_seconds=1.0)
    assert found.seconds(1) == pytest.approx(COPYING * 1_000)


def test_of_what_nothing_was_read_of_nobody_says_how_long() -> None:
    assert Estimate(documents=3, size_bytes=1).seconds(4) is None
    assert Estimate().seconds(4) == 0.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "a minute"), (61, "2 minutes"), (60, "1 minute"), (3_601, "2 hours"), (86_400, "1 day"), (900_000, "11 days")],
)
def test_a_time_is_rounded_up(seconds: float, said: str) -> None:
    assert told(seconds) == said


def test_a_survey_says_what_a_copy_takes_and_keeps_nothing(merging: Merging) -> None:
    a_history(merging)
    takes = merging.run("survey", "--json").json["copy"]
    size = sum(map(len, (b"one", b"two", b"one, again", b"emil's")))
    assert (takes["documents"], takes["bytes"]) == (4, size + 4 * ROW_BYTES)
    assert (takes["sampled"], takes["notRead"]) == (4, 0)
    assert takes["seconds"] > 0
    assert takes["free"] > takes["bytes"]
    assert "to copy: 4 documents: " in merging.run("survey").out
    assert list((merging.folder / "data").rglob("staging/*")) == []


def test_no_more_is_read_than_is_wanted(merging: Merging) -> None:
    a_history(merging)
    assert merging.run("survey", "--sample", "2", "--json").json["copy"]["sampled"] == 2
    none = merging.run("survey", "--sample", "0", "--json").json["copy"]
    assert (none["sampled"], none["seconds"]) == (0, None)


def test_what_is_here_is_not_to_be_copied_and_what_is_new_is(merging: Merging) -> None:
    a_history(merging)
    merging.run("copy")
    assert merging.run("survey", "--json").json["copy"]["documents"] == 0
    entry = an_entry(patient_id=DORA, **of_bytes(b"more"))
    merging.provide(symbolic(a_submission(patient=DORA, entries=[entry])), b"more")
    assert merging.run("survey", "--json").json["copy"]["documents"] == 1


def test_documents_that_do_not_come_are_told(merging: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    a_history(merging)

    @contextmanager
    def nowhere(*_: Any, **__: Any) -> Any:
        raise estimating.NoReply("away")
        yield

    monkeypatch.setattr(estimating, "Spool", nowhere)
    done = merging.run("survey")
    assert "of 4 that were to be read as a sample none came" in done.out
    assert " in about " not in done.out
