"""A flood of wrong passwords: others sign in, and what each costs is paid for a few at once."""

from __future__ import annotations

import http.client
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.cli.command import xds
from tests.conftest import wait_for
from tests.endpoints.console.test_desk import PASSWORD, hidden
from tests.extent import size
from tests.hostile.server import Served
from tests.hostile.test_floods import GREEDY, MIB, is_well, meanwhile

pytestmark = pytest.mark.large


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    running = Served(tmp_path / "site").start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log


class Caller:
    """A browser that calls from an address."""

    def __init__(self, served: Served, source: str) -> None:
        self._open = lambda: http.client.HTTPConnection("127.0.0.1", served.port, 60, source_address=(source, 0))

    def signed_in(self, name: str, password: str) -> bool:
        page, cookie = self._asked("GET", None, "")
        form = hidden(page) | {"name": name, "password": password}
        _, session = self._asked("POST", urlencode(form), cookie)
        return "session" in session

    def _asked(self, method: str, body: str | None, cookie: str) -> tuple[str, str]:
        connection = self._open()
        fields = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, "/console/sign-in", body, fields)
        reply = connection.getresponse()
        page, cookies = reply.read().decode(), reply.headers.get_all("Set-Cookie") or []
        connection.close()
        return page, "; ".join(one.partition(";")[0] for one in cookies)


def test_who_guesses_passwords_keeps_nobody_from_signing_in(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    done = xds("user", "add", "vera", "--role", "viewer", "--config", served.config)
    assert done.code == 0, done.err
    guessing = Caller(served, GREEDY)
    assert Caller(served, "127.0.0.1").signed_in("vera", PASSWORD)
    with served.memory_within(300 * MIB), meanwhile(size(8, 30), lambda: guessing.signed_in("nobody", "x" * 500)):
        for _ in range(3):
            is_well(served)
            wait_for(lambda: Caller(served, "127.0.0.1").signed_in("vera", PASSWORD))
        assert not guessing.signed_in("vera", "wrong")
