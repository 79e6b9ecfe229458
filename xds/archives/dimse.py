"""A PACS by DIMSE: C-FIND says what there is; C-GET, or C-MOVE to a listener of ours, gives it.

DICOM PS3.4: Annex C (Query/Retrieve), Annex B (Storage); PS3.7: 9.1.  pynetdicom speaks the protocol.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pydicom
from pydicom import uid
from pynetdicom import AE, AllStoragePresentationContexts, _config, build_context, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet as Get,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as Move,
)

from xds.archives.contents import Member, Members
from xds.archives.interface import Gone, NotAnswering
from xds.errors import Unusable
from xds.wire import calls

# Its messages quote what peers send.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)

# An instance that comes is written to a file as it comes, not kept in memory.
_config.STORE_RECV_CHUNKED_DATASET = True

# Each is proposed by itself, so that the PACS may send an instance as it is stored.
SYNTAXES = (
    uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
    uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.RLELossless, uid.MPEG2MPML, uid.MPEG4HP41,
    uid.HTJ2KLossless, uid.HTJ2K,
)  # fmt: skip
_PENDING, _SUCCESS = (0xFF00, 0xFF01), 0x0000
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    """A PACS by its AE title and address, and the title that we call with.

    ``move_port`` is where it sends what C-MOVE asks for, to our title; 0: C-GET.
    """

    title: str
    host: str
    port: int
    own_title: str = "XDS"
    move_port: int = 0
    seconds: float = 30.0

    @classmethod
    def parse(cls, text: str, **more: Any) -> Peer:
        """Read ``TITLE@HOST:PORT``.

        Raises:
            Unusable: it is something else.
        """
        match = re.fullmatch(r"([^@\\\s]{1,16})@([^@\s]+):([0-9]{1,5})", text)
        if match is None or int(match[3]) > 65535:
            raise Unusable("a PACS by DIMSE is TITLE@HOST:PORT")
        return cls(match[1], match[2].strip("[]"), int(match[3]), **more)


class DimseWay:
    """``pacs.Way`` over DIMSE."""

    gives_headers = False

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._listener = _Listener(peer) if peer.move_port else None

    def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.close()

    def studies(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        for found in self._found(_identifier("STUDY", StudyInstanceUID=study_instance_uid)):
            yield str(found.StudyInstanceUID), str(found.get("NumberOfStudyRelatedInstances", ""))

    def patients(self, study_instance_uid: str) -> set[str]:
        """The ids of whom the archive has a study under."""
        found = self._found(_identifier("STUDY", StudyInstanceUID=study_instance_uid))
        return {str(one.get("PatientID", "")) for one in found if one.StudyInstanceUID == study_instance_uid}

    def members(self, study_instance_uid: str) -> Members:
        members: Members = {}
        for series in self._found(_identifier("SERIES", StudyInstanceUID=study_instance_uid)):
            keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series.SeriesInstanceUID}
            for found in self._found(_identifier("IMAGE", **keys)):
                member = _member(series, found)
                members[member.series_instance_uid, member.sop_instance_uid] = member
        return members

    def header(self, study_instance_uid: str, member: Member) -> pydicom.Dataset:

        with tempfile.NamedTemporaryFile() as file:

            def keep(chunk: bytes | memoryview) -> None:
                file.write(chunk)

            self.fetch(study_instance_uid, member, keep)
            file.flush()
            try:
                return pydicom.dcmread(file.name, stop_before_pixels=True)
            except Exception as problem:  # pydicom raises whatever its parts do
                raise NotAnswering(f"what the archive gave is no dataset ({type(problem).__name__})") from None

    def fetch(self, study_instance_uid: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:
        wanted = _identifier(
            "IMAGE", StudyInstanceUID=study_instance_uid, SeriesInstanceUID=member.series_instance_uid,
            SOPInstanceUID=member.sop_instance_uid,
        )  # fmt: skip
        taking = _Taking(member.sop_instance_uid, keep)
        if self._listener is None:
            self._get(wanted, member, taking)
        else:
            with self._listener.expecting(taking):
                self._move(wanted)
                taking.arrived.wait(self._peer.seconds)
        if taking.problem is not None:
            raise taking.problem
        if not taking.arrived.is_set():
            raise Gone("the archive sent no such instance")
        return ""

    def is_still(self, study_instance_uid: str, member: Member, tag: str) -> bool:  # noqa: ARG002
        return False

    def _get(self, wanted: pydicom.Dataset, member: Member, taking: _Taking) -> None:
        entity = self._entity()
        entity.add_requested_context(Get)
        for syntax in SYNTAXES:
            entity.add_requested_context(member.sop_class_uid, syntax)
        role = build_role(pydicom.uid.UID(member.sop_class_uid), scp_role=True)
        with self._association(entity, role, taking) as association:
            self._ended(association.send_c_get(wanted, Get))

    def _move(self, wanted: pydicom.Dataset) -> None:
        entity = self._entity()
        entity.add_requested_context(Move)
        with self._association(entity) as association:
            self._ended(association.send_c_move(wanted, self._peer.own_title, Move))

    def _ended(self, responses: Any) -> None:
        """Wait for the last response.

        Raises:
            NotAnswering: it never came, or says that sub-operations failed.
        """
        status = None
        for status, _ in responses:
            if status and status.Status not in _PENDING:
                break
        if not status:
            raise NotAnswering("the archive broke off")
        if status.Status != _SUCCESS:
            raise NotAnswering(f"the archive says status {status.Status:04X}")

    def _found(self, identifier: pydicom.Dataset) -> Iterator[Any]:
        entity = self._entity()
        entity.add_requested_context(Find)
        with self._association(entity) as association:
            status = None
            for status, found in association.send_c_find(identifier, Find):
                if status and status.Status in _PENDING and found is not None:
                    yield found
            if not status:
                raise NotAnswering("the archive broke off")
            if status.Status != _SUCCESS:
                raise NotAnswering(f"the archive says status {status.Status:04X}")

    def _entity(self) -> AE:
        return entity_of(self._peer)

    @contextlib.contextmanager
    def _association(self, entity: AE, role: Any = None, taking: _Taking | None = None) -> Iterator[Any]:
        handlers: list[Any] = [(evt.EVT_C_STORE, taking.take)] if taking else []
        with calls.asking(f"{self._peer.title}@{self._peer.host}:{self._peer.port}"):
            association = entity.associate(
                self._peer.host, self._peer.port, ae_title=self._peer.title, ext_neg=[role] if role else [],
                evt_handlers=handlers,
            )  # fmt: skip
            if not association.is_established:
                raise NotAnswering("the archive does not answer, or refuses the association")
        try:
            yield association
        finally:
            association.release()


def entity_of(peer: Peer) -> AE:
    """Who we are to a PACS, and for how long it may be silent."""
    entity = AE(ae_title=peer.own_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.seconds
    entity.connection_timeout = min(peer.seconds, 10.0)
    return entity


class _Taking:
    """One instance that is waited for; of others nothing is taken."""

    def __init__(self, sop_instance_uid: str, keep: Callable[[bytes | memoryview], None]) -> None:
        self.sop_instance_uid, self._keep = sop_instance_uid, keep
        self.arrived = Event()
        self.problem: Exception | None = None

    def take(self, event: Any) -> int:
        """What pynetdicom calls with an instance; returns a C-STORE status."""
        if event.request.AffectedSOPInstanceUID != self.sop_instance_uid or self.arrived.is_set():
            return 0xA900
        try:
            with Path(event.dataset_path).open("rb") as file:
                while chunk := file.read(_PIECE):
                    self._keep(chunk)
        except Exception as problem:
            self.problem = problem
            return 0xA700
        self.arrived.set()
        return _SUCCESS


class _Listener:
    """Where a PACS sends what C-MOVE asks for; started when it is first needed."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._lock = peer, Lock()
        self._expected: dict[str, _Taking] = {}
        self._server: Any = None

    @contextlib.contextmanager
    def expecting(self, taking: _Taking) -> Iterator[None]:
        with self._lock:
            if self._server is None:
                self._server = self._started()
            self._expected[taking.sop_instance_uid] = taking
        try:
            yield
        finally:
            with self._lock:
                self._expected.pop(taking.sop_instance_uid, None)

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server = None

    def _started(self) -> Any:
        entity = entity_of(self._peer)
        entity.supported_contexts = storage_contexts()
        entity.require_called_aet = True
        try:
            return entity.start_server(
                ("", self._peer.move_port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
            )
        except OSError as problem:
            raise NotAnswering(f"port {self._peer.move_port} cannot be listened on: {problem.strerror}") from None

    def _store(self, event: Any) -> int:
        with self._lock:
            taking = self._expected.get(str(event.request.AffectedSOPInstanceUID))
        return 0xA900 if taking is None else taking.take(event)


def storage_contexts() -> list[Any]:
    """Every storage class, in any syntax."""
    return [build_context(str(one.abstract_syntax), list(SYNTAXES)) for one in AllStoragePresentationContexts]


def _identifier(level: str, **keys: Any) -> pydicom.Dataset:
    """What a C-FIND asks for, and what it wants to know.  PS3.4: C.6.2.1."""
    wanted: dict[str, tuple[str, ...]] = {
        "STUDY": ("StudyInstanceUID", "NumberOfStudyRelatedInstances", "PatientID"),
        "SERIES": ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber"),
        "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber",
                  "NumberOfFrames"),
    }  # fmt: skip
    dataset = pydicom.Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword in wanted[level]:
        setattr(dataset, keyword, keys.get(keyword, ""))
    return dataset


def _member(series: Any, found: Any) -> Member:
    try:
        return Member(
            str(series.SeriesInstanceUID), str(found.SOPClassUID), str(found.SOPInstanceUID),
            str(series.get("Modality", "")), _number(series.get("SeriesNumber")),
            _number(found.get("InstanceNumber")), _number(found.get("NumberOfFrames")) or 1,
        )  # fmt: skip
    except AttributeError:
        raise NotAnswering("the archive's answer lacks a UID") from None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
