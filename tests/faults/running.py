"""Histories one after the other: each a deployment of its own, on SQLite or PostgreSQL by its seed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.faults.deployment import deployment
from tests.faults.history import History
from tests.postgres import Databases, Server


def run(seed: int, server: Server | None, databases: Databases | None) -> History:
    """One history; even seeds are of PostgreSQL where there is one.

    Raises:
        AssertionError: something does not hold.
    """
    url = ""
    if server is not None and databases is not None and seed % 2 == 0:
        url = databases.take()
    # Short, for sockets; and not where a full disk would be the tests' own.
    postgres = server.pid if server is not None else 0
    with tempfile.TemporaryDirectory(prefix="xds-") as folder, deployment(Path(folder) / "node", url, postgres) as node:
        history = History(node, seed)
        history.run()
    if url and databases is not None:
        databases.give_back(url)
    return history
