"""Waiting: as long as what would bring it lives, and saying so."""

from __future__ import annotations

import pytest

from xds.demo import waiting
from xds.demo.waiting import waited


def test_what_has_come_is_given_at_once_and_nothing_is_said() -> None:
    said = list[str]()
    assert waited(lambda: "here", "it", said.append, lambda: True) == "here"
    assert said == []


def test_it_is_waited_for_beyond_any_patience_while_it_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.0)
    answers, said = iter(["", "", "", "here"]), list[str]()
    assert waited(lambda: next(answers), "the archive", said.append, lambda: True) == "here"
    assert said
    assert all(one.startswith("waiting for the archive, for ") for one in said)


def test_of_what_cannot_come_any_more_the_last_answer_is_given() -> None:
    alive = iter([True, True, False])
    assert waited(lambda: "", "it", lambda _: None, lambda: next(alive)) == ""
