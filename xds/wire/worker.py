"""A gunicorn worker that no slow peer can freeze.

Handshake, header and small bodies are gathered in the event loop, each with a deadline, and take no thread until
they are whole.  Long bodies have threads of their own and a least rate.  Requests for images are handed, with
their connection, to processes of their own.
"""

from __future__ import annotations

import errno
import logging
import select
import selectors
import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn import sock as gunicorn_sock
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from xds.wire import revocation
from xds.wire.handing_over import carry, give, take
from xds.wire.pace import Pace, Paced
from xds.wire.shares import Shares
from xds.wire.strangers import Strangers

log = logging.getLogger("xds.wire.worker")

HEAD_BYTES = 64 * 1024
SMALL_BODY_BYTES = 64 * 1024
"""With a head at its limit too, a thousand connections gather 128 MiB at most."""
LEFT, LEFT_SECONDS = 10, 0.001
"""How often a connection is left to another worker, and how long it has each time."""
LINGER_SECONDS = 2.0
"""How long a peer may take to close its half of a connection after the last reply on it."""


class ToRoot(Logger):  # type: ignore[misc]
    """gunicorn's own log, written as the rest of the process' is."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


class Connection(TConn):  # type: ignore[misc]
    """A connection with what has been gathered of its next request."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, pace: Pace) -> None:
        super().__init__(cfg, sock, client, server)
        self.pace = pace
        self.sock = Paced(sock, pace)
        self.parser: Any
        self.gathered = bytearray()
        self.deadline = time.monotonic() + pace.header_seconds
        self.greeted = not cfg.is_ssl
        self.target = ""
        self.lingering = False

    def wrap(self) -> None:
        """Begin TLS, without waiting for it."""
        raw = gunicorn_sock.ssl_wrap_socket(self.sock.raw, self.cfg)
        raw.setblocking(False)
        self.sock = Paced(raw, self.pace)

    def init(self) -> None:
        """Hand the gathered bytes to the parser; called by the thread that serves the request."""
        if self.parser is None:
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
            self.initialized = True
        self.parser.unreader.unread(bytes(self.gathered))
        self.gathered.clear()
        self.sock.restart()


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread, with the gathering before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connections = 0
        super().__init__(*args, **kwargs)
        self.pace: Pace = getattr(self.app, "pace", None) or Pace()
        self.shares: Shares | None = getattr(self.app, "shares", None)
        self._left = 0
        self.gathering: dict[int, Connection] = {}
        self.uploads: ThreadPoolExecutor | None = None
        self.strangers: Strangers | None = None

    def init_process(self) -> None:
        self.nr_conns = 0  # in a place of its own now
        self.uploads = ThreadPoolExecutor(self.pace.upload_threads, "upload")
        self.carriers = ThreadPoolExecutor(self.pace.carrier_threads, "carrier")
        tell = getattr(self.app, "tell_of_strangers", None)
        self.strangers = Strangers(tell) if tell else None
        super().init_process()

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

    def _leaves(self) -> bool:
        """Whether a new connection is left to another worker, which has fewer and may be about to take it."""
        wanted = self.alive and self.shares is not None and self.shares.others_have_fewer(self.age, self.nr_conns)
        if not wanted or self._left >= LEFT:
            self._left = 0
            return False
        self._left += 1
        time.sleep(LEFT_SECONDS)
        return True

    def accept(self, listener: socket.socket) -> None:
        if self._leaves():
            return
        try:
            sock, client = listener.accept()
        except OSError as problem:
            if problem.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK, errno.EMFILE):
                return
            raise
        server = listener.getsockname()
        gathered = b""
        if self.pace.takes_handed:
            handed = take(sock)
            if handed is None:
                return
            sock, client, gathered = handed
            server = sock.getsockname()
        self.nr_conns += 1
        connection = Connection(self.cfg, sock, client, server, self.pace)
        connection.gathered += gathered
        if not connection.greeted:
            try:
                connection.wrap()
            except OSError as problem:  # reset before it was accepted
                self.log.debug("connection lost: %s", problem)
                self._drop(connection)
                return
        if not self._whole(connection):
            self._gather(connection)

    def _gather(self, connection: Connection) -> None:
        connection.sock.setblocking(False)
        self.gathering[connection.sock.fileno()] = connection
        self.poller.register(connection.sock.raw, selectors.EVENT_READ, partial(self._readable, connection))

    def _ungather(self, connection: Connection) -> None:
        if self.gathering.pop(connection.sock.fileno(), None) is not None:
            self.poller.unregister(connection.sock.raw)

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

    def _readable(self, connection: Connection, _file: Any) -> None:
        raw: Any = connection.sock.raw
        try:
            if connection.lingering:
                if not raw.recv(HEAD_BYTES):
                    self._drop(connection)
                return None
            if not connection.greeted:
                raw.do_handshake()
                connection.greeted = True
                revocation.refuse(raw)
            if not connection.gathered:
                connection.deadline = time.monotonic() + self.pace.header_seconds
            while True:
                data = raw.recv(HEAD_BYTES)
                if not data:
                    return self._drop(connection)
                connection.gathered += data
                if self._whole(connection):
                    return None
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as problem:
            self.log.debug("connection lost: %s", problem)
            if not connection.greeted or isinstance(problem, revocation.RevokedPeer):
                self._tell_of(connection, problem)
            return self._drop(connection)

    def _tell_of(self, connection: Connection, problem: OSError) -> None:
        """Record a stranger, without waiting for it."""
        if self.strangers is not None and self.uploads is not None:
            self.uploads.submit(self.strangers.failed, str(connection.client[0]), problem)

    def _whole(self, connection: Connection) -> bool:
        """Send the request on if there is enough of it; whether the connection is out of the loop's hands."""
        data = connection.gathered
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_BYTES:
                self._drop(connection)
                return True
            return False
        try:
            revocation.refuse(connection.sock.raw)  # it may have been since this connection was made
        except revocation.RevokedPeer as problem:
            self._tell_of(connection, problem)
            self._drop(connection)
            return True
        target, length = _asked(bytes(data[:end]))
        wants_images = self.pace.images_socket and any(
            target == path or target.startswith(f"{path}/") for path in self.pace.images_paths
        )
        if wants_images and self._hand_over(connection):
            return True
        if length is not None and length <= SMALL_BODY_BYTES:
            if len(data) - end - 4 < length:
                return False
            self._serve(connection, self.tpool)
        else:
            self._serve(connection, self.uploads)
        return True

    def _serve(self, connection: Connection, pool: Any) -> None:
        self._ungather(connection)
        future: Future[Any] = pool.submit(self.handle, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def _hand_over(self, connection: Connection) -> bool:
        """Give the connection to an image process; False when none takes it.

        A TLS connection cannot be given away: the image process gets one end of a socket pair, and a thread that
        serves nothing else carries bytes between the other end and the peer.
        """
        raw, pair = connection.sock.raw, None
        if self.cfg.is_ssl:
            pair = socket.socketpair()
        given = pair[1] if pair else raw
        try:
            give(self.pace.images_socket, given, connection.client, bytes(connection.gathered))
        except OSError as problem:
            log.error("images.not_handed_over", extra={"reason": problem.strerror or type(problem).__name__})
            for end in pair or ():
                end.close()
            return False
        self._ungather(connection)
        given.close()  # theirs now: closed here without a shutdown
        if pair:
            # Ours until it is carried to its end: a stop waits for it.
            carried = self.carriers.submit(carry, connection.sock, pair[0])
            carried.add_done_callback(lambda _: self.method_queue.defer(self._given_away))
        else:
            self._given_away()
        return True

    def _given_away(self) -> None:
        self.nr_conns -= 1

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
        if not self._whole(conn):
            self._gather(conn)

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
        if not self._whole(conn):
            self._gather(conn)

    def handle(self, conn: Connection) -> Any:
        conn.data_ready = True
        conn.sock.setblocking(True)
        conn.init()
        conn.initialized = True
        return super().handle(conn)

    def murder_pending(self) -> None:
        """Close what is past its deadline; at a stop also what has sent nothing yet."""
        now = time.monotonic()
        for connection in list(self.gathering.values()):
            idle = not connection.gathered and not connection.lingering
            if connection.deadline < now or (idle and not self.alive):
                self._drop(connection)


def _asked(head: bytes) -> tuple[str, int | None]:
    """Path, and body length: None when it is to be streamed (chunked, or the peer waits for a go-ahead)."""
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    target = parts[1].split(b"?")[0].decode("latin-1") if len(parts) == 3 else ""
    length = 0
    for line in lines[1:]:
        key, _, value = line.partition(b":")
        key = key.strip().lower()
        if key in (b"transfer-encoding", b"expect"):
            return target, None
        if key == b"content-length" and value.strip().isdigit():
            length = int(value)
    return target, length
