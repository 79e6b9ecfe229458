"""Who guesses passwords and codes has as many tries at a node of several processes as at one, and after a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyotp
import pytest
import requests
import requests.adapters
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.hostile.server import Served
from xds.endpoints.console.passwords import hashed
from xds.store import accounts
from xds.store.engine import make_engine, reading
from xds.store.tables import sign_in_try
from xds.store.tries import TRIES

PASSWORD, SECRET = "correct horse battery", pyotp.random_base32()
WORKERS = 4


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("guessing"), {"server": {"workers": WORKERS}}).start()
    engine = make_engine(running.settings.database_url, connections=1)
    with engine.begin() as connection:
        for name in ("anna", "berta"):
            accounts.add(connection, name, "auditor", hashed(PASSWORD))
        accounts.set_second_factor(connection, "berta", SECRET)
    engine.dispose()
    yield running
    assert running.stop() == 0


class From(requests.adapters.HTTPAdapter):
    """From another address of the loopback: guesses from one are counted together, too."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)  # type: ignore[no-untyped-call]


def signed_in(served: Served, name: str, password: str, code: str = "") -> bool:
    """By a connection of its own, which any of the processes takes."""
    url = f"{served.url}/console/sign-in"
    with requests.Session() as browser:
        browser.trust_env = False
        browser.mount("http://", From({"anna": "127.0.0.2"}.get(name, "127.0.0.3")))
        browser.headers["Connection"] = "close"
        token = re.search(r'name="token" value="([^"]+)"', browser.get(url, timeout=30).text)
        assert token is not None
        form = {"name": name, "password": password, "code": code, "token": token[1], "next": ""}
        while (reply := browser.post(url, form, allow_redirects=False, timeout=30)).status_code == 503:
            pass  # many are signing in just now
        return reply.status_code == 303


def failures(served: Served, name: str) -> int:
    engine = make_engine(served.settings.database_url, connections=1)
    try:
        with reading(engine) as connection:
            of_it = sa.select(sa.func.max(sign_in_try.c.failed)).where(sign_in_try.c.account == name)
            return connection.scalar(of_it) or 0
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("name", "password", "wrong", "right"),
    [("anna", "guessed", "", ""), ("berta", PASSWORD, "123", "now")],
    ids=["passwords", "codes"],
)
def test_four_processes_take_no_more_guesses_than_one(
    served: Served, name: str, password: str, wrong: str, right: str
) -> None:
    with ThreadPoolExecutor(WORKERS) as many:
        results = list(many.map(lambda _: signed_in(served, name, password, wrong), range(3 * TRIES)))
    assert not any(results)
    assert failures(served, name) == TRIES  # the others were not looked at
    code = pyotp.TOTP(SECRET).now() if right else ""
    assert not any(signed_in(served, name, PASSWORD, code) for _ in range(WORKERS))


def test_a_restart_forgets_no_guess(tmp_path: Path) -> None:
    served = Served(tmp_path / "site").start()
    engine = make_engine(served.settings.database_url, connections=1)
    with engine.begin() as connection:
        accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
    engine.dispose()
    for _ in range(TRIES):
        assert not signed_in(served, "anna", "guessed")
    assert served.stop() == 0
    served.start()
    assert not signed_in(served, "anna", PASSWORD)
    wait_for(lambda: failures(served, "anna") == TRIES)
    assert served.stop() == 0
