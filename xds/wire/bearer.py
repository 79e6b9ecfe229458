"""ITI-72 Incorporate Access Token: for whom a request without SOAP is sent, by a JSON Web Token or a SAML assertion.

IUA: 3.71.4.2.2.1 (JSON Web Token), 3.72.4.3.2 (SAML token, base64url); RFC 6750; RFC 7519.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jwt

from xds.errors import Unusable
from xds.wire.assertion import ATTRIBUTES, LENGTH, Assertion, Code
from xds.wire.faults import Fault
from xds.wire.jwks import Keys
from xds.wire.saml_conditions import SKEW, Bringing
from xds.wire.saml_signature import BYTES
from xds.wire.xml import NotXml, parse
from xds.wire.xua import Trust

JWT_METHOD = "urn:ietf:params:oauth:token-type:jwt"
ALGORITHMS = frozenset({"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"})
"""By which a token may be signed at all: of keys that others do not have."""

JWT_BYTES = 32 * 1024
_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")


class NotBelieved(Exception):
    """Whom a request is for is not believed, or not said; the message is for who sent it, and holds nothing of it."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Expected:
    """What is asked of every JSON Web Token."""

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    longest: timedelta = timedelta(minutes=15)


class Tokens:
    """Whose tokens are believed.  Safe with threads."""

    def __init__(self, expected: Expected, keys: Keys) -> None:
        """Believe those of the keys' holder.

        Raises:
            Unusable: an algorithm is not known, or nothing says what this node is called.
        """
        if not expected.audiences:
            raise Unusable("tokens.audiences: what this node is called, or every token of the issuer would do")
        if not expected.algorithms or not expected.algorithms <= ALGORITHMS:
            raise Unusable(f"tokens.algorithms: each is one of {', '.join(sorted(ALGORITHMS))}")
        self._expected, self._keys = expected, keys

    def believed(self, token: str, bringing: Bringing, now: datetime | None = None) -> Assertion:
        """What a JSON Web Token says.

        Raises:
            NotBelieved: it is not to be believed.
        """
        claims = self._signed(token)
        expected, now = self._expected, now or datetime.now(UTC)
        if claims.get("iss") != expected.issuer:
            raise NotBelieved("the token is of another issuer")
        if bringing.issuers is not None and expected.issuer not in bringing.issuers:
            raise NotBelieved("this peer does not speak for the token's issuer")
        if not expected.audiences & set(_texts(claims.get("aud"))):
            raise NotBelieved("the token is for another audience")
        until = _in_time(claims, expected.longest, now)
        if claims.get("cnf") is not None:
            raise NotBelieved("the token is bound to a key, which cannot be shown here")
        return _read(claims, expected.issuer, until)

    def _signed(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that is signed by a key of the issuer's (RFC 7515: 5.2)."""
        if len(token) > JWT_BYTES or token.count(".") != 2:
            raise NotBelieved("the token is no JSON Web Token")
        try:
            head = token.partition(".")[0]
            kid = _head(head).get("kid", "")
            keys = self._keys.of(kid if isinstance(kid, str) else "")
            if keys is None:
                raise NotBelieved("the issuer's keys are not known now")
            found = jwt.decode(token, keys, algorithms=sorted(self._expected.algorithms))
        except NotBelieved:
            raise
        except Exception:  # whatever a library makes of a hostile token
            raise NotBelieved("the token's signature does not hold") from None
        if str(found.header.get("typ", "")).lower() not in _TYPES or not isinstance(found.claims, dict):
            raise NotBelieved("the token is no access token")
        return found.claims


def _head(text: str) -> Mapping[str, Any]:
    """The header of a token.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(found, dict):
        raise ValueError("no header")
    return found


def assertion_of(token: str, trust: Trust, bringing: Bringing) -> Assertion:
    """What a SAML assertion says that came in base64url (IUA: 3.72.4.3.2).

    Raises:
        NotBelieved: it is not to be believed.
    """
    if len(token) > BYTES * 4 // 3 + 4:
        raise NotBelieved("the assertion is too long")
    try:
        data = base64.b64decode(token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4), altchars=b"-_", validate=True)
        return trust.believed(parse(data), bringing)
    except (binascii.Error, ValueError, NotXml):
        raise NotBelieved("the token is neither a JSON Web Token nor a SAML assertion") from None
    except Fault as fault:
        raise NotBelieved(fault.reason) from None


def encoded(assertion: bytes) -> str:
    """The value of Authorization for an assertion."""
    return f"Bearer {base64.urlsafe_b64encode(assertion).decode().rstrip('=')}"


def _in_time(claims: Mapping[str, Any], longest: timedelta, now: datetime) -> datetime:
    """When a token ends, which has begun and lasts no longer than any may."""
    end, issued, begin = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if end is None or issued is None:
        raise NotBelieved("exp and iat are required")
    since = max(issued, begin or issued)
    if now + SKEW < since or now - SKEW >= end:
        raise NotBelieved("the token is not valid now")
    if end - since > longest:
        raise NotBelieved("the token lasts too long")
    return end


def _time(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise NotBelieved(f"{name} is no time") from None


def _read(claims: Mapping[str, Any], issuer: str, until: datetime) -> Assertion:
    """The same value that an assertion gives (IUA: 3.71.4.2.2.1.1; the rules of PCF are for who understands them)."""
    extensions = _object(claims, "extensions")
    iua, bppc = _object(extensions, "ihe_iua"), _object(extensions, "ihe_bppc")
    if _object(extensions, "ihe_pcf").get("residual"):
        raise NotBelieved("the token restricts what may be given, in a way that is not understood here")
    (subject,) = _texts(claims.get("sub"))[:1] or ("",)
    if not subject:
        raise NotBelieved("sub is required")

    def first(part: Mapping[str, Any], name: str) -> str:
        return next(iter(_texts(part.get(name))), "")

    return Assertion(
        issuer, subject, "", first(iua, "subject_name"), _texts(iua.get("subject_organization")),
        _texts(iua.get("subject_organization_id")), _codes(iua.get("subject_role")), _codes(iua.get("purpose_of_use")),
        first(iua, "home_community_id"), first(bppc, "patient_id") or first(iua, "person_id"),
        _texts(bppc.get("doc_id")), _texts(bppc.get("acp")), first(claims, "jti"), JWT_METHOD, until,
    )  # fmt: skip


def _object(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _several(value: Any) -> Sequence[Any]:
    """One value, or a list of them."""
    return value[:ATTRIBUTES] if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one.strip()[:LENGTH] for one in _several(value) if isinstance(one, str) and one.strip())


def _codes(value: Any) -> tuple[Code, ...]:
    """FHIR Codings, as IUA has them; or texts, as some authorisation servers do."""
    return tuple(code for one in _several(value) if (code := _code(one)).code)


def _code(one: Any) -> Code:
    if isinstance(one, str):
        return Code(one.strip()[:LENGTH])
    if not isinstance(one, dict):
        return Code("")
    code, system, display = (str(one.get(key) or "")[:LENGTH] for key in ("code", "system", "display"))
    return Code(code, system.removeprefix("urn:oid:"), "", display)


def challenge(problem: NotBelieved) -> str:
    """WWW-Authenticate (RFC 6750: 3): without an error where there was no token."""
    return "Bearer" if problem.missing else f'Bearer error="invalid_token", error_description="{problem}"'


def token_of(authorization: str) -> str:
    """The token in Authorization; empty where another scheme is used, or none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
