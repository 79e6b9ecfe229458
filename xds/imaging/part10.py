"""A whole DICOM file in memory: its file meta information and its dataset.

DICOM PS3.10: 7.1 (Part 10 file); PS3.5: Annex A (transfer syntaxes).  For documents of some megabytes;
images are never read whole.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from xds.imaging import tags
from xds.imaging.elements import Elements, Malformed
from xds.imaging.vr import LONG_BYTES

SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes of a document, and of what it inflates to."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

IMPLEMENTATION_CLASS_UID = "2.25.301437126540187263014735922841655710244"
"""This package's own.  PS3.10: 7.1, (0002,0012)."""

IMPLEMENTATION_VERSION_NAME = "XDS_PYTHON"

PREAMBLE = 128
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True)
class Part10:
    """A file opened: both of its parts."""

    meta: Elements
    root: Elements
    transfer_syntax_uid: str


def parse(data: bytes, fallback_character_set: str = "") -> Part10:
    """Open a Part 10 file in any little endian transfer syntax, deflated included.

    Raises:
        Malformed: it is none, is cut off, is larger than ``SIZE_LIMIT`` or is nested too deeply.
    """
    if len(data) > SIZE_LIMIT:
        raise Malformed(f"larger than {SIZE_LIMIT} bytes")
    if data[PREAMBLE : PREAMBLE + 4] != b"DICM":
        raise Malformed("not a DICOM file: no DICM after the preamble (PS3.10: 7.1)")
    begin = dataset_begin(data)
    if begin is None:
        raise Malformed("cut off in the file meta information")
    meta = Elements(data, PREAMBLE + 4, begin)
    transfer_syntax = meta.uid(tags.TRANSFER_SYNTAX_UID)
    if not transfer_syntax:
        raise Malformed("no Transfer Syntax UID (0002,0010) (PS3.10: Table 7.1-1)")
    if transfer_syntax == EXPLICIT_BIG:
        raise Malformed("in the retired transfer syntax Explicit VR Big Endian, which is not read")
    if transfer_syntax == DEFLATED:
        data, begin = _inflate(data[begin:]), 0
    root = Elements(data, begin, explicit=transfer_syntax != IMPLICIT_LITTLE, fallback=fallback_character_set)
    return Part10(meta, root, transfer_syntax)


def dataset_begin(head: bytes) -> int | None:
    """Where the dataset begins; ``None`` when these first bytes of a file are not DICOM's.

    After the preamble group 0002 is walked, because some writers get its group length wrong.  Without a
    preamble the file must begin with group 0002 or 0008.
    """
    position = PREAMBLE + 4 if head[PREAMBLE : PREAMBLE + 4] == b"DICM" else 0
    if position == 0 and head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return None
    while head[position : position + 2] == b"\x02\0":
        # Any VR, although PS3.10 knows OB, UI, UL, SH and AE there: some writers have UT at (0002,0003).
        if head[position + 4 : position + 6] in LONG_BYTES:
            length = int.from_bytes(head[position + 8 : position + 12], "little") + 12
        else:
            length = int.from_bytes(head[position + 6 : position + 8], "little") + 8
        position += length
    return position if position <= len(head) else None


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, SIZE_LIMIT)
    except zlib.error:
        raise Malformed("the deflated dataset does not inflate (PS3.5: A.5)") from None
    if inflater.unconsumed_tail:
        raise Malformed(f"inflates to more than {SIZE_LIMIT} bytes")
    if not inflater.eof:
        raise Malformed("the deflated dataset is cut off (PS3.5: A.5)")
    return plain


def is_odd_preamble(head: bytes) -> bool:
    """Whether a file with a preamble begins with something else than zeros or a TIFF file's header.

    PS3.10: 7.1.  TIFF 6.0: section 2; BigTIFF has 43 for 42.
    """
    return any(head[:PREAMBLE]) and head[:4] not in _TIFF


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information of a file whose dataset follows.  PS3.10: 7.1."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = BytesIO()
    write_file_meta_info(DicomIO(buffer), meta)
    return bytes(PREAMBLE) + b"DICM" + buffer.getvalue()
