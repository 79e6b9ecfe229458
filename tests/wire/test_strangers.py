"""Peers that fail to authenticate are told of, a flood of one by its count, and mere looks at a port not at all."""

from __future__ import annotations

import ssl

import pytest

from xds.wire import strangers
from xds.wire.strangers import Strangers, reason_of

BAD = ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")


@pytest.mark.parametrize("problem", [ConnectionResetError(), ssl.SSLEOFError(), ssl.SSLZeroReturnError(), OSError()])
def test_a_lost_connection_is_nobody(problem: OSError) -> None:
    assert reason_of(problem) == ""


def test_a_flood_of_one_peer_is_told_of_once_and_then_by_its_count() -> None:
    told: list[tuple[str, str]] = []
    now = [0.0]
    seen = Strangers(lambda *what: told.append(what), lambda: now[0])
    for _ in range(50):
        seen.failed("10.0.0.1", BAD)
    seen.failed("10.0.0.2", BAD)
    seen.failed("10.0.0.1", ConnectionResetError())
    assert [peer for peer, _ in told] == ["10.0.0.1", "10.0.0.2"]
    now[0] += strangers.APART_SECONDS
    seen.failed("10.0.0.1", BAD)
    assert told[-1][1].endswith("and 49 times before")
