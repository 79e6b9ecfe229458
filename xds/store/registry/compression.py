"""ebXML fragments small on disk: Zstandard with a dictionary of what every entry repeats.

The first byte names method and dictionary, so that others may follow without touching old rows.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from typing import Any

import zstandard

from xds.metadata import vocabulary as v

_WORDS = [
    '<rim:LocalizedString value="', '<rim:Name>', '</rim:Name>', '<rim:Slot name="codingScheme">',
    '<rim:ValueList><rim:Value>', '</rim:Value></rim:ValueList></rim:Slot>', '<rim:Classification id="urn:uuid:',
    '" objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Classification"',
    ' classificationScheme="', ' classifiedObject="urn:uuid:', ' nodeRepresentation="', '</rim:Classification>',
    '<rim:ExternalIdentifier id="urn:uuid:', '" objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:'
    'RegistryObject:ExternalIdentifier" registryObject="urn:uuid:', ' identificationScheme="', ' value="',
    '<rim:ExtrinsicObject xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" id="urn:uuid:',
    *(f'<rim:Slot name="{slot}"><rim:ValueList><rim:Value>' for slot in (
        "creationTime", "hash", "languageCode", "repositoryUniqueId", "serviceStartTime", "serviceStopTime", "size",
        "sourcePatientId", "sourcePatientInfo", v.REFERENCE_ID_LIST, "SubmissionSetStatus", "submissionTime",
    )),
    *(coded.scheme for table in (v.DOCUMENT_ENTRY_CODES, v.SUBMISSION_SET_CODES, v.FOLDER_CODES)
      for coded in table.values()),
    v.DOCUMENT_ENTRY_AUTHOR, v.DOCUMENT_ENTRY_PATIENT_ID, v.DOCUMENT_ENTRY_UNIQUE_ID, v.SUBMISSION_SET_PATIENT_ID,
    v.SUBMISSION_SET_SOURCE_ID, v.SUBMISSION_SET_UNIQUE_ID, v.STABLE, *v.AssociationType, *v.AvailabilityStatus,
]  # fmt: skip
_DICTIONARY = "".join(_WORDS).encode()
_DEFLATE, _ZSTANDARD = b"\x01", b"\x02"

LEVEL, MOST = 3, 64 * 1024 * 1024
"""Of compression; bytes of a fragment that is read, whatever its row says of itself."""


FEW, AT_ONCE = 4, 1000
"""Fragments that are unpacked one by one, and how many at once where there are more."""


class _Zstandard(threading.local):
    """Zstandard's own objects are each thread's own."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        # With a checksum: what needs another dictionary, or was damaged, is no other text, but an error.
        self.pack = zstandard.ZstdCompressor(
            level=LEVEL, dict_data=words, write_dict_id=False, write_checksum=True
        ).compress
        unpacker = zstandard.ZstdDecompressor(dict_data=words)
        self.unpack, self.unpack_all = unpacker.decompress, unpacker.multi_decompress_to_buffer


_zstandard = _Zstandard()


def pack(fragment: bytes) -> bytes:
    """The stored form of a fragment."""
    return _ZSTANDARD + _zstandard.pack(fragment)


def unpack(stored: bytes) -> bytes:
    """The fragment again.

    Raises:
        ValueError: packed by a later version.
    """
    first = stored[:1]
    if first == _ZSTANDARD:
        return _zstandard.unpack(stored[1:], max_output_size=MOST)
    if first == _DEFLATE:
        return zlib.decompressobj(zdict=_DICTIONARY).decompress(stored[1:])
    raise ValueError("a fragment of a later version")


def unpack_all(stored: Sequence[bytes]) -> list[bytes]:
    """Many fragments again: other threads are let in once between, and not once for each.

    Raises:
        ValueError: one is packed by a later version.
    """
    if len(stored) < FEW or any(one[:1] != _ZSTANDARD for one in stored):
        return list(map(unpack, stored))
    found: list[bytes] = []
    for start in range(0, len(stored), AT_ONCE):
        some: list[Any] = [one[1:] for one in stored[start : start + AT_ONCE]]
        if sum(map(zstandard.frame_content_size, some)) > MOST:
            found += [_zstandard.unpack(one, max_output_size=MOST) for one in some]
        else:
            buffers = _zstandard.unpack_all(some)
            found += [buffers[number].tobytes() for number in range(len(some))]
    return found
