"""The C-STORE SCP: modalities and archives send what goes into the folder.  DICOM PS3.4: Annex B; PS3.7: 9.1.1.

pynetdicom speaks the protocol, and writes each instance to a file as it comes.
"""

from __future__ import annotations

import logging
import shutil
import socketserver
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from xds.archives.dimse import storage_contexts
from xds.archives.intake import Arrived, Intake, NotTaken, Reason
from xds.endpoints.intake_records import NotRecorded, Recording
from xds.wire import revocation
from xds.wire.spool import NotKept, Spool
from xds.wire.strangers import Strangers, Tell

log = logging.getLogger("xds.endpoints.cstore")

SUCCESS, FAILED = 0x0000, 0x0110

# PS3.4: Table B.2-1 has no status for another instance of a UID that is there, and PS3.7: 9.1.1.1.9 none that fits; the
# Error Comment (0000,0902) says it.
_STATUSES = {Reason.DUPLICATE: 0xC001}
_COMMENT = 64  # characters of an LO
_PIECE = 1024 * 1024

HANDSHAKES, HANDSHAKE_SECONDS = 64, 10.0
"""Peers whose TLS handshake is under way at once, and how long one may take."""


class StorageScp:
    """Listens until it is closed.

    ``recording`` makes the audit record of an association, given the sender's title and address; ``tell`` is told of
    peers that could not be authenticated.
    """

    def __init__(
        self,
        intake: Intake,
        title: str,
        address: tuple[str, int],
        recording: Callable[[str, str], Recording],
        *,
        senders: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
        tell: Tell | None = None,
        seconds: float = 30.0,
        associations: int = 16,
    ) -> None:
        """Start to listen; ``senders`` are the AE titles that may send, all where there are none.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._intake, self._recording = intake, recording
        self._lock, self._under_way = Lock(), dict[Any, _Association]()
        # Private SOP classes, and those of editions to come, are taken as STOW-RS takes them: in any transfer syntax,
        # since instances are stored as they come.  The switch is the process's.
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        entity = AE(ae_title=title)
        entity.supported_contexts = [*storage_contexts(), build_context(Verification)]
        entity.require_called_aet = True
        entity.require_calling_aet = list(senders)
        entity.maximum_associations = associations
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        self._server: Any = entity.make_server(
            address, evt_handlers=handlers, ssl_context=context, server_class=_Server, tell=tell
        )
        Thread(target=self._server.serve_forever, name="cstore", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Break off what is under way; what was acknowledged is recorded."""
        self._server.shutdown()
        with self._lock:
            left = list(self._under_way)
        for association in left:
            self._end(association)

    def _store(self, event: Any) -> Any:
        """What pynetdicom calls with an instance; returns a C-STORE status (PS3.4: B.2.3), and why where it failed."""
        try:
            revocation.refuse(event.assoc.dul.socket.socket)
            with Spool(self._intake.incoming) as spool:
                writing = spool.new()
                with Path(event.dataset_path).open("rb") as file:
                    shutil.copyfileobj(file, writing, _PIECE)
                return self._taken(event.assoc, self._intake.examined(writing.finish().path))
        except revocation.RevokedPeer as problem:
            self._server.tell(str(event.assoc.requestor.address), problem)
            event.assoc.abort()
            return _failure(FAILED, "the certificate of this association is revoked")
        except NotTaken as refusal:
            log.warning("cstore.refused", extra={"reason": str(refusal)})
            return _failure(_STATUSES.get(refusal.reason, int(refusal.reason)), str(refusal))
        except (NotKept, NotRecorded, OSError):
            log.exception("cstore.not_kept")
            return _failure(int(Reason.OUT_OF_RESOURCES), "cannot be stored or recorded now")
        except Exception:
            log.exception("cstore.failed")
            return FAILED

    def _taken(self, association: Any, arrived: Arrived) -> int:
        with self._lock:
            under_way = self._under_way.get(association)
            if under_way is None:
                recording = self._recording(association.requestor.ae_title.strip(), association.requestor.address)
                under_way = self._under_way[association] = _Association(recording)
        under_way.take(self._intake, arrived)
        return SUCCESS

    def _closed(self, event: Any) -> None:
        self._end(event.assoc)

    def _end(self, association: Any) -> None:
        with self._lock:
            under_way = self._under_way.pop(association, None)
        if under_way is not None:
            try:
                under_way.recording.end(under_way.taken, under_way.refused)
            except NotRecorded:
                log.error("audit.not_recorded", extra={"transaction": "C-STORE"})


def _failure(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:_COMMENT]
    return answer


class _Server(ThreadedAssociationServer):
    """Shakes hands with each peer in a thread of its own: pynetdicom's does so where it accepts, for as long as one
    peer likes, and meanwhile nobody else is let in."""

    daemon_threads = True

    def __init__(self, *args: Any, tell: Tell | None, **named: Any) -> None:
        super().__init__(*args, **named)
        self._strangers = Strangers(tell) if tell else None
        self._free = BoundedSemaphore(HANDSHAKES)

    def tell(self, peer: str, problem: OSError) -> None:
        """Tell of a peer that is not, or no longer, authenticated."""
        if self._strangers is not None:
            self._strangers.failed(peer, problem)

    def get_request(self) -> tuple[Any, Any]:
        return self.socket.accept()  # type: ignore[union-attr]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            log.warning("cstore.too_many_connections", extra={"peer": client_address[0]})
            self.shutdown_request(request)
            return
        try:
            socketserver.ThreadingMixIn.process_request(self, request, client_address)
        except RuntimeError:  # no more threads
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(self._secured(request, str(client_address[0])), client_address)
        except OSError as problem:
            log.info("cstore.connection_lost", extra={"peer": client_address[0], "reason": type(problem).__name__})
            self.shutdown_request(request)
        finally:
            self._free.release()

    def shutdown(self) -> None:
        socketserver.TCPServer.shutdown(self)
        self.server_close()

    def _secured(self, connection: Any, peer: str) -> Any:
        """The connection, over TLS where there is a context.

        Raises:
            OSError: the peer could not be authenticated, is too slow or gone.
        """
        if self.ssl_context is None:
            return connection
        try:
            connection.settimeout(HANDSHAKE_SECONDS)
            secured = self.ssl_context.wrap_socket(connection, server_side=True)
            secured.settimeout(None)
            return secured
        except OSError as problem:
            self.tell(peer, problem)
            raise


class _Association:
    """What one association has sent."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.taken, self.refused = list[Arrived](), list[Arrived]()
        self._begun = set[tuple[str, str]]()

    def take(self, intake: Intake, arrived: Arrived) -> None:
        """Keep an instance, with the record of its study begun.

        Raises:
            NotTaken, NotRecorded: it is not kept.
        """
        about = (arrived.patient_id, arrived.study_instance_uid)
        if about not in self._begun:
            self.recording.begin([arrived])
            self._begun.add(about)
        try:
            intake.keep(arrived)
        except NotTaken:
            self.refused.append(arrived)
            raise
        self.taken.append(arrived)
