"""``xds serve``."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from xds.cli.common import database, deployment, settings
from xds.settings.sections import Loaded


@click.command(epilog="Example: xds serve --data ./xds-data --listen 127.0.0.1:8080")
@deployment
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (server.listen).")
def serve(config: Path | None, data: str | None, listen: str | None) -> None:
    """Run the server until it is told to stop.

    Without any file: SQLite and folders under ./xds-data, on loopback.
    """
    signal.signal(signal.SIGTERM, _told_to_stop)  # the first process of a container is not ended by it otherwise
    gc.disable()  # imports leave nothing that it would find; the supervisor enables it
    from xds.system.claims import Folder
    from xds.system.logs import to_stderr
    from xds.wire import tracing
    from xds.wire.metrics import prepare

    to_stderr()
    loaded = settings(config, data, listen=listen)
    to_stderr(loaded.settings.server.log)
    tracing.check(loaded.settings.tracing)
    folder = Folder(loaded.settings.data)
    prepare(loaded.settings.data / "run" / "metrics")  # that of a server that runs would lose its counts
    from xds.server.listening import check_free_addresses, check_listen
    from xds.server.processes import Supervisor  # after the metrics' folder is known

    check_listen(loaded)
    check_free_addresses(loaded.settings, after_a_kill=folder.was_killed)
    click.echo(f"xds serves at http://{loaded.settings.server.listen}, data in {loaded.settings.data}")
    if not loaded.settings.oidc.issuer and not _any_account(loaded):
        where = f"--config {config}" if config else f"--data {loaded.settings.data}"
        click.echo(f"its console is closed until there is an account: xds user add NAME --role administrator {where}")
    code = Supervisor(loaded, lambda: bool(_told)).run()
    folder.done()
    sys.exit(code)


_told = list[int]()


def _told_to_stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Nothing is served yet: what has been begun is undone as at any end.

    It is noted, too: where it comes in the middle of what Python does not let an exception out of, it is lost.
    """
    _told.append(number)
    sys.exit(0)


def _any_account(loaded: Loaded) -> bool:
    from xds.store import accounts
    from xds.store.engine import reading

    with database(loaded) as engine, reading(engine) as connection:
        return accounts.any_at_all(connection)
