"""A node that is called says «go elsewhere»: nobody of ours goes, whatever the transaction."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.conftest import A_QUERY
from tests.wire.messages import ACTION
from xds.archives.interface import Gone, NotAnswering
from xds.archives.web import Web
from xds.queries.catalogue import FIND_DOCUMENTS
from xds.wire.client import Client, NoReply
from xds.wire.spool import Spool
from xds.wire.stored_query_client import StoredQueryClient


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Sends everybody to an address inside, and sees whether they come."""

    came: list[str]
    status = 302

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/inside"):
            self.came.append(self.path)
        self.send_response(self.status)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/inside")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[301, 302, 303, 307, 308])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    Elsewhere.came, Elsewhere.status = [], request.param
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/outside"
        server.shutdown()
    assert Elsewhere.came == []


def test_images_are_not_fetched_from_where_a_source_sends_us(url: str) -> None:
    with pytest.raises((NotAnswering, Gone)):
        Web(url).metadata("/studies/1.2.3")
    with pytest.raises((NotAnswering, Gone)):
        Web(url).instance("/studies/1.2.3/series/1/instances/1", lambda _: None)


def test_no_message_goes_where_a_peer_sends_it(url: str, tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, pytest.raises(NoReply):
        Client(url, seconds=10).send(ACTION, [A_QUERY.encode()], spool, as_mtom=False)
    with pytest.raises(NoReply):
        StoredQueryClient(url, seconds=10).send(FIND_DOCUMENTS.id, "LeafClass", {})
