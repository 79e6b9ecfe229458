"""``xds policy``: who may do what, checked, explained, and set back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import alerted, as_json, database, deployment, existing, in_domain, print_json, settings
from xds.errors import CannotMatch, Unusable

if TYPE_CHECKING:
    from xds.audit.messages.people import Person

_CHANGED = "110129"  # Security Configuration


@click.group()
def policy() -> None:
    """The rules of who may do what."""


@policy.command(epilog="Example: xds policy check policy.toml")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Say whether FILE can be a policy; what is wrong is named with its line."""
    from xds.access.decisions import checked
    from xds.access.policy import read

    try:
        found = checked(read(file.read_text("utf-8"), str(file)))
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"{file}: {type(problem).__name__}") from None
    click.echo(f"the policy is good: {len(found.rules)} rules")


@policy.command(epilog="Example: xds policy show --data ./xds-data > policy.toml")
@deployment
def show(config: Path | None, data: str | None) -> None:
    """Print the policy in force, as a file to begin one of your own with."""
    from importlib.resources import files

    loaded = settings(config, data, made=False)
    named = loaded.settings.policy.file
    text = Path(named).read_text("utf-8") if named else files("xds.access").joinpath("policy.toml").read_text("utf-8")
    click.echo(text, nl=False)


@policy.command(
    epilog="Example: xds policy explain --peer north --transaction ITI-18 --role GP --patient 'anna^^^&1.2&ISO'"
)
@click.option("--peer", "name", default="", help="Which partner's system asks; without it a stranger.")
@click.option("--transaction", default="ITI-18", show_default=True, help="What it asks.")
@click.option("--person", default="", help="For whom.")
@click.option("--role", "roles", multiple=True, help="Codes of the person's roles.")
@click.option("--purpose", "purposes", multiple=True, help="Codes of what it is for.")
@click.option("--override", is_flag=True, help="As if the glass were broken.")
@click.option("--patient", "cx", default="", help="About which patient, CX.")
@click.option("--document", default="", help="About which document, by its uniqueId.")
@deployment
@in_domain
@as_json
def explain(
    name: str, transaction: str, person: str, roles: tuple[str, ...], purposes: tuple[str, ...], override: bool,
    cx: str, document: str, config: Path | None, data: str | None, domain: str, json_: bool,
) -> None:  # fmt: skip
    """Print the way to the answer: each rule and what of it is not so, what the patient wants, and what comes of it."""
    from xds.access.explaining import Asked, explained
    from xds.access.gate import Gate
    from xds.access.peers import STRANGER

    loaded = existing(config, data)
    with database(loaded) as engine:
        gate = Gate(loaded.settings, engine)
        known = [one for one in gate.peers.named() if one.name == name]
        if name and not known:
            raise CannotMatch(f"there is no peer {name}")
        who, for_whom = known[0] if known else STRANGER, _person(person, roles, purposes)
        asked = Asked(who, transaction, domain, for_whom, override, cx, document)
        lines, answer = explained(gate, engine, asked, loaded.settings.policy.consent == "withhold")
    if json_:
        print_json({"way": lines, "answer": answer})
        return
    for line in lines:
        click.echo(line)
    click.echo(f"\n{answer}")


def _person(name: str, roles: tuple[str, ...], purposes: tuple[str, ...]) -> Person | None:
    from xds.audit.messages.people import Person
    from xds.wire.assertion import Code

    def coded(text: str) -> Code:
        code, _, system = text.partition("^^")
        return Code(code, system)

    if not (name or roles or purposes):
        return None
    return Person(name or "somebody", roles=tuple(map(coded, roles)), purposes=tuple(map(coded, purposes)))


@policy.command(epilog="Example: xds policy reset --data ./xds-data")
@deployment
def reset(config: Path | None, data: str | None) -> None:
    """Go by the policy that xds has until the file of policy.file is changed; for who has locked themselves out."""
    from xds.access.gate import RESET, stamp_of
    from xds.store.deployment import note

    loaded = settings(config, data)
    if not loaded.settings.policy.file:
        click.echo("policy.file is not set: the policy that xds has is in force")
        return
    with database(loaded) as engine, engine.begin() as connection:
        note(connection, RESET, stamp_of(Path(loaded.settings.policy.file)))
        alerted(connection, loaded, "xds policy", _CHANGED, "urn:xds:policy", "policy reset to that of xds")
    click.echo("the policy of xds is in force until the file is changed")
