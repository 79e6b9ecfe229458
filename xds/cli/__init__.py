"""The command line, one file a command group.  Exit code 0 done, 1 refused or failed, 2 wrong use."""

from __future__ import annotations

import importlib
import sys

import click

from xds import __version__
from xds.errors import Unusable

# Each command, and the module that holds it: read when it is called, so that none waits for another's imports.
_COMMANDS = {
    "serve": "serve",
    "config": "config",
    "db": "db",
    "patient": "patient",
    "manifest": "manifest",
    "publish": "publish",
    "find": "find",
    "fetch": "fetch",
    "publications": "publications",
    "audit": "audit",
    "user": "user",
    "doctor": "doctor",
    "capture": "capture",
    "integration-statement": "statement",
    "demo": "demo",
}


class _Commands(click.Group):
    """Finds a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"xds.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xds")
def commands() -> None:
    """xds: an IHE XDS-I.b server and the tools around it."""


def main() -> None:
    """Run a command."""
    try:
        commands.main(standalone_mode=True)
    except Unusable as problem:
        click.echo(f"xds: {problem}", err=True)
        sys.exit(1)
