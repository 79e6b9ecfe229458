"""``xds config``: what is set, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xds.cli.common import as_json, deployment, print_json, settings
from xds.errors import Unusable
from xds.settings.secrets import shown
from xds.settings.sections import flat


@click.group()
def config() -> None:
    """What is set, and from where."""


@config.command(epilog="Example: xds config show --json --data ./xds-data")
@deployment
@as_json
def show(config: Path | None, data: str | None, json_: bool) -> None:
    """Print every setting by its dotted name; passwords are masked."""
    loaded = settings(config, data)
    values: dict[str, Any] = {name: shown(name, value) for name, value in flat(loaded.settings)}
    if json_:
        print_json(values)
        return
    for name, value in values.items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        click.echo(f"{name} = {text}    ({loaded.sources.get(name, 'default')})")


@config.command(epilog="Example: xds config check --config xds.toml")
@deployment
def check(config: Path | None, data: str | None) -> None:
    """Say whether the server would start with these settings."""
    from xds.server.listening import check_listen

    check_listen(settings(config, data))
    click.echo("the settings are good")


@config.command(epilog="Example: xds config migrate --config xds.toml --write")
@click.option("--config", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="The settings file.")  # fmt: skip
@click.option("--write", is_flag=True, help="Write it in its place; the old one is kept beside it, as .before-peers.")
def migrate(file: Path, write: bool) -> None:
    """Rewrite senders, audit.readers and cstore_from as peers; comments say what is left to decide."""
    import os

    from xds.access.migrating import migrated, old_settings
    from xds.settings.configuration import load

    loaded = load(file, {}).settings
    if not old_settings(loaded):
        click.echo("there is nothing to rewrite", err=True)
        return
    text = file.read_text("utf-8")
    found = migrated(text, loaded)
    for said in found.undecided:
        click.echo(f"to decide: {said}", err=True)
    if not write:
        click.echo(found.text, nl=False)
        return
    backup, new = file.with_name(f"{file.name}.before-peers"), file.with_name(f".{file.name}.new")
    if backup.exists():
        raise Unusable(f"{backup} is there already; it would be lost")
    mode = file.stat().st_mode & 0o777
    for path, content in ((backup, text), (new, found.text)):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as written:
            written.write(content)
    new.replace(file)
    click.echo(f"written; the old one is {backup}")


@config.command(epilog="Example: xds config example > xds.toml")
def example() -> None:
    """Print a settings file with every setting and its default."""
    from xds.cli.example import example as example_text

    click.echo(example_text(), nl=False)
