"""Signing in by an OpenID provider: who is vouched for gets the role of their groups, and nobody else gets in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.endpoints.console.test_desk import PASSWORD, Browser, sign_ins
from tests.server.test_application import Site, serving
from xds.endpoints.console.passwords import hashed
from xds.store import accounts


class Provider:
    """An OpenID provider whose only user always agrees; ``spoil`` changes what it says of them."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "1"})
        self.signing: Any = self.key
        self.header = {"alg": "ES256", "kid": "1"}
        self.claims: dict[str, Any] = {"preferred_username": "olga", "groups": ["staff", "privacy"]}
        self.spoil: Callable[[dict[str, Any]], None] = lambda _: None
        self.asked: dict[str, str] = {}
        self.issuer = ""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path == "/authorize":
                    provider.asked = {key: values[0] for key, values in parse_qs(url.query).items()}
                    back = {"code": "c0de", "state": provider.asked["state"]}
                    self.send_response(302)
                    self.send_header("Location", f"{provider.asked['redirect_uri']}?{urlencode(back)}")
                    self.end_headers()
                    return
                found: dict[str, Any] = {
                    "issuer": provider.issuer, "authorization_endpoint": f"{provider.issuer}/authorize",
                    "token_endpoint": f"{provider.issuer}/token", "jwks_uri": f"{provider.issuer}/keys",
                }  # fmt: skip
                if url.path == "/keys":
                    found = {"keys": [provider.key.as_dict(private=False)]}
                self._said(200, found)

            def do_POST(self) -> None:
                given = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                digest = hashlib.sha256(given["code_verifier"][0].encode()).digest()
                if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != provider.asked["code_challenge"]:
                    self._said(400, {"error": "invalid_grant"})
                    return
                self._said(200, {"access_token": "a", "token_type": "Bearer", "id_token": provider.token()})

            def _said(self, status: int, value: dict[str, Any]) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def token(self) -> str:
        claims = {
            "iss": self.issuer, "aud": "xds", "sub": "7", "exp": int(time.time()) + 300, "iat": int(time.time()),
            "nonce": self.asked["nonce"], **self.claims,
        }  # fmt: skip
        self.spoil(claims)
        return jwt.encode(self.header, claims, self.signing)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture
def site(database_url: str, tmp_path: Path, provider: Provider) -> Iterator[Site]:
    settings = (
        f'[oidc]\nissuer = "{provider.issuer}"\nclient_id = "xds"\nclient_secret = "s3cret"\nname = "the region"\n'
        'auditor = ["privacy"]\nviewer = ["staff"]\n'
    )
    with serving(database_url, tmp_path, settings) as site:
        with site.application.engine.begin() as connection:
            accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
        yield site


def test_who_is_vouched_for_signs_in_with_the_role_of_their_groups(site: Site, provider: Provider) -> None:
    browser = Browser(site)
    assert "Sign in by the region" in browser.got("/console/audit")[1]
    status, page, _ = browser.got("/console/sign-in/provider")
    assert (status, "Signed in" in page) == (200, True)
    assert re.search(r'http-equiv="refresh" content="0; url=/console"', page)
    assert "olga, auditor" in browser.got("/console/audit")[1]
    assert sign_ins(site) == [("olga", 0)]
    provider.claims["groups"] = "staff"
    browser.got("/console/sign-in/provider")
    assert browser.got("/console/audit")[0] == 403


def test_nobody_signs_in_with_a_password_as_who_is_vouched_for(site: Site) -> None:
    Browser(site).got("/console/sign-in/provider")
    assert Browser(site).sign_in("olga", "")[0] in (403, 400)
    for password in ("anything at all", "nobody's"):
        assert Browser(site).sign_in("olga", password)[0] == 403


def test_not_even_a_password_that_compares_well_lets_in_who_has_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    Browser(site).got("/console/sign-in/provider")
    monkeypatch.setattr("xds.endpoints.console.passwords.right", lambda *_: True)
    assert Browser(site).sign_in("olga", "whatever")[0] == 403


SPOILT: dict[str, Callable[[dict[str, Any]], None]] = {
    "of another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "for another client": lambda claims: claims.update(aud="another"),
    "of another sign-in": lambda claims: claims.update(nonce="another"),
    "over": lambda claims: claims.update(exp=int(time.time()) - 600),
    "without an end": lambda claims: claims.pop("exp"),
    "without a role": lambda claims: claims.update(groups=["guests"]),
    "without groups": lambda claims: claims.pop("groups"),
    "without a name": lambda claims: claims.pop("preferred_username"),
    "of a very long name": lambda claims: claims.update(preferred_username="o" * 65),
    "given to another client": lambda claims: claims.update(aud=["xds", "another"], azp="another"),
    "of an unprintable name": lambda claims: claims.update(preferred_username="o\nlga"),
    "of an own account's name": lambda claims: claims.update(preferred_username="anna"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_token_that_is_not_for_this_is_refused_and_on_record(
    site: Site, provider: Provider, spoil: Callable[[dict[str, Any]], None]
) -> None:
    provider.spoil = spoil
    browser = Browser(site)
    status, page, _ = browser.got("/console/sign-in/provider")
    assert (status, "You are not signed in" in page) == (403, True)
    assert [outcome for _, outcome in sign_ins(site)] == [4]
    assert "/console/sign-in" in browser.got("/console/audit")[2]


def test_a_token_by_another_key_or_with_a_shared_secret_is_refused(site: Site, provider: Provider) -> None:
    for key, header in ((ECKey.generate_key("P-256", {"kid": "1"}), provider.header),
                        (OctKey.import_key("s3cret" * 8), {"alg": "HS256", "kid": "1"})):  # fmt: skip
        provider.signing, provider.header = key, header
        assert Browser(site).got("/console/sign-in/provider")[0] == 403


@pytest.mark.parametrize("query", ["code=c0de&state=forged", "code=c0de", "error=access_denied&state=x"])
def test_who_comes_back_without_having_left_is_refused(site: Site, query: str) -> None:
    assert Browser(site).got(f"/console/sign-in/back?{query}")[0] == 400


def test_a_provider_that_does_not_answer_is_said(site: Site, provider: Provider) -> None:
    provider.server.shutdown()
    provider.server.server_close()
    status, page, _ = Browser(site).got("/console/sign-in/provider")
    assert (status, "the provider does not answer" in page) == (502, True)


def test_a_provider_that_is_another_is_refused(site: Site, provider: Provider) -> None:
    provider.issuer = "https://evil.example"
    assert "calls itself something else" in Browser(site).got("/console/sign-in/provider")[1]
