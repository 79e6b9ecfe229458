"""``xds consent``: what patients want, set by hand; and who has broken the glass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import (
    affinity_domain,
    alerted,
    as_json,
    database,
    deployment,
    in_domain,
    print_json,
    settings,
    time_of,
)
from xds.cli.patient import patient_id
from xds.errors import CannotMatch, Unusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.metadata.identifiers import PatientId
    from xds.settings.sections import Loaded

_CHANGED = "110135"  # Object Security Attributes Changed

_LISTS = {
    "documents": ("--document", "A document, by its uniqueId."),
    "studies": ("--study", "A study, by its Study Instance UID."),
    "folders": ("--folder", "A folder, by its uniqueId."),
    "class_codes": ("--class-code", "A kind of document, CODE^^SCHEME."),
    "confidentiality_codes": ("--confidentiality-code", "A confidentialityCode, CODE^^SCHEME."),
    "author_organisations": ("--author-organisation", "What an organisation has written, by name or OID."),
    "organisations": ("--organisation", "An organisation, by name or OID."),
    "persons": ("--person", "A person, by id or user@issuer."),
    "roles": ("--role", "A role, by its code."),
    "purposes": ("--purpose", "A purpose of use, by its code."),
}


@click.group()
def consent() -> None:
    """What patients want: who may see what of theirs."""


def _listed(command: Any) -> Any:
    for name, (option, help_) in reversed(_LISTS.items()):
        command = click.option(option, name, multiple=True, help=f"{help_}  May be repeated.")(command)
    return command


@consent.command(
    "set", epilog="Example: xds consent set 'anna^^^&1.2.3.4&ISO' --withhold --study 1.2.840.1 --organisation North"
)
@click.argument("cx")
@click.option("--allow/--withhold", "permit", required=True, help="What is to be done.")
@_listed
@click.option("--from", "from_", default="", metavar="YYYY-MM-DD", help="From which day on.")
@click.option("--until", default="", metavar="YYYY-MM-DD", help="Until which day.")
@click.option("--not-overridable", is_flag=True, help="Breaking the glass does not open it.")
@click.option("--id", "id_", default="", help="A directive of which this is another version.")
@deployment
@in_domain
def set_(
    cx: str, permit: bool, from_: str, until: str, not_overridable: bool, id_: str, config: Path | None,
    data: str | None, domain: str, **lists: tuple[str, ...],
) -> None:  # fmt: skip
    """Set what the patient CX allows or withholds: of everything, or what is named; from everybody, or who is named."""
    from xds.access.consent import Directive
    from xds.access.directives import set_directive

    given: dict[str, Any] = {name: frozenset(values) for name, values in lists.items()}
    try:
        said = Directive(permit, from_=from_, until=until, overridable=not not_overridable, **given)
    except ValueError as problem:
        raise Unusable(f"the directive: {problem}") from None
    one, loaded = patient_id(cx), settings(config, data)
    affinity_domain(loaded, domain)
    with database(loaded) as engine, engine.begin() as connection:
        key = _key(connection, domain, one)
        kept = set_directive(connection, key, said, "xds consent", id_)
        _recorded(connection, loaded, one, f"directive {kept.id}, version {kept.version}: {kept.text}")
    click.echo(kept.id)


@consent.command("withdraw", epilog="Example: xds consent withdraw 'anna^^^&1.2.3.4&ISO' ID --data ./xds-data")
@click.argument("cx")
@click.argument("id_", metavar="ID")
@deployment
@in_domain
def withdraw(cx: str, id_: str, config: Path | None, data: str | None, domain: str) -> None:
    """Let the directive ID of the patient CX hold no more; it is kept, as every version is."""
    from xds.access.directives import withdraw as withdrawn

    one, loaded = patient_id(cx), settings(config, data)
    affinity_domain(loaded, domain)
    with database(loaded) as engine, engine.begin() as connection:
        kept = withdrawn(connection, _key(connection, domain, one), id_, "xds consent")
        _recorded(connection, loaded, one, f"directive {id_} withdrawn, version {kept.version}")
    click.echo("withdrawn")


@consent.command("list", epilog="Example: xds consent list 'anna^^^&1.2.3.4&ISO' --history --json --data ./xds-data")
@click.argument("cx")
@click.option("--history", is_flag=True, help="Every version that there ever was.")
@deployment
@in_domain
@as_json
def list_(cx: str, history: bool, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Print what the patient CX wants."""
    from xds.access.consent import Directive
    from xds.access.directives import in_words
    from xds.store import consents
    from xds.store.engine import reading

    one, loaded = patient_id(cx), settings(config, data)
    affinity_domain(loaded, domain)
    with database(loaded) as engine, reading(engine) as connection:
        kept = consents.held(connection, [_key(connection, domain, one)], every_version=history)
    rows = [
        {"id": k.id, "version": k.version, "in_force": k.latest and not Directive.of(k.text).withdrawn,
         "set": time_of(k.changed), "by": k.changed_by, "says": in_words(Directive.of(k.text))}
        for k in kept
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        state = "" if row["in_force"] else "  (not in force)"
        click.echo(f"{row['id']} version {row['version']}{state}: {row['says']}; set {row['set']} by {row['by']}")


@consent.command(epilog="Example: xds consent documents --json --data ./xds-data")
@click.option("--again", "unique_id", default="", metavar="UNIQUEID", help="Try this one again now.")
@deployment
@in_domain
@as_json
def documents(unique_id: str, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Print the consent documents that were registered, are kept elsewhere, and are not acted upon; and why."""
    from xds.store import consent_documents
    from xds.store.audit.records import now_microseconds

    loaded = settings(config, data)
    affinity_domain(loaded, domain)
    with database(loaded) as engine, engine.begin() as connection:
        if unique_id:
            if not consent_documents.again(connection, domain, unique_id, now_microseconds()):
                raise CannotMatch(f"no such consent document waits: {unique_id[:64]}")
            alerted(connection, loaded, "xds consent", _CHANGED, "urn:xds:consent", f"document {unique_id} tried again")
            click.echo("tried again now")
            return
        found = consent_documents.all_of(connection, domain)
    rows = [
        {"document": one.unique_id, "repository": one.repository_unique_id, "since": time_of(one.since),
         "tries": one.tries, "next_try": time_of(one.next_try) if one.next_try is not None else None,
         "trouble": one.trouble}
        for one in found
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        state = "not tried yet" if not row["tries"] else f"tried {row['tries']} times: {row['trouble']}"
        again = f"; again {row['next_try']}" if row["next_try"] else "; not tried again"
        click.echo(f"{row['document']} of {row['repository']}, since {row['since']}: {state}{again}")


@consent.command(epilog="Example: xds consent overrides --unreviewed --data ./xds-data")
@click.option("--unreviewed", is_flag=True, help="Those that nobody has looked at yet.")
@click.option("--review", "number", type=int, help="Note that the override of this number has been looked at.")
@deployment
@as_json
def overrides(unreviewed: bool, number: int | None, config: Path | None, data: str | None, json_: bool) -> None:
    """Print who has broken the glass, the newest first."""
    from xds.store import consents
    from xds.store.registry import patients

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if number is not None:
            if not consents.review(connection, number, "xds consent"):
                raise Unusable("there is no such override that nobody has looked at")
            alerted(connection, loaded, "xds consent", _CHANGED, f"xds:override:{number}", "override reviewed")
            click.echo("reviewed")
            return
        found = consents.all_broken(connection, most=1000, unreviewed=unreviewed)
        named = {key: [str(p) for p in patients.named(connection, [key])] for key in {one.patient_key for one in found}}
    rows = [
        {"number": one.id, "patient": (named[one.patient_key] or [""])[0], "person": one.person_name or one.person,
         "organisation": one.organisation, "purpose": one.purpose, "reason": one.reason, "begun": time_of(one.begun),
         "ends": time_of(one.ends), "reviewed": time_of(one.reviewed or 0)}
        for one in found
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        looked = f"reviewed {row['reviewed']}" if row["reviewed"] else "not reviewed"
        click.echo(f"{row['number']}: {row['begun']} {row['person']} ({row['organisation']}), {row['purpose']}: "
                   f"{row['reason']}; patient {row['patient']}, until {row['ends']}, {looked}")  # fmt: skip


def _key(connection: sa.Connection, domain: str, one: PatientId) -> int:
    from xds.store.registry import patients

    key = patients.key_of(connection, domain, one)
    if key is None:
        raise CannotMatch("there is no such patient in this affinity domain, or it is merged away")
    return key


def _recorded(connection: sa.Connection, loaded: Loaded, one: PatientId, text: str) -> None:
    alerted(connection, loaded, "xds consent", _CHANGED, "urn:xds:consent", text, str(one))
