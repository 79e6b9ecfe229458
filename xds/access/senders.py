"""Which partner a message is from, as ``[senders.NAME]`` tells, and so what is tolerated in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xds.access.claims import source_ids
from xds.access.peers import Peers
from xds.errors import Unusable
from xds.rules.tolerances import TOLERANCES
from xds.settings.access import Sender
from xds.wire.certificates import Name, NotACertificate, name_of
from xds.wire.http import HttpRequest
from xds.wire.networks import Network, networks_of, within
from xds.wire.xml import Element


@dataclass(frozen=True, slots=True)
class Known:
    """A sender as it is treated: nothing is tolerated of one without a name."""

    name: str = ""
    tolerate: tuple[str, ...] = ()
    schema_tolerant: bool = False


UNKNOWN = Known()


@dataclass(frozen=True, slots=True)
class _Marks:
    known: Known
    subjects: tuple[Name, ...]
    networks: tuple[Network, ...]
    source_ids: frozenset[str]

    def met(self, request: HttpRequest, source_id: str) -> bool:
        if self.subjects and (request.certificate is None or request.certificate.subject not in self.subjects):
            return False
        if self.networks and not within(request.remote_address, self.networks):
            return False
        return not self.source_ids or source_id in self.source_ids


class Senders:
    """The senders of the settings, in their order.

    Raises:
        Unusable: a tolerance, an address or a subject that there is not, or a sender without any mark.
    """

    def __init__(self, settings: Mapping[str, Sender], peers: Callable[[], Peers] | None = None) -> None:
        """``peers`` are those that are known now, whose entries say what is tolerated of all others."""
        self._senders = [_marks(name, sender) for name, sender in settings.items()]
        self._peers = peers

    def of(self, request: HttpRequest, body: Element) -> Known:
        """The first sender whose marks a message bears; else the peer that sends it, where more is tolerated of it."""
        source_id = next(source_ids(body), "") if self._senders else ""
        found = next((one.known for one in self._senders if one.met(request, source_id)), UNKNOWN)
        if found is not UNKNOWN or self._peers is None:
            return found
        peer = self._peers().told(request.certificate, request.remote_address)
        if not peer.entry.tolerate and peer.entry.schema == "strict":
            return UNKNOWN
        return Known(peer.name, peer.entry.tolerate, peer.entry.schema == "tolerant")


def _marks(name_: str, sender: Sender) -> _Marks:
    dotted = f"senders.{name_}"
    for tolerance in sender.tolerate:
        if tolerance not in TOLERANCES:
            raise Unusable(f"{dotted}.tolerate: {tolerance} is none of {', '.join(TOLERANCES)}")
    if not (sender.certificates or sender.addresses or sender.source_ids):
        raise Unusable(f"{dotted}: certificates, addresses or source_ids say which messages are its")
    networks = networks_of(f"{dotted}.addresses", sender.addresses)
    try:
        subjects = tuple(map(name_of, sender.certificates))
    except NotACertificate as problem:
        raise Unusable(f"{dotted}.certificates: {problem}") from None
    known = Known(name_, sender.tolerate, sender.schema == "tolerant")
    return _Marks(known, subjects, networks, frozenset(sender.source_ids))
