"""``xds patient``: patients of the affinity domain by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xds.app import DEFAULT_DOMAIN
from xds.cli.common import as_json, database, deployment, print_json, settings
from xds.errors import Unusable
from xds.metadata.identifiers import PatientId
from xds.store import patients
from xds.store.engine import reading


def patient_id(text: str) -> PatientId:
    """A patient id from the command line.

    Raises:
        Unusable: not of the form id^^^&oid&ISO.
    """
    try:
        return PatientId.parse(text)
    except ValueError as problem:
        raise Unusable(f"the patient id is {problem}") from None


@click.group()
def patient() -> None:
    """Patients of the affinity domain by hand."""


@patient.command(epilog="Example: xds patient add 'anna^^^&1.2.3.4&ISO' --data ./xds-data")
@click.argument("cx")
@deployment
def add(cx: str, config: Path | None, data: str | None) -> None:
    """Make the patient CX known."""
    id_, loaded = patient_id(cx), settings(config, data)
    if id_.authority not in loaded.settings.domain.assigning_authorities:
        click.echo(f"xds: {id_.authority} is none of domain.assigning_authorities", err=True)
        sys.exit(1)
    with database(loaded) as engine, engine.begin() as connection:
        new = patients.add(connection, DEFAULT_DOMAIN, id_)
    click.echo("added" if new else "known already")


@patient.command("list", epilog="Example: xds patient list --json --data ./xds-data")
@deployment
@as_json
def list_(config: Path | None, data: str | None, json_: bool) -> None:
    """Print every patient."""
    with database(settings(config, data)) as engine, reading(engine) as connection:
        known = [str(item) for item in patients.all_of(connection, DEFAULT_DOMAIN)]
    if json_:
        print_json(known)
    else:
        click.echo("\n".join(known))
