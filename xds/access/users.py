"""Who the users are that messages are sent for: X-User Assertions (ITI-40), as the settings trust them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import sqlalchemy as sa

from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.settings.access import Xua
from xds.store.used import first_use
from xds.wire.http import HttpRequest
from xds.wire.saml_conditions import METHODS, Bringing, Demands
from xds.wire.xml import Element
from xds.wire.xua import Trust


class Users:
    """Reads assertions.  Safe with threads.

    Raises:
        Unusable: the trusted certificates cannot be read, or a method of ``xua.methods`` is not known.
    """

    def __init__(self, settings: Xua, engine: sa.Engine | None = None) -> None:
        """``engine`` is where what may be used but once is kept; without it such assertions are refused."""
        unknown = set(settings.methods) - METHODS.keys()
        if unknown or not settings.methods:
            raise Unusable(f"xua.methods: each is one of {', '.join(METHODS)}")
        demands = Demands(
            frozenset(settings.audiences), timedelta(seconds=settings.longest_seconds),
            frozenset(METHODS[one] for one in settings.methods),
        )  # fmt: skip
        once = None if engine is None else partial(first_use, engine)
        self.trust = Trust.of(settings.trusted, settings.issuers, demands, required=settings.required, once=once)
        self._overrides = frozenset(settings.override_purposes)

    def person(
        self, header: Element | None, request: HttpRequest | None = None, *, issuers: frozenset[str] | None = None,
        key_sha256: str = "",
    ) -> Person | None:  # fmt: skip
        """For whom a message with this SOAP header is sent; None where it does not say and need not.

        ``issuers`` are those whose assertions the peer may bring, any where it is None; ``key_sha256`` is of the public
        key (SPKI) of its TLS certificate, in hex.

        Raises:
            Fault: see ``Trust.asserted``.
        """
        url, address = (request.url, request.remote_address) if request is not None else ("", "")
        found = self.trust.asserted(header, bringing=Bringing(url, address, key_sha256, issuers))
        return None if found is None else Person.of(found, self._overrides)

    def refused(self, event: AuditEvent, reason: str) -> AuditEvent:
        """The record of an assertion that is not believed, which came with what ``event`` is about."""
        there, here = (event.destination, event.source) if event.source.ours else (event.source, event.destination)
        return AuditEvent.signed_in(event.node, Party("unknown", there.address, requestor=True), here, reason)
