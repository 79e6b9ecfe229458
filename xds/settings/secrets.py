"""Settings as they may be shown: passwords, pins and tokens masked, wherever in a value they stand."""

from __future__ import annotations

import re
from typing import Any

MASKED = "***"

SECRET = frozenset({"oidc.client_secret"})
"""Settings that are secret as a whole."""

_WORD = r"[A-Za-z0-9_-]*(?:password|passwd|secret|token|pin-value|pin)"
_PARAMETER = re.compile(rf"(?<=[?&])({_WORD})=[^&;]*", re.IGNORECASE)  # of a URL, or of a PKCS#11 one (RFC 7512)
_USERINFO = re.compile(r"(://[^:/@\s]*):[^/@\s]*@")
# SQLAlchemy takes all up to the last @ for the password, slashes too.
_DATABASE = re.compile(r"(://[^:/@]*):.*@", re.DOTALL)


def shown(name: str, value: Any) -> Any:
    """A setting's value by its dotted name, without what is secret in it."""
    if isinstance(value, tuple):
        return tuple(shown(name, one) for one in value)
    if not isinstance(value, str) or not value:
        return value
    if name in SECRET or name.rpartition(".")[2].endswith(("secret", "password")):
        return "(set)"
    value = (_DATABASE if name in ("server.database", "server.replicas") else _USERINFO).sub(rf"\1:{MASKED}@", value)
    return _PARAMETER.sub(rf"\1={MASKED}", value)
