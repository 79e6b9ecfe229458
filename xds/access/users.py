"""Who the users are that messages are sent for: X-User Assertions (ITI-40), as the settings trust them."""

from __future__ import annotations

from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person
from xds.settings.sections import Xua
from xds.wire.xml import Element
from xds.wire.xua import Trust


class Users:
    """Reads assertions.  Safe with threads.

    Raises:
        Unusable: the trusted certificates cannot be read.
    """

    def __init__(self, settings: Xua) -> None:
        self._trust = Trust.of(settings.trusted, settings.issuers, settings.audiences, required=settings.required)
        self._overrides = frozenset(settings.override_purposes)

    def person(self, header: Element | None) -> Person | None:
        """For whom a message with this SOAP header is sent; None where it does not say and need not.

        Raises:
            Fault: see ``Trust.asserted``.
        """
        found = self._trust.asserted(header)
        return None if found is None else Person.of(found, self._overrides)

    def refused(self, event: AuditEvent, reason: str) -> AuditEvent:
        """The record of an assertion that is not believed, which came with what ``event`` is about."""
        there, here = (event.destination, event.source) if event.source.ours else (event.source, event.destination)
        return AuditEvent.signed_in(event.node, Party("unknown", there.address, requestor=True), here, reason)
