"""``xds serve``: web processes, image processes and the audit log's sequencer, supervised.

Everything is imported once and forked; engines are made after the fork.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from sqlalchemy.exc import SQLAlchemyError

from xds.access.senders import Senders
from xds.access.users import Users
from xds.actors.document_repository import NoAnswer
from xds.archives.interface import Gone, NotAnswering
from xds.audit.log import sequencer
from xds.audit.log.keys import log_certificates
from xds.audit.messages.events import AuditEvent, Party, source_of
from xds.audit.search.watching import Watcher
from xds.endpoints.cstore import StorageScp
from xds.endpoints.syslog import AuditReceiver
from xds.errors import Refused, Unusable
from xds.initiating.audit_forwarder import Forwarder
from xds.initiating.witnesses import Witnessing, witness_at, witness_of
from xds.server.affinity_domain import archive, code_sets, intake
from xds.server.application import Application
from xds.settings.sections import DEFAULT_DOMAIN, Loaded
from xds.store.audit.records import record
from xds.store.deployment import changed_settings, prepare
from xds.store.documents.folder import NotReachable
from xds.store.documents.object_store import open_blobs
from xds.store.engine import make_engine
from xds.system.clock import Checked
from xds.system.parent import ends_with_us
from xds.wire.client import client_context
from xds.wire.metrics import Metrics
from xds.wire.mllp import Listener, server_context
from xds.wire.sealing import certificate
from xds.wire.spool import Spool
from xds.wire.syslog import named
from xds.wire.worker import Pace, ToRoot, Worker

log = logging.getLogger("xds.server.processes")


SWEEP_EVERY_SECONDS = 600.0
"""Between two looks for documents that were staged and never named."""


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """One gunicorn of ours: the web, or the images."""

    def __init__(self, loaded: Loaded, options: dict[str, Any], pace: Pace) -> None:
        self._loaded, self._options, self.pace = loaded, options, pace
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._options.items():
            self.cfg.set(key, value)

    def load(self) -> Application:
        application = self._application = Application(self._loaded)
        gc.collect()
        gc.freeze()  # what is there for good is not looked through again in the middle of a request
        return application

    def tell_of_strangers(self, peer: str, reason: str) -> None:
        """Record a peer that could not be authenticated."""
        self._application.domains[DEFAULT_DOMAIN].stranger(peer, reason)


def _address(listen: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        Unusable: not of the form HOST:PORT.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Unusable("an address to listen on is HOST:PORT")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listen(loaded: Loaded) -> None:
    """Without mutual TLS the server listens on loopback only, unless the operator says so by name.

    Raises:
        Unusable: it would listen wider, or another setting keeps it from starting.
    """
    settings = loaded.settings
    feeds = {
        "mllp.listen" if name == DEFAULT_DOMAIN else f"domains.{name}.mllp_listen": domain.mllp_listen
        for name, domain in settings.affinity_domains.items()
    }
    feeds["imaging_source.cstore_listen"] = settings.imaging_source.cstore_listen
    feeds["syslog.tls"] = settings.syslog.tls
    plain = {"syslog.tcp": settings.syslog.tcp, "syslog.udp": settings.syslog.udp}
    for name, listen in plain.items():
        if listen and not _is_loopback(_address(listen)[0]) and not settings.server.allow_open_listen:
            raise Unusable(
                f"{name} is {listen}: nobody is authenticated there; server.allow_open_listen = true says so"
            )
    if settings.syslog.tls and not (settings.tls.certificate and settings.tls.trusted):
        raise Unusable("syslog.tls needs tls.certificate, tls.key and tls.trusted")
    for name, listen in {"server.listen": settings.server.listen, **feeds}.items():
        if not listen:
            continue
        host, _ = _address(listen)
        if not _is_loopback(host) and not settings.tls.trusted and not settings.server.allow_open_listen:
            raise Unusable(
                f"{name} is {listen}: without mutual TLS (tls.certificate, tls.key, tls.trusted) "
                "xds listens on loopback only; server.allow_open_listen = true is your choice to make"
            )
    if settings.imaging_source.stow_rs or settings.imaging_source.cstore_listen:
        intake(settings)
    for domain in settings.affinity_domains.values():
        code_sets(domain)
    Senders(settings.senders)
    for url in settings.audit.forward_to:
        named(url)
    for where in settings.audit.witnesses:
        witness_at(where, settings.tls, lambda: ())
    for text in settings.audit.witness_of:
        witness_of(text)
    if settings.xua.trusted:
        Users(settings.xua)
    Watcher(settings.review)
    if settings.oidc.issuer and not settings.oidc.client_id:
        raise Unusable("oidc.issuer needs oidc.client_id")
    if settings.capture.certificate:
        certificate(Path(settings.capture.certificate))


def _options(loaded: Loaded) -> dict[str, Any]:
    settings = loaded.settings
    options: dict[str, Any] = {
        "worker_class": Worker,
        "threads": settings.server.threads,
        "keepalive": 15,
        "timeout": 120,
        "graceful_timeout": int(settings.server.stop_seconds),
        "worker_connections": 1000,
        "loglevel": "error",  # its warnings quote what peers send
        "logger_class": ToRoot,
        "control_socket_disable": True,
        "permit_obsolete_folding": True,
        "proc_name": "xds",
        "umask": 0o077,
    }
    if settings.tls.certificate:
        options |= {"certfile": settings.tls.certificate, "keyfile": settings.tls.key, "do_handshake_on_connect": False}
        if settings.tls.trusted:
            options |= {"ca_certs": settings.tls.trusted, "cert_reqs": 2}
    return options


def _pace(loaded: Loaded) -> Pace:
    server = loaded.settings.server
    return Pace(server.header_seconds, server.stall_seconds, server.least_bytes_per_second, server.upload_threads)


def _web(loaded: Loaded, images_socket: str) -> None:
    server = loaded.settings.server
    options = _options(loaded) | {"bind": server.listen, "workers": server.workers}
    imaging = loaded.settings.imaging_source
    carriers = imaging.processes * (imaging.streams + 4)
    pace = replace(_pace(loaded), images_socket=images_socket, carrier_threads=carriers)
    _Gunicorn(loaded, options, pace).run()


def _images(loaded: Loaded, images_socket: str) -> None:
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


def _follow_archive(loaded: Loaded) -> None:
    """Keep the index of the images up to date."""
    images, parent = archive(loaded.settings), os.getppid()
    assert images is not None  # noqa: S101  started only where there is a folder
    while os.getppid() == parent:
        try:
            images.refresh()
        except OSError:
            log.exception("archive.unreadable")
        time.sleep(loaded.settings.imaging_source.refresh_seconds)


def _told_to_stop() -> Event:
    """What is set when this process is told to stop, and so may end what it does first."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    return stopping


def _mllp(loaded: Loaded, name: str) -> None:
    """Take an affinity domain's Patient Identity Feed until told to stop (ITI-8)."""
    stopping = _told_to_stop()
    application, parent = Application(loaded), os.getppid()
    tls = loaded.settings.tls
    context = server_context(tls.certificate, tls.key, tls.trusted) if tls.certificate else None
    domain = application.domains[name]
    listener = Listener(*_address(domain.own.mllp_listen), domain.feeding().answer, context, domain.stranger)
    listener.serve(lambda: not stopping.is_set() and os.getppid() == parent)
    application.engine.dispose()


def _cstore(loaded: Loaded) -> None:
    """Take instances by C-STORE until told to stop."""
    stopping = _told_to_stop()
    application, parent = Application(loaded), os.getppid()
    imaging, tls, domain = loaded.settings.imaging_source, loaded.settings.tls, application.domains[DEFAULT_DOMAIN]
    scp = StorageScp(
        intake(loaded.settings),
        imaging.retrieve_ae_title,
        _address(imaging.cstore_listen),
        domain.storage_recording,
        senders=imaging.cstore_from,
        context=server_context(tls.certificate, tls.key, tls.trusted) if tls.certificate else None,
        tell=domain.stranger,
    )
    while os.getppid() == parent and not stopping.wait(0.5):
        pass
    scp.close()
    application.engine.dispose()


def _syslog(loaded: Loaded) -> None:
    """Take other nodes' audit records until told to stop (ITI-20)."""
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine, node = make_engine(settings.database_url, connections=2), source_of(settings)
    at = {
        name: _address(getattr(settings.syslog, name))
        for name in ("tls", "tcp", "udp")
        if getattr(settings.syslog, name)
    }
    tls = settings.tls
    here = Party("xds", at["tls"][0] if "tls" in at else "localhost", ours=True)

    def alert(peer: str, reason: str) -> AuditEvent:
        return AuditEvent.not_authenticated(node, here, Party(peer, peer), reason)

    context = server_context(tls.certificate, tls.key, tls.trusted) if "tls" in at else None
    receiver = AuditReceiver(engine, Metrics(), alert, context=context, ours=settings.audit.source_id, **at)
    while os.getppid() == parent and not stopping.wait(0.5):
        pass
    receiver.close()
    engine.dispose()


def _forward(loaded: Loaded, url: str) -> None:
    """Send the audit log on to another repository until told to stop (ITI-20)."""
    stopping, tls, parent = _told_to_stop(), loaded.settings.tls, os.getppid()
    engine = make_engine(loaded.settings.database_url, connections=1)
    context = client_context(tls.certificate, tls.key, tls.trusted) if url.startswith("tls:") else None
    Forwarder(engine, url, context).run(lambda seconds: os.getppid() == parent and not stopping.wait(seconds))
    engine.dispose()


def _clock(loaded: Loaded) -> None:
    """Compare the clock with a time server's until told to stop."""
    stopping, audit, parent = _told_to_stop(), loaded.settings.audit, os.getppid()
    engine = make_engine(loaded.settings.database_url, connections=1)

    def alert(text: str) -> None:
        with engine.begin() as connection:
            record(connection, AuditEvent.clock_wrong(source_of(loaded.settings), text).records())

    checked = Checked(audit.time_server, audit.most_offset_seconds, alert)
    while os.getppid() == parent:
        try:
            checked.step()
        except SQLAlchemyError:
            log.exception("database.unreachable")
        if stopping.wait(audit.time_seconds):
            break
    engine.dispose()


def _show(loaded: Loaded, where: str) -> None:
    """Show a witness the audit log's checkpoints until told to stop."""
    stopping, settings, parent = _told_to_stop(), loaded.settings, os.getppid()
    engine = make_engine(settings.database_url, connections=1)
    witness = witness_at(where, settings.tls, lambda: log_certificates(settings))
    showing = Witnessing(engine, settings.data / "audit", where, witness, source_of(settings))
    going_on = lambda seconds: os.getppid() == parent and not stopping.wait(seconds)  # noqa: E731
    showing.run(settings.audit.witness_seconds, going_on)
    engine.dispose()


def _settle(loaded: Loaded) -> None:
    """Ask the registry elsewhere about registrations that it never answered."""
    application, parent = Application(loaded), os.getppid()
    while os.getppid() == parent:
        try:
            application.domains[DEFAULT_DOMAIN].settle()
        except (Refused, NoAnswer):
            log.warning("registry.not_available")
        except SQLAlchemyError:
            log.exception("database.unreachable")
        time.sleep(min(30.0, loaded.settings.repository.registry_seconds))


def _publish(loaded: Loaded) -> None:
    """Let publishing follow the archive."""
    application, parent = Application(loaded), os.getppid()
    with Spool(loaded.settings.data / "spool") as spool:
        publisher = application.domains[DEFAULT_DOMAIN].publisher(spool)
        while os.getppid() == parent:
            try:
                publisher.step()
            except (NotAnswering, Gone):
                log.warning("archive.not_answering")
            except SQLAlchemyError:
                log.exception("database.unreachable")
            time.sleep(min(loaded.settings.imaging_source.refresh_seconds, 10.0))


def _sweep(loaded: Loaded) -> None:
    """Remove what was staged or put and never named: what a process that died has left."""
    engine, parent, swept = make_engine(loaded.settings.database_url, connections=2), os.getppid(), 0.0
    blobs = open_blobs(loaded.settings, engine)
    while os.getppid() == parent:
        if not swept or time.monotonic() - swept > SWEEP_EVERY_SECONDS:
            swept = time.monotonic()
            try:
                removed = blobs.sweep(engine)
                if removed:
                    log.info("documents.swept", extra={"removed": removed})
            except NotReachable:
                log.warning("documents.not_reachable")
            except SQLAlchemyError:
                log.exception("database.unreachable")
        time.sleep(1.0)


@dataclass(slots=True)
class _Child:
    title: str
    run: Callable[[], None]
    pid: int = 0


class Supervisor:
    """Starts the processes, starts again what dies, and stops them in order: web, images, sequencer."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded, self._stopping = loaded, False
        images = "imaging-source" in loaded.settings.server.actors
        # Not in the data folder: the kernel's limit for socket names is 108 bytes.
        self._run_folder = Path(tempfile.mkdtemp(prefix="xds-"))
        images_socket = str(self._run_folder / "images.sock") if images else ""
        self._children = [_Child("sequencer", lambda: sequencer.run(loaded))]
        if "repository" in loaded.settings.server.actors:
            self._children.append(_Child("sweeper", lambda: _sweep(loaded)))
        if loaded.settings.repository.registry_url:
            self._children.append(_Child("settler", lambda: _settle(loaded)))
        if loaded.settings.imaging_source.folder:
            self._children.append(_Child("archive", lambda: _follow_archive(loaded)))
        if loaded.settings.imaging_source.publish_to:
            self._children.append(_Child("publisher", lambda: _publish(loaded)))
        if loaded.settings.imaging_source.cstore_listen:
            self._children.append(_Child("cstore", lambda: _cstore(loaded)))
        for name, domain in loaded.settings.affinity_domains.items():
            if domain.mllp_listen and "registry" in loaded.settings.server.actors:
                self._children.append(_Child(f"mllp {name}", partial(_mllp, loaded, name)))
        syslog = loaded.settings.syslog
        if syslog.tls or syslog.tcp or syslog.udp:
            self._children.append(_Child("syslog", lambda: _syslog(loaded)))
        for url in loaded.settings.audit.forward_to:
            self._children.append(_Child(f"forwarder {url}", partial(_forward, loaded, url)))
        if loaded.settings.audit.time_server:
            self._children.append(_Child("clock", lambda: _clock(loaded)))
        for where in loaded.settings.audit.witnesses:
            self._children.append(_Child(f"witness {where}", partial(_show, loaded, where)))
        if images:
            self._children.append(_Child("images", lambda: _images(loaded, images_socket)))
        self._children.append(_Child("web", lambda: _web(loaded, images_socket)))

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        engine = make_engine(self._loaded.settings.database_url)
        prepare(engine, self._loaded)
        engine.dispose()
        self._record(starts=True)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        for child in self._children:
            self._start(child)
        try:
            while not self._stopping:
                self._watch()
        finally:
            self._stopping = True
            self._stopped()
        return 0

    def _record(self, *, starts: bool) -> None:
        """Application Activity; without a database there is nothing to record it in, nor anything else."""
        engine = make_engine(self._loaded.settings.database_url, connections=1)
        try:
            with engine.begin() as connection:
                node = source_of(self._loaded.settings)
                record(connection, AuditEvent.application(node, starts=starts).records())
                changed = changed_settings(connection, self._loaded.settings) if starts else {}
                for kind, names in changed.items():
                    event = AuditEvent.settings_changed(node, kind, names)
                    record(connection, event.records())
        except SQLAlchemyError:
            log.exception("database.unreachable")
        finally:
            engine.dispose()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, child: _Child) -> None:
        sys.stdout.flush()
        supervisor = os.getpid()
        child.pid = os.fork()
        if child.pid:
            return
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Should the supervisor be killed, its children stop as if told to.
            ends_with_us()
            if os.getppid() != supervisor:
                return  # it was killed before that was asked for, and nobody will tell
            child.run()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except Unusable as problem:
            log.error("process.cannot_go_on", extra={"child": child.title, "reason": str(problem)})
        except BaseException:
            log.exception("process.failed", extra={"child": child.title})
        finally:
            os._exit(code)

    def _watch(self) -> None:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.1)
            return
        for child in self._children:
            if child.pid == pid and not self._stopping:
                log.error("child.died", extra={"child": child.title})
                time.sleep(0.5)
                self._start(child)

    def _stopped(self) -> None:
        """Requests in flight are finished first; then the log is sealed."""
        limit = self._loaded.settings.server.stop_seconds + 5
        sequencing, *others = self._children
        for child in reversed(others):
            _terminate(child.pid, limit)
        self._record(starts=False)
        _terminate(sequencing.pid, limit)
        shutil.rmtree(self._run_folder, ignore_errors=True)


def _terminate(pid: int, seconds: float) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    except (ProcessLookupError, ChildProcessError):
        return
