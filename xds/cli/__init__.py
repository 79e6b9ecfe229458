"""The command line, one file a command group.

Exit code 0 done, 1 refused or failed, 2 wrong use, 3 the question cannot match (unknown authority, unknown patient).
"""

from __future__ import annotations

import importlib
import sys

import click

from xds import __version__
from xds.errors import CannotMatch, Unusable
from xds.system.private import private

# Each command, and the module that holds it: read when it is called, so that none waits for another's imports.
COMMANDS = {
    "serve": "xds.cli.serve",
    "config": "xds.cli.config",
    "db": "xds.cli.db",
    "patient": "xds.cli.patient",
    "manifest": "xds.cli.manifest",
    "publish": "xds.cli.publish",
    "find": "xds.cli.find",
    "fetch": "xds.cli.fetch",
    "priors": "xds.cli.priors",
    "prefetch": "xds.cli.prefetch",
    "publications": "xds.cli.publications",
    "apart": "xds.cli.apart",
    "audit": "xds.cli.audit",
    "user": "xds.cli.user",
    "peer": "xds.cli.peer",
    "policy": "xds.cli.policy",
    "consent": "xds.cli.consent",
    "pki": "xds.cli.pki",
    "backup": "xds.cli.backup",
    "restore": "xds.cli.backup",
    "documents": "xds.cli.documents",
    "merge": "xds.cli.merge",
    "doctor": "xds.cli.doctor",
    "capture": "xds.cli.capture",
    "integration-statement": "xds.cli.statement",
    "guide": "xds.cli.guide",
    "demo": "xds.demo.command",
}


class _Commands(click.Group):
    """Finds a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xds")
def commands() -> None:
    """xds: an IHE XDS-I.b server and the tools around it."""


def main() -> None:
    """Run a command; what it writes is its account's alone."""
    private()
    try:
        commands.main(standalone_mode=True)
    except Unusable as problem:
        click.echo(f"xds: {problem}", err=True)
        sys.exit(3 if isinstance(problem, CannotMatch) else 1)
