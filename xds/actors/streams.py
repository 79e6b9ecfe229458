"""How many replies with documents are under way at once, so that slow consumers never starve the rest."""

from __future__ import annotations

from collections.abc import Callable

from xds.errors import ErrorCode, Finding, Refused
from xds.wire.peers import served
from xds.wire.places import Places


class Streams:
    """Places for streams, in one process, shared by the peers that ask."""

    def __init__(self, most: int, share: float) -> None:
        """``most``: that a peer may have which is alone; ``share``: the part of all that this is."""
        self.places = Places.alone(most, share)

    def enter(self) -> Callable[[], None]:
        """Take a place; return what gives it back.

        Raises:
            Refused: all that the peer may have are taken (ITI TF-3: Table 4.2.4.1-2, XDSRepositoryBusy).
        """
        peer = served()
        if not self.places.enter(peer):
            rule = "as many documents as are given at once are under way; try again"
            raise Refused([Finding(ErrorCode.REPOSITORY_BUSY, rule)])
        return lambda: self.places.leave(peer)
