"""Options that several client commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def audited(command: F) -> F:
    """The options of a client command: its deployment, or an audit repository to send its records to."""
    for option in (
        click.option("--audit-to", metavar="URL", help="Audit by ITI-20 to tls://, tcp:// or udp://HOST:PORT."),
        click.option("--data", metavar="DIR", help="Audit into this deployment (server.data)."),
        click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="Settings file (xds.toml)."),
    ):
        command = option(command)
    return command


DEFAULT_REGISTRY = "http://127.0.0.1:8080/registry"


def searching(command: Any) -> Any:
    """The options that say what to look for, and where."""
    for option in (
        click.option("--registry", metavar="URL", default=DEFAULT_REGISTRY, show_default=True),
        click.option("--until", metavar="DTM", default="", help="Studies begun before this, UTC, YYYY[MM[DD…]]."),
        click.option("--since", metavar="DTM", default="", help="Studies begun at this or later, UTC, YYYY[MM[DD…]]."),
        click.option("--modality", metavar="CODE", default="", help="Such as CT or MR."),
        click.option("--accession", metavar="NUMBER[^^^&OID&ISO]", default="", help="With its authority."),
        click.option("--study", metavar="UID", default="", help="Study Instance UID."),
        click.option("--patient", required=True, metavar="CX", help="The patient as the affinity domain knows them."),
    ):
        command = option(command)
    return command
