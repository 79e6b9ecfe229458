"""What is counted in no process, for ``/metrics``: queues, disks, processes, and what ends by itself.

Whoever asks is answered soon: what a database or a disk that does not answer would say is left out.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import disk_usage
from threading import Lock, Thread

import sqlalchemy as sa

from xds import __version__
from xds.archives import cache_index
from xds.server import expiry, queues
from xds.server.archives import cache_folder
from xds.settings.sections import Settings
from xds.store.engine import make_engine
from xds.system import processes
from xds.wire.gauges import counter, gauge

log = logging.getLogger("xds.server.counted")

KEPT_SECONDS, PATIENCE_SECONDS = 2.0, 2.0
"""How long it is taken for true what was seen, and waited for what is asked."""

FILES = 10_000
"""That are looked at in a folder of what is under way."""


class Aside:
    """Something that may take long, asked by a thread of its own, one at a time.  Safe with threads."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask, self._lock = ask, Lock()
        self._thread: Thread | None = None
        self._text, self._until = "", float("-inf")

    def text(self) -> str:
        """What was said, now or a moment ago; nothing where it takes too long."""
        with self._lock:
            if time.monotonic() < self._until:
                return self._text
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._asked, name="counted", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(PATIENCE_SECONDS)
        return self._text if time.monotonic() < self._until + PATIENCE_SECONDS else ""

    def _asked(self) -> None:
        started = time.monotonic()
        try:
            self._text = self._ask()
            ended = time.monotonic()
            self._until = ended + max(KEPT_SECONDS, 9 * (ended - started))  # it takes a tenth of the time at most
        except Exception:  # a part of it, that nobody has thought of: /metrics says the rest
            log.exception("metrics.not_read")


class Counted:
    """Of one deployment, as one process sees it."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._engine: sa.Engine | None = None
        self._database = Aside(lambda: self._said(queues.database))
        self._queues = Aside(lambda: self._said(*queues.parts(settings)))
        self._disks = Aside(lambda: disks(settings) + image_cache(settings))

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def text(self) -> str:
        """In the text format of ``/metrics``."""
        database = self._database.text()
        is_up = gauge("xds_database_up", "Whether the database answers.", [({}, int(bool(database)))])
        waiting = self._queues.text() if database else ""
        return about() + is_up + database + waiting + self._disks.text() + running() + expiry.metrics(self._settings)

    def _said(self, *parts: Callable[[sa.Engine], str]) -> str:
        """On connections of its own: that all others are busy is one of the things to tell."""
        with self._lock:
            if self._engine is None:
                self._engine = make_engine(self._settings.database_url, connections=2)
        found = []
        for part in parts:
            try:
                found.append(part(self._engine))
            except sa.exc.SQLAlchemyError:
                log.warning("database.unreachable")
        return "".join(found)


def about() -> str:
    """What runs here."""
    return gauge(
        "xds_build_info", "The version that runs.", [({"version": __version__, "python": platform.python_version()}, 1)]
    )


def running() -> str:
    """The processes of this server, by what they do."""
    found = defaultdict[str, list[processes.Process]](list)
    for one in processes.running():
        found[one.title].append(one)
    each = sorted(found.items())
    return (
        gauge("xds_processes", "Processes that run.", [({"process": title}, len(ones)) for title, ones in each])
        + gauge(
            "xds_process_resident_bytes", "Memory of these, what they share counted with each.",
            [({"process": title}, sum(one.resident_bytes for one in ones)) for title, ones in each],
        )
        + gauge(
            "xds_process_cpu_seconds", "Time that those which run now have computed.",
            [({"process": title}, f"{sum(one.cpu_seconds for one in ones):.2f}") for title, ones in each],
        )
    )  # fmt: skip


def disks(settings: Settings) -> str:
    """What is free of each disk, and what is staged or spooled on its way."""
    folders = {"data": settings.data, "documents": settings.documents_folder}
    if settings.imaging_source.folder:
        folders["images"] = Path(settings.imaging_source.folder)
    found = {name: usage for name, folder in folders.items() if (usage := _usage(folder)) is not None}
    spools = {"data": settings.data / "spool", "documents": settings.documents_folder / "staging"}
    held = {name: list(_held(folder)) for name, folder in spools.items()}
    return (
        gauge("xds_disk_free_bytes", "Of the disk that a folder is on.", [({"of": n}, u[1]) for n, u in found.items()])
        + gauge("xds_disk_bytes", "All that this disk has.", [({"of": n}, u[0]) for n, u in found.items()])
        + gauge(
            "xds_disk_reserve_bytes", "With less free nothing is taken in.", [({}, settings.server.least_free_bytes)]
        )
        + gauge("xds_spool_files", "Files of what is under way.", [({"of": n}, len(s)) for n, s in held.items()])
        + gauge("xds_spool_bytes", "Bytes in them.", [({"of": n}, sum(s)) for n, s in held.items()])
    )


def image_cache(settings: Settings) -> str:
    """What of a PACS is kept here, and what it was spared."""
    found = cache_index.counts(cache_folder(settings)) if settings.imaging_source.cache_bytes else {}
    if not found:
        return ""
    outcomes, ways, limit = cache_index.OUTCOMES, ("cache", "archive"), settings.imaging_source.cache_bytes
    return (
        gauge("xds_image_cache_bytes", "Of images from a PACS that are kept here.", [({}, found["bytes"])])
        + gauge("xds_image_cache_limit_bytes", "The most that they may be.", [({}, limit)])
        + gauge("xds_image_cache_instances", "How many these are.", [({}, found["instances"])])
        + counter(
            "xds_image_cache_requests_total", "Images wanted, by whether they were here, or came and were kept.",
            [({"outcome": one}, found[one]) for one in outcomes],
        )
        + counter(
            "xds_image_cache_read_bytes_total", "Bytes of images wanted, by where they came from.",
            [({"source": one}, found[f"from {one}"]) for one in ways],
        )
        + counter("xds_image_cache_evictions_total", "Images that had to go for others.", [({}, found["evicted"])])
    )  # fmt: skip


def _usage(folder: Path) -> tuple[int, int] | None:
    try:
        usage = disk_usage(folder)
    except OSError:
        return None
    return usage.total, usage.free


def _held(folder: Path) -> Iterator[int]:
    """The sizes of files in a folder and those right below it."""
    waiting, seen = [folder], 0
    while waiting and seen < FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > FILES:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        yield entry.stat(follow_symlinks=False).st_size
        except OSError:  # it has just gone
            continue
