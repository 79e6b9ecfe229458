"""``xds serve``: web processes, image processes and the audit log's sequencer, supervised.

Everything is imported once and forked; engines are made after the fork.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from xds.audit.log import sequencer
from xds.audit.messages.events import AuditEvent, source_of
from xds.errors import Unusable
from xds.initiating import audit_forwarder
from xds.server import leftovers, web, workers
from xds.settings.addresses import stands_alone
from xds.settings.sections import Loaded
from xds.store import replicas
from xds.store.audit.records import record
from xds.store.deployment import changed_settings, prepare
from xds.store.documents import checking
from xds.store.engine import make_engine
from xds.system import processes
from xds.system.aside import aside
from xds.system.parent import ends_with_us
from xds.system.private import private
from xds.wire import revocation
from xds.wire.metrics import Metrics

log = logging.getLogger("xds.server.processes")


@dataclass(slots=True)
class _Child:
    title: str
    run: Callable[[], None]
    pid: int = 0


class Supervisor:
    """Starts the processes, starts again what dies, and stops them in order: web, images, sequencer."""

    def __init__(self, loaded: Loaded, was_told: Callable[[], bool] = bool) -> None:
        """``was_told``: whether it was told to stop before it listened to that itself."""
        self._loaded, self._stopping, self._was_told = loaded, False, was_told
        self._deaths = Metrics().deaths
        revocation.watch(loaded.settings)
        images = "imaging-source" in loaded.settings.server.actors
        # Not in the data folder: the kernel's limit for socket names is 108 bytes.
        self._run_folder = Path(tempfile.mkdtemp(prefix="xds-"))
        images_socket = str(self._run_folder / "images.sock") if images else ""
        self._children = [_Child("sequencer", lambda: sequencer.run(loaded))]
        if "repository" in loaded.settings.server.actors:
            self._children.append(_Child("sweeper", lambda: workers.sweep(loaded)))
        if loaded.settings.repository.registry_url:
            self._children.append(_Child("settler", lambda: workers.settle(loaded)))
        if loaded.settings.imaging_source.folder:
            self._children.append(_Child("archive", lambda: workers.follow_archive(loaded)))
        if loaded.settings.imaging_source.publish_to:
            self._children.append(_Child("publisher", lambda: workers.publish(loaded)))
        if loaded.settings.imaging_source.cstore_listen:
            self._children.append(_Child("cstore", lambda: workers.cstore(loaded)))
        for name, domain in loaded.settings.affinity_domains.items():
            if domain.mllp_listen and "registry" in loaded.settings.server.actors:
                self._children.append(_Child(f"mllp {name}", partial(workers.mllp, loaded, name)))
        syslog = loaded.settings.syslog
        if syslog.tls or syslog.tcp or syslog.udp:
            self._children.append(_Child("syslog", lambda: workers.syslog(loaded)))
        for url in loaded.settings.audit.forward_to:
            self._children.append(_Child(f"forwarder {url}", partial(workers.forward, loaded, url)))
        if loaded.settings.audit.time_server:
            self._children.append(_Child("clock", lambda: workers.clock(loaded)))
        for where in loaded.settings.audit.witnesses:
            self._children.append(_Child(f"witness {where}", partial(workers.show, loaded, where)))
        if loaded.settings.audit.object_store:
            self._children.append(_Child("audit-store", lambda: workers.store_audit(loaded)))
        policy = loaded.settings.policy
        if policy.alert_url or (policy.alert_mail and policy.alert_smtp):
            self._children.append(_Child("overrides", lambda: workers.tell_of_overrides(loaded)))
        if loaded.settings.consent.documents and "registry" in loaded.settings.server.actors:
            self._children.append(_Child("consents", lambda: workers.fetch_consents(loaded)))
        if images:
            self._children.append(_Child("images", lambda: web.images(loaded, images_socket)))
        self._children.append(_Child("web", lambda: web.web(loaded, images_socket)))

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        private()
        processes.supervise()
        for child in self._children:  # a count that begins with 0 is seen to rise
            self._deaths.labels(child.title.split()[0]).inc(0)
        leftovers.warn_of_wider(self._loaded.settings)
        leftovers.swept(self._loaded.settings)
        engine = make_engine(self._loaded.settings.database_url)
        prepare(engine, self._loaded)
        replicas.check(engine, self._loaded.settings.server.replicas)
        engine.dispose()
        if "repository" in self._loaded.settings.server.actors:
            aside(lambda: checking.check(self._loaded.settings))
        if stands_alone(self._loaded.settings):
            log.info("access.stands_alone", extra={"peer": "this-machine", "roles": "all"})
        self._record(starts=True)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self._stopping = self._stopping or self._was_told()
        gc.collect()
        gc.freeze()  # what looks through memory writes in it: what is here already stays shared by all children
        gc.enable()
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
                for url in self._loaded.settings.audit.forward_to if starts else ():
                    audit_forwarder.position(connection, url)  # who is new is told that we have started
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
        # Told to stop before it has ears of its own, a child would hear that with its copy of ours, for nobody.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        child.pid = os.fork()
        if child.pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            # Should the supervisor be killed, its children stop as if told to.
            ends_with_us()
            if os.getppid() != supervisor:
                return  # it was killed before that was asked for, and nobody will tell
            processes.call(child.title)
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
                self._deaths.labels(child.title.split()[0]).inc()
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
