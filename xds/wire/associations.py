"""Associations that others begin (DICOM PS3.8), within bounds that pynetdicom's reader has none of.

Before an association is made there is no thread for it: its A-ASSOCIATE-RQ is waited for with all others'.  Then every
PDU has a longest length and a longest time, a message a longest length, and who is idle gives way to who has fewer.
"""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from xds.system.disk import Reserve
from xds.wire.http import der_of
from xds.wire.listener_places import Place, Places, Refusals
from xds.wire.openings import Nonsense, Openings
from xds.wire.peers import key_of
from xds.wire.spool import Filling, NotKept
from xds.wire.strangers import Strangers, Tell

log = logging.getLogger("xds.wire.associations")

REQUEST_BYTES = 64 * 1024
"""The longest A-ASSOCIATE-RQ, and the longest command: one with 128 presentation contexts has about 20 kB."""

PDU_SECONDS = 30.0
"""How long one PDU may take."""

WAITING = 8
"""Messages that wait to be answered; whoever sends more beforehand is not read."""

# PS3.8: 9.3.1, the types of PDUs, and 9.3.4, 9.3.8.
_REQUEST, _DATA = 0x01, 0x04
_KINDS = range(0x01, 0x08)
_HEADER = 6
_REJECTED_LOCAL_LIMIT = b"\x03\0\0\0\0\x04\0\x02\x03\x02"  # rejected-transient, presentation, local-limit-exceeded
_REJECTED_BY_USER = b"\x03\0\0\0\0\x04\0\x01\x01"  # rejected-permanent, service-user; then the reason
_ABORTED = b"\x07\0\0\0\0\x04\0\0\x02\0"  # service-provider, reason not specified
_ABORTED_UNEXPECTED = b"\x07\0\0\0\0\x04\0\0\x02\x02"  # service-provider, unexpected PDU
_ABORTED_INVALID = b"\x07\0\0\0\0\x04\0\0\x02\x06"  # service-provider, invalid PDU parameter value

# PS3.7: E.1, the Command Field (0000,0100) of what is answered here.
_COMMAND_FIELD = b"\0\0\0\1\2\0\0\0"
_STORE, _ECHO = 0x0001, 0x0030


def request_is_whole(data: bytearray) -> bool:
    """Whether these first bytes of a connection are a whole A-ASSOCIATE-RQ.  PS3.8: 9.3.2.

    Raises:
        Nonsense: they are none, or it says that it is too long.
    """
    if data[0] != _REQUEST:
        raise Nonsense("no A-ASSOCIATE-RQ (PS3.8: 9.3.2)", _ABORTED_UNEXPECTED)
    if len(data) < _HEADER:
        return False
    length = int.from_bytes(data[2:_HEADER], "big")
    if length > REQUEST_BYTES:
        raise Nonsense(f"an A-ASSOCIATE-RQ of over {REQUEST_BYTES} bytes", _ABORTED_INVALID)
    return len(data) >= _HEADER + length


def calling_title(request: bytes) -> str:
    """The calling AE title of an A-ASSOCIATE-RQ.  PS3.8: Table 9-11, bytes 27 to 42."""
    return request[26:42].decode("ascii", "replace").strip()


class Bounds:
    """What one connection may send: lengths of PDUs, and of the messages that they are pieces of."""

    def __init__(self, pdu_bytes: int, message_bytes: int, disk: Reserve | None = None) -> None:
        """``disk``: what instances are written to as they come."""
        self._pdu, self._message, self._disk = pdu_bytes, message_bytes, disk
        self._filling: Filling | None = None
        self._command, self._dataset, self._may = bytearray(), 0, REQUEST_BYTES

    def header(self, data: bytes | bytearray) -> int:
        """The length of the PDU that begins so; nothing where it is of no known type, which pynetdicom answers.

        Raises:
            Nonsense: it is longer than agreed.
        """
        if len(data) < _HEADER or data[0] not in _KINDS:
            return 0
        length = int.from_bytes(data[2:_HEADER], "big")
        if length > (self._pdu if data[0] == _DATA else REQUEST_BYTES):
            raise Nonsense("a PDU is longer than agreed (PS3.8: D.1)", _ABORTED_INVALID)
        return length

    def values(self, body: bytes | bytearray) -> None:
        """Count the presentation data values of a P-DATA-TF.  PS3.8: 9.3.5, Annex E.

        Raises:
            Nonsense: a message is too long, or of another service.
        """
        position = 0
        while position + 6 <= len(body):
            length, control = int.from_bytes(body[position : position + 4], "big"), body[position + 5]
            data = body[position + 6 : position + 4 + length]
            if length < 2:
                raise Nonsense("a presentation data value without its header", _ABORTED_INVALID)
            position += 4 + length
            if control & 1:
                self._commanded(data, is_last=bool(control & 2))
            else:
                self._dataset += len(data)
                if self._dataset > self._may:
                    raise Nonsense(f"a message is over {self._may} bytes", _ABORTED_INVALID)
                self._fill(len(data))

    def _fill(self, count: int) -> None:
        try:
            if self._filling is not None:
                self._filling.more(count)
        except NotKept as problem:
            raise Nonsense(str(problem), _ABORTED) from None

    def _commanded(self, data: bytes | bytearray, *, is_last: bool) -> None:
        self._command += data
        if len(self._command) > REQUEST_BYTES:
            raise Nonsense(f"a command is over {REQUEST_BYTES} bytes", _ABORTED_INVALID)
        if is_last:
            at = self._command.find(_COMMAND_FIELD)
            field = int.from_bytes(self._command[at + 8 : at + 10], "little") if at >= 0 else 0
            if field not in (_STORE, _ECHO):
                raise Nonsense("a message of no service that is offered", _ABORTED_UNEXPECTED)
            # Only instances go to a file as they come.
            self._command, self._dataset = bytearray(), 0
            self._may = self._message if field == _STORE else REQUEST_BYTES
            self._filling = Filling(self._disk) if self._disk is not None and field == _STORE else None


class _Socket(AssociationSocket):
    """pynetdicom's, with bounds; made by it, and then given this class."""

    first: bytes
    bounds: Bounds
    heard: Callable[[], None]
    _left = 0  # of the PDU whose header was read
    _is_data = False
    _deadline = 0.0

    @property
    def ready(self) -> bool:
        if self.assoc.dimse.msg_queue.qsize() >= WAITING:
            return False
        return bool(self.first) or super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """As many bytes, or fewer where the peer has gone.

        Raises:
            OSError: they take too long, or there are more than agreed.
        """
        if not self._left:
            self._deadline = time.monotonic() + PDU_SECONDS
        data = self._read(nr_bytes)
        try:
            if self._left:
                self._left = 0
                if self._is_data:
                    self.bounds.values(data)
                self.heard()
            else:
                self._left, self._is_data = self.bounds.header(data), data[:1] == b"\x04"
        except Nonsense as problem:
            log.warning("association.nonsense", extra={"peer": self._peer, "reason": str(problem)})
            self.send(problem.answer)
            self._shutdown_socket()
            raise ConnectionAbortedError(str(problem)) from None
        return data

    def _read(self, count: int) -> bytearray:
        data = bytearray(self.first[:count])
        self.first = self.first[len(data) :]
        connection = self.socket
        if connection is None:
            raise ConnectionAbortedError
        try:
            while len(data) < count:
                connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
                piece = connection.recv(min(count - len(data), REQUEST_BYTES))
                if not piece:
                    break
                data += piece
        except TimeoutError:
            log.warning("association.too_slow", extra={"peer": self._peer})
            self._shutdown_socket()
            raise
        connection.settimeout(PDU_SECONDS)  # for what is sent
        return data

    @property
    def _peer(self) -> str:
        return str(self.assoc.requestor.address)


class Associations:
    """Listens from its making until it is closed; each association is pynetdicom's from its request on."""

    def __init__(
        self,
        entity: AE,
        address: tuple[str, int],
        handlers: list[Any],
        *,
        ended: Callable[[Any], None],
        context: ssl.SSLContext | None = None,
        tell: Tell | None = None,
        refusals: Refusals | None = None,
        most: int = 16,
        message_bytes: int = 16 * 1024**3,
        rejects: Callable[[str, str, bytes], int] | None = None,
        disk: Reserve | None = None,
    ) -> None:
        """``ended`` is told of each association that is over; ``message_bytes`` is the largest instance.

        ``rejects`` says why who calls itself so, from this address and with this certificate, is rejected
        (PS3.8: Table 9-21, of the service-user); 0: it is not.  ``disk`` is what instances are written to as they come.

        Raises:
            OSError: the address cannot be listened on.
        """
        # Its own log shows what peers have sent, and tracebacks of what they do; ours says what matters.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        entity.maximum_associations = 2 * most + 8  # counted here, and those that are ending too there
        self._server = entity.make_server(address, evt_handlers=handlers, server_class=_Server)
        self._places, self._refusals = Places(most, max(most // 2, 1)), refusals or Refusals("cstore")
        self._disk = disk
        self._rejects = rejects or (lambda *_: 0)
        self._ended, self._message_bytes, self._pdu_bytes = ended, message_bytes, entity.maximum_pdu_size
        self._lock, self._peers = Lock(), dict[Any, tuple[Place, bytes]]()
        self._stopping, self._collected = Event(), time.monotonic()
        listening: Any = self._server.socket
        self._strangers = Strangers(tell) if tell else None
        self._openings = Openings(
            listening, self._opened, self._refusals, context=context,
            strangers=self._strangers, first=request_is_whole,
        )  # fmt: skip
        self._thread = Thread(target=self._openings.serve, args=(self._going_on,), name="associations", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Listen no more; what is under way goes on."""
        self._stopping.set()
        self._thread.join(5)
        self._server.server_close()

    def revoked(self, association: Any, problem: OSError) -> None:
        """Tell of an association whose peer is authenticated no more, and end it."""
        if self._strangers is not None:
            self._strangers.failed(str(association.requestor.address), problem)
        association.abort()

    def certificate(self, association: Any) -> bytes:
        """The certificate in DER that the peer of an association presented."""
        with self._lock:
            found = self._peers.get(association)
        return found[1] if found else b""

    def busy(self, association: Any, is_busy: bool) -> None:
        """Whether something is done for an association, so that it does not give way to another."""
        with self._lock:
            found = self._peers.get(association)
        if found:
            found[0].is_busy = is_busy
            self._places.heard(found[0])

    def _going_on(self) -> bool:
        if time.monotonic() - self._collected > 30.0:
            self._collected = time.monotonic()
            gc.collect()  # associations and their threads refer to one another, and hold sockets
        return not self._stopping.is_set()

    def _opened(self, connection: socket.socket, peer: str, first: bytes) -> None:
        certificate = der_of(connection)
        reason = self._rejects(calling_title(first), peer, certificate)
        if reason:
            _rejected(connection, _REJECTED_BY_USER + bytes([reason]))
            return
        handler = _Handler(connection, connection.getpeername(), self._server)
        association = handler.made(Bounds(self._pdu_bytes, self._message_bytes, self._disk), first)
        place = self._places.take(key_of(certificate, peer), lambda: _aborted(association))
        if place is None:
            self._refusals.tell(peer, "associations")
            _rejected(connection, _REJECTED_LOCAL_LIMIT)
            return
        association.dul.socket.heard = lambda: self._places.heard(place)
        with self._lock:
            self._peers[association] = place, certificate
        try:
            Thread(target=self._run, args=(association, place), daemon=True).start()
        except RuntimeError:  # no more of them
            self._places.leave(place)
            raise

    def _run(self, association: Any, place: Place) -> None:
        """An association from its beginning to its end, however that comes; then what it has is given back."""
        try:
            association.start()
            association.join()
        except RuntimeError:
            log.warning("association.no_threads", extra={"peer": str(association.requestor.address)})
            association.dul.socket.close()
        self._places.leave(place)
        unfinished = getattr(association.dimse.message, "_data_set_path", None)
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)
        self._ended(association)
        with self._lock:
            self._peers.pop(association, None)


class _Server(ThreadedAssociationServer):
    """What pynetdicom's associations refer to; connections are accepted elsewhere."""

    request_queue_size = 128


class _Handler(RequestHandler):
    """Makes pynetdicom's association of a connection, and no more: it is begun when it has a place."""

    def handle(self) -> None:
        pass

    def made(self, bounds: Bounds, first: bytes) -> Any:
        association = self._create_association()
        bounded: Any = association.dul.socket
        bounded.__class__ = _Socket
        bounded.first, bounded.bounds, bounded.heard = first, bounds, lambda: None
        return association


def _aborted(association: Any) -> None:
    """It gives way; in a thread of its own, since pynetdicom waits a while."""
    Thread(target=association.abort, daemon=True).start()


def _rejected(connection: socket.socket, answer: bytes) -> None:
    try:
        connection.settimeout(1.0)
        connection.sendall(answer)
    except OSError:
        pass
    finally:
        connection.close()
