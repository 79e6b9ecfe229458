"""Headers that are small and cost much: deflated ones, sequences of many items, values without end."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.imaging.images import an_instance, saved
from xds.endpoints.dicomweb.datasets import content
from xds.imaging import bounded, dicom, part10
from xds.imaging.instance import InstanceFacts, NotAnInstance, read_file

REQUESTS, CONTENT = 0x00400275, 0x0040A730
MEGABYTE = 1024 * 1024


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, size) + value


def item(value: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


ITEM_END, SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
ENDLESS = 0xFFFFFFFF


def written(folder: Path, more: bytes, syntax: str = part10.EXPLICIT_LITTLE) -> Path:
    """A good instance without pixels, and more elements behind it."""
    dataset = an_instance(1, PixelData=None)
    path = folder / "one.dcm"
    data = saved(dataset)
    begin = part10.dataset_begin(data)
    if syntax == part10.EXPLICIT_LITTLE:
        path.write_bytes(data + more)
        return path
    head = part10.file_head(dataset.SOPClassUID, dataset.SOPInstanceUID, syntax)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(data[begin:] + more) + deflater.flush()
    path.write_bytes(head + body + bytes(len(body) % 2))
    return path


def what(path: Path) -> str:
    """What a file is found to be."""
    try:
        return "an instance" if isinstance(read_file(path), InstanceFacts) else "a note"
    except NotAnInstance as problem:
        return str(problem)


def costs(path: Path, *, traced: bool = False) -> tuple[str, float, int]:
    """What a file is found to be, and what that costs: seconds of the processor, and bytes where they are ``traced``.

    To trace costs several times as many seconds.
    """
    began = time.process_time()
    found = what(path)
    seconds, peak = time.process_time() - began, 0
    if traced:
        tracemalloc.start()
        what(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, seconds, peak


MANY = 200_000

SEQUENCES = {
    "empty items": element(REQUESTS, b"SQ", item() * MANY),
    "empty items of a sequence that is not read": element(CONTENT, b"SQ", item() * MANY),
    "endless items": element(REQUESTS, b"SQ", (item(b"", ENDLESS) + ITEM_END) * MANY + SEQUENCE_END, ENDLESS),
    "empty items of an endless sequence": element(CONTENT, b"SQ", item() * MANY + SEQUENCE_END, ENDLESS),
    "a sequence in a UN": element(CONTENT, b"UN", item() * MANY + SEQUENCE_END, ENDLESS),
    "two million items": element(REQUESTS, b"SQ", item() * 2_000_000),
}


@pytest.mark.parametrize("more", SEQUENCES.values(), ids=SEQUENCES)
def test_many_items_are_refused_at_once(tmp_path: Path, more: bytes) -> None:
    found, seconds, _ = costs(written(tmp_path, more))
    assert "more than" in found
    assert "items" in found
    assert seconds < 3


def test_many_items_cost_no_memory(tmp_path: Path) -> None:
    assert costs(written(tmp_path, SEQUENCES["empty items"]), traced=True)[2] < 32 * MEGABYTE


def test_more_items_than_a_sequence_of_orders_has_are_refused(tmp_path: Path) -> None:
    assert costs(written(tmp_path, element(REQUESTS, b"SQ", item() * 1000)))[0] == "an instance"
    found, _, _ = costs(written(tmp_path, element(REQUESTS, b"SQ", item() * 1001)))
    assert found == "more than 1000 items in a sequence"


def test_an_odd_header_gets_no_way_round(tmp_path: Path) -> None:
    """What makes the walker stop, so that pydicom reads it, which passes over an element without a VR."""
    odd = struct.pack("<HH2sH", 0x0029, 0x1001, b"??", 0)
    assert costs(written(tmp_path, odd))[0] == "an instance"
    for more in SEQUENCES.values():
        found, seconds, _ = costs(written(tmp_path, odd + more))
        assert found != "an instance"
        assert seconds < 3


def test_big_endian_gets_no_way_round(tmp_path: Path) -> None:
    dataset = an_instance(1)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    path = tmp_path / "one.dcm"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True, implicit_vr=False, little_endian=False)
    good = path.read_bytes()
    assert costs(path)[0] == "an instance"
    at = good.index(b"\x7f\xe0\x00\x10OW")
    many = struct.pack(">HHI", 0xFFFE, 0xE000, 0) * MANY
    path.write_bytes(good[:at] + struct.pack(">HH2sHI", 0x0040, 0x0275, b"SQ", 0, len(many)) + many + good[at:])
    found, seconds, _ = costs(path)
    assert found == f"more than {dicom.ODD_ITEMS} items"
    assert seconds < 3


def test_elements_side_by_side_are_bounded(tmp_path: Path) -> None:
    found, seconds, _ = costs(written(tmp_path, element(0x00990010, b"UN", b"") * 1_000_000))
    assert seconds < 3
    assert found == "more than 10000 elements side by side"  # one tag, again and again
    inner = item(element(0x00990010, b"UN", b"") * 900_000, ENDLESS) + ITEM_END + SEQUENCE_END
    found, seconds, _ = costs(written(tmp_path, element(CONTENT, b"SQ", inner, ENDLESS)))
    assert found == "an instance"
    inner = item(element(0x00990010, b"UN", b"") * 2_000_000, ENDLESS) + ITEM_END + SEQUENCE_END
    found, seconds, _ = costs(written(tmp_path, element(CONTENT, b"SQ", inner, ENDLESS)))
    assert found == "too many elements and items"
    assert seconds < 5
    many = b"".join(element(0x00990000 + number, b"UN", b"") for number in range(20_000))
    assert costs(written(tmp_path, many))[0] == "more than 10000 elements side by side"


def test_a_value_of_megabytes_is_not_read_for_a_name(tmp_path: Path) -> None:
    found, seconds, peak = costs(written(tmp_path, element(0x00181030, b"UT", b"x" * (64 * MEGABYTE))), traced=True)
    assert found == "an instance"  # nobody asks for it
    assert peak < 4 * MEGABYTE
    path = tmp_path / "one.dcm"
    path.write_bytes(saved(an_instance(1, StudyDescription=None)) + element(0x00204000, b"UT", b""))
    name = element(0x00100010, b"UT", b"x" * (8 * MEGABYTE))
    whole = saved(an_instance(1, PatientName=None, PixelData=None))
    path.write_bytes(whole + name)
    found, seconds, peak = costs(path, traced=True)
    assert found == "a value of over 65536 bytes"
    assert seconds < 1
    assert peak < 4 * MEGABYTE


# Deflated.


def bomb(folder: Path, megabytes: int, before: bytes = b"") -> Path:
    """Some hundred kilobytes that inflate to these many megabytes of pixels."""
    dataset = an_instance(1, PixelData=None)
    data = saved(dataset)
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(data[part10.dataset_begin(data) :] + before)
    body += deflater.compress(element(0x7FE00010, b"OB", b"", megabytes * MEGABYTE))
    for _ in range(megabytes):
        body += deflater.compress(bytes(MEGABYTE))
    path = folder / "bomb.dcm"
    body += deflater.flush()
    head = part10.file_head(dataset.SOPClassUID, dataset.SOPInstanceUID, part10.DEFLATED)
    path.write_bytes(head + body + bytes(len(body) % 2))
    return path


def test_a_deflated_instance_costs_no_more_memory_than_its_header(tmp_path: Path) -> None:
    path = bomb(tmp_path, 200)
    assert path.stat().st_size < MEGABYTE
    found, seconds, peak = costs(path, traced=True)
    assert found == "an instance"
    assert peak < 16 * MEGABYTE
    assert seconds < 5


def test_its_metadata_cost_no_more_than_the_longest_header(tmp_path: Path) -> None:
    path = bomb(tmp_path, 200)
    tracemalloc.start()
    found = content(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.pixels == 0x7FE00010
    assert any(one.tag == 0x00100020 for one in found.attributes)
    assert peak < 4 * bounded.HEADER_BYTES


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda data: data[:-300], "cut off"),
        (lambda data: data[:600] + b"\xff" * 40 + data[640:], "inflate"),
    ],
)
def test_a_deflated_dataset_that_is_damaged_is_refused(tmp_path: Path, spoilt: Any, said: str) -> None:
    path = bomb(tmp_path, 4)
    path.write_bytes(spoilt(path.read_bytes()))
    assert said in costs(path)[0]


def test_a_deflated_header_is_no_longer_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, element(0x00181030, b"UT", b"x" * (3 * MEGABYTE)), part10.DEFLATED)
    assert costs(path)[0] == "an instance"
    monkeypatch.setattr(bounded, "HEADER_BYTES", 2 * MEGABYTE)
    assert costs(path)[0] == f"a header of over {2 * MEGABYTE} bytes"


def test_a_deflated_header_of_many_items_is_refused(tmp_path: Path) -> None:
    found, seconds, _ = costs(written(tmp_path, SEQUENCES["empty items"], part10.DEFLATED))
    assert found == "the header is damaged: more than 100000 items"
    assert seconds < 3
