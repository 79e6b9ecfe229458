"""Addresses that tell nothing: whom a page is about stands sealed in its address, since browsers keep addresses in
their histories and proxies in their logs.

A form is sent by POST and answered with the address of the page that it asks for.  The same question has the same
address (AES-SIV, RFC 5297), so that pictures are kept for a while and pages can be marked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from flask import Blueprint, Response, redirect, request
from werkzeug.datastructures import ImmutableMultiDict

from xds.endpoints.console.signing_in import local
from xds.endpoints.console.trouble import trouble

SEALED = "s"
"""The parameter of an address that holds what is asked for."""

BYTES, MORE_BYTES = 2000, 800
"""Of what a form asks for, and what a link of its page may add: the address is still one that every server takes."""

LENGTH = 300
"""Characters of one value in a link: nothing longer is searched for."""


class TooLong(ValueError):
    """More is asked for than an address holds."""


class Sealer:
    """Seals by the key of the deployment, which ``key`` gives when it is first needed."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    @cached_property
    def _cipher(self) -> AESSIV:
        return AESSIV(self._key())

    def address(self, path: str, asked: Mapping[str, str], most: int = BYTES + MORE_BYTES) -> str:
        """Where a page is that is asked for something; what is empty is left out.

        Raises:
            TooLong: see there.
        """
        given = {key: text for key, text in asked.items() if text}
        if not given:
            return path
        data = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(data) > most:
            raise TooLong("what is asked for is too long")
        sealed = base64.urlsafe_b64encode(self._cipher.encrypt(data, None)).rstrip(b"=")
        return f"{path}?{SEALED}={sealed.decode()}"

    def opened(self, sealed: str) -> dict[str, str] | None:
        """What an address asks for; None where it is none of ours."""
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
            found: dict[str, str] = json.loads(self._cipher.decrypt(data, None))
        except (ValueError, InvalidTag):
            return None
        return found


def pages(sealer: Sealer) -> Blueprint:
    """What forms are sent to; and every page reads what its address holds."""
    blueprint = Blueprint("sealing", __name__)

    @blueprint.before_app_request
    def opened() -> Response | None:
        sealed = request.args.get(SEALED)
        if sealed is None or not request.path.startswith("/console"):
            return None
        found = sealer.opened(sealed)
        if found is None:
            return trouble("This address is not one that was made here. Please search again.", 400)
        request.args = ImmutableMultiDict({**request.args.to_dict(), **found})
        return None

    @blueprint.app_context_processor
    def addresses() -> dict[str, Any]:
        return {"at": at}

    def at(path: str, **asked: object) -> str:
        """In a page: the address of another; of one that has no room for what it is asked, the page itself."""
        try:
            return sealer.address(path, {key: str(text)[:LENGTH] for key, text in asked.items()})
        except TooLong:
            return path

    @blueprint.post("/console/find")
    def find() -> Any:
        """Nothing is done here, so that the form needs no token."""
        asked = {key: text.strip() for key, text in request.form.items() if key != "to"}
        try:
            address = sealer.address(local(request.form.get("to", "")), asked, BYTES)
        except TooLong:
            return trouble("This is too long to be searched for.", 400)
        return redirect(address, 303)

    return blueprint
