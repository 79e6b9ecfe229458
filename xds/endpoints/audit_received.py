"""What is kept of a syslog message that has come, and what is remarkable of who says it.  ITI TF-2: 3.20.4.1."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from xds.audit.log.segments import origin_of
from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import filed
from xds.store.audit.records import UNREADABLE, Recorded, now_microseconds

OURS = "calls itself this node"
"""What the origin of a message says that has our name, and came from elsewhere."""

ANOTHERS = "calls itself a source that another certificate is known by"
"""What it says of one that has somebody else's."""

SpeaksFor: TypeAlias = Callable[[str, str, str], bool | None]
"""Whether who has this key (SHA-256 of the certificate's, or none) and address may say so of this AuditSourceID.

None where nothing is known of it.
"""

SOURCES = 10_000
"""That are remembered."""


@dataclass(frozen=True, slots=True)
class Ours(Recorded):
    """A message that has our name; ``said`` is when it happened by it, in milliseconds since 1970."""

    said: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where messages come from: as their records say it, and by what the peer is told from others."""

    where: str
    address: str = ""
    spki: str = ""


class FirstSeen:
    """Whose sources are, where nobody has said so: of whoever has named one first, over TLS, since this process began.

    A peer without a certificate is not believed to be one that has had one.
    """

    def __init__(self) -> None:
        self._lock, self._keys = threading.Lock(), dict[str, str]()

    def __call__(self, spki: str, _address: str, source_id: str) -> bool | None:
        with self._lock:
            known = self._keys.get(source_id)
            if known is None and spki and source_id and len(self._keys) < SOURCES:
                self._keys[source_id] = spki
        return None if known is None else known == spki


def received(
    frame: bytes, where: str | Origin, *, flag: str = "", ours: str = "", speaks_for: SpeaksFor | None = None
) -> Recorded:
    """What is kept of one syslog message that came from somewhere; ``ours``: what we are called ourselves."""
    arrived, origin = now_microseconds(), where if isinstance(where, Origin) else Origin(where)
    try:
        message = read(frame)
    except NotAuditMessage:
        return Recorded(frame, UNREADABLE, "", 0, recorded=arrived, origin=origin_of(origin.where, flag))
    source_id = message.source.source_id
    is_ours = bool(ours) and source_id == ours
    is_anothers = speaks_for is not None and speaks_for(origin.spki, origin.address, source_id) is False
    said = origin_of(origin.where, flag, OURS if is_ours else "", ANOTHERS if is_anothers and not is_ours else "")
    kept = (frame, *filed(message, ours=False), arrived, 0, None, said)
    return Ours(*kept, int(message.event.date_time.timestamp() * 1000)) if is_ours else Recorded(*kept)
