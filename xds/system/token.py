"""A PKCS#11 token, and what is in it by a URI (RFC 7512).  Of one process, not its children."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from xds.errors import Unusable

SCHEME = "pkcs11:"


def parts(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of the path and of the query (RFC 7512: 2.3)."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")

    def split(text: str, by: str) -> dict[str, str]:
        pairs = (part.partition("=") for part in text.split(by) if part)
        return {name: unquote(value) for name, _, value in pairs}

    return split(path, ";"), split(query, "&")


def opened(uri: str, setting: str, variable: str, find: Callable[[Any, str], Any]) -> Any:
    """What is found in a token, given a session and the label that the URI names.

    ``setting``: that names the URI; ``variable``: that has the PIN where the URI has no ``pin-source``.

    Raises:
        Unusable: the URI is malformed, or the token, the object or its PIN are not right.
    """
    path, query = parts(uri)
    try:
        import pkcs11
    except ImportError:
        raise Unusable(f"{setting} is in a token: install python-pkcs11, as by pip install 'xds[hsm]'") from None
    if "module-path" not in query or "object" not in path:
        raise Unusable(f"{setting}: a pkcs11: URI needs object and module-path")
    try:
        library = pkcs11.lib(query["module-path"])
        token = library.get_token(token_label=path["token"]) if "token" in path else next(iter(library.get_tokens()))
        try:
            session = token.open(user_pin=_pin(query, setting, variable))
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # this process is
            session = token.open()
        return find(session, path["object"])
    except (pkcs11.exceptions.PKCS11Error, RuntimeError, StopIteration) as problem:
        raise Unusable(f"{setting}: {type(problem).__name__} {problem}".rstrip()) from None


def _pin(query: dict[str, str], setting: str, variable: str) -> str:
    source = query.get("pin-source", "").removeprefix("file:")
    try:
        pin = Path(source).read_text("utf-8").strip() if source else os.environ.get(variable, "")
    except OSError as problem:
        raise Unusable(f"{setting}: pin-source: {problem.strerror}") from None
    if not pin:
        raise Unusable(f"{setting}: the PIN is neither in pin-source nor in {variable}")
    return pin
