"""``xds audit report``: who saw a patient, what a person saw, what failed, and what is unusual."""

from __future__ import annotations

import dataclasses
import getpass
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import TIME, as_json, database, deployment, existing, micros, print_json, time_of
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.store.audit import review


KINDS = ("patient", "person", "failures", "overrides", "unusual")
"""The reports of ``audit.search.reports``, and unusual accesses, which are kept as such."""


@click.command(epilog="Example: xds audit report patient 'anna^^^&1.2.3.4&ISO' --since 2026-03-01 --data ./xds-data")
@click.argument("what", type=click.Choice(KINDS))
@click.argument("whom", required=False, default="")
@deployment
@as_json
@click.option("--most", default=5000, show_default=True, type=click.IntRange(1), help="Of the newest so many records.")
@click.option("--since", type=TIME, default=None, help="Not before: 2026-03-01 or 2026-03-01T08:00 (UTC).")
@click.option("--until", type=TIME, default=None, help="Before.")
def report(
    what: str, whom: str, config: Path | None, data: str | None, json_: bool, most: int, since: datetime | None,
    until: datetime | None,
) -> None:  # fmt: skip
    """Print who saw a patient, what a person saw, what failed, emergency overrides, or unusual accesses to decide on.

    WHOM is the patient as CX, or the person or system.  Exit code 3: nobody of this id is known, nor in any record.
    """
    from xds.audit.messages.plain import one_line
    from xds.audit.search.covering import covered
    from xds.audit.search.indexing import by_values
    from xds.audit.search.reports import REPORTS
    from xds.audit.search.unjoined import unjoined
    from xds.store.audit import review, search
    from xds.store.audit.records import Recorded
    from xds.store.engine import reading

    about = REPORTS.get(what)  # None: unusual accesses, which are kept as such
    if bool(about and about.needs) != bool(whom):
        raise click.UsageError("patient and person need a WHOM, and nothing else has one")
    loaded = existing(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            if about is None:
                unusual = review.unusual(connection, most=most)
            else:
                names = covered(connection, loaded.settings, whom) if about.needs == "patient" else [whom]
                records = dict[int, Recorded]()
                for name in names:
                    wanted = replace(
                        by_values({about.needs: name} if name else {}),
                        since=micros(since), until=micros(until), event=about.event, failed=about.failed,
                    )  # fmt: skip
                    records |= {one.id: one for one in search.found(connection, wanted, most)}
                newest = sorted(records.values(), key=lambda one: -one.recorded)[:most]
                lines = about.make(newest)
                of_patient = about.needs == "patient"
                lost = unjoined(connection, newest, micros(since), micros(until)) if of_patient else 0
        looked(engine, loaded, f"report={what}", whom if what == "patient" else "")
    if about is None:
        _print_unusual(unusual, json_)
        return
    if about.needs == "patient":
        click.echo(one_line(f"covers {' and '.join(names)}"), err=True)
    if lost:
        click.echo(f"{lost} retrievals by the same people name no patient, and are not in this report", err=True)
    if json_:
        print_json([line.as_json() for line in lines])
        return
    if not lines:
        click.echo(one_line(f"no records of this{f': {whom}' if whom else ''}{_between(since, until)}"))
    for line in lines:
        kinds = ", ".join(f"{kind} × {count}" for kind, count in line.kinds.items())
        click.echo(one_line(f"{line.count:>6}  {time_of(line.last)}  {line.key}  {line.beside}  {kinds}"))


def _between(since: datetime | None, until: datetime | None) -> str:
    """The time that a report is of."""
    return f"{f' from {since}' if since else ''}{f' until {until}' if until else ''}"


def _print_unusual(found: list[review.Unusual], json_: bool) -> None:
    from xds.audit.messages.plain import one_line
    from xds.store.audit import review

    if json_:
        print_json([dataclasses.asdict(one) for one in found])
        return
    if not found:
        click.echo("no unusual access waits for a decision")
    for one in found:
        day = time_of(one.day * review.DAY)[:10]
        click.echo(one_line(f"{day}  {one.reason:14}  {one.known_as}  {one.patient_id}  {one.detail}".rstrip()))


def looked(engine: sa.Engine, loaded: Loaded, asked: str = "", patient_id: str = "") -> None:
    """Audit Log Used: who reads the log is in the log (ITI TF-2: 3.20; DICOM PS3.15: A.5.3.2)."""
    from xds.audit.messages.events import AuditEvent, source_of
    from xds.audit.messages.parties import Party
    from xds.store.audit import records as store

    reader = Party(f"xds audit, {getpass.getuser()}", "localhost", ours=True, requestor=True)
    event = AuditEvent.log_used(source_of(loaded.settings), reader, asked=asked, patient_id=patient_id)
    with engine.begin() as connection:
        store.record(connection, event.records())
