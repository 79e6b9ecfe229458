"""What is set apart is told by the alert hook, until it is taken, and names nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.hostile.test_set_apart import of_another, sent, settings, site
from tests.server.test_application import Site
from xds.initiating.alerts import Alerts
from xds.settings.access import PolicySettings
from xds.settings.sections import Tls

__all__ = ["settings", "site"]


class Hook:
    """Somebody who is called, and answers with a status."""

    def __init__(self) -> None:
        hook, self.status, self.got = self, 500, list[dict[str, Any]]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


def test_a_case_is_told_until_it_is_taken_and_once_for_all_of_its_instances(site: Site, hook: Hook) -> None:
    sent(site, of_another(2), of_another(3))
    alerts = Alerts(site.application.engine, PolicySettings(alert_url=hook.url), Tls())
    assert alerts.step() == 0
    hook.status = 204
    assert (alerts.step(), alerts.step()) == (1, 0)
    assert [one["event"] for one in hook.got] == ["set-apart"] * 2
    said = hook.got[-1]
    assert (said["number"], said["protocol"], said["why"]) == (1, "STOW-RS", "of another patient than the study shows")
    assert "P2" not in json.dumps(said)
    assert "Otto" not in json.dumps(said)
