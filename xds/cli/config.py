"""``xds config``: what is set, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xds.cli.common import as_json, deployment, print_json, settings
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


@config.command(epilog="Example: xds config example > xds.toml")
def example() -> None:
    """Print a settings file with every setting and its default."""
    from xds.cli.example import example as example_text

    click.echo(example_text(), nl=False)
