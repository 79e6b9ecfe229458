"""Connections that are served each in a thread of its own, with a place of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from xds.wire.listener_places import Place, Places, Refusals
from xds.wire.openings import broken_off


class Attended:
    """Those of one listener.  Safe with threads."""

    def __init__(self, places: Places, refusals: Refusals) -> None:
        """``refusals`` are told of who finds no place, and of who gives way to another."""
        self._places, self._refusals = places, refusals
        self._threads = set[threading.Thread]()

    def begin(self, connection: socket.socket, peer: str, key: str, serve: Callable[[Place], None]) -> None:
        """Have a connection served, and closed at the end; at once where there is no place.

        ``peer`` is its address, ``key`` what peers are told apart by.

        Raises:
            RuntimeError: there can be no more threads.
        """

        def give_way() -> None:
            self._refusals.tell(peer, "gave way")
            broken_off(connection)

        place = self._places.take(key, give_way)
        if place is None:
            self._refusals.tell(peer, "places")
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection, place, serve), daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more of them
            self._threads.discard(thread)
            self._places.leave(place)
            raise

    def _serve(self, connection: socket.socket, place: Place, serve: Callable[[Place], None]) -> None:
        try:
            serve(place)
        finally:
            connection.close()
            self._places.leave(place)
            self._threads.discard(threading.current_thread())

    def heard(self, place: Place) -> None:
        """The connection has said something."""
        self._places.heard(place)

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Of the connections that are being served now."""
        return tuple(self._threads)
