"""How many bytes of bodies one process holds in memory at once, shared by peers."""

from __future__ import annotations

from collections.abc import Callable

from xds.wire.peers import served
from xds.wire.places import Places


class Overfull(Exception):
    """All bytes that the peer may have are taken; it may come again."""


class Memory:
    """Safe with threads."""

    def __init__(self, most_bytes: int, share: float) -> None:
        self.places = Places(most_bytes, share)

    def take(self, size_bytes: int) -> Callable[[], None]:
        """Take bytes for the peer that is served; return what gives them back.

        Raises:
            Overfull: there are not so many for it.
        """
        peer = served()
        if not self.places.enter(peer, size_bytes):
            raise Overfull
        return lambda: self.places.leave(peer, size_bytes)
