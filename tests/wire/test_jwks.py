"""The keys of tokens: of a file that changes, of a URL that is asked seldom and boundedly."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.tokens import a_file, a_key, a_set, an_rsa_key
from xds.errors import Unusable
from xds.wire import jwks
from xds.wire.jwks import Keys, key_set


class Issuer:
    """Answers at one address, and counts."""

    def __init__(self) -> None:
        self.asked, self.status, self.data, self.location = 0, 200, a_set(), ""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                if issuer.location:
                    self.send_header("Location", issuer.location)
                self.send_header("Content-Length", str(len(issuer.data)))
                self.end_headers()
                self.wfile.write(issuer.data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.server.shutdown()
    found.server.server_close()


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(jwks.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def kids(keys: Keys, kid: str = "") -> list[str]:
    return [str(key.kid) for key in keys.of(kid) or ()]


def test_keys_are_asked_for_once_and_again_when_their_time_is_over(issuer: Issuer, clock: Clock) -> None:
    keys = Keys(issuer.url, 300.0)
    assert [kids(keys, "one") for _ in range(3)] == [["one"]] * 3
    assert issuer.asked == 1
    clock.now += 301
    issuer.data = a_set(a_key("two"))
    assert kids(keys, "two") == ["two"]
    assert issuer.asked == 2


def test_a_key_that_is_new_is_asked_for_and_not_with_every_token(issuer: Issuer, clock: Clock) -> None:
    keys = Keys(issuer.url, 300.0)
    kids(keys)
    for _ in range(20):
        kids(keys, "unknown")
    assert issuer.asked == 1
    clock.now += jwks.AGAIN_SECONDS + 1
    issuer.data = a_set(a_key(), a_key("new"))
    assert kids(keys, "new") == ["one", "new"]


@pytest.mark.parametrize("spoil", ["down", "an error", "too long", "no keys", "elsewhere"])
def test_while_no_keys_come_those_before_are_used_for_an_hour(issuer: Issuer, clock: Clock, spoil: str) -> None:
    keys = Keys(issuer.url, 300.0)
    assert kids(keys) == ["one"]
    good = issuer.url
    if spoil == "down":
        keys._where = "http://127.0.0.1:1/keys"
    issuer.status, issuer.location = {"an error": (500, ""), "elsewhere": (302, good)}.get(spoil, (200, ""))
    issuer.data = {"too long": b" " * (jwks.BYTES + 1), "no keys": b"{}"}.get(spoil, a_set())
    clock.now += 1000
    assert kids(keys) == ["one"]
    clock.now += jwks.KEPT_SECONDS
    assert kids(keys) == []


def test_an_issuer_that_never_answers_has_no_keys_and_is_not_asked_with_every_token(clock: Clock) -> None:
    keys = Keys("http://127.0.0.1:1/keys", 300.0)
    assert [keys.of("one") for _ in range(3)] == [None] * 3


def test_keys_of_a_file_are_those_that_it_has_now_and_a_spoilt_one_changes_nothing(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    keys = Keys(str(path), 300.0)
    assert kids(keys) == ["one"]
    path.write_bytes(a_set(a_key("two")))
    os.utime(path, ns=(1, 1))
    assert kids(keys) == ["two"]
    path.write_text("{")
    os.utime(path, ns=(2, 2))
    assert kids(keys) == ["two"]
    path.unlink()
    assert kids(keys) == ["two"]


@pytest.mark.parametrize("where", ["http://auth.example/keys", "https://", "/nowhere/keys.json", "http://10.0.0.1/k"])
def test_keys_come_from_https_or_a_file_that_is_there(where: str) -> None:
    with pytest.raises(Unusable, match=r"tokens\.keys"):
        Keys(where, 300.0)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("make", [
    lambda: b"", lambda: b"{}", lambda: b"[]", lambda: b'{"keys": 1}', lambda: b'{"keys": []}',
    lambda: b'{"keys": [1]}',
    lambda: b'{"keys": [{"kty": "EC"}]}', lambda: b"[" * 100_000, lambda: a_set(an_rsa_key("short", 1024)),
    lambda: a_set(a_key()).replace(b'"sig"', b'"enc"'), lambda: b'{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}',
    lambda: b'{"keys": [{"kty": "oct", "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2g"}]}', lambda: b" " * (jwks.BYTES + 1),
])  # fmt: skip
def test_what_is_no_set_of_public_keys_that_may_sign_is_none(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match=r"[kK]ey"):
        key_set(make())
