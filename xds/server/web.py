"""The processes that answer HTTP: the web's, and those that stream images."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from xds.server.actors import busy_codes
from xds.server.application import Application
from xds.settings.sections import DEFAULT_DOMAIN, Loaded
from xds.wire.contexts import server_context
from xds.wire.metrics import Metrics
from xds.wire.pace import Pace
from xds.wire.shares import Shares
from xds.wire.telling_worker import TellingWorker, Used


class ToRoot(Logger):  # type: ignore[misc]
    """gunicorn's own log, written as the rest of the process' is."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """One gunicorn of ours: the web, or the images."""

    def __init__(self, loaded: Loaded, options: dict[str, Any], pace: Pace) -> None:
        self._loaded, self._options, self.pace, self.shares = loaded, options, pace, Shares()
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._options.items():
            self.cfg.set(key, value)

    def load(self) -> Application:
        application = self._application = Application(self._loaded)
        gc.collect()
        gc.freeze()  # what is there for good is not looked through again in the middle of a request
        return application

    def close(self) -> None:
        """At the end of a worker."""
        application = getattr(self, "_application", None)
        if application is not None:
            application.close()

    def tell_of_strangers(self, peer: str, reason: str) -> None:
        """Record a peer that could not be authenticated."""
        self._application.domains[DEFAULT_DOMAIN].events.stranger(peer, reason)

    def count_refusal(self, reason: str) -> None:
        """Count what was refused before it was a request."""
        self._application.metrics.refused.labels(reason).inc()

    def note_places(self, lanes: Iterable[Used]) -> None:
        """Tell of what peers share in this process, as it is just now."""
        application, metrics = self._application, self._application.metrics
        others = ((name, one.total - one.free, one.total, 0) for name, one in application.places())
        for name, used, total, waiting in (*lanes, *others):
            of = f"images-{name}" if self.pace.takes_handed else name
            for state, count in (("used", used), ("total", total), ("waiting", waiting)):
                metrics.places.labels(of, state).set(count)
        pool: Any = application.engine.pool
        metrics.connections.labels("used").set(pool.checkedout())
        metrics.connections.labels("total").set(pool.size())


def _options(loaded: Loaded) -> dict[str, Any]:
    settings = loaded.settings
    options: dict[str, Any] = {
        "worker_class": TellingWorker,
        "threads": settings.server.threads,
        "keepalive": 15,
        "timeout": 120,
        "graceful_timeout": int(settings.server.stop_seconds),
        "worker_connections": 1000,
        "loglevel": "error",  # its warnings quote what peers send
        "logger_class": ToRoot,
        "control_socket_disable": True,
        "limit_request_field_size": 32 * 1024,  # an assertion in Authorization has some 8 kB
        "proc_name": "xds",
        "umask": 0o077,
        "post_fork": _forked,
        "post_worker_init": _heard,
        "child_exit": _ended,
        "worker_exit": lambda arbiter, _worker: arbiter.app.close(),
    }
    if settings.tls.certificate:
        options |= {"certfile": settings.tls.certificate, "keyfile": settings.tls.key, "do_handshake_on_connect": False}
        if settings.tls.trusted:
            options |= {"ca_certs": settings.tls.trusted, "cert_reqs": 2}
        context = server_context(settings.tls.certificate, settings.tls.key, settings.tls.trusted)
        options["ssl_context"] = lambda _settings, _default: context  # gunicorn would read the files at each connection
    return options


def _forked(arbiter: Any, worker: Any) -> None:
    worker.forked_by = arbiter


def _heard(worker: Any) -> None:
    """Stop where that was told before the worker listened to it: until then it has its arbiter's ears, and its own copy
    of what these have heard, which nobody would look at.
    """
    heard = worker.forked_by.SIG_QUEUE
    while not heard.empty():
        if heard.get_nowait() in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            worker.alive = False


def _ended(arbiter: Any, _worker: Any) -> None:
    """Count a worker that has ended although nobody stops: another is started."""
    if arbiter.LISTENERS:
        Metrics().deaths.labels("images" if arbiter.app.pace.takes_handed else "web").inc()


def _pace(loaded: Loaded) -> Pace:
    server = loaded.settings.server
    return Pace(
        server.header_seconds,
        server.stall_seconds,
        server.least_bytes_per_second,
        server.upload_threads,
        request_seconds=server.request_seconds,
        queue_seconds=server.queue_seconds,
        share=server.share,
        soap=busy_codes(loaded.settings),
    )


def web(loaded: Loaded, images_socket: str) -> None:
    server = loaded.settings.server
    options = _options(loaded) | {"bind": server.listen, "workers": server.workers}
    imaging = loaded.settings.imaging_source
    carriers = imaging.processes * (imaging.streams + 4)
    pace = replace(_pace(loaded), images_socket=images_socket, carrier_threads=carriers)
    _Gunicorn(loaded, options, pace).run()


def images(loaded: Loaded, images_socket: str) -> None:
    imaging = loaded.settings.imaging_source
    options = _options(loaded) | {
        "bind": f"unix:{images_socket}",
        "workers": imaging.processes,
        "threads": imaging.streams + 4,
        "keepalive": 0,
    }
    for tls in ("certfile", "keyfile", "ca_certs", "cert_reqs", "do_handshake_on_connect"):
        options.pop(tls, None)
    _Gunicorn(loaded, options, replace(_pace(loaded), takes_handed=True)).run()
