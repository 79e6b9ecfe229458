"""``xds audit hold`` and ``erase``: what of the audit log is kept, and what is erased when its time is over."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import TIME, alerted, as_json, database, deployment, existing, micros, print_json, time_of
from xds.cli.patient import patient_id
from xds.errors import Unusable
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

_CHANGED = "110135"  # Object Security Attributes Changed


@click.group()
def hold() -> None:
    """Legal holds: records that are kept whatever their time."""


@hold.command(
    epilog="Example: xds audit hold add --patient 'anna^^^&1.2.3.4&ISO' --reason 'case 17/26' --data ./xds-data"
)
@click.option("--patient", default="", metavar="CX", help="Only of this patient.")
@click.option("--since", type=TIME, default=None, help="Only of what was recorded not before.")
@click.option("--until", type=TIME, default=None, help="Only of what was recorded before.")
@click.option("--reason", required=True, help="Why, for those who come after.")
@deployment
def add(
    patient: str, since: datetime | None, until: datetime | None, reason: str, config: Path | None, data: str | None
) -> None:
    """Keep records until the hold is released: of a patient, of a time, or all."""
    from xds.store.audit import holds
    from xds.store.audit.holds import Hold

    loaded, whom = existing(config, data), str(patient_id(patient)) if patient else ""
    if since and until and until <= since:
        raise click.UsageError("--since is not before --until")
    if not reason.strip():
        raise click.UsageError("--reason is empty")
    with database(loaded) as engine, engine.begin() as connection:
        id_ = holds.add(connection, Hold(getpass.getuser(), reason, whom, micros(since), micros(until)))
        _recorded(connection, loaded, id_, f"hold made: {reason}", whom)
    click.echo(f"hold {id_}")


@hold.command(epilog="Example: xds audit hold release 3 --data ./xds-data")
@click.argument("id_", metavar="ID", type=click.IntRange(0, 2**63 - 1))
@deployment
def release(id_: int, config: Path | None, data: str | None) -> None:
    """End the hold ID."""
    from xds.store.audit import holds

    loaded = existing(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        found = holds.release(connection, id_, getpass.getuser())
        if found is None:
            raise Unusable(f"there is no hold {id_} that holds")
        _recorded(connection, loaded, id_, "hold released", found.patient_id)
    click.echo("released")


@hold.command("list", epilog="Example: xds audit hold list --data ./xds-data")
@click.option("--all", "everything", is_flag=True, help="Those that are released, too.")
@deployment
@as_json
def list_(everything: bool, config: Path | None, data: str | None, json_: bool) -> None:
    """Print the holds."""
    from xds.store.audit import holds
    from xds.store.engine import reading

    with database(existing(config, data)) as engine, reading(engine) as connection:
        found = holds.all_of(connection, active=not everything)
    rows = [{
        "id": one.id, "patient": one.patient_id, "since": time_of(one.since), "until": time_of(one.until),
        "reason": one.reason, "made": time_of(one.made), "made_by": one.made_by, "released": time_of(one.released),
        "released_by": one.released_by,
    } for one in found]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        click.echo(
            "{id:>4}  {made}  {made_by}  {patient}  {since}  {until}  {reason}  {released}".format(**row).rstrip()
        )


def _recorded(connection: sa.Connection, loaded: Loaded, id_: int, what: str, whom: str) -> None:
    command = f"xds audit, {getpass.getuser()}"
    alerted(connection, loaded, command, _CHANGED, f"urn:xds:audit:hold:{id_}", what, whom)


@click.command(
    epilog="Example: xds audit erase --archive /archive/audit --reason 'ten years are over' --data ./xds-data"
)
@click.option("--before", type=TIME, default=None, help="Segments that are older in whole; else than audit.keep_days.")
@click.option("--archive", metavar="DIR", type=click.Path(path_type=Path), help="Copy each segment there first.")
@click.option("--reason", required=True, help="Why, for those who come after.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased, and what is kept.")
@deployment
@as_json
def erase(
    before: datetime | None, archive: Path | None, reason: str, dry_run: bool, config: Path | None, data: str | None,
    json_: bool,
) -> None:  # fmt: skip
    """Erase, or archive, segments of the log whose time is over; it still verifies, and what is held is kept.

    In audit.object_store they are removed soon after, by the server; what a lock keeps there stays until it has ended.
    """
    from xds.audit.log.retention import Retention
    from xds.audit.log.sequencer import folder, signing_key
    from xds.audit.messages.events import source_of
    from xds.initiating.audit_storing import cursor
    from xds.store.deployment import log_id

    reason = "".join(c if c.isprintable() else " " for c in reason)[:1000]
    loaded = existing(config, data)
    limit = datetime.now(UTC) - timedelta(days=loaded.settings.audit.keep_days)
    wanted = limit if before is None else before.replace(tzinfo=UTC)
    if wanted > limit:
        raise Unusable(f"audit.keep_days says that records from {limit:%Y-%m-%d} on are kept")
    rows = []
    with database(loaded) as engine:
        given = (engine, folder(loaded), log_id(loaded.settings.data), signing_key(loaded), source_of(loaded.settings))
        audit = loaded.settings.audit
        stored = (cursor(log_id(loaded.settings.data)),) if audit.object_store else ()
        retention = Retention(*given, (*audit.forward_to, *stored))
        if not dry_run:
            retention.finish()
        for segment in list(retention.over(wanted)):
            if not segment.kept_for and not dry_run:
                retention.erase(segment, reason, archive)
            done = f"kept: {segment.kept_for}" if segment.kept_for else "would be erased" if dry_run else "erased"
            newest = f"{segment.newest:%Y-%m-%d %H:%M:%S}Z"
            rows.append({"first": segment.first, "end": segment.end, "newest": newest, "done": done})
    if json_:
        print_json(rows)
        return
    for row in rows:
        click.echo("records {first} up to {end}, the newest of {newest}: {done}".format(**row))
    if not rows:
        click.echo("nothing's time is over")
