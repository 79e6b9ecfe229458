"""A gunicorn of our worker around an application that gives a body back; a process of its own.

``python -m tests.wire.echoing PORT PACE``, the pace as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from xds.wire.pace import Pace
from xds.wire.shares import Shares
from xds.wire.worker import Worker


class _Echoing(BaseApplication):  # type: ignore[misc]
    def __init__(self, port: int, pace: Pace) -> None:
        self._port, self.pace, self.shares = port, pace, Shares()
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"127.0.0.1:{self._port}",
            "worker_class": Worker,
            "workers": int(os.environ.get("WORKERS", "1")),
            "control_socket_disable": True,
            "loglevel": "warning",
        }
        for key, value in options.items():
            self.cfg.set(key, value)

    def load(self) -> Callable[..., Any]:
        return echo


def echo(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Worker", str(os.getpid()))])
    return [body]


if __name__ == "__main__":
    _Echoing(int(sys.argv[1]), Pace(**json.loads(sys.argv[2]))).run()
