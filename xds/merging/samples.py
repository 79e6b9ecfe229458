"""Documents that are looked at for all others: nobody can tell before which they are, and the next run has the same."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

from xds.store.merging import Merged


class Samples:
    """Of all that are added so many, those whose entryUUIDs hash lowest."""

    def __init__(self, most: int) -> None:
        self._most, self._chosen = most, list[tuple[int, str, Merged]]()

    def add(self, row: Merged) -> None:
        rank = -int.from_bytes(hashlib.sha256(row.entry_uuid.encode()).digest())
        heapq.heappush(self._chosen, (rank, row.entry_uuid, row))
        if len(self._chosen) > self._most:
            heapq.heappop(self._chosen)

    def __iter__(self) -> Iterator[Merged]:
        """Lowest first."""
        return (row for _, _, row in sorted(self._chosen, reverse=True))
