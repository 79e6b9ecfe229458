"""What commands share: which deployment they touch, and how they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xds.errors import Unusable
from xds.settings.sections import DEFAULT_DOMAIN, Loaded, NamedDomain

if TYPE_CHECKING:
    import sqlalchemy as sa

F = TypeVar("F", bound=Callable[..., Any])


def deployment(command: F) -> F:
    """The options ``--config FILE`` and ``--data DIR``, of every command that touches a deployment."""
    command = click.option("--data", metavar="DIR", help="Folder of the deployment (server.data).")(command)
    return click.option(
        "--config", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (xds.toml)."
    )(command)


def in_domain(command: F) -> F:
    """The option ``--domain NAME``, of every command that touches one affinity domain of a deployment."""
    return click.option(
        "--domain",
        metavar="NAME",
        default=DEFAULT_DOMAIN,
        help="Affinity domain; without it the one at the bare paths.",
    )(command)


def affinity_domain(loaded: Loaded, name: str) -> NamedDomain:
    """The settings of an affinity domain.

    Raises:
        Unusable: there is none of the name.
    """
    found = loaded.settings.affinity_domains.get(name)
    if found is None:
        raise Unusable(f"there is no affinity domain {name}; there are {', '.join(loaded.settings.affinity_domains)}")
    return found


def as_json(command: F) -> F:
    """The option ``--json``, of every command that prints data."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def settings(config: Path | None, data: str | None, *, made: bool = True, listen: str | None = None) -> Loaded:
    """The settings of a deployment, with its OIDs; with ``made`` false none are made, and nothing is written.

    Raises:
        Unusable: as ``settings.load`` and ``deployment.with_identity`` do.
    """
    from xds.settings.configuration import load
    from xds.store.deployment import with_identity

    loaded = load(config)
    given = {"server.data": data, "server.listen": listen}
    loaded = loaded.changed({name: value for name, value in given.items() if value is not None}, "command line")
    if loaded.settings.tls.crl or loaded.settings.tls.denied:  # what revokes is heavy, and most have none
        from xds.wire import revocation

        revocation.watch(loaded.settings)
    return with_identity(loaded) if made else loaded


def existing(config: Path | None, data: str | None) -> Loaded:
    """The settings of a deployment that is there: who looks at one that is not is told so, and nothing is made.

    Raises:
        Unusable: there is none; and as ``settings``.
    """
    from xds.store.deployment import with_identity

    loaded = settings(config, data, made=False)
    found = loaded.settings
    if not (found.data / "identity.json").is_file() and not found.database_url.startswith("postgresql"):
        raise Unusable(f"{found.data} holds no deployment")
    return with_identity(loaded)


@contextmanager
def database(loaded: Loaded, connections: int = 4) -> Iterator[sa.Engine]:
    """The deployment's database, up to date."""
    from xds.store.deployment import prepare
    from xds.store.engine import make_engine

    engine = make_engine(loaded.settings.database_url, connections=connections)
    try:
        prepare(engine, loaded)
        yield engine
    finally:
        engine.dispose()


def alerted(
    connection: sa.Connection, loaded: Loaded, who: str, kind: str, subject: str, text: str, patient_id: str = ""
) -> None:
    """Record, in the commit that does it, what a command does: a Security Alert of a kind."""
    from xds.audit.messages.events import AuditEvent, source_of
    from xds.audit.messages.parties import Party
    from xds.store.audit.records import record

    party = Party(who, "localhost", ours=True, requestor=True)
    event = AuditEvent.security_alert(source_of(loaded.settings), kind, party, subject, text)
    event.about_patient(patient_id)
    record(connection, event.records())


TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


def micros(time: datetime | None) -> int:
    """Microseconds since 1970 of a time in UTC; 0 of none."""
    return 0 if time is None else int(time.replace(tzinfo=UTC).timestamp()) * 1_000_000


def time_of(microseconds: int) -> str:
    """A time for people; empty where there is none."""
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z" if microseconds else ""


def counted(number: int, one: str, several: str = "") -> str:
    """How many there are of something: 1 study, 2 studies."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
