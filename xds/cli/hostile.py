"""``xds doctor hostile``: harmless attacks on a server, and what it resists."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from xds.cli.common import as_json, print_json


@click.command(epilog="Example: xds doctor hostile --url http://127.0.0.1:8080/registry")
@click.option("--url", required=True, metavar="URL", help="The SOAP address of a registry that you may try this on.")
@click.option("--certificate", default="", metavar="FILE", help="PEM file to present there.")
@click.option("--key", default="", metavar="FILE", help="PEM file of its key.")
@click.option("--trusted", default="", metavar="FILE", help="PEM file of what its certificate must come from.")
@as_json
def hostile(url: str, certificate: str, key: str, trusted: str, json_: bool) -> None:
    """Try harmless attacks on any XDS registry, and say which it resisted; exit code 1 when one was not.

    Nothing is stored there, and it is never kept busy; its audit log will tell of it.
    """
    from xds.initiating.hostile import Server, tried

    outcomes = list(tried(Server(url, certificate, key, trusted)))
    if json_:
        print_json([asdict(one) for one in outcomes])
    else:
        words = {True: "resisted", False: "NOT RESISTED", None: "not tried"}
        for one in outcomes:
            click.echo(f"{words[one.resisted]:12}  {one.name}{f': {one.said}' if one.said else ''}")
        failed = sum(one.resisted is False for one in outcomes)
        click.echo(f"{sum(one.resisted is True for one in outcomes)} resisted, {failed} not")
    sys.exit(any(one.resisted is False for one in outcomes))
