"""Bulk data of whole instances, series and studies: /bulkdata and /pixeldata.  PS3.18: 10.4.3.3.6, 10.4.4.

Values go through one temporary file, so that a study's are never in memory at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO

from xds.archives.interface import NotEncodable
from xds.endpoints.dicomweb import datasets, pixels
from xds.endpoints.dicomweb.accept import OCTETS
from xds.endpoints.dicomweb.multipart import Part
from xds.imaging.part10 import EXPLICIT_LITTLE

CONTENT = f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}"
_PIECE = 256 * 1024


class Collected:
    """Bulk data on their way into one answer; ``stack`` ends with it."""

    def __init__(self, stack: ExitStack) -> None:
        self._file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.parts: list[Part] = []

    def add(self, pieces: Iterable[bytes], location: str) -> None:
        begin = self._file.seek(0, 2)
        size = sum(map(self._file.write, pieces))
        self.parts.append(Part(CONTENT, location, size, lambda: self._pieces(begin, size)))

    def instance(self, uncompressed: AbstractContextManager[Path], address: str, *, pixels_only: bool) -> None:
        """What metadata of the instance at ``address`` name by BulkDataURI, under those same addresses.

        Raises:
            NotEncodable: its pixels cannot be given uncompressed.
            Gone: it cannot be read any more.
        """
        with uncompressed as path:
            found = datasets.content(path)
            for one in () if pixels_only else datasets.bulk(found):
                self.add((one.data,), f"{address}/bulkdata/{one.tag:08X}")
            if found.pixels:
                try:
                    (whole,) = pixels.native_frames(path, [])
                except pixels.NotRendered as problem:
                    raise NotEncodable(str(problem)) from None
                self.add(whole.chunks(), f"{address}/bulkdata/{found.pixels:08X}")

    def _pieces(self, begin: int, size: int) -> Iterator[bytes]:
        for at in range(begin, begin + size, _PIECE):
            self._file.seek(at)
            yield self._file.read(min(_PIECE, begin + size - at))
