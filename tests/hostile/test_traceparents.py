"""Headers of traces from strangers: nobody has more sent to a collector than the settings say, or breaks a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.collector import Collector, collecting
from tests.conftest import wait_for
from tests.hostile.server import Served, ask

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PEER, STRANGER = "127.0.0.1", "127.0.0.9"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Served]:
    """A node that knows one peer, and sends nothing of all others."""
    served = Served(tmp_path_factory.mktemp("node"), {
        "server": {"proxies": ["127.0.0.8"], "proxy_certificate": "rfc9440"},  # so that not everybody is who runs it
        "peers.pacs": {"addresses": [PEER], "roles": ["document-consumer"]},
        "tracing": {"endpoint": collector.url, "ratio": 0.0},
    }).start()  # fmt: skip
    yield served
    assert served.stop() == 0


def asked(node: Served, source: str, *headers: str) -> int:
    """The status of a message that is none."""
    lines = ["POST /registry HTTP/1.1", "Host: localhost", "Content-Type: application/soap+xml", "Content-Length: 4"]
    reply = ask(node.port, ["\r\n".join([*lines, *headers, "", "<x/>"]).encode("latin-1")], source=source)
    assert reply is not None
    return reply.status


def test_a_stranger_has_nothing_sent_whatever_it_says_and_a_peer_has(node: Served, collector: Collector) -> None:
    for number in range(50):
        asked(node, STRANGER, f"traceparent: 00-{number:032x}-{SPAN}-01")
    asked(node, PEER, f"traceparent: 00-{TRACE}-{SPAN}-01")
    wait_for(lambda: collector.spans)
    assert {span.trace for span in collector.spans} == {TRACE}


@pytest.mark.parametrize("header", [
    "traceparent: 00-" + "a" * 5000, f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntraceparent: 00-{TRACE}-{SPAN}-00",
    "traceparent: \xff\xfe", f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: " + "a=b," * 1000,
    f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: \xe4=\xf6;;,,=", f"traceparent: 00-{'0' * 32}-{SPAN}-01",
])  # fmt: skip
def test_a_header_that_cannot_be_read_changes_nothing(node: Served, header: str) -> None:
    assert asked(node, PEER, header) == asked(node, PEER)
