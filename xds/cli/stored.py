"""``xds audit fetch``: the audit log back from the object store, and verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from xds.cli.common import database, deployment, existing
from xds.errors import Unusable
from xds.settings.sections import Loaded


@contextmanager
def fetched(loaded: Loaded, log_id: str) -> Iterator[Path]:
    """The log as the object store has it, in a folder for as long as it is looked at.

    Raises:
        Unusable: there is no object store, it has no such log, or does not answer.
    """
    loaded.settings.data.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".audit-", dir=loaded.settings.data))
    try:
        fetch_to(loaded, log_id, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_to(loaded: Loaded, log_id: str, folder: Path) -> None:
    """Write it into a folder."""
    from xds.audit.log.stored import Disagrees, Stored
    from xds.store.audit.objects import AuditObjects, NotStored
    from xds.store.deployment import log_id as own

    if not loaded.settings.audit.object_store:
        raise Unusable("audit.object_store names no object store")
    objects = AuditObjects(loaded.settings)
    wanted = log_id or own(loaded.settings.data)
    try:
        Stored(objects, wanted).fetch(folder)
    except (NotStored, Disagrees) as problem:
        try:
            there = ", ".join(objects.logs()) or "none"
        except NotStored:
            there = "not known"
        raise Unusable(f"{loaded.settings.audit.object_store}: {problem}; the logs there: {there}") from None
    except OSError as problem:
        raise Unusable(f"{folder}: {problem.strerror}") from None


@click.command(epilog="Example: xds audit fetch --data ./xds-data")
@deployment
@click.option("--to", metavar="DIR", type=click.Path(path_type=Path),
              help="An empty folder; else the deployment's, which then goes on from it.")  # fmt: skip
@click.option("--log-id", default="", metavar="OID", help="Another log of the object store; only with --to.")
@click.option("--certificate", metavar="FILE", type=click.Path(path_type=Path), help="Trust these instead.")
def fetch(config: Path | None, data: str | None, to: Path | None, log_id: str, certificate: Path | None) -> None:
    """Bring the log back from audit.object_store; refused if it does not hold, or the database tells otherwise."""
    from xds.audit.log import verify as checks
    from xds.audit.log.checkpoint import BadCheckpoint, read
    from xds.audit.log.segments import as_leaf
    from xds.audit.log.verify import Tampered
    from xds.cli.verifying import certificates
    from xds.store.audit import records as store
    from xds.store.engine import reading
    from xds.system.claims import Folder

    if log_id and to is None:
        raise click.UsageError("--log-id needs --to: a deployment goes on from its own log only")
    loaded = existing(config, data)
    target = to or loaded.settings.data / "audit"
    alone = Folder(loaded.settings.data) if to is None else None
    try:
        if any(target.glob("segments/*")) or any(target.glob("checkpoints/*")) or (to and any(target.glob("*"))):
            raise Unusable(f"{target} is not empty: nothing is written over")
        with fetched(loaded, log_id) as folder:
            found = checks.verify(folder, certificates(loaded, certificate))
            if to is None:
                with database(loaded) as engine, reading(engine) as connection:
                    size, signed = store.last_checkpoint(connection) or (0, b"")
                    kept = read(signed) if 0 < size <= found.records else None
                    checks.compare(folder, map(as_leaf, store.all_numbered(connection)), kept)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder, target)
            target.chmod(0o700)
    except (Tampered, BadCheckpoint) as problem:
        raise Unusable(f"the log in the object store is not used: {problem}") from None
    finally:
        if alone is not None:
            alone.done()
    click.echo(f"{found.records} records under {found.checkpoints} checkpoints, verified, in {target}")
