"""What the commands of ``xds merge`` share: one source, and the deployment that it is merged into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xds.errors import Unusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.cli.client import Desk
    from xds.merging.copying import Copying
    from xds.merging.mapping import Mapped
    from xds.merging.running import Running
    from xds.merging.source import Source
    from xds.settings.sections import Loaded
    from xds.store.work import Database

CONNECTIONS = 20
"""To the database: of all jobs, and some."""

TOLD = 20
"""Lines of one list; ``--json`` has more."""


@dataclass(frozen=True, slots=True)
class Site:
    """One merge: what it is of, and what it is into."""

    at: Desk
    loaded: Loaded
    engine: sa.Engine
    database: Database
    source: Source
    mapped: Mapped
    copying: Copying

    def running(self, *, copies: bool) -> Running:
        from xds.merging.running import Running
        from xds.store.audit.records import now_microseconds

        return Running(self.engine, self.source, self.mapped, self.copying, now_microseconds, copies=copies)


@contextmanager
def site_of(name: str, config: Path | None, data: str | None, bytes_per_second: int = 0) -> Iterator[Site]:
    """
    Raises:
        Unusable: the settings have no such source, or not what it takes.
    """
    from xds.audit.messages.events import source_of
    from xds.cli.client import Desk
    from xds.cli.common import database as opened
    from xds.cli.common import existing
    from xds.merging.copying import Copying, Into
    from xds.merging.mapping import Mapped
    from xds.merging.source import Source
    from xds.server.actors import code_sets
    from xds.settings.sections import DEFAULT_DOMAIN
    from xds.store.alone import alone
    from xds.store.audit.records import now_microseconds
    from xds.store.documents.moving import Pace, as_the_service
    from xds.store.documents.stores import open_blobs
    from xds.store.work import Database
    from xds.system.disk import Reserve

    loaded = existing(config, data)
    settings = loaded.settings
    found = settings.merges.get(name)
    if found is None:
        raise Unusable(f"the settings have no [merges.{name}]; there are: {', '.join(settings.merges) or 'none'}")
    as_the_service(settings.data)
    doing = alone(settings, f"merge {name}", f"{name} is being merged")
    with _database_answers(), doing, opened(loaded, CONNECTIONS) as engine:
        own, domain = settings.repository.unique_id, settings.affinity_domains[DEFAULT_DOMAIN]
        blobs = open_blobs(settings, engine)
        database = Database(engine, blobs, DEFAULT_DOMAIN, own)
        into = Into(
            database, blobs, Reserve(settings.server.least_free_bytes, settings.data, blobs.staging),
            frozenset({own, *settings.repository.also}), domain.patients == "open", code_sets(domain)(),
            source_of(settings),
        )  # fmt: skip
        at = Desk(loaded, engine, "")
        source = Source(name, found, settings.repositories, settings.tls, blobs.staging, at.transaction)
        mapped = Mapped(name, found)
        copying = Copying(source, mapped, into, Pace(bytes_per_second), now_microseconds)
        yield Site(at, loaded, engine, database, source, mapped, copying)


@contextmanager
def _database_answers() -> Iterator[None]:
    """
    Raises:
        Unusable: it does not any more; what was done stays done.
    """
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as problem:
        raise Unusable(f"the database does not answer: run this again ({type(problem).__name__})") from None
