"""``xds doctor hostile``: a server of ours resists all of it; one that does not is told by name, with exit code 1."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.assertions import an_issuer
from tests.cli.command import xds
from tests.hostile.certificates import Authority
from tests.hostile.server import Served
from xds.demo.site import free_port


def _xua(folder: Path) -> dict[str, str]:
    file = folder / "issuers.pem"
    file.write_bytes(an_issuer().pem)
    return {"trusted": str(file)}


def test_a_node_of_ours_resists_all_of_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "region", "region")
    node, peer = authority.signed("localhost"), authority.signed("peer")
    sections = {
        "tls": {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted},
        "xua": _xua(tmp_path),
        "peers.peer": {"issuer": "CN=region", "subject": "CN=peer", "roles": ["document-consumer"]},
    }
    served = Served(tmp_path / "site", sections, scheme="https").start()
    try:
        url = f"https://localhost:{served.port}/registry"
        done = xds(
            "doctor", "hostile", "--json", "--url", url, "--certificate", peer.certificate, "--key", peer.key,
            "--trusted", authority.trusted,
        )  # fmt: skip
        assert done.out, done.err
        assert [one for one in done.json if one["resisted"] is not True] == []
        assert done.code == 0
    finally:
        served.stop()


class _Credulous(socketserver.StreamRequestHandler):
    """Answers everything with success, as often as it is asked."""

    def handle(self) -> None:
        data = self.request.recv(1 << 20)
        for _ in range(max(data.count(b"HTTP/1.1\r\n"), 1)):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nroot:x:0")


@contextmanager
def credulous() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Credulous) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{port}/registry"
        server.shutdown()


def test_a_server_that_believes_everything_is_told_so_by_name() -> None:
    with credulous() as url:
        done = xds("doctor", "hostile", "--url", url)
    assert done.code == 1
    assert "NOT RESISTED  XML: external entity: it gave out 'root:x:'" in done.out
    assert "NOT RESISTED  smuggling: two Content-Lengths: the request hidden in the body was answered" in done.out
    assert "NOT RESISTED  security headers: without X-Content-Type-Options, Cache-Control: no-store" in done.out
    assert "not tried     TLS 1.0 and 1.1: not over TLS" in done.out


def test_nobody_there_is_no_verdict() -> None:
    done = xds("doctor", "hostile", "--url", f"http://127.0.0.1:{free_port()}/registry")
    assert done.code not in (0, None)
    assert "does not answer" in done.err
