"""How many audit records a second are received from another node, over TLS, TCP and UDP, until they are committed."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa

from tests.bench import rows
from tests.bench.auditing import message as audit_message
from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.processes import used
from tests.bench.run import Run, Server, wait_for_port
from tests.hostile.certificates import Authority, known
from xds.demo.site import free_port
from xds.endpoints.audit_received import received
from xds.endpoints.syslog import WRITTEN
from xds.store.audit.records import row_of
from xds.store.engine import make_engine
from xds.store.tables import audit_record
from xds.wire.client import client_context
from xds.wire.syslog import framed, message

FAST = Reach("≥", 1000, "1/s")
WHOLE = Reach("≥", 1.0)
PLAIN = {"addresses": ["127.0.0.1"], "roles": ["audit-source"], "audit_source_ids": ["*"]}
"""Who sends without TLS: told by its address."""
PACE = 2000
"""Datagrams a second: nobody waits for who reads them."""


def run(bench: Run) -> Iterator[Result]:
    """Each transport into either database."""
    count = bench.of(20_000, 4000, 500)
    yield from bench.each_database("audit-receive", lambda kind: _measured(bench, kind, count))


def _measured(bench: Run, kind: str, count: int) -> Iterator[Result]:
    frames = [message(audit_message(number)) for number in range(count)]
    floor = _floor(bench.new_database(kind), frames)
    authority = Authority(bench.new_folder("authority"))
    ours = authority.signed("node")
    ports = {name: free_port() for name in ("tls", "tcp", "udp")}
    site = bench.new_server(kind, syslog={name: f"127.0.0.1:{port}" for name, port in ports.items()},
                            tls={"certificate": ours.certificate, "key": ours.key,
                                 "trusted": authority.trusted},
                            peers={**known("node"), "plain": PLAIN})  # fmt: skip
    context = client_context(ours.certificate, ours.key, authority.trusted)

    def streamed(port: int, secured: bool) -> Callable[[], int]:
        def send() -> int:
            with socket.create_connection(("127.0.0.1", port)) as plain:
                stream = context.wrap_socket(plain, server_hostname="localhost") if secured else plain
                for begin in range(0, count, 500):
                    stream.sendall(framed(frames[begin : begin + 500]))
                if isinstance(stream, ssl.SSLSocket):
                    stream.unwrap()
            return count

        return send

    def datagrams() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            began = time.monotonic()
            for number, frame in enumerate(frames):
                out.sendto(frame, ("127.0.0.1", ports["udp"]))
                ahead = began + number / PACE - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
        return count

    site.start()
    try:
        if site.process is None or not wait_for_port(ports["tls"], site.process, 30):
            raise Broken(f"the server does not listen: {site.last_words()}")
        for name, send in (("TLS", streamed(ports["tls"], True)), ("TCP", streamed(ports["tcp"], False))):
            with used(site.pid, *site.beside) as taken:
                rate, _ = _sent(site, send)
            yield judged(f"audit {kind}: received by {name}", "1/s", rate, None, FAST,
                         server_cpu_ms=taken.cpu_seconds / count * 1000,
                         note=f"floor: the same rows by the raw driver {floor:,.0f}/s")  # fmt: skip
        rate, kept = _sent(site, datagrams, patience=10)
        yield judged(f"audit {kind}: kept of UDP at {PACE:,}/s", "", kept / count, 1.0, WHOLE,
                     note=f"{kept:,} of {count:,} at {rate:,.0f}/s")  # fmt: skip
    finally:
        site.stop()


def _sent(site: Server, send: Callable[[], int], patience: float = 120) -> tuple[float, int]:
    """Records a second until the last is committed, and how many there are."""
    engine = make_engine(site.settings.database_url, connections=1)
    try:
        before, began = _count(engine), time.monotonic()
        count = send()
        found, last, quiet = 0, began, time.monotonic() + patience
        while found < count and time.monotonic() < quiet:
            now = _count(engine) - before
            if now != found:
                found, last, quiet = now, time.monotonic(), time.monotonic() + patience
            time.sleep(0.02)
        if not found:
            raise Broken("nothing was received")
        return found / (last - began), found
    finally:
        engine.dispose()


def _count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        where = audit_record.c.origin != ""
        return int(connection.scalar(sa.select(sa.func.count()).select_from(audit_record).where(where)) or 0)


def _floor(url: str, frames: list[bytes]) -> float:
    """Rows a second by the raw driver, in commits of as many as the receiver writes at once."""
    engine = make_engine(url, connections=1)
    audit_record.metadata.create_all(engine, [audit_record])
    values = [row_of(received(frame, "tcp 127.0.0.1")) for frame in frames]
    engine.dispose()
    where = rows.into(audit_record, values[0])
    began = time.monotonic()
    with rows.raw(url) as (connection, dialect):
        for begin in range(0, len(values), WRITTEN):
            cursor = connection.cursor()
            cursor.execute(rows.begin(dialect))
            cursor.executemany(rows.insert(where, dialect),
                               [tuple(one.values()) for one in values[begin : begin + WRITTEN]])  # fmt: skip
            cursor.execute("COMMIT")
    return len(values) / (time.monotonic() - began)
