"""What peers have used today, for ``/metrics`` and ``xds doctor``."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from xds.access.quotas import Quota
from xds.store import peer_use
from xds.store.engine import reading
from xds.store.peer_use import Use
from xds.wire.gauges import gauge

SHOWN = 50
"""Peers: those with most records, and those with most bytes."""

NEAR = 0.8
"""Of a quota, from which on an operator is told before the peer is refused."""


def today(connection: sa.Connection, count: int = SHOWN) -> dict[str, Use]:
    """What those have used that have used most, by the name of their entry, or else the key that they are told by."""
    found = dict[str, Use]()
    for key, use in peer_use.most(connection, peer_use.today(), count).items():
        name = use.name or key
        found[name] = found.get(name, Use()).and_(use)
    return found


def metrics(engine: sa.Engine) -> str:
    """In the text format of ``/metrics``."""
    with reading(engine) as connection:
        found = sorted(today(connection).items())
    return gauge(
        "xds_peer_records_today", "Audit records that a peer has brought about today.",
        [({"peer": peer}, use.records) for peer, use in found],
    ) + gauge(
        "xds_peer_bytes_today", "Bytes that are kept of what a peer has sent today, records among them.",
        [({"peer": peer}, use.size_bytes) for peer, use in found],
    )  # fmt: skip


def near(found: Mapping[str, Use], quota: Quota) -> list[str]:
    """The peers that have used most of a quota, or all."""
    parts = {
        peer: max(
            use.records / quota.records if quota.records else 0.0,
            use.size_bytes / quota.size_bytes if quota.size_bytes else 0.0,
        )
        for peer, use in found.items()
    }
    return [f"{peer} ({part:.0%})" for peer, part in sorted(parts.items()) if part >= NEAR]
