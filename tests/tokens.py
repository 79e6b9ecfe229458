"""JSON Web Tokens of Incorporate Access Token (ITI-72), signed, each part to be spoilt."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

AUDIENCE, ISSUER = "https://xds.hospital.example", "https://auth.hospital.example"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


@cache
def a_key(kid: str = "one") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@cache
def an_rsa_key(kid: str = "rsa", bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid})


def a_set(*keys: Any) -> bytes:
    found: Any = KeySet(list(keys or (a_key(),))).as_dict(private=False)
    return json.dumps(found).encode()


def a_file(folder: Path, *keys: Any) -> Path:
    """Their public parts, as a file."""
    path = folder / "keys.json"
    path.write_bytes(a_set(*keys))
    return path


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    now = int(time.time())
    found: dict[str, Any] = {
        "iss": ISSUER, "sub": "anna.meier", "aud": AUDIENCE, "iat": now - 5, "nbf": now - 5, "exp": now + 300,
        "jti": "t1", "client_id": "viewer",
        "extensions": {
            "ihe_iua": {
                "subject_name": "Dr. Anna Meier", "subject_organization": "North Hospital",
                "subject_organization_id": "urn:oid:1.2.3.9", "home_community_id": "urn:oid:1.2.3.4",
                "subject_role": [{"system": "urn:oid:2.16.840.1.113883.6.96", "code": "223366009"}],
                "purpose_of_use": [{"system": ACT_REASON, "code": "TREAT"}],
            },
            "ihe_bppc": {"patient_id": "anna^^^&1.2.3.4.5&ISO", "doc_id": "urn:oid:1.9", "acp": ["urn:oid:1.8"]},
        },
    }  # fmt: skip
    return {key: value for key, value in (found | changes).items() if value is not None}


def signed(given: dict[str, Any] | None = None, key: Any = None, **header: Any) -> str:
    key = key or a_key()
    head = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"} | header
    return jwt.encode(head, given or claims(), key, algorithms=[head["alg"]])
