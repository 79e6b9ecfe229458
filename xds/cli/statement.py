"""``xds integration-statement``: what this deployment supports of IHE's profiles."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from xds.cli.common import as_json, deployment, print_json, settings


@click.command("integration-statement", epilog="Example: xds integration-statement --config xds.toml > statement.md")
@deployment
@as_json
def integration_statement(config: Path | None, data: str | None, json_: bool) -> None:
    """Print the IHE Integration Statement of a deployment: profiles, actors, options, transactions."""
    from xds.server.integration_statement import claims, lines, markdown

    at = settings(config, data, made=False).settings
    if json_:
        print_json({
            "claims": [dict(zip(("profile", "actor", "options"), claim, strict=True)) for claim in claims(at)],
            "transactions": [asdict(line) for line in lines(at)],
        })  # fmt: skip
        return
    click.echo(markdown(at, f"{datetime.now(UTC):%Y-%m-%d}"), nl=False)
