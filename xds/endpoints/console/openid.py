"""Signing in by an OpenID provider, beside own accounts: who has which role, its claim says.

OpenID Connect Core: 3.1 (authorization code flow); RFC 7636 (PKCE).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from flask import Blueprint, Response, redirect, render_template, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from xds.endpoints.console.desk import Desk
from xds.endpoints.console.signing_in import COOKIE, cookie, local, with_cookie, without_cookie
from xds.settings.access import Oidc

log = logging.getLogger("xds.endpoints.console.openid")

FLOW = "xds-oidc"
SECONDS = 10.0
"""The longest that a provider is waited for."""

FLOW_SECONDS = 600
"""Until a sign-in that was begun must have come back."""

LEEWAY_SECONDS = 60
ALGORITHMS = ["RS256", "PS256", "ES256"]


class NotSignedIn(Exception):
    """The provider does not vouch for somebody; the message is for people and holds nothing that it said."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who somebody is, by their provider."""

    name: str
    role: str


class Provider:
    """One OpenID provider, as the settings name it.  Safe with threads."""

    def __init__(self, settings: Oidc) -> None:
        self._settings, self._found = settings, dict[str, Any]()

    def _discovered(self) -> Mapping[str, Any]:
        """Where its addresses are (OpenID Connect Discovery: 4)."""
        if not self._found:
            issuer = self._settings.issuer.rstrip("/")
            found = self._got(f"{issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != issuer:
                raise NotSignedIn("the provider calls itself something else than oidc.issuer")
            self._found = found
        return self._found

    def _got(self, url: str) -> dict[str, Any]:
        try:
            found: Any = requests.get(url, timeout=SECONDS).json()
        except (requests.RequestException, ValueError) as problem:
            log.warning("oidc.not_answering", extra={"reason": type(problem).__name__})
            raise NotSignedIn("the provider does not answer") from None
        if not isinstance(found, dict):
            raise NotSignedIn("the provider does not answer as one")
        return found

    def _session(self, back: str) -> Any:
        its = self._settings
        return OAuth2Session(its.client_id, its.client_secret, scope=its.scope, redirect_uri=back,
                             code_challenge_method="S256")  # fmt: skip

    def address(self, back: str, flow: Flow) -> str:
        """Where a browser is sent to.

        Raises:
            NotSignedIn: the provider does not answer.
        """
        endpoint = self._discovered().get("authorization_endpoint", "")
        url, _ = self._session(back).create_authorization_url(
            endpoint, state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
        )
        return str(url)

    def vouched(self, back: str, came: str, flow: Flow) -> Vouched:
        """Who came back, with the whole address that they came by.

        Raises:
            NotSignedIn: the provider does not vouch for them, or they have no role here.
        """
        found = self._discovered()
        try:
            token: Any = self._session(back).fetch_token(
                found.get("token_endpoint", ""), authorization_response=came, state=flow.state,
                code_verifier=flow.verifier, timeout=SECONDS,
            )  # fmt: skip
            claims = self._claims(str(token.get("id_token", "")), flow.nonce, self._got(found.get("jwks_uri", "")))
        except (OAuthError, JoseError, requests.RequestException, ValueError, KeyError) as problem:
            log.warning("oidc.not_vouched", extra={"reason": type(problem).__name__})
            raise NotSignedIn("the provider does not vouch for you") from None
        name = str(claims.get(self._settings.name_claim, ""))
        role = self._role(claims.get(self._settings.role_claim, ()))
        if not 0 < len(name) <= 64 or not name.isprintable() or not role:
            raise NotSignedIn("you have no role here")
        return Vouched(name, role)

    def _claims(self, id_token: str, nonce: str, keys: dict[str, Any]) -> Mapping[str, Any]:
        """The claims of an ID token, which is for us, now, and for this sign-in (OpenID Connect Core: 3.1.3.7)."""
        key_set: Any = keys
        token = jwt.decode(id_token, KeySet.import_key_set(key_set), algorithms=ALGORITHMS)
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS, iss={"essential": True, "value": self._discovered()["issuer"]},
            aud={"essential": True, "value": self._settings.client_id}, exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )  # fmt: skip
        registry.validate(token.claims)
        if token.claims.get("azp", self._settings.client_id) != self._settings.client_id:
            raise ValueError("the token was given to another client")
        return token.claims

    def _role(self, held: Any) -> str:
        """The first of our roles that one of somebody's groups gives."""
        groups = {held} if isinstance(held, str) else set(map(str, held)) if isinstance(held, list | tuple) else set()
        its = self._settings
        giving_roles = (
            ("auditor", its.auditor), ("privacy-officer", its.privacy_officer), ("administrator", its.administrator),
            ("operator", its.operator), ("viewer", its.viewer),
        )  # fmt: skip
        for role, giving in giving_roles:
            if groups & set(giving):
                return role
        return ""


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in under way; the browser keeps it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begun(cls) -> Flow:
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))

    @classmethod
    def read(cls, text: str) -> Flow | None:
        parts = text.split(".")
        return cls(*parts) if len(parts) == 3 and all(parts) else None

    def __str__(self) -> str:
        return f"{self.state}.{self.nonce}.{self.verifier}"


def pages(desk: Desk, provider: Provider, public_url: str) -> Blueprint:
    """The two addresses of the flow."""
    blueprint = Blueprint("openid", __name__)

    def back() -> str:
        return f"{public_url or request.host_url.rstrip('/')}/console/sign-in/back"

    @blueprint.get("/console/sign-in/provider")
    def leave() -> Any:
        flow = Flow.begun()
        try:
            response = redirect(provider.address(back(), flow), 303)
        except NotSignedIn as problem:
            return _refused(problem, 502)
        # It comes back from another site, and only so long as it takes to sign in there.
        return with_cookie(response, FLOW, str(flow), samesite="Lax", max_age=FLOW_SECONDS)

    @blueprint.get("/console/sign-in/back")
    def came() -> Any:
        flow, address = Flow.read(request.cookies.get(cookie(FLOW), "")), request.remote_addr or ""
        if flow is None or not secrets.compare_digest(request.args.get("state", "").encode(), flow.state.encode()):
            return _refused(NotSignedIn("this sign-in was not begun here"), 400)
        try:
            who = provider.vouched(back(), f"{back()}?{request.query_string.decode('ascii', 'replace')}", flow)
            token = desk.vouched_for(who.name, who.role, address)
        except NotSignedIn as problem:
            desk.not_vouched_for(address, str(problem))
            return _refused(problem, 403)
        if not token:
            return _refused(NotSignedIn("there is an own account of your name here"), 403)
        # Our own page leads on: a redirect would still come from the other site, and the session's cookie not with it.
        response = Response(render_template("signed_in.html", target=local("/console")))
        without_cookie(response, FLOW)
        return with_cookie(response, COOKIE, token)

    return blueprint


def _refused(problem: NotSignedIn, status: int) -> Response:
    return Response(render_template("trouble.html", reason=f"You are not signed in: {problem}."), status)
