"""``xds user``: who may sign in at the console."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import alerted, as_json, database, deployment, print_json, settings, time_of
from xds.errors import Unusable
from xds.settings.sections import ROLES, Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

SHORTEST = 12
"""Characters of a password (NIST SP 800-63B asks for eight)."""

LEAST_KINDS = 5
"""Different characters of a password."""

_NONE = "there is no account of this name"
_CHANGED = "110137"  # User Security Attributes Changed


@click.group()
def user() -> None:
    """Who may sign in at the console."""


@user.command(epilog="Example: xds user add anna --role auditor --data ./xds-data")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the pages show.")
@deployment
def add(name: str, role: str, config: Path | None, data: str | None) -> None:
    """Make the account NAME; the password is asked for, or read from standard input's first line."""
    from xds.endpoints.console.passwords import hashed
    from xds.store import accounts

    if not 0 < len(name) <= 64 or not name.isprintable():
        raise Unusable("a name has 1 to 64 printable characters")
    password = _password(name)
    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if not accounts.add(connection, name, role, hashed(password)):
            raise Unusable("there is an account of this name")
        _recorded(connection, loaded, name, f"account made, role {role}")
    click.echo("added")


def _password(name: str) -> str:
    """A new password for an account, asked for or read.

    Raises:
        Unusable: it would soon be guessed.
    """
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < SHORTEST:
        raise Unusable(f"a password has {SHORTEST} characters at the least")
    if len(set(password)) < LEAST_KINDS or name.casefold() in password.casefold():
        raise Unusable("a password has the account's name not in it, and more than a few characters again and again")
    return password


@user.command(epilog="Example: xds user password anna --data ./xds-data")
@click.argument("name")
@deployment
def password(name: str, config: Path | None, data: str | None) -> None:
    """Give the account NAME another password, which is asked for; it is unlocked, and its sessions end."""
    from xds.endpoints.console.passwords import hashed
    from xds.store import accounts, tries

    new, loaded = _password(name), settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if not accounts.set_password(connection, name, hashed(new)):
            raise Unusable(_NONE)
        tries.forget(connection, name)
        _recorded(connection, loaded, name, "password changed")
    click.echo("changed")


@user.command(epilog="Example: xds user unlock anna --data ./xds-data")
@click.argument("name")
@deployment
def unlock(name: str, config: Path | None, data: str | None) -> None:
    """Let the account NAME sign in again at once after wrong passwords."""
    from xds.store import accounts, tries

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if accounts.one(connection, name) is None:
            raise Unusable(_NONE)
        tries.forget(connection, name)
        _recorded(connection, loaded, name, "account unlocked")
    click.echo("unlocked")


@user.command("second-factor", epilog="Example: xds user second-factor anna --data ./xds-data")
@click.argument("name")
@click.option("--remove", "gone", is_flag=True, help="Ask the account for none any more.")
@deployment
@as_json
def second_factor(name: str, gone: bool, config: Path | None, data: str | None, json_: bool) -> None:
    """Ask the account NAME for a one-time password too, and print what its phone is told; its sessions end.

    Whoever has lost their phone is given another secret so; the old one is worth nothing from then on.
    """
    from xds.access import second_factor as factor
    from xds.store import accounts

    loaded, secret = settings(config, data), "" if gone else factor.new_secret()
    with database(loaded) as engine, engine.begin() as connection:
        if not accounts.set_second_factor(connection, name, secret):
            raise Unusable("there is no account of this name with a password here")
        _recorded(connection, loaded, name, f"second factor {'removed' if gone else 'made'}")
    if gone:
        click.echo("removed")
        return
    node = loaded.settings.audit.enterprise_site_id or loaded.settings.audit.source_id
    made = {"secret": secret, "address": factor.address(secret, name, node)}
    if json_:
        print_json(made)
        return
    click.echo(f"secret   {secret}\naddress  {made['address']}")


@user.command(epilog="Example: xds user issuer --data ./xds-data")
@deployment
@as_json
def issuer(config: Path | None, data: str | None, json_: bool) -> None:
    """Print by which issuer and certificate other nodes trust this one to say who has signed in at its console.

    They name both in xua.issuers, ISSUER=FILE.
    """
    from xds.access import vouching

    loaded = settings(config, data)
    vouching.own_key(loaded.settings)
    file = vouching.certificate_file(loaded.settings)
    if json_:
        print_json({"issuer": vouching.issuer(loaded.settings), "file": str(file), "certificate": file.read_text()})
        return
    click.echo(f"issuer       {vouching.issuer(loaded.settings)}\ncertificate  {file}")


@user.command("list", epilog="Example: xds user list --data ./xds-data")
@deployment
@as_json
def list_(config: Path | None, data: str | None, json_: bool) -> None:
    """Print the accounts."""
    from xds.store import accounts, tries
    from xds.store.audit.records import now_microseconds
    from xds.store.engine import reading

    with database(settings(config, data)) as engine, reading(engine) as connection:
        found, until = accounts.all_of(connection), tries.closed_until(connection)
    now = now_microseconds()
    rows = [
        {
            "name": one.name, "role": one.role, "second_factor": bool(one.second_factor),
            "locked_until": time_of(until.get(one.name, 0) * (until.get(one.name, 0) > now)),
        }
        for one in found
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        locked = f"  closed to some address until {row['locked_until']}" if row["locked_until"] else ""
        factor = "  second factor" if row["second_factor"] else ""
        click.echo(f"{row['name']:20}  {row['role']:15}{factor}{locked}")


@user.command(epilog="Example: xds user remove anna --data ./xds-data")
@click.argument("name")
@click.option("--last", is_flag=True, help="Even if it is the last: all pages are then closed to everybody.")
@deployment
def remove(name: str, last: bool, config: Path | None, data: str | None) -> None:
    """Remove the account NAME, and end its sessions."""
    from xds.store import accounts

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if not accounts.remove(connection, name):
            raise Unusable(_NONE)
        if not last and not accounts.any_at_all(connection):
            raise Unusable("it is the last account; without any all pages are closed to everybody (--last)")
        _recorded(connection, loaded, name, "account removed")
    click.echo("removed")


def _recorded(connection: sa.Connection, loaded: Loaded, name: str, what: str) -> None:
    alerted(connection, loaded, "xds user", _CHANGED, f"xds:account:{name}", what)
