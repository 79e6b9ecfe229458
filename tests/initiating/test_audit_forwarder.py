"""Records go on to other repositories in their order, however these behave; nothing is lost, and what waits is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from tests.audit.databases import database_url, engine, shared_postgres
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.certificates import Authority
from tests.hostile.server import Served
from tests.sockets import closed_by
from xds.demo.site import free_port
from xds.errors import Unusable
from xds.initiating import audit_forwarder
from xds.initiating.audit_forwarder import Forwarder, waiting
from xds.store.audit import records as store
from xds.store.audit.records import Recorded
from xds.store.engine import make_engine
from xds.wire.client import client_context
from xds.wire.contexts import server_context
from xds.wire.syslog import DATAGRAM_BYTES, Frames, NotSent, content

__all__ = ["database_url", "engine", "shared_postgres"]


class Taking:
    """A repository that keeps what it takes in memory."""

    def __init__(self, port: int = 0, context: object = None) -> None:
        self.taken, self._context = list[bytes](), context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._streams = list[socket.socket]()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError):
                if self._context is not None:
                    stream = self._context.wrap_socket(stream, server_side=True)  # type: ignore[attr-defined]
                self._streams.append(stream)
                threading.Thread(target=self._take, args=(stream,), daemon=True).start()

    def _take(self, stream: socket.socket) -> None:
        frames = Frames()
        with suppress(OSError):
            while data := stream.recv(65536):
                self.taken += [content(frame) for frame, _ in frames.take(data)]

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)  # or it lives on while its thread reads
            stream.close()


@contextmanager
def taking(port: int = 0, context: object = None) -> Iterator[Taking]:
    repository = Taking(port, context)
    try:
        yield repository
    finally:
        repository.stop()


def kept(engine: sa.Engine, *messages: bytes, origin: str = "") -> None:
    """Numbered records."""
    with engine.begin() as connection:
        store.record(connection, [Recorded(one, "110112", "ITI-18", 0, origin=origin) for one in messages])
        store.number(connection, 10_000)


def numbered(begin: int, end: int) -> list[bytes]:
    return [b"<record-%d/>" % number for number in range(begin, end)]


def begun(engine: sa.Engine, url: str, **more: object) -> Forwarder:
    """One that is sent everything."""
    with engine.begin() as connection:
        store.move(connection, url, 0)
    return Forwarder(engine, url, **more)  # type: ignore[arg-type]


def test_records_go_on_in_their_order_and_once(engine: sa.Engine) -> None:
    kept(engine, *numbered(0, 450))
    with taking() as repository:
        forwarder = begun(engine, f"tcp://127.0.0.1:{repository.port}")
        assert [forwarder.step() for _ in range(4)] == [200, 200, 50, 0]
        wait_for(lambda: len(repository.taken) == 450)
        assert repository.taken == numbered(0, 450)
        forwarder.close()


def test_who_is_new_is_sent_what_comes_from_now_on(engine: sa.Engine) -> None:
    kept(engine, b"<before/>")
    with taking() as repository:
        forwarder = Forwarder(engine, f"tcp://127.0.0.1:{repository.port}")
        assert forwarder.step() == 0
        kept(engine, b"<after/>")
        assert forwarder.step() == 1
        wait_for(lambda: repository.taken == [b"<after/>"])
        forwarder.close()


def test_what_came_from_another_node_goes_on_as_it_came(engine: sa.Engine) -> None:
    frame = b"<85>1 2026-03-01T12:00:00Z far app 1 IHE+RFC-3881 - <a/>"
    kept(engine, frame, origin="tcp 192.0.2.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        forwarder = begun(engine, f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        forwarder.step()
        stream, _ = listener.accept()
        with stream:
            assert stream.recv(4096) == b"%d %b" % (len(frame), frame)
        forwarder.close()


def test_while_a_repository_is_away_records_wait_and_none_is_lost(engine: sa.Engine) -> None:
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    kept(engine, *numbered(0, 10))
    forwarder = begun(engine, url)
    with pytest.raises(NotSent, match=str(port)):
        forwarder.step()
    with engine.connect() as connection:
        assert waiting(connection, url) == (10, 0)
    with taking(port) as repository:
        forwarder.step()
        wait_for(lambda: repository.taken == numbered(0, 10))
    kept(engine, *numbered(10, 20))
    with pytest.raises(NotSent):
        forwarder.step()
    with taking(port) as repository:
        forwarder.step()
        wait_for(lambda: repository.taken == numbered(10, 20))
    with engine.connect() as connection:
        assert waiting(connection, url) == (0, 0)


def test_who_takes_a_connection_and_reads_nothing_has_been_sent_nothing(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_forwarder, "TAKEN_SECONDS", 0.3)
    monkeypatch.setattr(audit_forwarder, "SECONDS", 0.5)
    kept(engine, *(b"<a>" + b"x" * 60_000 + b"</a>" for _ in range(200)))
    with socket.create_server(("127.0.0.1", 0)) as half_dead:
        url = f"tcp://127.0.0.1:{half_dead.getsockname()[1]}"
        with pytest.raises(NotSent):
            begun(engine, url).step()
        with engine.connect() as connection:
            assert waiting(connection, url) == (200, 0)


def lost(engine: sa.Engine, url: str, forwarder: Forwarder) -> tuple[int, int]:
    """What waits when the forwarder has seen that its connection is lost."""

    def is_lost() -> bool:
        try:
            forwarder.step()
        except NotSent:
            return True
        return False

    wait_for(is_lost)
    with engine.connect() as connection:
        return waiting(connection, url)


def test_what_was_taken_and_not_read_when_a_connection_breaks_is_sent_again(engine: sa.Engine) -> None:
    kept(engine, *numbered(0, 10))
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    forwarder = begun(engine, url)
    with socket.create_server(("127.0.0.1", port)) as listener:
        assert forwarder.step() == 10
        with engine.connect() as connection:
            assert waiting(connection, url) == (0, 0)
        listener.accept()[0].close()  # with what it never read
    assert lost(engine, url, forwarder) == (10, 0)
    with taking(port) as repository:
        forwarder.step()
        wait_for(lambda: repository.taken == numbered(0, 10))
        forwarder.close()


def test_a_repository_that_closes_what_it_has_read_is_sent_nothing_again(engine: sa.Engine) -> None:
    kept(engine, *numbered(0, 10))
    port = free_port()
    forwarder = begun(engine, f"tcp://127.0.0.1:{port}")
    with taking(port) as repository:
        forwarder.step()
        wait_for(lambda: len(repository.taken) == 10)
    wait_for(lambda: closed_by(port))
    kept(engine, *numbered(10, 11))
    with taking(port) as repository:
        assert forwarder.step() == 1
        wait_for(lambda: repository.taken == numbered(10, 11))
        forwarder.close()


def test_a_certificate_that_is_refused_late_loses_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    """By TLS 1.3 a client has sent already when it is told."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    here, there = ours.signed("sender"), ours.signed("repository")
    refusing = server_context(there.certificate, there.key, theirs.trusted)
    kept(engine, *numbered(0, 10))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tls://localhost:{listener.getsockname()[1]}"

        def late() -> None:
            plain = listener.accept()[0]
            with refusing.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as stream:
                stream.setblocking(False)
                for _ in range(20):
                    with suppress(OSError):
                        stream.do_handshake()
                        return
                    time.sleep(0.05)

        thread = threading.Thread(target=late)
        thread.start()
        forwarder = begun(engine, url, context=client_context(here.certificate, here.key, ours.trusted))
        assert lost(engine, url, forwarder) == (10, 0)
        thread.join()


def test_a_slow_repository_is_sent_everything_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_forwarder, "TAKEN_SECONDS", 1.5)
    monkeypatch.setattr(audit_forwarder, "SECONDS", 1.5)
    long = [b"<record-%d>%b</record>" % (number, b"x" * 20_000) for number in range(60)]
    kept(engine, *long)
    taken, frames = list[bytes](), Frames()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

        def slowly() -> None:
            stream = listener.accept()[0]
            with stream, suppress(OSError):
                while data := stream.recv(16_000):
                    taken.extend(content(frame) for frame, _ in frames.take(data))
                    time.sleep(0.05)

        thread = threading.Thread(target=slowly)
        thread.start()
        forwarder = begun(engine, f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        while forwarder.step():
            pass
        forwarder.close()
        thread.join()
    assert taken == long


def test_what_came_from_a_repository_is_not_sent_back_to_it(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipaddress.IPv4Address.is_loopback", False)
    kept(engine, b"<theirs/>", origin="tls 127.0.0.1 CN=there")
    kept(engine, b"<another's/>", origin="tls 192.0.2.1 CN=there")
    kept(engine, b"<ours/>")
    with taking() as repository:
        forwarder = begun(engine, f"tcp://127.0.0.1:{repository.port}")
        assert forwarder.step() == 3
        wait_for(lambda: repository.taken == [b"<another's/>", b"<ours/>"])
        forwarder.close()


def test_nobody_at_an_address_by_udp_is_noticed(engine: sa.Engine) -> None:
    kept(engine, *numbered(0, 3))
    url = f"udp://127.0.0.1:{free_port()}"
    with pytest.raises(NotSent):
        begun(engine, url).step()
    with engine.connect() as connection:
        assert waiting(connection, url) == (3, 0)


def test_two_nodes_that_send_to_each_other_do_not_do_so_for_ever(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    nodes = [
        Served(tmp_path / str(n), {
            "syslog": {"tcp": f"127.0.0.1:{ports[n]}"}, "audit": {"forward_to": [f"tcp://127.0.0.1:{ports[1 - n]}"]},
        })
        for n in (0, 1)
    ]  # fmt: skip

    def count(node: Served) -> int:
        engine = make_engine(node.settings.database_url, connections=1)
        with engine.connect() as connection:
            found = store.count(connection)
        engine.dispose()
        return found

    for node in nodes:
        node.start()
    for node in nodes:
        node.found()
    begun = 4  # a start and a query, each node's own and the other's
    wait_for(lambda: all(count(node) >= begun for node in nodes))
    for more in range(1, 4):
        # Records go in their order: what is sent round would be there before what comes after it.
        nodes[0].found()
        wait_for(lambda: all(count(node) >= begun + more for node in nodes))  # noqa: B023
        assert [count(node) for node in nodes] == [begun + more] * 2
    for node in nodes:
        node.stop()


def test_over_tls_both_sides_are_authenticated(engine: sa.Engine, tmp_path: Path) -> None:
    authority, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    there, here = authority.signed("localhost"), authority.signed("here")
    kept(engine, *numbered(0, 3))
    with taking(context=server_context(there.certificate, there.key, authority.trusted)) as repository:
        url = f"tls://localhost:{repository.port}"
        for trusted, taken in ((theirs.trusted, False), (authority.trusted, True)):
            context = client_context(here.certificate, here.key, trusted)
            context.check_hostname = False
            forwarder = begun(engine, url, context=context)
            if taken:
                assert forwarder.step() == 3
                wait_for(lambda: repository.taken == numbered(0, 3))
            else:
                with pytest.raises(NotSent):
                    forwarder.step()
            forwarder.close()


def test_what_is_too_long_for_a_datagram_is_set_aside_and_told(engine: sa.Engine) -> None:
    kept(engine, b"<a/>", b"x" * DATAGRAM_BYTES, b"<b/>")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        url = f"udp://127.0.0.1:{sock.getsockname()[1]}"
        assert begun(engine, url).step() == 3
        assert [content(sock.recv(65536)) for _ in range(2)] == [b"<a/>", b"<b/>"]
    with engine.connect() as connection:
        assert waiting(connection, url) == (0, 1)


def test_it_goes_on_until_it_is_told_to_stop(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_forwarder, "PAUSES", (0.05,))
    port, stopping = free_port(), threading.Event()
    forwarder = begun(engine, f"tcp://127.0.0.1:{port}")
    pauses = list[float]()

    def going_on(seconds: float) -> bool:
        pauses.append(seconds)
        return not stopping.wait(seconds)

    thread = threading.Thread(target=forwarder.run, args=(going_on,))
    thread.start()
    kept(engine, *numbered(0, 5))
    wait_for(lambda: len(pauses) > 3)  # nobody has listened so often
    with taking(port) as repository:
        wait_for(lambda: repository.taken == numbered(0, 5))
        kept(engine, *numbered(5, 9))
        wait_for(lambda: repository.taken == numbered(0, 9))
        stopping.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("url", ["http://a:1", "tcp://a", "a"])
def test_what_is_no_address_is_said_so(engine: sa.Engine, url: str) -> None:
    with pytest.raises(Unusable):
        Forwarder(engine, url)


def test_one_servers_records_are_kept_and_sealed_by_another(tmp_path: Path) -> None:
    port = free_port()
    archive = Served(tmp_path / "archive", {"syslog": {"tcp": f"127.0.0.1:{port}"}}).start()
    node = Served(tmp_path / "node", {"audit": {"forward_to": [f"tcp://127.0.0.1:{port}"], "source_id": "node-7"}})
    try:
        node.start()
        node.provide(b"a document", tmp_path)

        def arrived() -> int:
            done = xds("audit", "list", "--json", "--source", "node-7", "--data", archive.data)
            return len([one for one in done.json if one["transaction"] == "ITI-42"])

        wait_for(lambda: arrived() == 2, 30)
        waits = xds("audit", "forwarding", "--json", "--data", node.data, "--config", node.config)
        assert waits.code == 0, waits.err
        assert [(one["to"], one["unsent"]) for one in waits.json] == [(f"tcp://127.0.0.1:{port}", 0)]
        with urlopen(f"{node.url}/metrics") as reply:  # noqa: S310
            assert f'xds_audit_forwarding_unsent{{to="tcp://127.0.0.1:{port}"}} 0' in reply.read().decode()
    finally:
        node.stop()
        archive.stop()
    assert xds("audit", "verify", "--data", archive.data).code == 0
