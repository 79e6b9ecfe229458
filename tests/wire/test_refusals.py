"""Refusals: each is counted, and a flood of them is one line in the log."""

from __future__ import annotations

import logging

import pytest

from xds.wire.refusals import APART_SECONDS, HEAD_TOO_LONG, Reason, Refusals, reply


def test_each_is_counted_and_a_flood_is_told_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    counted, now = list[str](), [0.0]
    refused = Refusals(counted.append, lambda: now[0])
    with caplog.at_level(logging.WARNING, "xds.wire.refusals"):
        for _ in range(100):
            refused(Reason.PLACES, "10.0.0.1")
        refused(Reason.HEAD, "10.0.0.1")
        now[0] = APART_SECONDS
        refused(Reason.PLACES, "10.0.0.2")
    assert len(counted) == 102
    assert [(vars(line)["reason"], vars(line)["before"]) for line in caplog.records] == [
        ("places", 0), ("head", 0), ("places", 99)
    ]  # fmt: skip


def test_who_is_refused_is_told_when_to_come_again() -> None:
    assert b"\r\nRetry-After: " in reply("503 Service Unavailable", b"busy", retry=True)
    assert b"\r\nRetry-After: " not in HEAD_TOO_LONG
