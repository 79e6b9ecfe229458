"""The C-STORE SCP: modalities and archives send what goes into the folder.  DICOM PS3.4: Annex B; PS3.7: 9.1.1.

pynetdicom speaks the protocol, and writes each instance to a file as it comes.
"""

from __future__ import annotations

import logging
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from xds.archives.dimse import storage_contexts
from xds.archives.intake import AnothersStudy, Arrived, Intake, NotTaken, Reason
from xds.archives.senders import Sender
from xds.endpoints.counted import Counted
from xds.endpoints.intake_records import NotRecorded, Recording
from xds.wire import revocation
from xds.wire.associations import Associations
from xds.wire.listener_places import Refusals
from xds.wire.peers import key_of
from xds.wire.spool import NotKept, Spool
from xds.wire.strangers import Tell

log = logging.getLogger("xds.endpoints.cstore")

SUCCESS, FAILED = 0x0000, 0x0110

# PS3.4: Table B.2-1 has no status for another instance of a UID that is there, and PS3.7: 9.1.1.1.9 none that fits; the
# Error Comment (0000,0902) says it.
_STATUSES = {Reason.DUPLICATE: 0xC001}
# What is set apart fails too, since with success, and a warning is of that, an SCP «indicates that the SOP Instance has
# been successfully stored» (PS3.4: B.2.2): a modality may then delete it.  A900 with «set apart: …» as Error Comment.
_COMMENT = 64  # characters of an LO
_PIECE = 1024 * 1024


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
        recording: Callable[[str, str, bytes], Recording],
        *,
        senders: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
        tell: Tell | None = None,
        refusals: Refusals | None = None,
        seconds: float = 30.0,
        associations: int = 16,
        instance_bytes: int = 16 * 1024**3,
        sender: Callable[[str, str, bytes], Sender] | None = None,
        rejects: Callable[[str, str, bytes], int] | None = None,
        counted: Counted | None = None,
        answered: Callable[[str, str, str, float], None] | None = None,
    ) -> None:
        """Start to listen; ``senders`` are the AE titles that may send, all where there are none.

        ``rejects`` says why an association is rejected, as ``Associations`` asks it.

        ``sender`` says who an association is from, by its title, address and certificate.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._intake, self._recording, self._sender = intake, recording, sender or sender_of
        self._counted, self._answered = counted, answered
        self._lock, self._under_way = Lock(), dict[Any, _Association]()
        # Private SOP classes, and those of editions to come, are taken as STOW-RS takes them: in any transfer syntax,
        # since instances are stored as they come.  The switches are the process's.
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        _config.STORE_RECV_CHUNKED_DATASET = True
        entity = AE(ae_title=title)
        entity.supported_contexts = [*storage_contexts(), build_context(Verification)]
        entity.require_called_aet = True
        entity.require_calling_aet = list(senders)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, lambda _event: SUCCESS)]
        self._associations = Associations(
            entity, address, handlers, ended=self._end, context=context, tell=tell, refusals=refusals,
            most=associations, message_bytes=instance_bytes, rejects=rejects, disk=intake.disk,
        )  # fmt: skip

    @property
    def port(self) -> int:
        return self._associations.port

    def close(self) -> None:
        """Break off what is under way; what was acknowledged is recorded."""
        self._associations.close()
        with self._lock:
            left = list(self._under_way)
        for association in left:
            self._end(association)

    def _store(self, event: Any) -> Any:
        """What pynetdicom calls with an instance: see ``_stored``; it is counted by its sender."""
        started, outcome = time.monotonic(), "fault"
        try:
            status = self._stored(event)
            outcome = "done" if status == SUCCESS else "refused"
            return status
        finally:
            if self._answered is not None and self._counted is not None:
                who = event.assoc.requestor.address, self._associations.certificate(event.assoc)
                self._answered("C-STORE", outcome, self._counted.name(*who), time.monotonic() - started)

    def _stored(self, event: Any) -> Any:
        """Take an instance; returns a C-STORE status (PS3.4: B.2.3), and why where it failed."""
        self._associations.busy(event.assoc, True)
        try:
            revocation.refuse(event.assoc.dul.socket.socket)
            self._intake.demand_room()
            with (
                self._counting(event.assoc, demand=True),
                Spool(self._intake.incoming, disk=self._intake.disk) as spool,
            ):
                writing = spool.new()
                with Path(event.dataset_path).open("rb") as file:
                    shutil.copyfileobj(file, writing, _PIECE)
                return self._taken(event.assoc, self._intake.examined(writing.finish().path))
        except revocation.RevokedPeer as problem:
            self._associations.revoked(event.assoc, problem)
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
        finally:
            self._associations.busy(event.assoc, False)

    @contextmanager
    def _counting(self, association: Any, *, demand: bool = False) -> Iterator[None]:
        """Count what is done for an association as its peer's.

        Raises:
            NotTaken: there is a ``demand``, and the peer has used up what it may in a day.
        """
        if self._counted is None:
            yield
            return
        who = association.requestor.address, self._associations.certificate(association)
        over = self._counted.over(*who) if demand else ""
        if over:
            raise NotTaken(Reason.OUT_OF_RESOURCES, over)
        with self._counted.serving(*who):
            yield

    def _taken(self, association: Any, arrived: Arrived) -> int:
        with self._lock:
            under_way = self._under_way.get(association)
            if under_way is None:
                title, address = association.requestor.ae_title.strip(), association.requestor.address
                who = title, address, self._associations.certificate(association)
                under_way = self._under_way[association] = _Association(self._recording(*who), self._sender(*who))
        under_way.take(self._intake, arrived)
        return SUCCESS

    def _end(self, association: Any) -> None:
        with self._lock:
            under_way = self._under_way.pop(association, None)
        if under_way is not None:
            try:
                with self._counting(association):
                    under_way.recording.end(under_way.taken, under_way.refused)
            except NotRecorded:
                log.error("audit.not_recorded", extra={"transaction": "C-STORE"})


def sender_of(title: str, address: str, certificate: bytes) -> Sender:
    """Who sends, told by the certificate, else by the AE title and the address."""
    return Sender(key_of(certificate, f"{title}@{address}"))


def _failure(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:_COMMENT]
    return answer


class _Association:
    """What one association has sent."""

    def __init__(self, recording: Recording, sender: Sender) -> None:
        self.recording, self._sender = recording, sender
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
            intake.keep(arrived, self._sender)
        except NotTaken as refusal:
            self.refused.append(arrived)
            if isinstance(refusal, AnothersStudy):
                self.recording.against(arrived, refusal, self._sender)
            raise
        self.taken.append(arrived)
