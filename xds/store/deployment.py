"""What a deployment is: its OIDs, made at first start and kept; its database brought up to date."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from xds.errors import Unusable
from xds.metadata.identifiers import new_oid
from xds.settings.sections import Loaded, Settings, flat
from xds.store import indexes
from xds.store.statements import insert_ignoring
from xds.store.tables import deployment

# Settings that are made when the operator gives none.
MADE = (
    "repository.unique_id",
    "imaging_source.retrieve_location_uid",
    "domain.home_community_id",
    "domain.assigning_authorities",
)
# And of each affinity domain that has paths of its own.
MADE_OF_A_DOMAIN = ("repository_unique_id", "home_community_id", "assigning_authorities")
_LOG_ID = "audit.log_id"
VERSION = "0013"
"""The newest step of ``migrations``."""


def with_identity(loaded: Loaded) -> Loaded:
    """The settings with the OIDs of this deployment; those that are not set are made once and kept.

    Raises:
        Unusable: the data folder cannot be written, an identity file cannot be read, or two affinity domains share
            a repository.
    """
    loaded = _completed(loaded, "", MADE, loaded.settings.data / "identity.json", (*MADE, _LOG_ID))
    for name in loaded.settings.domains:
        file = loaded.settings.data / f"identity-{name}.json"
        loaded = _completed(loaded, f"domains.{name}.", MADE_OF_A_DOMAIN, file, MADE_OF_A_DOMAIN)
    _apart(loaded.settings)
    return loaded


def _completed(loaded: Loaded, prefix: str, names: Sequence[str], file: Path, held: Sequence[str]) -> Loaded:
    """The settings with those of the names that are not set, from a file that holds so many."""
    settings = dict(flat(loaded.settings))
    missing = [name for name in names if not settings[prefix + name]]
    if not missing:
        return loaded
    kept = _kept(file, held)
    values = {
        prefix + name: (kept[name],) if name.endswith("assigning_authorities") else kept[name] for name in missing
    }
    return loaded.changed(values, "made at first start")


def _apart(settings: Settings) -> None:
    """Hold affinity domains to repositories of their own: a document's row is found by its repository.

    Raises:
        Unusable: two have the same.
    """
    seen: dict[str, str] = {}
    for name, domain in settings.affinity_domains.items():
        other = seen.setdefault(domain.repository_unique_id, name)
        if other != name:
            raise Unusable(f"the affinity domains {other} and {name} have the same repository_unique_id")
    for one in settings.repository.also:
        if one in seen:
            raise Unusable(f"repository.also names {one}, which is the affinity domain {seen[one]}'s own")


def _kept(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The OIDs of a file, which is made whole or not at all; the first of two makers wins."""
    data = path.parent
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            descriptor, temporary = tempfile.mkstemp(dir=data, prefix=".identity-")
            with os.fdopen(descriptor, "w") as file:
                json.dump({name: new_oid() for name in names}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            finally:
                os.unlink(temporary)  # noqa: PTH108
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise Unusable(f"{path}: {problem}") from None
    if not isinstance(kept, dict) or not {*names} <= kept.keys():
        raise Unusable(f"{path}: not an identity file")
    return {str(key): str(value) for key, value in kept.items()}


def log_id(data: Path) -> str:
    """The OID that this deployment's audit log is known by."""
    return _kept(data / "identity.json", (*MADE, _LOG_ID))[_LOG_ID]


# What kind of change another value of a setting is, by the beginning of its name (DICOM PS3.16: CID 401): the first
# that fits, and else Software Configuration.
_KINDS = {
    "tls.": "110129", "xua.": "110129", "audit.": "110129", "senders.": "110129", "peers.": "110129",
    "policy.": "110129", "tokens.": "110129", "console.": "110129", "review.": "110129",
    "capture.": "110129", "server.allow_open_listen": "110129", "server.": "110128", "mllp.": "110128",
    "syslog.": "110128", "repositories.": "110128", "imaging_sources.": "110128", "communities.": "110128",
    "merges.": "110128",
}  # fmt: skip
_SETTINGS, _CONSOLE_KEY = "settings", "console.key"


def changed_settings(connection: sa.Connection, settings: Settings) -> dict[str, list[str]]:
    """Which settings are others than at the last start, by the kind of the change; none at the first.

    What they were is kept as hashes: some are secret.
    """
    hashed = {
        name: hashlib.sha256(f"{name}\0{value!r}".encode("utf-8", "replace")).hexdigest()[:16]
        for name, value in flat(settings)
    }
    kept = connection.scalar(sa.select(deployment.c.value).where(deployment.c.name == _SETTINGS))
    text = json.dumps(hashed)
    if not insert_ignoring(connection, deployment, name=_SETTINGS, value=text):
        connection.execute(sa.update(deployment).where(deployment.c.name == _SETTINGS).values(value=text))
    before, found = json.loads(kept) if kept else hashed, dict[str, list[str]]()
    for name in sorted(before.keys() | hashed.keys()):
        if before.get(name) != hashed.get(name):
            kind = next((kind for begin, kind in _KINDS.items() if name.startswith(begin)), "110131")
            found.setdefault(kind, []).append(name)
    return found


def note(connection: sa.Connection, name: str, value: str) -> None:
    """Keep something that a deployment is to remember."""
    if not insert_ignoring(connection, deployment, name=name, value=value):
        connection.execute(sa.update(deployment).where(deployment.c.name == name).values(value=value))


def noted(connection: sa.Connection, name: str) -> str:
    """What was kept; empty where nothing was."""
    return str(connection.scalar(sa.select(deployment.c.value).where(deployment.c.name == name)) or "")


def console_key(engine: sa.Engine) -> bytes:
    """What addresses of the console are sealed with: 64 random bytes, made once for all processes."""
    with engine.begin() as connection:
        insert_ignoring(connection, deployment, name=_CONSOLE_KEY, value=secrets.token_hex(64))
        kept = connection.scalar(sa.select(deployment.c.value).where(deployment.c.name == _CONSOLE_KEY))
    return bytes.fromhex(str(kept))


def alone(connection: sa.Connection) -> None:
    """Until the transaction ends nobody else changes what tables there are; SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7801)"))


def migrate(connection: sa.Connection) -> None:
    """Bring the tables to this version, a step at a time, in the connection's transaction.

    Raises:
        Unusable: they are of a later version.
    """
    if version(connection) == VERSION:
        return
    # Imported late: most starts find everything up to date.
    import alembic.command
    from alembic.util import CommandError

    try:
        alembic.command.upgrade(_steps(connection), VERSION)
    except CommandError:
        raise Unusable(
            "the database is of a later version of xds than this one; that one's xds db back takes it back"
        ) from None


GOES_BACK_TO = "0007"
"""The version before this one's first step: what is further back has been given up."""


NODE_SECONDS = 60
"""After which a node that was killed is taken to be stopped; one that is told to stop says so."""

_NODES = sa.text("SELECT count(*) FROM audit_node WHERE seen > :since")


def nodes_run(connection: sa.Connection) -> bool:
    """Whether any node runs, or was killed just now."""
    since = (time.time_ns() - NODE_SECONDS * 10**9) // 1000
    return bool(connection.scalar(_NODES, {"since": since}))


def go_back(connection: sa.Connection, to: str, *, even_so: bool = False) -> None:
    """Take the tables back to an earlier version, in the connection's transaction.

    ``even_so``: whatever nodes of this version run; they cannot go on then.

    Raises:
        Unusable: it is none that they can be taken back to, they are of another version than this one's, or a node of
            this version runs.
    """
    import alembic.command

    alone(connection)
    found = version(connection)
    if found == to:
        return
    if not (to.isdecimal() and len(to) == len(VERSION) and GOES_BACK_TO <= to < VERSION):
        raise Unusable(f"the tables can be taken back as far as {GOES_BACK_TO}, from {VERSION}")
    if found != VERSION:
        raise Unusable(f"the tables are of version {found or 'none'}, not of {VERSION}, which this program knows")
    if nodes_run(connection) and not even_so:
        raise Unusable(
            f"nodes of this version run, or were killed within the last {NODE_SECONDS} s; stop them, or say --even-so"
        )
    alembic.command.downgrade(_steps(connection), to)


def _steps(connection: sa.Connection) -> Any:
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def version(connection: sa.Connection) -> str:
    """Which the tables are of; empty where there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")) or "")


def prepare(engine: sa.Engine, loaded: Loaded) -> None:
    """Bring the tables up to date, and hold the database to the deployment it belongs to.

    Raises:
        Unusable: the database cannot be reached, or belongs to another repository.
    """
    try:
        with engine.begin() as connection:
            alone(connection)
            migrate(connection)
            expected = {"repository.unique_id": loaded.settings.repository.unique_id}
            for domain, its in loaded.settings.domains.items():
                expected[f"domains.{domain}.repository_unique_id"] = its.repository_unique_id
            for name, value in expected.items():
                insert_ignoring(connection, deployment, name=name, value=value)
                found = connection.scalar(sa.select(deployment.c.value).where(deployment.c.name == name))
                if found != value:
                    raise Unusable(f"the database belongs to another deployment: its {name} is {found}, not {value}")
        indexes.build(engine)
    except sa.exc.DatabaseError as problem:
        raise Unusable(f"the database cannot be used: {type(problem.orig).__name__}") from None
