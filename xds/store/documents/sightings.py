"""What sweeps have found that no row names, and since when: by a clock that nobody sets.

Bytes are put before the row that names them.  How old they are by the time of day, which is set, and of another machine
where the store is, says nothing sure: what was put a second ago would be taken for a relict.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

SWEEP_SECONDS = 3600
"""For so long what no row names is left alone."""


def elapsed() -> float:
    """Seconds, from some time on."""
    return time.monotonic()


class Sightings:
    """Of one process.  A process that is new has seen nothing, and removes nothing for a while."""

    def __init__(self) -> None:
        self._since = dict[tuple[str, float], float]()

    def old(self, found: Mapping[str, float]) -> dict[str, float]:
        """Of what is found now, with when it was put last, that which was found long ago already and not put since."""
        now = elapsed()
        self._since = {one: self._since.get(one, now) for one in found.items()}
        return {name: put for (name, put), since in self._since.items() if now - since >= SWEEP_SECONDS}
