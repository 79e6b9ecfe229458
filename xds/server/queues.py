"""What waits in the database, for ``/metrics``: how much, and how long the oldest has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from xds.endpoints import apart
from xds.initiating import audit_storing
from xds.initiating.audit_forwarder import waiting
from xds.server import used
from xds.settings.sections import Settings
from xds.store import consent_documents
from xds.store.audit.records import head, last_checkpoint, position
from xds.store.audit.search import INDEX
from xds.store.deployment import log_id
from xds.store.engine import reading
from xds.store.tables import audit_open, audit_record, audit_unusual, document, override, publication
from xds.wire.gauges import gauge

_STATES = ("waiting", "sending", "published", "refused", "moving", "withdrawn")

_LAG = sa.text(
    "SELECT application_name, COALESCE(EXTRACT(EPOCH FROM replay_lag), 0) FROM pg_stat_replication "
    "WHERE state IN ('streaming', 'catchup') ORDER BY 1 LIMIT 20"
)
"""Of each copy, as far as it has said; the state is told to members of pg_monitor only."""


def parts(settings: Settings) -> Sequence[Callable[[sa.Engine], str]]:
    """What there is to tell of a deployment, each by a transaction of its own, beside ``database``."""
    found = [sealing, unsettled, streams, reviews, used.metrics]
    if settings.audit.forward_to:
        found.append(lambda engine: forwarding(engine, settings.audit.forward_to))
    if settings.audit.object_store:
        found.append(lambda engine: storing(engine, audit_storing.cursor(log_id(settings.data))))
    if settings.consent.documents:
        found.append(consents)
    if settings.imaging_source.folder:
        found.append(apart.metrics)
    if settings.imaging_source.publish_to:
        found.append(publications)
    return found


def database(engine: sa.Engine) -> str:
    """How soon the database answers, and how far copies of it are behind."""
    started = time.monotonic()
    with reading(engine) as connection:
        connection.scalar(sa.select(sa.literal(1)))
        seconds = time.monotonic() - started
        rows = connection.execute(_LAG).all() if connection.dialect.name == "postgresql" else []
    lags = {str(name)[:64]: float(lag) for name, lag in rows}
    return gauge(
        "xds_database_answer_seconds", "Until the database has answered the least that can be asked.",
        [({}, f"{seconds:.6f}")],
    ) + gauge(
        "xds_database_replica_lag_seconds", "How far a copy of the database is behind.",
        [({"replica": name}, f"{lag:.3f}") for name, lag in lags.items()],
    )  # fmt: skip


def sealing(engine: sa.Engine) -> str:
    """What of the audit log is under no signed checkpoint yet, and what cannot be searched yet."""
    row = audit_record.c
    with reading(engine) as connection:
        size, checkpoint = head(connection), last_checkpoint(connection)
        sealed = checkpoint[0] if checkpoint else 0
        unnumbered = sa.select(sa.func.count(), sa.func.min(row.recorded)).where(row.leaf_number.is_(None))
        count, oldest = connection.execute(unnumbered).one()
        first = connection.scalar(sa.select(row.recorded).where(row.leaf_number == sealed)) if size > sealed else None
        indexed = position(connection, INDEX) or 0
    times = [one for one in (oldest, first) if one is not None]
    return (
        gauge("xds_audit_unsealed", "Audit records under no checkpoint yet.", [({}, count + max(size - sealed, 0))])
        + _age("xds_audit_unsealed_oldest_seconds", "How old the oldest of them is.", times)
        + gauge("xds_audit_unindexed", "Audit records that are not found yet.", [({}, max(size - indexed, 0) + count)])
        + gauge("xds_audit_records", "Audit records that are numbered.", [({}, size)])
    )


def unsettled(engine: sa.Engine) -> str:
    """Documents whose registration was never answered; the settler asks about them."""
    statement = sa.select(sa.func.count(), sa.func.min(document.c.since)).where(document.c.state == "pending")
    with reading(engine) as connection:
        count, oldest = connection.execute(statement).one()
    return gauge(
        "xds_registrations_open", "Documents whose registration was not answered yet.", [({}, count)]
    ) + _age("xds_registrations_open_oldest_seconds", "How long the oldest of them has waited.", [oldest])  # fmt: skip


def streams(engine: sa.Engine) -> str:
    """Replies whose last byte has not gone out yet."""
    statement = sa.select(sa.func.count(), sa.func.min(audit_open.c.started))
    with reading(engine) as connection:
        count, oldest = connection.execute(statement).one()
    return gauge("xds_streams_open", "Replies with documents or images that are under way.", [({}, count)]) + _age(
        "xds_streams_open_oldest_seconds", "How long the oldest of them has been.", [oldest]
    )


def reviews(engine: sa.Engine) -> str:
    """What waits for an auditor or a privacy officer."""
    unusual = sa.select(sa.func.count()).where(audit_unusual.c.decision == "")
    overrides = sa.select(sa.func.count()).where(override.c.reviewed.is_(None))
    with reading(engine) as connection:
        found = {"unusual access": connection.scalar(unusual), "override": connection.scalar(overrides)}
    return gauge(
        "xds_reviews_open", "What an auditor or a privacy officer has not decided yet.",
        [({"of": what}, count or 0) for what, count in found.items()],
    )  # fmt: skip


def publications(engine: sa.Engine) -> str:
    """Studies of the archive by what became of them."""
    table = publication.c
    statement = sa.select(table.state, sa.func.count(), sa.func.min(table.seen)).group_by(table.state)
    with reading(engine) as connection:
        found = {str(state): (int(count), int(seen)) for state, count, seen in connection.execute(statement)}
    waits = [found[state][1] for state in ("waiting", "sending", "moving") if state in found]
    return gauge(
        "xds_publications", "Studies of the archive by what became of them.",
        [({"state": state}, found.get(state, (0, 0))[0]) for state in _STATES],
    ) + _age("xds_publications_oldest_seconds", "How long the oldest that is to be has waited.", waits)  # fmt: skip


def forwarding(engine: sa.Engine, urls: Sequence[str]) -> str:
    """What waits to be sent on to other audit repositories."""
    with reading(engine) as connection:
        found = {url: waiting(connection, url) for url in urls}
    return "".join(
        gauge(name, meaning, [({"to": url}, counts[place]) for url, counts in found.items()])
        for place, (name, meaning) in enumerate((
            ("xds_audit_forwarding_waiting", "Audit records that wait to be sent on."),
            ("xds_audit_forwarding_unsent", "Audit records that could not be sent on: too long for UDP."),
        ))
    )  # fmt: skip


def storing(engine: sa.Engine, cursor: str) -> str:
    """What of the audit log is not in the object store yet."""
    row = audit_record.c
    with reading(engine) as connection:
        size, stored = head(connection), position(connection, cursor) or 0
        oldest = connection.scalar(sa.select(row.recorded).where(row.leaf_number == stored)) if size > stored else None
    return gauge(
        "xds_audit_unstored", "Audit records that are not in the object store yet.", [({}, max(size - stored, 0))]
    ) + _age("xds_audit_unstored_oldest_seconds", "How old the oldest of them is.", [oldest])  # fmt: skip


def consents(engine: sa.Engine) -> str:
    """What consent documents are not acted upon."""
    with reading(engine) as connection:
        waiting_, refused = consent_documents.counted(connection)
    return gauge(
        "xds_consent_documents", "Registered consent documents that are not acted upon.",
        [({"state": "waiting"}, waiting_), ({"state": "refused"}, refused)],
    )  # fmt: skip


def _age(name: str, meaning: str, since: Sequence[Any]) -> str:
    """A gauge of seconds since the first of some times in microseconds; 0 where there is none."""
    times = [int(one) for one in since if one is not None]
    age = max(time.time() - min(times) / 1e6, 0.0) if times else 0.0
    values: list[tuple[Mapping[str, str], object]] = [({}, f"{age:.1f}")]
    return gauge(name, meaning, values)
