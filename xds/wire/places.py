"""Places that peers share: alone a peer may have a good part of them, and the more there are the less each may take.

A peer may have a first place while one is free, and more as long as they stand to those that are free as its share
stands to the rest.  So something is left for who comes next, and peers that all want more come to hold the same number
(dynamic thresholds; Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
"""

from __future__ import annotations

import math
from threading import Lock

_ROUNDING = 1e-9


class Places:
    """So many places, or bytes, of one kind.  Safe with threads."""

    def __init__(self, total: int, share: float) -> None:
        """``share``: the part of them that one peer may have when it is alone; 1: all, whoever else comes."""
        self.total, self._free, self._share = total, total, share
        self._own: dict[str, int] = {}
        self._lock = Lock()

    @classmethod
    def alone(cls, count: int, share: float) -> Places:
        """So many that a peer alone may have ``count``."""
        return cls(math.ceil(count / share - _ROUNDING), share)

    @property
    def free(self) -> int:
        return self._free

    def held(self, peer: str) -> int:
        return self._own.get(peer, 0)

    def enter(self, peer: str, count: int = 1) -> bool:
        """Take places, if the peer may have them now."""
        with self._lock:
            own, free = self._own.get(peer, 0) + count, self._free - count
            is_over = own > count and own * (1 - self._share) > free * self._share + _ROUNDING
            if free < 0 or is_over:
                return False
            self._own[peer], self._free = own, free
            return True

    def leave(self, peer: str, count: int = 1) -> None:
        """Give places back."""
        with self._lock:
            self._free += count
            self._own[peer] -= count
            if not self._own[peer]:
                del self._own[peer]
