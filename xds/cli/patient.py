"""``xds patient``: patients of the affinity domain by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import (
    affinity_domain,
    alerted,
    as_json,
    counted,
    database,
    deployment,
    in_domain,
    print_json,
    settings,
)
from xds.errors import Unusable
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.metadata.identifiers import PatientId


def patient_id(text: str) -> PatientId:
    """A patient id from the command line.

    Raises:
        Unusable: not of the form id^^^&oid&ISO.
    """
    from xds.metadata.identifiers import PatientId

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
@in_domain
def add(cx: str, config: Path | None, data: str | None, domain: str) -> None:
    """Make the patient CX known."""
    from xds.store.registry import patients

    id_, loaded = patient_id(cx), settings(config, data)
    if id_.authority not in affinity_domain(loaded, domain).assigning_authorities:
        raise Unusable(f"{id_.authority} is none of domain.assigning_authorities")
    with database(loaded) as engine, engine.begin() as connection:
        new = patients.add(connection, domain, id_)
        if new:
            _recorded(connection, loaded, ("C", id_))
    click.echo("added" if new else "known already")


@patient.command(epilog="Example: xds patient watch 'anna^^^&1.2.3.4&ISO' --data ./xds-data")
@click.argument("cx", required=False, default="")
@click.option("--no-more", is_flag=True, help="Watch no more.")
@deployment
@as_json
def watch(cx: str, no_more: bool, config: Path | None, data: str | None, json_: bool) -> None:
    """Show the auditor every access to the patient CX by a person; without CX print who is watched so."""
    from xds.store.audit import review

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if not cx:
            found = review.vips(connection)
            if json_:
                print_json(found)
            else:
                click.echo("".join(f"{one}\n" for one in found), nl=False)
            return
        new = review.set_vip(connection, str(patient_id(cx)), vip=not no_more)
        if new:
            _recorded(connection, loaded, ("U", patient_id(cx)))
    click.echo("done" if new else "nothing to change")


def _recorded(connection: sa.Connection, loaded: Loaded, *done: tuple[str, PatientId]) -> None:
    """Audit what is done to patients, in the commit that does it."""
    from xds.audit.messages.events import AuditEvent, source_of
    from xds.audit.messages.parties import Party
    from xds.store.audit.records import record

    node, who = source_of(loaded.settings), Party("xds patient", "localhost", ours=True, requestor=True)
    for action, id_ in done:
        record(connection, AuditEvent.patient_record(node, action, who, str(id_)).records())


@patient.command(epilog="Example: xds patient merge 'ann^^^&1.2.3.4&ISO' 'anna^^^&1.2.3.4&ISO' --data ./xds-data")
@click.argument("subsumed")
@click.argument("surviving")
@deployment
@in_domain
def merge(subsumed: str, surviving: str, config: Path | None, data: str | None, domain: str) -> None:
    """Let the patient SUBSUMED go on as SURVIVING: what is registered for either is found under the latter."""
    from xds.store.registry import patients

    one, other, loaded = patient_id(subsumed), patient_id(surviving), settings(config, data)
    affinity_domain(loaded, domain)
    try:
        with database(loaded) as engine, engine.begin() as connection:
            patients.merge(connection, domain, one, other)
            _recorded(connection, loaded, ("D", one), ("U", other))
    except patients.NotMerged as problem:
        raise Unusable(str(problem)) from None
    click.echo("merged")


@patient.command(epilog="Example: xds patient unmerge 'ann^^^&1.2.3.4&ISO' --data ./xds-data")
@click.argument("cx")
@deployment
@in_domain
@as_json
def unmerge(cx: str, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Undo the merge of the patient CX: documents are theirs again for whom they were registered.

    Who has read meanwhile is printed, as far as the audit log reaches; an alert is on record.
    """
    from xds.audit.search.meanwhile import read_since_merged
    from xds.store.registry import patients

    one, loaded = patient_id(cx), settings(config, data)
    affinity_domain(loaded, domain)
    try:
        with database(loaded) as engine, engine.begin() as connection:
            other = patients.unmerge(connection, domain, one)
            lines = read_since_merged(connection, str(one), str(other))
            _recorded(connection, loaded, ("U", one), ("U", other))
            text = f"patients parted again; {counted(len(lines), 'reader')} meanwhile"
            alerted(connection, loaded, "xds patient", "110135", "urn:xds:patient", text, str(one))
    except patients.NotMerged as problem:
        raise Unusable(str(problem)) from None
    if json_:
        print_json({"merged_into": str(other), "read_meanwhile": [line.as_json() for line in lines]})
        return
    click.echo(f"was merged into {other}")
    for line in lines:
        click.echo(f"read meanwhile: {line.key} {line.beside}, {counted(line.count, 'record')}")


@patient.command(epilog="Example: xds patient find 'müller an' --born 1956 --data ./xds-data")
@click.argument("name")
@click.option("--born", default="", metavar="YYYY[MM[DD]]", help="Whose birth date begins so.")
@deployment
@in_domain
@as_json
def find(name: str, born: str, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Print the patients of whom each word of NAME begins a word of their names, as feeds have said them.

    All who may be meant are printed; which of them it is, you say.  Each is on record as looked at.
    """
    from xds.store.engine import reading
    from xds.store.registry import demographics

    born, loaded = born.replace("-", ""), settings(config, data)
    if born and not (born.isdecimal() and len(born) in (4, 6, 8)):
        raise Unusable("--born is YYYY, YYYY-MM or YYYY-MM-DD")
    affinity_domain(loaded, domain)
    with database(loaded) as engine:
        try:
            with reading(engine) as connection:
                found, more = demographics.find(connection, domain, name, born)
        except demographics.TooLittle as problem:
            raise Unusable(str(problem)) from None
        with engine.begin() as connection:
            _recorded(connection, loaded, *(("R", one.patient_id) for one in found))
    if json_:
        listed = [{"patient_id": str(one.patient_id), **one.demographics.as_json()} for one in found]
        print_json({"patients": listed, "more": more})
        return
    for one in found:
        said = one.demographics
        names = "; ".join(map(str, said.names))
        click.echo("\t".join((str(one.patient_id), names, said.born, said.sex, said.address.city)))
    if more:
        click.echo("there are more: say more of the name, or --born", err=True)


@patient.command("list", epilog="Example: xds patient list --json --data ./xds-data")
@click.option("--merged", is_flag=True, help="Those merged away, each with the one it goes on as.")
@deployment
@in_domain
@as_json
def list_(merged: bool, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Print every patient that stands for themselves."""
    from xds.store.engine import reading
    from xds.store.registry import patients

    loaded = settings(config, data)
    affinity_domain(loaded, domain)
    with database(loaded) as engine, reading(engine) as connection:
        if merged:
            pairs = [(str(one), str(other)) for one, other in patients.merges(connection, domain)]
        else:
            known = [str(item) for item in patients.all_of(connection, domain)]
    if merged and json_:
        print_json([{"subsumed": one, "surviving": other} for one, other in pairs])
    elif merged:
        click.echo("\n".join(f"{one} -> {other}" for one, other in pairs))
    elif json_:
        print_json(known)
    else:
        click.echo("\n".join(known))
