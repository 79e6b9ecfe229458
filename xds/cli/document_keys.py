"""``xds documents key``: the keys that documents at rest are encrypted by."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import alerted, as_json, counted, database, deployment, existing, print_json

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.settings.sections import Loaded
    from xds.store.documents.stores import Place

_SECURITY = "110129"  # Security Configuration


@click.group()
def key() -> None:
    """The keys that documents at rest are encrypted by: in a file, which only the server's user can read, or a token.

    Its last key is used. xds documents key new adds one, rotate lets it take the place of those before it.
    """


@key.command(epilog="Example: xds documents key new /etc/xds/documents.keys")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def new(file: Path) -> None:
    """Make a key, as the last of a file; the file is made if it is not there."""
    from xds.store.documents.wrapping import add

    made = add(file)
    click.echo(f"{made.id}: the key that is used, in {file}")
    click.echo("keep a copy of the file away from this machine, and from the backups: nothing is read without it")


@key.command("list", epilog="Example: xds documents key list --config xds.toml")
@deployment
@as_json
def list_(config: Path | None, data: str | None, *, json_: bool) -> None:
    """List the keys, and whether a store needs each of them."""
    from xds.store.documents.wrapping import wrapping_keys

    loaded = existing(config, data)
    found = wrapping_keys(_source(loaded))
    with database(loaded) as engine:
        uses = _uses(loaded, engine)
    needed = {id_: [where for where, count in uses.items() if id_ in count] for id_ in found.keys}
    absent = sorted({id_ for count in uses.values() for id_ in count} - found.keys.keys())
    if json_:
        said = [
            {"key": one.id, "made": one.made, "used": one.id == found.newest.id, "needed_by": needed[one.id]}
            for one in found.keys.values()
        ]
        print_json({"in": found.where, "keys": said, "absent": absent})
        return
    for one in found.keys.values():
        role = "wraps; " if one.id == found.newest.id else ""
        click.echo(f"{one.id}  {one.made}  {role}needed by {', '.join(needed[one.id]) or 'nothing'}")
    for id_ in absent:
        click.echo(f"{id_}  is needed, and is not in {found.where}", err=True)


@key.command(epilog="Example: xds documents key rotate --config xds.toml")
@deployment
def rotate(config: Path | None, data: str | None) -> None:
    """Let the last key of the file take the place of the others; no document is rewritten.

    Every node must have the file with the new key in it before; none is restarted for it.
    """
    from xds.errors import Unusable
    from xds.store.documents.folder import NotReachable
    from xds.store.documents.moving import as_the_service
    from xds.store.documents.stores import places

    loaded = existing(config, data)
    _source(loaded)
    as_the_service(loaded.settings.data)
    with database(loaded) as engine:
        for place in places(loaded.settings):
            keys = place.store_keys(engine)
            try:
                count = keys.rotate()
            except NotReachable:
                raise Unusable(f"{place} does not answer: run this again") from None
            text = f"the keys of documents in {place} are wrapped by the key {keys.wrapped_by}"
            with engine.begin() as connection:
                alerted(connection, loaded, getpass.getuser(), _SECURITY, "urn:xds:documents:key", text)
            click.echo(f"{place}: {counted(count, 'key')} wrapped anew by {keys.wrapped_by}, and another begun")
    click.echo("xds documents key list says which keys are needed no more")


@key.command(epilog="Example: xds documents key remove 3f9a0c2b71d4e856 --config xds.toml")
@deployment
@click.argument("id_", metavar="KEY")
def remove(config: Path | None, data: str | None, id_: str) -> None:
    """Take a key that nothing needs out of the file."""
    from xds.errors import Unusable
    from xds.store.documents.wrapping import remove as take_out
    from xds.system.token import SCHEME

    loaded = existing(config, data)
    path = Path(_source(loaded))
    if str(path).startswith(SCHEME):
        raise Unusable("a token's keys are removed by its own tool: xds documents key list says which are needed")
    with database(loaded) as engine:
        for where, count in _uses(loaded, engine).items():
            if id_ in count:
                raise Unusable(f"documents in {where} need the key {id_}: xds documents key rotate first")
    take_out(path, id_)
    click.echo(f"{id_} is no longer in {path}")


def _source(loaded: Loaded) -> str:
    from xds.errors import Unusable
    from xds.store.documents.wrapping import SETTING

    if not loaded.settings.server.documents_key:
        raise Unusable(f"{SETTING} is not set: documents are not encrypted")
    return loaded.settings.server.documents_key


def _uses(loaded: Loaded, engine: sa.Engine) -> dict[str, dict[str, int]]:
    """How many keys of each store are wrapped by each key of the file."""
    from xds.errors import Unusable
    from xds.store.documents.folder import NotReachable
    from xds.store.documents.stores import places

    def of(place: Place) -> dict[str, int]:
        try:
            return place.store_keys(engine).uses()
        except NotReachable:
            raise Unusable(f"{place} does not answer: run this again") from None

    return {str(place): of(place) for place in places(loaded.settings)}
