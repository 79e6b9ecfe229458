"""Whoever cannot speak TLS with a peer is told which side did not trust whom, by each client alike."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.hostile.certificates import Authority
from xds.queries import catalogue
from xds.wire.client import Client, NoReply, client_context
from xds.wire.contexts import server_context
from xds.wire.spool import Spool
from xds.wire.stored_query_client import StoredQueryClient
from xds.wire.syslog import NotSent
from xds.wire.syslog import send as send_syslog
from xds.wire.tls_trouble import why


@contextmanager
def a_server(context: ssl.SSLContext | None) -> Iterator[int]:
    """One that takes what comes and answers nothing."""
    with socket.create_server(("", 0)) as listener:
        stopping = False

        def serve() -> None:
            while not stopping:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(2)
                    stream = context.wrap_socket(connection, server_side=True) if context else connection
                    stream.recv(65536)
                    stream.sendall(b"HTTP/1.1 400 No\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopping = True
            with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
                pass
            thread.join(10)


def by_client(url: str, spool: Path, **tls: str) -> None:
    with Spool(spool) as files:
        Client(url, seconds=5, **tls).send("urn:a", [b"<a/>"], files, as_mtom=False)  # type: ignore[arg-type]


def by_zeep(url: str, spool: Path, **tls: str) -> None:
    StoredQueryClient(url, seconds=5, **tls).send(catalogue.FIND_DOCUMENTS.id, "LeafClass", {})  # type: ignore[arg-type]


CLIENTS = pytest.mark.parametrize("ask", [by_client, by_zeep])
Ask = Callable[..., None]


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs", "other")


@CLIENTS
def test_a_peer_of_an_authority_that_is_not_trusted_here(ask: Ask, ours: Authority, theirs: Authority,
                                                         tmp_path: Path) -> None:  # fmt: skip
    there = theirs.signed("server")
    context = server_context(there.certificate, there.key, "")
    with a_server(context) as port, pytest.raises(NoReply, match="an authority that this side does not trust"):
        ask(f"https://localhost:{port}/x", tmp_path / "spool", trusted=ours.trusted)


@CLIENTS
def test_a_peer_that_is_another_host_than_it_is_called(ask: Ask, ours: Authority, tmp_path: Path) -> None:
    there = ours.signed("server")
    context = server_context(there.certificate, there.key, "")
    with a_server(context) as port, pytest.raises(NoReply, match="its certificate is for another address"):
        ask(f"https://127.0.0.2:{port}/x", tmp_path / "spool", trusted=ours.trusted)


@CLIENTS
def test_a_peer_that_wants_a_certificate_where_none_was_presented(ask: Ask, ours: Authority, tmp_path: Path) -> None:
    there = ours.signed("server")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = server_context(there.certificate, there.key, ours.trusted)
        context.minimum_version = context.maximum_version = version
        with a_server(context) as port, pytest.raises(NoReply, match=r"wants? a certificate.* none was presented"):
            ask(f"https://localhost:{port}/x", tmp_path / "spool", trusted=ours.trusted)


@CLIENTS
def test_a_peer_that_does_not_trust_our_authority(ask: Ask, ours: Authority, theirs: Authority, tmp_path: Path) -> None:
    there, here = theirs.signed("server"), ours.signed("client")
    context = server_context(there.certificate, there.key, theirs.trusted)
    tls = {"certificate": here.certificate, "key": here.key, "trusted": theirs.trusted}
    said = r"does not trust the authority of our certificate|may not trust ours"
    with a_server(context) as port, pytest.raises(NoReply, match=said):
        ask(f"https://localhost:{port}/x", tmp_path / "spool", **tls)


@CLIENTS
def test_a_peer_that_speaks_no_tls(ask: Ask, ours: Authority, tmp_path: Path) -> None:
    with a_server(None) as port, pytest.raises(NoReply, match="does not speak TLS there"):
        ask(f"https://localhost:{port}/x", tmp_path / "spool", trusted=ours.trusted)


def test_an_audit_repository_that_is_not_trusted(ours: Authority, theirs: Authority) -> None:
    there = theirs.signed("server")
    with a_server(server_context(there.certificate, there.key, "")) as port, pytest.raises(NotSent, match="this side"):
        send_syslog(f"tls://localhost:{port}", b"<a/>", client_context("", "", ours.trusted))


def test_what_is_no_trouble_with_tls_is_none() -> None:
    loop = ValueError("x")
    loop.__cause__ = loop
    for problem in (OSError("x"), ConnectionResetError(), loop):
        assert why(problem) == ""
    assert "broke off" in why(ConnectionResetError(), secured=True)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "does not trust the authority of our certificate"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "wants a certificate that it trusts, and none was presented"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "finds our certificate expired"),
        ("SOMETHING_NEW", "TLS: SOMETHING_NEW"),
    ],
)
def test_what_the_other_side_has_against_us_is_said(reason: str, said: str) -> None:
    class Alert(ssl.SSLError):
        pass

    problem = Alert(1, "x")
    problem.reason = reason
    packed = ValueError("packed", ValueError(problem))
    assert said in why(packed)
