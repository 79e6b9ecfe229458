"""Elements byte by byte, wrong ones too, where pydicom would not write them.  PS3.5: 7.1."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from xds.imaging.vr import LONG

Given: TypeAlias = "bytes | str | int | Sequence[bytes]"
Elements: TypeAlias = Mapping[int, tuple[str, Given]]

SECONDARY_CAPTURE, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.66.4"


def element(tag: int, vr: str, value: Given) -> bytes:
    """In explicit VR little endian; a text as it is, padded to an even length; several bytes are items."""
    if isinstance(value, int):
        value = struct.pack("<H" if vr == "US" else "<I", value)
    elif isinstance(value, str):
        value = value.encode("ascii")
    elif not isinstance(value, bytes):
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in value)
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (struct.pack("<HI", 0, len(value)) if vr in LONG else struct.pack("<H", len(value))) + value


def dataset(elements: Elements) -> bytes:
    return b"".join(element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))


def an_image(changes: Elements | None = None, *, study: str = "1.2.3.77") -> dict[int, tuple[str, Given]]:
    """A plain secondary capture of 4 by 4, 8 bits; ``changes`` by tag."""
    found: dict[int, tuple[str, Given]] = {
        0x00080005: ("CS", "ISO_IR 192"), 0x00080016: ("UI", SECONDARY_CAPTURE), 0x00080018: ("UI", study + ".1.1"),
        0x00080020: ("DA", "20260110"), 0x00080030: ("TM", "101500"), 0x00080050: ("SH", "A1"),
        0x00080060: ("CS", "OT"), 0x00100010: ("PN", "Trial^One"), 0x00100020: ("LO", "T1"),
        0x0020000D: ("UI", study), 0x0020000E: ("UI", study + ".1"), 0x00200010: ("SH", "1"),
        0x00200011: ("IS", "1"), 0x00200013: ("IS", "1"), 0x00280002: ("US", 1), 0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", 4), 0x00280011: ("US", 4), 0x00280100: ("US", 8), 0x00280101: ("US", 8),
        0x00280102: ("US", 7), 0x00280103: ("US", 0), 0x7FE00010: ("OB", bytes(range(16))),
    }  # fmt: skip
    return {**found, **(changes or {})}


def part10(elements: Elements, *, meta: Elements | None = None) -> bytes:
    """A file of these elements; ``meta`` are changes to group 0002."""
    own: dict[int, tuple[str, Given]] = {
        0x00020001: ("OB", b"\0\1"), 0x00020002: ("UI", elements[0x00080016][1]),
        0x00020003: ("UI", elements[0x00080018][1]), 0x00020010: ("UI", "1.2.840.10008.1.2.1"),
        0x00020012: ("UI", "2.25.1"),
    }  # fmt: skip
    head = dataset({**own, **(meta or {})})
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", len(head)) + head + dataset(elements)
