"""A gunicorn of our worker around an application that gives a body back; a process of its own.

``python -m tests.wire.echoing PORT PACE [OPTIONS]``, the pace and gunicorn's options as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from xds.wire.pace import Pace
from xds.wire.peers import CERTIFICATE, KEY
from xds.wire.shares import Shares
from xds.wire.worker import Worker

SLOW, SLOW_SECONDS = "/slow", 0.05
"""A path, and how long it takes to be answered there."""


class _Echoing(BaseApplication):  # type: ignore[misc]
    def __init__(self, port: int, pace: Pace, options: Mapping[str, Any]) -> None:
        self._options = {
            "bind": f"127.0.0.1:{port}",
            "worker_class": Worker,
            "workers": int(os.environ.get("WORKERS", "1")),
            "control_socket_disable": True,
            "loglevel": "warning",
        } | options
        self.pace, self.shares = pace, Shares()
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._options.items():
            self.cfg.set(key, value)

    def load(self) -> Callable[..., Any]:
        return echo


def echo(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == SLOW:
        time.sleep(SLOW_SECONDS)
    told = {
        "Worker": os.getpid(),
        "Certificate": hashlib.sha256(environ[CERTIFICATE]).hexdigest(),
        "Key": environ[KEY],
        "Scheme": environ["wsgi.url_scheme"],
        "Address": environ["REMOTE_ADDR"],
    }
    headers = [("Content-Length", str(len(body))), *((f"X-{name}", str(value)) for name, value in told.items())]
    start_response("200 OK", headers)
    return [body]


if __name__ == "__main__":
    _Echoing(int(sys.argv[1]), Pace(**json.loads(sys.argv[2])), json.loads((sys.argv[3:] or ["{}"])[0])).run()
