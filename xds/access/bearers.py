"""For whom a request without SOAP is sent: a token or an assertion in Authorization, where patient data are given out.

IUA, ITI-72; RFC 6750.  What is not believed is refused and on record, whether a person must be named or not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa

from xds.access.users import Users
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person
from xds.settings import access
from xds.settings.sections import Settings
from xds.wire.bearer import Expected, NotBelieved, Tokens, assertion_of, challenge, token_of
from xds.wire.http import HttpReply, HttpRequest, TextReply
from xds.wire.jwks import Keys
from xds.wire.saml_conditions import Bringing

ADDRESSES = ("/dicomweb", "/wado", "/fhir")
OPEN = ("/fhir/metadata",)
"""What is given out there is about no patient."""


def guarded(path: str) -> bool:
    """Whether patient data are given out at an address, to whom a token may name."""
    plain = "/" + path.strip("/")
    return plain not in OPEN and any(plain == one or plain.startswith(f"{one}/") for one in ADDRESSES)


def tokens_of(settings: access.Tokens) -> Tokens:
    """Whose JSON Web Tokens are believed.

    Raises:
        Unusable: a setting is wrong, or the keys cannot be read.
    """
    expected = Expected(
        settings.issuer, frozenset(settings.audiences), frozenset(settings.algorithms),
        timedelta(seconds=settings.longest_seconds),
    )  # fmt: skip
    return Tokens(expected, Keys(settings.keys, settings.keys_seconds))


class Bearers:
    """Reads tokens.  Safe with threads.

    Raises:
        Unusable: see ``Users`` and ``tokens_of``.
    """

    def __init__(
        self, settings: Settings, engine: sa.Engine, node: AuditSource, record: Callable[[AuditEvent], None]
    ) -> None:
        xua = settings.xua
        self._users = Users(xua, engine) if xua.trusted or xua.issuers else None
        self._tokens = tokens_of(settings.tokens) if settings.tokens.issuer else None
        self._required, self._overrides = xua.required, frozenset(xua.override_purposes)
        self._node, self._record = node, record

    def person(
        self, request: HttpRequest, *, issuers: frozenset[str] | None = None, key_sha256: str = ""
    ) -> Person | None:
        """For whom a request is sent; None where it does not say and need not.

        ``issuers`` are those that the peer may bring tokens of, any where it is None; ``key_sha256`` is of the public
        key (SPKI) of its TLS certificate, in hex.

        Raises:
            NotBelieved: a token is wanted and missing, or not to be believed.
        """
        if not guarded(request.path):
            return None
        token = token_of(request.authorization)
        if not token:
            if self._required:
                raise NotBelieved("a bearer token is required (ITI-72)", missing=True)
            return None
        bringing = Bringing(request.url, request.remote_address, key_sha256, issuers)
        if "." in token and self._tokens is not None:
            return Person.of(self._tokens.believed(token, bringing), self._overrides)
        if "." not in token and self._users is not None:
            return Person.of(assertion_of(token, self._users.trust, bringing), self._overrides)
        if self._tokens is None and self._users is None:
            return None  # nobody is believed here: what is sent to others beside us is not ours to refuse
        raise NotBelieved("tokens of this kind are not taken here")

    def refused(self, request: HttpRequest, problem: NotBelieved) -> HttpReply:
        """The answer to somebody who is not believed, who is on record as that."""
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        who = Party("unknown", request.remote_address, requestor=True)
        self._record(AuditEvent.signed_in(self._node, who, here, str(problem)))
        headers = [("WWW-Authenticate", challenge(problem)), ("Cache-Control", "no-store")]
        return TextReply(401, "text/plain; charset=utf-8", f"{problem}\n", headers).http()
