"""PgBouncer in transaction mode before a PostgreSQL of the tests, as Debian ships it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

USER = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
"""Whose process it is: like PostgreSQL it refuses to be root's."""

_SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user=xds
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
"""


def configured(folder: Path, *, server: int, port: int, **settings: int) -> Path:
    """Its configuration in a folder: it listens at ``port`` for the PostgreSQL at ``server``."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    text = _SETTINGS.format(server=server, port=port, folder=folder)
    made, users = folder / "pgbouncer.ini", folder / "users"
    made.write_text(text + "".join(f"{name} = {value}\n" for name, value in settings.items()), "utf-8")
    users.write_text('"xds" ""\n', "utf-8")
    for path in (made, users):
        path.chmod(0o644)  # whatever this process lets others read by itself
    return made
