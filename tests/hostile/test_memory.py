"""Small means that would take much memory: elements of four bytes, and bodies that are all held at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.hostile.server import Reply, Served, ask, connected, head
from tests.wire.conftest import A_QUERY
from tests.wire.messages import AMessage, APart, an_envelope

GREEDY = "127.0.0.2"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    sections = {"server": {"body_bytes": 8 * MIB}}
    running = Served(tmp_path_factory.mktemp("memory"), sections).start()
    yield running
    assert running.stop() == 0


def sent(served: Served, data: bytes, source: str = "") -> Reply:
    got = ask(served.port, [head("/registry", length=len(data)), data], source=source)
    assert got is not None
    return got


def metrics(served: Served) -> bytes:
    got = ask(served.port, [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert got is not None
    return got.body


MANY = {
    "elements": an_envelope(body="<x>" + "<a/>" * 750_000 + "</x>"),
    "attributes": an_envelope(body="<x>" + "<a b='' c='' d=''/>" * 150_000 + "</x>"),
    "in one tag": an_envelope(body="<x " + " ".join(f"a{number}=''" for number in range(250_000)) + "/>"),
    "in the header": an_envelope(body=A_QUERY, headers="<x xmlns='urn:x'>" + "<a/>" * 750_000 + "</x>"),
}


@pytest.mark.parametrize("data", MANY.values(), ids=MANY)
def test_very_many_elements_are_refused_without_holding_them(served: Served, data: bytes, tmp_path: Path) -> None:
    with served.memory_within(60 * MIB):
        got = sent(served, data)
    assert (got.status, got.codes(tmp_path)) == (400, ["soap:Sender"])
    assert "more than 200000" in got.reason(tmp_path)


@pytest.mark.parametrize("mtom", [False, True], ids=["plain", "mtom"])
def test_bodies_of_one_peer_that_are_over_its_share_of_memory_come_again(
    served: Served, tmp_path: Path, *, mtom: bool
) -> None:
    large = an_envelope(body="<a>" + "x" * (3 * MIB) + "</a>")
    message = AMessage(parts=(APart(large),))
    data, kind = (message.packed(), message.content_type) if mtom else (large, "application/soap+xml")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(connected(served.port, source=GREEDY))
            sock.sendall(head("/registry", kind, length=len(data)) + data[: len(data) // 2])

        def is_over() -> Reply | None:
            got = ask(served.port, [head("/registry", kind, length=len(data)), data], source=GREEDY)
            return got if got is not None and got.status == 503 else None

        wait_for(lambda: is_over() is not None)
        got = is_over()
        assert got is not None
        assert int(got.headers["retry-after"]) > 0
        # It was not read, so that no transaction can answer it: WS-Addressing's fault for that says when to come again.
        assert got.codes(tmp_path) == ["soap:Receiver", "wsa:EndpointUnavailable"]
        assert got.reason(tmp_path).startswith("XDSRegistryBusy: ")
        assert sent(served, an_envelope(body=A_QUERY)).status == 200  # another's
    wait_for(lambda: is_over() is None)  # what was held is given back
    assert b'xds_refused_total{reason="memory"}' in metrics(served)
