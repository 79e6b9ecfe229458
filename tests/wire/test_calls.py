"""Requests to other nodes are counted by whom they ask and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from xds.demo.site import free_port
from xds.wire import calls, mllp
from xds.wire.calls import Pool


@pytest.fixture
def counted() -> Iterator[list[tuple[str, str]]]:
    found = list[tuple[str, str]]()
    calls.count(lambda peer, outcome, _seconds: found.append((peer, outcome)), {})
    yield found
    calls.count(lambda *_: None, {})


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers with the status that its path names."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "traceparent" not in self.headers
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "outcome"), [(200, "answered"), (404, "refused"), (503, "failed")])
def test_an_answer_is_counted_by_its_status(
    counted: list[tuple[str, str]], port: int, status: int, outcome: str
) -> None:
    Pool(retries=False).request("GET", f"http://127.0.0.1:{port}/{status}")
    assert counted == [(f"127.0.0.1:{port}", outcome)]


def test_no_answer_is_one_too(counted: list[tuple[str, str]]) -> None:
    port = free_port()
    with pytest.raises(urllib3.exceptions.HTTPError):
        Pool(retries=False).request("GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(OSError, match="refused"):
        mllp.send("127.0.0.1", port, b"MSH|^~\\&|", 1)
    assert counted == [(f"127.0.0.1:{port}", "no answer")] * 2


def test_a_peer_is_called_as_the_settings_call_it_and_never_by_who_signs_in_there() -> None:
    calls.count(lambda *_: None, {"north.example:8443": "north"})
    assert calls.called("https://north.example:8443/registry?patient=4711") == "north"
    assert calls.called("https://user:secret@south.example/registry") == "south.example"
    assert calls.called("http://[::1") == "?"
