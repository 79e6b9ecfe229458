"""What the commands of ``xds merge`` share: one source, and the deployment that it is merged into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from xds.errors import Unusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.archives.patients import Patients
    from xds.cli.client import Desk
    from xds.merging.copying import Copying
    from xds.merging.mapping import Mapped
    from xds.merging.running import Running
    from xds.merging.source import Source
    from xds.settings.merging import Merge
    from xds.settings.sections import Loaded, Settings
    from xds.store.work import Database
    from xds.system.disk import Reserve

CONNECTIONS = 20
"""To the database: of all jobs, and some."""

NAME_LENGTH = 64

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
    disk: Reserve
    still: Callable[[], None]
    """Raises Unusable once another step may have begun."""

    def running(self, *, copies: bool) -> Running:
        from xds.merging.running import Running
        from xds.store.audit.records import now_microseconds

        return Running(self.engine, self.source, self.mapped, self.copying, now_microseconds, self.still, copies=copies)


@contextmanager
def site_of(
    name: str,
    config: Path | None,
    data: str | None,
    bytes_per_second: int = 0,
    *,
    asks: bool = True,
    alone: bool = True,
) -> Iterator[Site]:
    """What a step of a merge works with; ``asks``: the source is asked; ``alone``: no other step may run meanwhile.

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
    from xds.store.alone import alone as locked
    from xds.store.audit.records import now_microseconds
    from xds.store.documents.moving import Pace, as_the_service
    from xds.store.documents.stores import open_blobs
    from xds.store.work import Database
    from xds.system.disk import Reserve

    loaded = existing(config, data)
    settings, found = loaded.settings, _source_of(loaded.settings, name, asks=asks)
    as_the_service(settings.data)
    doing = locked(settings, f"merge {name}", f"{name} is being merged") if alone else nullcontext(lambda: None)
    with _database_answers(), doing as still, opened(loaded, CONNECTIONS) as engine:
        own, domain = settings.repository.unique_id, settings.affinity_domains[DEFAULT_DOMAIN]
        blobs = open_blobs(settings, engine)
        database = Database(engine, blobs, DEFAULT_DOMAIN, own)
        disk = Reserve(settings.server.least_free_bytes, settings.data, blobs.staging)
        into = Into(
            database, blobs, disk,
            frozenset(settings.repository.also) - {own}, domain.patients == "open", code_sets(domain)(),
            source_of(settings),
        )  # fmt: skip
        at = Desk(loaded, engine, "")
        others = {
            uid: at_ for uid, at_ in settings.repositories.items() if urlsplit(at_.url).netloc not in _ours(settings)
        }
        source = Source(name, found, others, settings.tls, blobs.staging, at.transaction)
        mapped = Mapped(name, found, _patients(name, found, at))
        copying = Copying(source, mapped, into, Pace(bytes_per_second), now_microseconds)
        yield Site(at, loaded, engine, database, source, mapped, copying, disk, still)


def _source_of(settings: Settings, name: str, *, asks: bool) -> Merge:
    """The settings of a source.

    Raises:
        Unusable: there is none of the name, or this deployment cannot take it in, or it was cut over.
    """
    found = settings.merges.get(name)
    if found is None:
        raise Unusable(f"the settings have no [merges.{name}]; there are: {', '.join(settings.merges) or 'none'}")
    if len(name) > NAME_LENGTH:
        raise Unusable(f"merges.{name[:16]}…: a name of at most {NAME_LENGTH} characters")
    if "registry" not in settings.server.actors or settings.repository.registry_url:
        raise Unusable("xds merge writes into the registry of this deployment: it must be in server.actors, here")
    if asks and urlsplit(found.registry).netloc in _ours(settings):
        raise Unusable(
            f"merges.{name}.registry is this deployment itself: {name} was cut over, and nobody is to be asked"
        )
    return found


def _patients(name: str, merge: Merge, at: Desk) -> Patients:
    """Who says whose a source's patients are: its table, and a PIX Manager of whom that has nothing.

    Raises:
        Unusable: the table cannot be read, or the PIX Manager's address is none.
    """
    from xds.initiating.patient_identifier_consumer import CrossReferenced, manager
    from xds.merging.mapping import patient_table
    from xds.metadata.identifiers import Oid
    from xds.settings.sections import DEFAULT_DOMAIN
    from xds.wire.spool import Spool

    table, settings = patient_table(name, merge), at.settings
    if not (merge.pix or merge.pixm):
        return table
    spool, sender = Spool(settings.data / "spool"), Oid(settings.repository.unique_id)
    asked = manager(merge.pix or merge.pixm, not merge.pix, settings.tls, spool, sender)
    wanted = Oid(settings.affinity_domains[DEFAULT_DOMAIN].assigning_authorities[0])
    return CrossReferenced(table, asked, wanted, at.question, at.keep)


def _ours(settings: Settings) -> set[str]:
    """Where this deployment is, as HOST:PORT."""
    return {settings.server.listen, urlsplit(settings.server.public_url).netloc} - {""}


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
