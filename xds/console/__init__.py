"""Pages and small answers beside SOAP: alive, ready, metrics, and where everything is.  Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flask import Flask, Response, render_template, request

from xds import __version__
from xds.settings import Settings
from xds.wire.metrics import Metrics


def make(
    settings: Settings, served: Mapping[str, Sequence[str]], problems: Callable[[], Iterable[str]], metrics: Metrics
) -> Flask:
    """The WSGI application of everything that is not SOAP; ``served`` has each actor's transactions by number."""
    flask = Flask(__name__)
    flask.config["MAX_CONTENT_LENGTH"] = 1024 * 1024

    @flask.get("/healthz")
    def alive() -> Response:
        return _text(200, "alive")

    @flask.get("/readyz")
    def ready() -> Response:
        """Database reachable, store writable, audit log not behind."""
        found = list(problems())
        return _text(503 if found else 200, "\n".join(found) or "ready")

    @flask.get("/metrics")
    def counted() -> Response:
        return Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @flask.get("/")
    @flask.get("/console")
    def front() -> str:
        base = settings.server.public_url or request.host_url.rstrip("/")
        return render_template("front.html", base=base, settings=settings, served=served, version=__version__)

    @flask.after_request
    def headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'self' 'unsafe-inline'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @flask.errorhandler(404)
    @flask.errorhandler(405)
    def nothing(problem: Any) -> Response:
        return _text(int(problem.code), "there is nothing at this address")

    return flask


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status, content_type="text/plain; charset=utf-8")
