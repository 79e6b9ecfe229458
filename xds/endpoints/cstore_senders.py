"""Who may send images by C-STORE, and as which application entity: asked for each association, before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xds.access.gate import Gate, NotPermitted
from xds.archives.senders import Sender
from xds.settings.sections import DEFAULT_DOMAIN
from xds.wire.http import certificate_of
from xds.wire.peers import key_of
from xds.wire.strangers import Strangers, Tell

# DICOM PS3.8: Table 9-21, reasons of a rejection by the service-user.
NO_REASON, TITLE_NOT_RECOGNISED = 1, 3

_NOT_ITS_TITLE = "the calling AE title is not the peer's"


@dataclass(frozen=True, slots=True)
class Decided:
    """``reason`` of a rejection, 0 where there is none; ``said`` of it, or of what is done all the same."""

    reason: int = 0
    said: tuple[str, ...] = ()


class StorageSenders:
    """Decides by policy and peers; ``titles``: those that may send (``imaging_source.cstore_from``), empty: all."""

    def __init__(self, gate: Gate, tell: Tell, titles: Sequence[str] = ()) -> None:
        self._gate, self._titles, self._strangers = gate, frozenset(titles), Strangers(tell)

    def reason(self, title: str, address: str, der: bytes) -> int:
        """Why an association is rejected, which is then on record; 0: it is not."""
        decided = self.decided(title, address, der)
        if decided.reason:
            self._strangers.tell(address, f"C-STORE: {'; '.join(decided.said)}")
        return decided.reason

    def decided(self, title: str, address: str, der: bytes) -> Decided:
        """What becomes of an association."""
        peer = self._gate.peer(certificate_of(der), address)
        try:
            granted = self._gate.ask(peer, "C-STORE", DEFAULT_DOMAIN)
        except NotPermitted as denied:
            return Decided(NO_REASON, (str(denied),))
        if self._titles and title not in self._titles:
            return Decided(TITLE_NOT_RECOGNISED, ("the calling AE title is none of imaging_source.cstore_from",))
        said = (granted.note,) if granted.note else ()
        if peer.entry.ae_titles and not peer.speaks_for("ae_titles", title):
            if not granted.marks:
                return Decided(TITLE_NOT_RECOGNISED, (_NOT_ITS_TITLE,))
            said = (*said, _NOT_ITS_TITLE)
        return Decided(0, said)

    def sender(self, title: str, address: str, der: bytes) -> Sender:
        """Who an association is from, as studies remember it."""
        peer = self._gate.peer(certificate_of(der), address)
        return Sender(key_of(der, f"{title}@{address}"), is_administrator=peer.administers)
