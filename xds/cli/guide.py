"""``xds guide``: what to do, for each reader."""

from __future__ import annotations

import click


@click.command(epilog="Example: xds guide ehr")
@click.argument("name", required=False)
def guide(name: str | None) -> None:
    """Print the guide NAME as Markdown; without NAME list the guides."""
    from xds.system import guides

    if name is None:
        for one in guides.guides():
            click.echo(f"{one.name:18}{one.title}")
        return
    found = guides.guide(name)
    if found is None:
        raise click.UsageError(f"there is no guide {name!r}; there are {', '.join(guides.NAMES)}")
    click.echo(found.text, nl=False)
