"""Instances sent to a PACS by C-STORE.  DICOM PS3.4: Annex B; PS3.7: 9.1.1, C.1 (status codes)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import _config, build_context

from xds.archives.dimse import Peer, entity_of
from xds.archives.helpers import Helpers
from xds.archives.interface import NotAnswering
from xds.archives.transcode import Source, expected_bytes, targets_of
from xds.archives.unable import Unable
from xds.imaging import dicom, tags
from xds.imaging.bounded import NotDicom
from xds.imaging.elements import first
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.wire import calls

# An instance is read as it is sent, not kept in memory.
_config.STORE_SEND_CHUNKED_DATASET = True

CONTEXTS = 128
"""Of one association (PS3.8: 9.3.2.2)."""

STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007, 0x0111})
"""Status codes by which an instance is kept: Success, the warnings of PS3.4: Table B.2-1, and that it was there."""

PLAIN = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file; without ``problem`` the PACS has said that it is kept."""

    path: Path
    sop_instance_uid: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    begin: int
    syntax: str
    sop_class: str
    sop_instance: str

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """What is proposed for it: its class as it is stored, and uncompressed."""
        return {(self.sop_class, syntax) for syntax in (self.syntax, *PLAIN)}

    @property
    def source(self) -> Source:
        return Source(self.path, self.begin, self.syntax, self.sop_class, self.sop_instance)


def send(peer: Peer, paths: Sequence[Path], helpers: Helpers) -> Iterator[Sent]:
    """Send files, and say of each what became of it; uncompressed, where the PACS does not take it as it is.

    Raises:
        NotAnswering: the PACS does not answer, or breaks off.
    """
    files = list[_File]()
    for path in paths:
        try:
            files.append(_read(path))
        except (NotDicom, OSError) as problem:
            yield Sent(path, problem=str(problem))
    for some in _associations(files):
        yield from _sent(peer, some, helpers)


def _read(path: Path) -> _File:
    form = dicom.form(path)
    header = dicom.read_header(path, [tags.SOP_CLASS_UID, tags.SOP_INSTANCE_UID], form)
    if not form.is_part10:
        raise NotDicom("no DICOM file with a transfer syntax")
    sop_class, sop_instance = first(header, tags.SOP_CLASS_UID), first(header, tags.SOP_INSTANCE_UID)
    meta = pydicom.filereader.read_file_meta_info(path)  # by which it is sent
    named = (str(meta.get("MediaStorageSOPClassUID", "")), str(meta.get("MediaStorageSOPInstanceUID", "")))
    if named != (sop_class, sop_instance):
        raise NotDicom("its file meta information names another instance")
    return _File(path, form.dataset_begin, form.transfer_syntax_uid, sop_class, sop_instance)


def _associations(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Files by association: as many kinds in each as it can propose, each as it is stored and uncompressed."""
    some, kinds = list[_File](), set[tuple[str, str]]()
    for one in files:
        if len(kinds | one.kinds) > CONTEXTS:
            yield some
            some, kinds = [], set()
        some.append(one)
        kinds |= one.kinds
    if some:
        yield some


def _sent(peer: Peer, files: Sequence[_File], helpers: Helpers) -> Iterator[Sent]:
    entity = entity_of(peer)
    kinds = {kind for one in files for kind in one.kinds}
    entity.requested_contexts = [build_context(*kind) for kind in sorted(kinds)]
    with calls.asking(f"{peer.title}@{peer.host}:{peer.port}"):
        association = entity.associate(peer.host, peer.port, ae_title=peer.title)
        if not association.is_established:
            raise NotAnswering(f"{peer.title}@{peer.host}:{peer.port} does not answer, or refuses the association")
    try:
        taken = {(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts}
        for one in files:
            yield Sent(one.path, one.sop_instance, _problem(association, one, taken, helpers))
    finally:
        association.release()


def _problem(association: Any, one: _File, taken: set[tuple[str, str]], helpers: Helpers) -> str:
    """Send a file; why it is not kept.

    Raises:
        NotAnswering: the PACS breaks off.
    """
    if (one.sop_class, one.syntax) in taken:
        return _stored(association, one.path)
    plain = next((each for each in PLAIN if (one.sop_class, each) in taken), "")
    if not plain:
        return f"the archive takes nothing of class {one.sop_class}"
    if plain not in targets_of(one.syntax, [plain]):
        return f"the archive does not take it in {one.syntax}, and there is no way from that to what it takes"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=one.path.parent)))
        try:
            room = expected_bytes(one.source, plain)
            helpers.transcode(one.source, plain, folder / "plain.dcm", room)
        except (Unable, OSError) as problem:
            return f"the archive does not take it in {one.syntax}: {problem}"
        return _stored(association, folder / "plain.dcm")


def _stored(association: Any, path: Path) -> str:
    try:
        status = association.send_c_store(path)
    # The association has ended, or the file is none that it can send.
    except (AttributeError, RuntimeError, ValueError, OSError) as problem:
        raise NotAnswering(f"broke off: {problem}") from None
    if not status:
        raise NotAnswering("broke off, or was silent for too long")
    return "" if status.Status in STORED else f"the archive says status {status.Status:04X}"
