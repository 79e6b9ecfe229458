"""Whether two files are one instance, each in an encoding of its own: the same attributes, the same pixels.

DICOM PS3.5: Annex A: a transfer syntax is no part of what an instance says, unless pixels were lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy
import pydicom
from pydicom.pixels import iter_pixels

from xds.archives.helpers import Helpers
from xds.archives.spool import Spool
from xds.archives.transcode import Source, expected_bytes
from xds.archives.unable import Unable
from xds.imaging import attributes, part10
from xds.imaging.attributes import Attribute
from xds.imaging.dicom import NotDicom, form

# What follows from the encoding: PhotometricInterpretation and PlanarConfiguration, in which decoders differ, offset
# tables, and what pads a dataset.  The pixels themselves say whether they are the same.
_OF_THE_ENCODING = frozenset((0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0xFFFCFFFC))


def is_same(one: Path, other: Path, spool: Spool, helpers: Helpers) -> bool:
    """Whether two files of one SOP Instance UID say the same; not where one of them cannot be decoded.

    Raises:
        SpoolFull: there is no room to decode them now.
        OSError: a file cannot be read or written.
    """
    try:
        with _plain(one, spool, helpers) as left, _plain(other, spool, helpers) as right:
            said = _said(left)
            return said == _said(right) and (not said[1] or _same_pixels(left, right))
    except (Unable, NotDicom, attributes.Unreadable):
        return False


@contextmanager
def _plain(path: Path, spool: Spool, helpers: Helpers) -> Iterator[Path]:
    """The file in implicit VR, in which elements have no VR that could differ."""
    encoding = form(path)
    source = Source(path, encoding.dataset_begin, encoding.transfer_syntax_uid, "1.2.3", "1.2.3")
    room = expected_bytes(source, part10.IMPLICIT_LITTLE)
    spooled = spool.take(room)
    try:
        helpers.transcode(source, part10.IMPLICIT_LITTLE, spooled, room)
        yield spooled
    finally:
        spool.free(spooled)


def _said(path: Path) -> tuple[tuple[Attribute, ...], int]:
    found = attributes.read(path)
    return tuple(one for one in found.attributes if one.tag not in _OF_THE_ENCODING), found.pixels


def _same_pixels(left: Path, right: Path) -> bool:
    try:
        frames = zip_longest(_frames(left), _frames(right))
        return all(a is not None and b is not None and numpy.array_equal(a, b) for a, b in frames)
    except Exception:  # pydicom raises whatever its parts do: pixels that nobody can compare are not the same
        return False


def _frames(path: Path) -> Iterator[Any]:
    yield from iter_pixels(pydicom.dcmread(path, defer_size=1024 * 1024), raw=True)
