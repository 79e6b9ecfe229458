"""What copying takes of a source: room, and time, by documents that are read as a sample and not kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Unusable
from xds.merging.copying import PREFIX
from xds.merging.samples import Samples
from xds.merging.source import Source
from xds.store.documents.moving import Pace
from xds.store.interface import Kind
from xds.store.merging import Became, Merged, object_pages
from xds.store.work import Database
from xds.system.disk import Reserve
from xds.wire.client import Faulted, NoReply, OverBounds
from xds.wire.spool import NotKept, Spool

ROW_BYTES = 9_000
"""Of the database for each document, with what belongs to it: 8.8 kB of 10,000 (make bench BENCH="load")."""

COPYING = 4.0
"""How much longer copying takes than only reading the same (make bench BENCH=merge: 0.25)."""


@dataclass(slots=True)
class Estimate:
    """Of what was found and is not here yet; what was read as a sample, and how long that took, one after the other."""

    documents: int = 0
    size_bytes: int = 0
    sampled: int = 0
    sampled_bytes: int = 0
    sampled_seconds: float = 0.0
    not_read: int = 0  # of the sample

    @property
    def room_bytes(self) -> int:
        """Of the disk, or of store and database."""
        return self.size_bytes + self.documents * ROW_BYTES

    def seconds(self, jobs: int) -> float | None:
        """How long a copy takes, of so many patients at once; None: nothing could be read."""
        if not self.sampled:
            return None if self.documents else 0.0
        by_number = self.sampled_seconds / self.sampled * self.documents
        by_bytes = self.sampled_seconds / max(1, self.sampled_bytes) * self.size_bytes
        return COPYING * max(by_number, by_bytes) / jobs


def estimate(database: Database, source: Source, disk: Reserve, pace: Pace, *, samples: int) -> Estimate:
    """Reckon what is to be copied, and read so many documents of it, where there is room for them."""
    found, chosen = Estimate(), Samples(samples)
    for rows in object_pages(database.engine, source.label, (Became.FOUND,), Kind.DOCUMENT_ENTRY):
        for row in rows:
            if not row.hash:
                continue  # on demand: it has no bytes yet
            found.documents += 1
            found.size_bytes += row.size
            chosen.add(row)
    for row in chosen:
        _read(database, source, disk, row, found)
        pace.wait(row.size)
    return found


def _read(database: Database, source: Source, disk: Reserve, row: Merged, found: Estimate) -> None:
    began = time.monotonic()
    try:
        with Spool(database.blobs.staging, PREFIX, disk=disk, sealed=database.blobs.seals) as spool:
            got = source.documents([DocumentRequest(row.repository_unique_id, row.unique_id)], spool).documents
    except (NoReply, Faulted, OverBounds, NotKept, Unusable):
        got = {}
    if row.unique_id not in got:
        found.not_read += 1
        return
    found.sampled += 1
    found.sampled_bytes += row.size
    found.sampled_seconds += time.monotonic() - began


def told(seconds: float) -> str:
    """A time as people say it, rounded up."""
    for unit, of in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= of:
            number = math.ceil(seconds / of)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "a minute"
