"""``xds publications``: what became of each study of the archive that publishing follows."""

from __future__ import annotations

from pathlib import Path

import click

from xds.cli.common import as_json, database, deployment, print_json, settings, time_of
from xds.errors import Unusable

STATES = ("waiting", "sending", "published", "refused", "moving", "withdrawn")


@click.group()
def publications() -> None:
    """What was published of the archive, what is waiting, and why."""


@publications.command("list", epilog="Example: xds publications list --state waiting --data ./xds-data")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@deployment
@as_json
def list_(state: str | None, config: Path | None, data: str | None, json_: bool) -> None:
    """Print every study with its state."""
    from xds.store import publications as store
    from xds.store.engine import reading

    loaded = settings(config, data)
    with database(loaded) as engine, reading(engine) as connection:
        found = store.listed(connection, state or "")
    rows = [
        {
            "study": one.study_instance_uid, "state": one.state, "reason": one.reason, "since": time_of(one.seen),
            "next_try": time_of(one.next_try), "attempts": one.attempts, "entry": one.entry_uuid,
        }
        for one in found
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    if not rows:
        is_set = loaded.settings.imaging_source.publish_to
        why = f"no study is {state}" if state and is_set else "the archive has no study yet"
        click.echo(why if is_set else "nothing is published here: imaging_source.publish_to is not set")
    for row in rows:
        click.echo("{state:10}  {study}  {reason}".format(**row).rstrip())


@publications.command(epilog="Example: xds publications retry 1.2.840.1 --data ./xds-data")
@click.argument("study")
@deployment
def retry(study: str, config: Path | None, data: str | None) -> None:
    """Have the study with this Study Instance UID tried again now, and its patient asked for anew."""
    from xds.store import publications as store

    with database(settings(config, data)) as engine, engine.begin() as connection:
        known = {one.study_instance_uid for one in store.listed(connection)}
        if study not in known:
            raise Unusable("the archive has no such study, or had none when it was looked at last")
        store.change(connection, study, next_try=0, attempts=0, mapped=0)
    click.echo("it is tried again at once")
