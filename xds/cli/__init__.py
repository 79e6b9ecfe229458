"""The command line, one file a command group."""

from __future__ import annotations

import sys

import click

from xds import __version__
from xds.errors import Unusable


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xds")
def commands() -> None:
    """xds: an IHE XDS-I.b server and the tools around it."""


def main() -> None:
    """Run a command.  Exit code 0 done, 1 refused or failed, 2 wrong use."""
    try:
        commands.main(standalone_mode=True)
    except Unusable as problem:
        click.echo(f"xds: {problem}", err=True)
        sys.exit(1)
