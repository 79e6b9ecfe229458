"""File meta information as it comes.  PS3.10: 7.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imaging.elements import an_image, element, part10
from xds.imaging import attributes
from xds.imaging import part10 as reader
from xds.imaging.dicom import form
from xds.imaging.instance import InstanceFacts, read_file
from xds.imaging.vr import LONG


@pytest.mark.parametrize("vr", sorted(LONG - {"SQ"}))
def test_group_2_may_hold_any_long_vr(tmp_path: Path, vr: str) -> None:
    """UT at (0002,0003) is in hundreds of files of a well-known test archive."""
    data = part10(an_image(), meta={0x00020003: (vr, b"1.2.3.77.1.1"), 0x00020102: (vr, b"12")})
    path = tmp_path / "one.dcm"
    path.write_bytes(data)
    whole = form(path)
    assert (whole.is_part10, data[whole.dataset_begin : whole.dataset_begin + 4]) == (True, b"\x08\0\x05\0")
    assert reader.parse(data).root.uid(0x00080018) == "1.2.3.77.1.1"
    found = read_file(path)
    assert isinstance(found, InstanceFacts)
    assert found.sop_instance_uid == "1.2.3.77.1.1"
    assert any(one.tag == 0x00080018 for one in attributes.read(path).attributes)


def test_a_wrong_group_length_is_not_believed() -> None:
    data = part10(an_image())
    wrong = data[:132] + element(0x00020000, "UL", 7) + data[144:]
    assert reader.parse(wrong).root.uid(0x00080018) == "1.2.3.77.1.1"
