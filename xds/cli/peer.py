"""``xds peer``: which partners' systems there are, and what each is."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import alerted, as_json, database, deployment, print_json, settings
from xds.errors import Unusable
from xds.settings.access import PEER_ROLES, PeerEntry
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

_CHANGED = "110136"  # Security Roles Changed
_ADMINISTRATOR = "document-administrator"
_LISTS = {f.name: f.name.removesuffix("s").replace("_", "-") for f in fields(PeerEntry) if "tuple" in str(f.type)}
_LISTS |= {"authorities": "authority", "home_communities": "home-community", "facilities": "facility"}
_LISTS |= {"addresses": "address", "issuers": "assertion-issuer"}
del _LISTS["roles"], _LISTS["spki_sha256"]


@click.group()
def peer() -> None:
    """Partners' systems: who they are, told by their certificates, and what they may speak for."""


def _listed(command: Any) -> Any:
    """An option for each thing that a peer may have several of."""
    for name, option in _LISTS.items():
        command = click.option(f"--{option}", name, multiple=True, help=f"peers.NAME.{name}; may be repeated.")(command)
    return command


@peer.command(
    epilog="Example: xds peer add north --certificate pacs.north.pem --role document-source --source-id 1.2.3"
)
@click.argument("name")
@click.option(
    "--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its certificate, PEM."
)
@click.option("--by-name", is_flag=True, help="Tell it by issuer and subject, so that it may renew its key.")
@click.option("--spki-sha256", multiple=True, help="Or its key: SHA-256 of SPKI.")
@click.option("--issuer", default="", help="Or its certificate's issuer,")
@click.option("--subject", default="", help="and subject,")
@click.option("--alternative-name", default="", help="or subjectAltName, such as dns:pacs.north.example.")
@click.option("--organisation", default="", help="Whose it is, as people call it.")
@click.option("--role", "roles", type=click.Choice(PEER_ROLES), multiple=True, help="What it is; may be repeated.")
@click.option("--replace", "replaces", is_flag=True, help="Put it in the place of the entry that there is.")
@_listed
@deployment
def add(
    name: str, config: Path | None, data: str | None, certificate: Path | None, by_name: bool, replaces: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Make the peer NAME known.  Every node of the deployment knows it within seconds."""
    from xds.access.peers import Peers
    from xds.store import peers

    if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) is None:
        raise Unusable("a name has small letters, digits and hyphens, at most 32")
    entry = _told_by(PeerEntry(**given), certificate, by_name=by_name)
    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        known = peers.all_of(connection)
        if name in loaded.settings.peers or (name in known and not replaces):
            raise Unusable(f"there is a peer {name}; --replace puts another in its place, unless it is in the settings")
        Peers({**known, name: entry, **loaded.settings.peers})
        _keeps_an_administrator(loaded, known, {**known, name: entry})
        peers.keep(connection, name, entry, "xds peer")
        alerted(connection, loaded, "xds peer", _CHANGED, f"xds:peer:{name}", f"peer added: {', '.join(entry.roles)}")
    click.echo("added")


def _told_by(entry: PeerEntry, certificate: Path | None, *, by_name: bool) -> PeerEntry:
    """The entry with what tells its certificate.

    Raises:
        Unusable: the file holds none.
    """
    from xds.wire.certificates import NotACertificate, from_pem

    if certificate is None:
        return entry
    try:
        found = from_pem(certificate.read_text("ascii", "replace"))
    except (OSError, NotACertificate) as problem:
        raise Unusable(f"{certificate}: {problem}") from None
    organisation = entry.organisation or found.organisation
    if by_name:
        return replace(entry, issuer=found.issuer_text, subject=found.subject_text, organisation=organisation)
    return replace(entry, spki_sha256=(*entry.spki_sha256, found.spki_sha256), organisation=organisation)


def _keeps_an_administrator(loaded: Loaded, before: dict[str, PeerEntry], after: dict[str, PeerEntry]) -> None:
    """Refuse what leaves nobody who may put right what is wrong.

    Raises:
        Unusable: there was a Document Administrator, and there would be none.
    """
    ours = loaded.settings.peers
    had, has = (any(_ADMINISTRATOR in one.roles for one in {**part, **ours}.values()) for part in (before, after))
    if had and not has:
        raise Unusable("that would leave no peer with the role document-administrator")


@peer.command("list", epilog="Example: xds peer list --data ./xds-data")
@deployment
@as_json
def list_(config: Path | None, data: str | None, json_: bool) -> None:
    """Print the peers."""
    loaded = settings(config, data)
    with database(loaded) as engine:
        known = _all(engine, loaded)
    rows = [{"name": n, "from": where, **_said(entry)} for n, (where, entry) in sorted(known.items())]
    if json_:
        print_json(rows)
        return
    for name, (where, entry) in sorted(known.items()):
        click.echo(f"{name:24}  {entry.organisation:24}  {', '.join(entry.roles)}  ({where})")


@peer.command(epilog="Example: xds peer show north --data ./xds-data")
@click.argument("name")
@deployment
@as_json
def show(name: str, config: Path | None, data: str | None, json_: bool) -> None:
    """Print what is known of the peer NAME."""
    loaded = settings(config, data)
    with database(loaded) as engine:
        known = _all(engine, loaded)
        used = _used(engine, name, known.get(name))
    if name not in known:
        raise Unusable(f"there is no peer {name}")
    said = {"name": name, "from": known[name][0], **_said(known[name][1])}
    if json_:
        print_json({**said, "used_today": used})
        return
    server = loaded.settings.server
    limits = {"records": server.peer_records, "bytes": server.peer_bytes}
    said["used today"] = [f"{used[what]:,} {what}" + (f" of {most:,}" if most else "") for what, most in limits.items()]
    for key, value in said.items():
        click.echo(f"{key}: {', '.join(value) if isinstance(value, list | tuple) else value}")


@peer.command(epilog="Example: xds peer remove north --data ./xds-data")
@click.argument("name")
@deployment
def remove(name: str, config: Path | None, data: str | None) -> None:
    """Know the peer NAME no more."""
    from xds.store import peers

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        known = peers.all_of(connection)
        if name in loaded.settings.peers:
            raise Unusable(f"peers.{name} is in the settings; it is removed there")
        if name not in known:
            raise Unusable(f"there is no peer {name}")
        _keeps_an_administrator(loaded, known, {other: entry for other, entry in known.items() if other != name})
        peers.remove(connection, name)
        alerted(connection, loaded, "xds peer", _CHANGED, f"xds:peer:{name}", "peer removed")
    click.echo("removed")


@peer.command(epilog="Example: xds peer propose --data ./xds-data > peers.toml")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far to look back.")
@deployment
def propose(days: int, config: Path | None, data: str | None) -> None:
    """Write entries for certificates that the audit log has seen and no entry names; read each before you use it."""
    from xds.access.proposals import proposals

    loaded = settings(config, data)
    with database(loaded) as engine:
        known = {name: entry for name, (_, entry) in _all(engine, loaded).items()}
        click.echo(proposals(engine, known, days), nl=False)


def _all(engine: sa.Engine, loaded: Loaded) -> dict[str, tuple[str, PeerEntry]]:
    from xds.store import peers
    from xds.store.engine import reading

    with reading(engine) as connection:
        kept = peers.all_of(connection)
    found = {name: ("database", entry) for name, entry in kept.items()}
    return {**found, **{name: ("settings", entry) for name, entry in loaded.settings.peers.items()}}


def _used(engine: sa.Engine, name: str, known: tuple[str, PeerEntry] | None) -> dict[str, int]:
    """What a peer has brought about today: audit records, and bytes that are kept."""
    from xds.store import peer_use
    from xds.store.engine import reading

    keys = [key.replace(":", "").lower() for key in known[1].spki_sha256] if known else []
    with reading(engine) as connection:
        found = peer_use.of_name(connection, name, keys).get(peer_use.today(), peer_use.Use())
    return {"records": found.records, "bytes": found.size_bytes}


def _said(entry: PeerEntry) -> dict[str, Any]:
    """What an entry says, without what it does not."""
    usual = PeerEntry()
    pairs = ((f.name, getattr(entry, f.name)) for f in fields(entry))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs
            if value != getattr(usual, name)}  # fmt: skip
