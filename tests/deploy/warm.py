"""``xds`` for the guides' tests: each command is forked from a process that has its imports, most of a command's time.

``xds serve`` is run as it is: its processes are its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import wait_for
from xds.system.parent import ends_with_us

# What runs in the guide's shell: it hands over what it was given, its folder, its variables and its files.
_SHIM = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] == ["serve"]:
    os.execv({python!r}, [{python!r}, "-m", "xds", *sys.argv[1:]])
warm = socket.socket(socket.AF_UNIX)
warm.connect({place!r})
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(warm, [len(said).to_bytes(4, "big")], [0, 1, 2])
warm.sendall(said)
sys.exit((warm.recv(1) or b"\\x7f")[0])
"""
# What commands import when they run; what is missing here only costs its time.
_USED = (
    "alembic.command", "lxml.etree", "pydicom", "rich.progress", "rich.table", "signxml", "sqlalchemy.dialects.sqlite",
    "zeep", "xds.audit.log.verify", "xds.cli.client", "xds.cli.fetching", "xds.cli.find", "xds.cli.packing",
    "xds.server.listening", "xds.store.deployment", "xds.wire.stored_query_client",
)  # fmt: skip


@functools.cache
def program() -> str:
    """The text of a program that is ``xds``; the process behind it ends with ours."""
    folder = tempfile.mkdtemp(prefix="xds-warm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = Path(folder) / "socket"
    process = subprocess.Popen([sys.executable, "-m", "tests.deploy.warm", place], preexec_fn=ends_with_us)
    atexit.register(process.kill)

    def ready() -> bool:
        assert process.poll() is None
        return place.exists()

    wait_for(ready)
    return _SHIM.format(python=sys.executable, place=str(place))


def main(place: str) -> None:
    """Wait for commands, and fork one for each."""
    from xds.cli import COMMANDS

    for module in (*COMMANDS.values(), *_USED):
        importlib.import_module(module)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen(8)
    Path(f"{place}.new").rename(place)
    while True:
        asked, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _command(asked)
        asked.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _command(asked: socket.socket) -> None:
    """Be the command that was asked for, to its exit code."""
    from xds.cli import main as xds

    size, files, _, _ = socket.recv_fds(asked, 4, 3)
    with asked.makefile("rb") as said:
        sys.argv[1:], folder, variables = json.loads(said.read(int.from_bytes(size, "big")))
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    code = 1
    try:
        xds()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.send(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
