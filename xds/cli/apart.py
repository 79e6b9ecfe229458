"""``xds apart``: what was sent against somebody's study, and is set apart until a person has decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import as_json, counted, database, deployment, existing, print_json, time_of

if TYPE_CHECKING:
    from xds.audit.messages.parties import Party
    from xds.endpoints.apart import Apart
    from xds.imaging.manifest import Patient
    from xds.store.apart import Case

STATES = ("undecided", "taken", "discarded")


@click.group()
def apart() -> None:
    """What was sent against somebody's study: look at it, take it in, or throw it away."""


@contextmanager
def _apart(config: Path | None, data: str | None) -> Iterator[tuple[Apart, Party]]:
    """What is set apart, and who asks."""
    from xds.audit.messages.parties import Party
    from xds.server import archives

    loaded = existing(config, data)
    with database(loaded) as engine:
        found = archives.apart(loaded.settings, engine, archives.intake(loaded.settings))
        yield found, Party("xds apart", "localhost", ours=True, requestor=True)


@apart.command("list", epilog="Example: xds apart list --state undecided --json --data ./xds-data")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only those in this state.")
@click.option("--before", type=click.IntRange(1, 2**63 - 1), default=None, help="Only those of smaller numbers.")
@deployment
@as_json
def list_(state: str | None, before: int | None, config: Path | None, data: str | None, json_: bool) -> None:
    """Print the cases, the newest first, a thousand at most.  That you looked is on record."""
    from xds.audit.messages.plain import one_line

    with _apart(config, data) as (found, who):
        rows = [_row(case) for case in found.cases(who, most=1000, before=before or 0, state=state or "")]
    if json_:
        print_json(rows)
        return
    if not rows:
        click.echo(f"nothing is {state}" if state else "nothing is set apart")
    for row in rows:
        click.echo(one_line(
            f"{row['case']}: {row['state']:9}  {row['came']}  {row['protocol']} {row['sender']}  "
            f"{counted(row['instances'], 'instance')}  study {row['study_held']}: {row['why']}"
        ))  # fmt: skip


@apart.command(epilog="Example: xds apart show 17 --data ./xds-data")
@click.argument("case", type=int)
@deployment
@as_json
def show(case: int, config: Path | None, data: str | None, json_: bool) -> None:
    """Print the case of this number: who sent it, both patients, its instances.  That you looked is on record."""
    from xds.audit.messages.plain import one_line

    with _apart(config, data) as (found, who):
        one, instances = found.case(who, case)
        hindrance = found.hindrance(one.first) if one.first.state == "undecided" else ""
    row = _row(one) | {
        "hindrance": hindrance,
        "sop_instance_uids": [each.sop_instance_uid for each in instances],
    }  # fmt: skip
    if json_:
        print_json(row)
        return
    for key, value in row.items():
        if isinstance(value, list):
            value = "; ".join(map(str, value[:20])) + (f"; and {len(value) - 20} more" if len(value) > 20 else "")
        click.echo(one_line(f"{key:20}  {value}".rstrip()))


def _deciding(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--reason", required=True, help="Why; it is kept, with the decision, in the audit log.")(
        command
    )
    return click.argument("case", type=int)(command)


@apart.command(epilog='Example: xds apart take 17 --reason "sent on by the archive of the ward" --data ./xds-data')
@_deciding
@deployment
def take(case: int, reason: str, config: Path | None, data: str | None) -> None:
    """Take the case of this number into the study as it was sent; never what shows another patient than the study."""
    with _apart(config, data) as (found, who):
        count = found.take(case, who, reason)
    click.echo(f"{counted(count, 'instance')} taken in")


@apart.command(epilog='Example: xds apart discard 17 --reason "wrong patient, sent again since" --data ./xds-data')
@_deciding
@deployment
def discard(case: int, reason: str, config: Path | None, data: str | None) -> None:
    """Throw the case of this number away for good; the very same is not set apart again."""
    with _apart(config, data) as (found, who):
        count = found.discard(case, who, reason)
    click.echo(f"{counted(count, 'instance')} thrown away")


def _row(case: Case) -> dict[str, Any]:
    from xds.endpoints.apart import Facts

    one, facts = case.first, Facts.of(case.first)
    return {
        "case": one.case_id, "state": one.state, "came": time_of(one.came), "protocol": one.protocol,
        "sender": one.sender, "ae_title": one.ae_title, "address": one.address, "why": one.why,
        "instances": case.count, "bytes": case.size, "study": one.study_instance_uid,
        "patient": _patient(facts.patient), "description": facts.description, "study_held": one.study_held,
        "patients_held": [_patient(held) for held in facts.held], "description_held": facts.held_description,
        "decided": time_of(one.decided), "decided_by": one.decided_by, "reason": one.decision,
    }  # fmt: skip


def _patient(patient: Patient) -> str:
    """As a person tells one from another: id, name and date of birth."""
    from xds.archives.intake import as_cx

    return ", ".join(filter(None, (as_cx(patient) or "no id", patient.name, patient.birth_date)))
