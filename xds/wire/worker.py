"""A gunicorn worker that no slow peer can freeze, and no busy one can have for itself.

Handshake, header and small bodies are gathered in the event loop, each with a deadline, and take no thread until
they are whole.  Long bodies have threads of their own and a least rate.  Requests for images are handed, with
their connection, to processes of their own.  Peers share the threads of each kind; whether the node is well is
answered by threads that do nothing else.
"""

from __future__ import annotations

import errno
import logging
import select
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from xds.wire import revocation
from xds.wire.connections import Connection, Gathering
from xds.wire.handing_over import carry, give, take
from xds.wire.head import HEAD_BYTES, Head, TooLong
from xds.wire.held_back import HeldBack
from xds.wire.lanes import Lane
from xds.wire.pace import Pace
from xds.wire.peers import Application, Peer, identified
from xds.wire.refusals import HEAD_TOO_LONG, Reason, Refusals
from xds.wire.shares import Shares
from xds.wire.strangers import Strangers
from xds.wire.turned_away import BUSY, is_soap, unread
from xds.wire.worker_lanes import Lanes

log = logging.getLogger("xds.wire.worker")

LINGER_SECONDS = 2.0
"""How long a peer may take to close its half of a connection after the last reply on it."""
HANDSHAKES = 256
"""Of TLS, open at once; of one address ``Pace.share`` of them.  More are let in while the oldest is young."""
YOUNG_SECONDS, LOOK_SECONDS = 2.0, 0.1
"""Between two looks for what is past its deadline, however much there is to do."""
SPARE = 16
"""Connections short of ``worker_connections`` at which the oldest gives way, so that there is room for who comes."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread, with the gathering before it."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connections = 0
        super().__init__(*args, **kwargs)
        self.pace: Pace = getattr(self.app, "pace", None) or Pace()
        self.shares: Shares | None = getattr(self.app, "shares", None)
        self._looked = 0.0
        self.gathering, self.handshakes = Gathering(), Gathering()
        self.strangers: Strangers | None = None
        self.refused = Refusals(getattr(self.app, "count_refusal", None))

    def init_process(self) -> None:
        self.nr_conns = 0  # in a place of its own now
        self.lanes = Lanes(self.pace, self.cfg.threads, self.worker_connections)
        self.held_back = HeldBack[Connection](self._refuse, self.worker_connections // 4)
        tell = getattr(self.app, "tell_of_strangers", None)
        self.strangers = Strangers(tell) if tell else None
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return self.lanes.short.pool

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application: Application = self.wsgi
        self.wsgi = identified(application)

    @property
    def nr_conns(self) -> int:
        """Connections that are open, as gthread counts them; the workers beside this one see it."""
        return self._connections

    @nr_conns.setter
    def nr_conns(self, count: int) -> None:
        self._connections = count
        if getattr(self, "shares", None) is not None and self.pid != "[booting]":
            self.shares.note(self.age, count)  # type: ignore[union-attr]

    # Accepting and gathering, all in the event loop.

    def accept(self, listener: socket.socket) -> None:
        if self.alive and self.shares is not None and self.shares.leaves(self.age, self.nr_conns):
            return
        try:
            sock, address = listener.accept()
        except OSError as problem:
            if problem.errno in (errno.EMFILE, errno.ENFILE):
                self._oldest_gives_way()
            elif problem.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        peer, gathered = Peer(address), b""
        if self.pace.takes_handed:
            handed = take(sock)
            if handed is None:
                return
            sock, peer, gathered = handed
        self.nr_conns += 1
        connection = Connection(self.cfg, sock, peer, sock.getsockname(), self.pace, self.refused)
        connection.gathered += gathered
        self._make_room(connection)
        self._look(connection)

    def _make_room(self, connection: Connection) -> None:
        """Before there are too many, who has waited longest gives way: of the address that has most."""
        if self.nr_conns > self.worker_connections - SPARE:
            self._oldest_gives_way()
        if connection.greeted:
            return
        network = connection.peer.network
        is_over = self.handshakes.of(network) >= HANDSHAKES * self.pace.share
        if is_over or len(self.handshakes) >= HANDSHAKES:
            oldest = self.handshakes.first(network if is_over else self.handshakes.greediest())
            if oldest is not None and oldest.begun < time.monotonic() - YOUNG_SECONDS:
                self._gives_way(oldest, Reason.HANDSHAKES)

    def _oldest_gives_way(self) -> None:
        if held := self.held_back.take():
            held[0].say(held[1])
            self._drop(held[0])
            return
        greediest = self.handshakes.greediest(self.gathering)
        oldest = self.handshakes.first(greediest) or self.gathering.first(greediest)
        if oldest is not None:
            self._gives_way(oldest, Reason.CONNECTIONS)

    def _gives_way(self, connection: Connection, reason: Reason) -> None:
        self.refused(reason, connection.peer.host)
        if connection.head is not None:  # with a request that has begun
            connection.say(unread(connection.head, self.pace.soap, BUSY))
        self._drop(connection)

    def _gather(self, connection: Connection) -> None:
        raw: Any = connection.sock.raw
        raw.setblocking(False)
        (self.gathering if connection.greeted else self.handshakes).add(connection)
        readable = partial(self._readable, connection)
        self.poller.register(raw, selectors.EVENT_READ, readable)
        if isinstance(raw, ssl.SSLSocket) and connection.greeted and not connection.lingering and raw.pending():
            self.method_queue.defer(readable, None)  # what TLS has read already makes no socket readable

    def _ungather(self, connection: Connection) -> bool:
        """Take a connection out of the event loop's hands; whether it was there."""
        if not self.gathering.remove(connection) and not self.handshakes.remove(connection):
            return False
        self.poller.unregister(connection.sock.raw)
        return True

    def _drop(self, connection: Connection) -> None:
        self._ungather(connection)
        self.nr_conns -= 1
        connection.close()

    def _linger(self, connection: Connection) -> None:
        """Close so that the reply arrives: our half now, the rest when the peer has closed its own (RFC 9112: 9.6).

        gunicorn would wait for that in the event loop.
        """
        connection.lingering, connection.deadline = True, time.monotonic() + LINGER_SECONDS
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return self._drop(connection)
        return self._gather(connection)

    def _refuse(self, connection: Connection, said: bytes) -> None:
        """Say so to a peer whose request never came to be answered."""
        self._ungather(connection)
        (self._linger if connection.say(said) else self._drop)(connection)

    def _turn_away(self, connection: Connection, lane: Lane[Connection]) -> None:
        """The peer has its share: a SOAP message that is all here is answered as that, others are told so at once.

        In a flood there is no time to read it either, and they are told a little later.
        """
        head = connection.head
        if lane is not self.lanes.turning_away:
            self.refused(Reason.PLACES, connection.peer.host)
            is_message = head is not None and is_soap(head, self.pace.soap) and connection.is_whole
            if lane.is_flooded:
                connection.gathered.clear()
                self.held_back.add(connection, unread(head, self.pace.soap, BUSY))
                return
            if is_message:
                connection.sock.turned_away = True
                self._enter(connection, self.lanes.turning_away, self._serve)
                return
        self._refuse(connection, unread(head, self.pace.soap, BUSY))

    def _readable(self, connection: Connection, _file: Any) -> None:
        """Read once: whoever else is ready has a turn, and deadlines are looked at, before more is read."""
        raw: Any = connection.sock.raw
        if connection not in self.gathering and connection not in self.handshakes:
            return  # it was dropped, or has gone on, since this was known
        try:
            if connection.lingering:
                if not raw.recv(HEAD_BYTES):
                    self._drop(connection)
                return
            if not connection.greeted:
                connection.greet()
                raw = connection.sock.raw
                self.handshakes.remove(connection)
                self.gathering.add(connection)
            if not connection.gathered:
                connection.deadline = time.monotonic() + self.pace.header_seconds
            data = raw.recv(HEAD_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as problem:
            self.log.debug("connection lost: %s", problem)
            if not connection.greeted:
                self._tell_of(connection, problem)
            self._drop(connection)
            return
        connection.gathered += data
        if data:
            self._look(connection)
        else:
            self._drop(connection)

    def _tell_of(self, connection: Connection, problem: OSError) -> None:
        """Record a stranger, without waiting for it."""
        if self.strangers is not None:
            self.lanes.uploads.pool.submit(self.strangers.failed, str(connection.client[0]), problem)

    def _look(self, connection: Connection) -> None:
        """Send the request on if there is enough of it, else wait for more."""
        try:
            head = connection.read_head() if connection.greeted else None
        except TooLong:
            self.refused(Reason.HEAD, connection.peer.host)
            self._refuse(connection, HEAD_TOO_LONG)
            return
        try:
            if head is not None:
                revocation.refuse(connection.sock.raw)  # it may have been since this connection was made
        except revocation.RevokedPeer as problem:
            self._tell_of(connection, problem)
            self._drop(connection)
            return
        if head is not None and not (connection.stays or connection.lingering) and self._is_for_images(head):
            if self.cfg.is_ssl:
                self._enter(connection, self.lanes.carriers, self._hand_over)
                return
            if self._hand_over(connection):
                return
        lane = self.lanes.of(connection)
        if lane is not None:
            self._enter(connection, lane, self._serve)
        elif not connection.lingering and connection not in self.gathering and connection not in self.handshakes:
            self._gather(connection)

    def _is_for_images(self, head: Head) -> bool:
        return bool(self.pace.images_socket) and head.is_under(self.pace.images_paths)

    def _enter(self, connection: Connection, lane: Lane[Connection], do: Callable[..., Any]) -> None:
        self._ungather(connection)
        if not lane.enter(connection.peer.key, connection, partial(do, connection, lane)):
            self._turn_away(connection, lane)

    def _serve(self, connection: Connection, lane: Lane[Connection]) -> None:
        connection.sock.in_lane(partial(lane.is_pressed_by, connection.peer.key))
        future: Future[Any] = lane.pool.submit(self.handle, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self._served, connection, lane, done))

    def _shed(self, lane: Lane[Connection]) -> None:
        """Turn away who has waited for too long."""
        for connection in lane.overdue():
            self._turn_away(connection, lane)

    def _served(self, connection: Connection, lane: Lane[Connection], done: Future[Any]) -> None:
        self._shed(lane)
        lane.leave(connection.peer.key)
        connection.sock.turned_away = False
        self.finish_request(connection, done)

    def _hand_over(self, connection: Connection, lane: Lane[Connection] | None = None) -> bool:
        """Give the connection to an image process; False when none takes it, and it stays here.

        A TLS connection cannot be given away: the image process gets one end of a socket pair, and a thread that
        serves nothing else carries bytes between the other end and the peer.
        """
        raw, pair = connection.sock.raw, None if lane is None else socket.socketpair()
        given = pair[1] if pair else raw
        try:
            give(self.pace.images_socket, given, connection.peer, bytes(connection.gathered))
        except OSError as problem:
            log.error("images.not_handed_over", extra={"reason": problem.strerror or type(problem).__name__})
            for end in pair or ():
                end.close()
            connection.stays = True
            if lane is not None:
                lane.leave(connection.peer.key)
                self._look(connection)
            return False
        self._ungather(connection)
        given.close()  # theirs now: closed here without a shutdown
        if pair and lane:
            # Ours until it is carried to its end: a stop waits for it.
            carried = lane.pool.submit(carry, connection.sock, pair[0])
            carried.add_done_callback(lambda _: self.method_queue.defer(self._given_away, connection, lane))
        else:
            self._given_away(connection, None)
        return True

    def _given_away(self, connection: Connection, lane: Lane[Connection] | None) -> None:
        self.nr_conns -= 1
        if lane is not None:
            lane.leave(connection.peer.key)

    # What gthread calls.

    def is_parent_alive(self) -> bool:
        """Without its parent it stops as if told to: what it kept open would keep its successor from listening."""
        if super().is_parent_alive():
            return True
        self.alive = False  # never set to True: a signal may have told it to stop just now
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        """At a stop: take who has connected already, then listen no more, while requests in flight are finished.

        Who is told to stop while it starts is asked to listen first, and then no more.
        """
        super().set_accept_enabled(enabled)
        if self.alive or enabled:
            return
        for listener in self.sockets:
            while self.nr_conns < self.worker_connections and select.select([listener], [], [], 0)[0]:
                self.accept(listener)
            listener.close()

    def enqueue_req(self, conn: Connection) -> None:
        self._look(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Wait for the next request on a connection that is kept, in the event loop."""
        try:
            keep = bool(fs.result()) if not fs.cancelled() else False
        except Exception:  # handle() has logged what went wrong; the connection is no use any more
            keep = False
        if not keep or not self.alive:
            self._linger(conn)
            return
        conn.gathered += conn.parser.unreader.take_buffered()
        conn.deadline = time.monotonic() + self.cfg.keepalive
        self._look(conn)

    def handle(self, conn: Connection) -> Any:
        conn.data_ready = True
        conn.sock.setblocking(True)
        conn.init()
        conn.initialized = True
        return super().handle(conn)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """What is wrong with a body that nobody has read ends its connection: its request is answered, and once."""
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except (OSError, ParseException):
            return False

    def murder_pending(self) -> None:
        """Close what is past its deadline; at a stop also what has sent nothing yet."""
        now = time.monotonic()
        if self.alive and now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        for those in (self.gathering, self.handshakes):
            for connection in those:
                if connection.deadline < now or (connection.idle and not self.alive):
                    self._drop(connection)
        for lane in self.lanes:
            lane.pressed = lane.keeps_waiting(self.pace.stall_seconds)
            self._shed(lane)
        self.held_back.tell_due(everybody=not self.alive)
