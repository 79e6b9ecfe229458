"""Audit Record Repository, in: syslog over TLS, TCP and UDP into this node's own log.  ITI TF-2: 3.20.4.1.

What comes is kept as it came, frame and all, whether it can be read or not; it is numbered and sealed as our own
records are.  There is no acknowledgement in syslog: what a connection has handed over is written within a moment, and
a sender is read no faster than that.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, Full, Queue
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.audit.messages.events import AuditEvent
from xds.endpoints.audit_received import ANOTHERS, FirstSeen, Origin, Ours, SpeaksFor, received
from xds.store.audit.records import UNREADABLE, Recorded, own_at, record
from xds.wire import revocation
from xds.wire.attended import Attended
from xds.wire.datagrams import Dropped, datagrams
from xds.wire.http import der_of, subject_of
from xds.wire.listener_places import Place, Places, Refusals
from xds.wire.metrics import Metrics
from xds.wire.openings import Openings
from xds.wire.peers import Spend, key_of
from xds.wire.strangers import Strangers
from xds.wire.syslog import DATAGRAM_BYTES, Frames, Malformed, content

log = logging.getLogger("xds.endpoints.syslog")

Admits: TypeAlias = Callable[[bytes, str], tuple[str, bool]]

CONNECTIONS, EACH = 512, 128
"""At once, and of one peer."""

QUEUED = 20_000
"""Messages that wait to be written; a sender by TCP or TLS waits then, one by UDP is not heard."""

QUEUED_BYTES, HELD_BYTES = 64 * 1024 * 1024, 64 * 1024 * 1024
"""Of all messages that wait, and of the long ones that senders have begun to send; who needs more is not read then."""

FREE_BYTES = 64 * 1024
"""Of a message that has begun, for which there is room always: who sends long ones keeps nobody else from sending."""

ROOM_SECONDS = 30.0
"""How long a long message waits for room, or for its next bytes; then its beginning is kept, and no more is read."""

WRITTEN, WRITTEN_BYTES = 2_000, 16 * 1024 * 1024
"""Messages in one database transaction, and their bytes."""

MESSAGE_SECONDS = 300.0
"""How long a long message may take as a whole."""

CLAIMS_SECONDS = 3600.0
"""Between two alerts about a peer that claims another's audit source; each record of it is marked."""

SILENT_SECONDS = 3600.0
"""How long a sender may say nothing: they keep their connections open."""

LOOK_SECONDS = 1.0  # between two looks for datagrams that were dropped
STOP_SECONDS = 5.0
_PIECE = 256 * 1024


class Room:
    """Bytes that several threads share."""

    def __init__(self, size_bytes: int) -> None:
        self._left, self._size, self._changed = size_bytes, size_bytes, threading.Condition()

    def take(self, count: int, seconds: float) -> bool:
        """Wait for room; what is more than there ever is has room when all is free."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= min(count, self._size), seconds):
                return False
            self._left -= count
            return True

    def give(self, count: int) -> None:
        with self._changed:
            self._left += count
            self._changed.notify_all()


class AuditReceiver:
    """Listens from its making until it is closed; then what has been read is written."""

    def __init__(
        self, engine: sa.Engine, metrics: Metrics, alert: Callable[[str, str], AuditEvent], *,
        tls: tuple[str, int] | None = None, tcp: tuple[str, int] | None = None, udp: tuple[str, int] | None = None,
        context: ssl.SSLContext | None = None, ours: str = "", refusals: Refusals | None = None,
        speaks_for: SpeaksFor | None = None, admits: Admits | None = None, spend: Spend | None = None,
    ) -> None:  # fmt: skip
        """``alert`` makes the record of a node that could not be authenticated, from its address and the reason;
        ``ours`` is what this node's own records call it; ``speaks_for`` says whose audit sources are; ``admits``
        whether who has this certificate and address may send at all, and what is to be said of it; ``spend`` is told
        how much each peer sends, none of which is ever refused for that: it is evidence.

        Raises:
            OSError: an address cannot be listened on.
        """
        self._engine, self._metrics, self._alert, self._context = engine, metrics, alert, context
        self._queue: Queue[Recorded] = Queue(QUEUED)
        self._ours, self._waiting, self._held = ours, Room(QUEUED_BYTES), Room(HELD_BYTES)
        self._speaks_for, self._strangers = speaks_for or FirstSeen(), Strangers(self._alerted)
        self._claims = Strangers(self._alerted, apart_seconds=CLAIMS_SECONDS)
        self._spend = spend or (lambda _key, _records, _bytes: None)
        self._admits = admits or (lambda _der, _address: ("", True))
        self._refusals = refusals or Refusals("syslog")
        self._attended, self._stopping = Attended(Places(CONNECTIONS, EACH), self._refusals), threading.Event()
        self._sockets: dict[str, socket.socket] = {}
        self._until = 0.0  # when whoever still sends is heard no more
        try:
            for name, address in (("tls", tls), ("tcp", tcp)):
                if address is not None:
                    self._sockets[name] = socket.create_server(address, family=_family(address), backlog=256)
            if udp is not None:
                self._sockets["udp"] = datagrams(udp, _family(udp))
        except OSError:
            self._close_sockets()
            raise
        self._threads = [
            threading.Thread(target=self._listen, args=item, daemon=True) for item in self._sockets.items()
        ]
        self._writer = threading.Thread(target=self._write, daemon=True)
        for thread in (*self._threads, self._writer):
            thread.start()

    def port(self, transport: str) -> int:
        return int(self._sockets[transport].getsockname()[1])

    def close(self) -> None:
        """Listen no more, and write what has come; who goes on sending is heard for a while."""
        self._until = time.monotonic() + STOP_SECONDS
        self._stopping.set()
        for thread in self._threads:
            thread.join(5)
        self._writer.join(30)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for one in self._sockets.values():
            one.close()

    def _listen(self, transport: str, listening: socket.socket) -> None:
        if transport == "udp":
            self._datagrams(listening)
            return

        def opened(connection: socket.socket, peer: str, _heard: bytes) -> None:
            self._opened(transport, connection, peer)

        context = self._context if transport == "tls" else None
        openings = Openings(listening, opened, self._refusals, context=context, strangers=self._strangers)
        openings.serve(lambda: not self._stopping.is_set())

    def _opened(self, transport: str, connection: socket.socket, peer: str) -> None:
        if not self._admitted(der_of(connection), peer):
            self._refusals.tell(peer, "not permitted")
            connection.close()
            return
        spki = key_of(der_of(connection), "")
        origin = Origin(f"{transport} {peer} {subject_of(connection)}".strip(), peer, spki)
        self._attended.begin(connection, peer, spki or peer, partial(self._serve, transport, connection, origin))

    def _admitted(self, der: bytes, peer: str) -> bool:
        """Whether somebody may send; what there is to be said of it is on record."""
        said, is_let_in = self._admits(der, peer)
        if said:
            (self._claims if is_let_in else self._strangers).tell(peer, f"ITI-20: {said}")
        return is_let_in

    def _alerted(self, peer: str, reason: str) -> None:
        for one in self._alert(peer, reason).records():
            self._put(one)

    def _datagrams(self, listening: socket.socket) -> None:
        listening.settimeout(0.2)
        dropped, looked = Dropped(listening), 0.0
        while not self._stopping.is_set():
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                if lost := dropped.look():
                    self._metrics.audit_received.labels("udp", "dropped by the kernel").inc(lost)
                    log.error("syslog.datagrams_dropped_by_the_kernel", extra={"datagrams": lost})
            try:
                self._datagram(listening)
            except TimeoutError:
                continue
            except OSError:
                if not self._stopping.is_set():
                    log.exception("syslog.not_listening", extra={"transport": "udp"})
                    time.sleep(1)

    def _datagram(self, listening: socket.socket) -> None:
        data, peer = listening.recvfrom(DATAGRAM_BYTES + 1000)
        if not self._admitted(b"", str(peer[0])):
            self._metrics.audit_received.labels("udp", "not permitted").inc()
            return
        one = self._received(data, Origin(f"udp {peer[0]}", str(peer[0])))
        room = self._waiting.take(len(data), 0)
        try:
            if not room:
                raise Full
            self._queue.put_nowait(one)
            self._counted("udp", one)
        except Full:
            if room:
                self._waiting.give(len(data))
            self._metrics.audit_received.labels("udp", "dropped").inc()
            log.error("syslog.datagram_dropped", extra={"peer": peer[0]})

    def _received(self, frame: bytes, origin: Origin, flag: str = "") -> Recorded:
        one = received(frame, origin, flag=flag, ours=self._ours, speaks_for=self._speaks_for)
        self._spend(origin.spki or origin.address, 1, len(one.message))
        if one.origin.endswith(ANOTHERS):
            self._metrics.audit_received.labels(origin.where.partition(" ")[0], "of another's source").inc()
            self._claims.tell(origin.address, f"audit source: {ANOTHERS}")
        return one

    def _serve(self, transport: str, connection: socket.socket, origin: Origin, place: Place) -> None:
        frames = Frames()
        try:
            self._messages(transport, connection, origin, frames, place)
        except (OSError, ssl.SSLError) as problem:
            log.info("syslog.connection_lost", extra={"peer": origin.address, "reason": type(problem).__name__})
        except Exception:  # one sender's connection ends here, and no other's
            log.exception("syslog.failed", extra={"peer": origin.address})
        finally:
            self._passed(frames, origin.where)
            self._held.give(frames.counted)

    def _hold_to_revocations(self, stream: socket.socket, origin: Origin) -> None:
        """Read nobody on whose certificate has been revoked meanwhile; that is on record as a handshake's failure is.

        Raises:
            RevokedPeer: it has been.
        """
        try:
            revocation.refuse(stream)
        except revocation.RevokedPeer as problem:
            self._strangers.failed(origin.address, problem)
            raise

    def _messages(self, transport: str, stream: socket.socket, origin: Origin, frames: Frames, place: Place) -> None:
        silent = begun = 0.0
        stream.settimeout(0.5)
        while True:
            place.is_busy = False
            try:
                data = stream.recv(_PIECE)
            except TimeoutError:
                silent += 0.5
                if frames.counted and silent > ROOM_SECONDS:
                    self._kept(self._received(frames.rest(), origin, "silent in the midst of it"), transport)
                    return
                if silent > SILENT_SECONDS or self._stopping.is_set():
                    if frames.held:
                        self._kept(self._received(frames.rest(), origin, "cut"), transport)
                    return
                continue
            silent, place.is_busy = 0.0, True
            self._attended.heard(place)
            self._hold_to_revocations(stream, origin)
            if begun and time.monotonic() - begun > MESSAGE_SECONDS:
                self._kept(self._received(frames.rest(), origin, "too slow"), transport)
                return
            try:
                for frame, flag in frames.take(data):
                    self._kept(self._received(frame, origin, flag), transport)
                self._passed(frames, origin.where)
                self._hold(frames)
            except Malformed as problem:
                # Evidence all the same; but where the next message begins cannot be told.
                self._kept(self._received(problem.data, origin, str(problem)), transport)
                return
            begun = (begun or time.monotonic()) if frames.counted else 0.0
            if not data:
                if isinstance(stream, ssl.SSLSocket):
                    stream.unwrap()
                return
            if self._until and time.monotonic() > self._until:
                return

    def _passed(self, frames: Frames, origin: str) -> None:
        """Count what stood between messages; log it once a connection: some put a line end behind every message."""
        if not frames.passed:
            return
        self._metrics.passed_over.labels("syslog").inc(frames.passed)
        if not frames.told:
            log.warning("syslog.passed_over", extra={"sender": origin, "bytes": frames.passed})
        frames.passed, frames.told = 0, True

    def _hold(self, frames: Frames) -> None:
        """Have room for what a sender has begun to send.

        Raises:
            Malformed: there is none for a while.
        """
        held = max(frames.held - FREE_BYTES, 0)
        more = held - frames.counted
        deadline = time.monotonic() + ROOM_SECONDS
        while more > 0 and not self._held.take(more, 0.5):
            if self._stopping.is_set() or time.monotonic() > deadline:
                raise Malformed("no room for the rest", frames.rest())
        if more < 0:
            self._held.give(-more)
        frames.counted = held

    def _kept(self, one: Recorded, transport: str) -> None:
        self._put(one)
        self._counted(transport, one)

    def _put(self, one: Recorded) -> None:
        """Wait for room: meanwhile the sender is not read."""
        while not self._waiting.take(len(one.message), 1.0):
            pass
        self._queue.put(one)

    def _counted(self, transport: str, one: Recorded) -> None:
        self._metrics.audit_received.labels(transport, "unreadable" if one.event == UNREADABLE else "kept").inc()

    def _write(self) -> None:
        while True:
            batch = self._batch()
            if batch:
                self._insert(batch)
            elif self._stopping.is_set() and not any(
                thread.is_alive() for thread in (*self._threads, *self._attended.threads)
            ):
                return  # nobody reads any more, and all that was read is written

    def _batch(self) -> list[Recorded]:
        found = list[Recorded]()
        with contextlib.suppress(Empty):
            found.append(self._queue.get(timeout=0.2))
            size = len(found[0].message)
            while len(found) < WRITTEN and size < WRITTEN_BYTES:
                found.append(self._queue.get_nowait())
                size += len(found[-1].message)
        return found

    def _insert(self, batch: list[Recorded]) -> None:
        """Written, however long the database is away."""
        pause = 0.1
        while True:
            try:
                with self._engine.begin() as connection:
                    record(connection, _others(connection, batch))
            except SQLAlchemyError:
                log.exception("syslog.not_written", extra={"messages": len(batch)})
                time.sleep(pause)
                pause = min(pause * 2, 10.0)
            else:
                self._waiting.give(sum(len(one.message) for one in batch))
                return


def _others(connection: sa.Connection, batch: Sequence[Recorded]) -> list[Recorded]:
    """Without what this node itself has recorded, which was sent back by who was sent it."""
    ours = {one.message: one.said for one in batch if isinstance(one, Ours)}
    if not ours:
        return list(batch)
    home = own_at(connection, set(ours.values()))
    return [one for one in batch if one.message not in ours or content(one.message) not in home]


def _family(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
