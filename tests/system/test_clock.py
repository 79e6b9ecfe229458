"""The clock held against itself and against a time server; each wrong told once."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from xds.system import clock
from xds.system.clock import Checked, Jumps


class Server:
    """A time server that is so many seconds ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self.stopping = False
        self.thread = threading.Thread(target=self._answer)
        self.thread.start()

    def _answer(self) -> None:
        while not self.stopping:
            try:
                request, peer = self._socket.recvfrom(100)
            except TimeoutError:
                continue
            now = time.time() + self.ahead + 2_208_988_800  # since 1900
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            self._socket.sendto(b"\x24\x01\x00\x00" + bytes(12) + stamp + request[40:48] + stamp + stamp, peer)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stopping = True
    server.thread.join()


def test_a_clock_that_is_off_is_told_once_until_it_is_right_again(server: Server) -> None:
    alerts: list[str] = []
    checked = Checked(f"127.0.0.1:{server.port}", 1.0, alerts.append)
    for ahead in (0.0, 30.0, 30.0, 0.0, -30.0):
        server.ahead = ahead
        offset = checked.step()
        assert offset is not None
        assert abs(offset - ahead) < 0.5
    assert [text[13] for text in alerts] == ["+", "-"]


def test_a_time_server_that_does_not_answer_is_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SECONDS", 0.1)
    alerts: list[str] = []
    assert Checked("127.0.0.1:9", 1.0, alerts.append).step() is None
    assert alerts == []


@pytest.mark.parametrize(("walls", "found"), [
    ((100.0, 101.0, 102.0), [0.0, 0.0]),
    ((100.0, 101.5, 102.0), [0.0, 0.0]),
    ((100.0, 3701.0, 3702.0), [3600.0, 0.0]),
    ((100.0, 51.0, 52.0), [-50.0, 0.0]),
])  # fmt: skip
def test_a_clock_that_is_set_is_noticed_once(walls: tuple[float, ...], found: list[float]) -> None:
    wall, steady = iter(walls), iter((10.0, 11.0, 12.0))
    jumps = Jumps(lambda: next(wall), lambda: next(steady))
    assert [jumps.since_last(), jumps.since_last()] == found
