"""What ``/metrics`` counts: transactions by outcome and peer, how long they took, and what others were asked.

With several processes the values are kept in files of ``PROMETHEUS_MULTIPROC_DIR``, which ``xds serve`` sets.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from xds.wire import tracing

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


MEMORY = Path("/dev/shm")  # noqa: S108  Linux's own; what is made there is ours alone  # nosec B108
_PREFIX = "xds-metrics-"


BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Of all times, in seconds."""

NAMES = 200
"""Peers that are told apart; however many a deployment has, ``/metrics`` stays readable."""


def prepare(folder: Path) -> None:
    """Keep the values of all processes in a folder; to be called before this module's metrics are made.

    Not on disk where the machine has a place in memory: the files are mapped, and a process that writes to one for
    which a full disk has no room is ended.
    """
    for left in MEMORY.glob(f"{_PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)  # another user's stays
    if os.access(MEMORY, os.W_OK):
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=MEMORY))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
    os.environ[VARIABLE] = str(folder)
    atexit.register(_removed, folder, os.getpid())


def _removed(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_the_dead(folder: Path) -> None:
    """What a process has just now ends with it; what it has counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        if not Path("/proc", file.stem.rpartition("_")[2]).exists():
            file.unlink(missing_ok=True)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        # Imported late: the library looks for the folder when it is imported.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self.transactions = Counter(
            "xds_transactions", "Transactions answered.", ("transaction", "outcome"), registry=self._registry
        )
        self.seconds = Histogram(
            "xds_transaction_seconds",
            "Seconds from the envelope read to the effect committed.",
            ("transaction",),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._peers = Counter(
            "xds_peer_requests", "Transactions answered, by who asked.", ("peer", "outcome"), registry=self._registry
        )
        self._outgoing = Counter(
            "xds_outgoing_requests", "Requests to other nodes, by what became of them.", ("peer", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self._outgoing_seconds = Histogram(
            "xds_outgoing_seconds", "Seconds until another node's answer began.", ("peer",), registry=self._registry,
            buckets=BUCKETS,
        )  # fmt: skip
        self._named = {"peer": set[str](), "outgoing": set[str]()}
        self.documents_seconds = Histogram(
            "xds_documents_seconds", "Seconds that the store of documents took.", ("operation",),
            registry=self._registry, buckets=BUCKETS,
        )  # fmt: skip
        self.documents_failures = Counter(
            "xds_documents_failures", "What the store of documents did not do.", ("operation",),
            registry=self._registry,
        )  # fmt: skip
        self.places = Gauge(
            "xds_places", "Bounded places: those taken, all there are, and who waits for one.", ("of", "state"),
            registry=self._registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.connections = Gauge(
            "xds_database_connections", "Connections to the database: in use, and the most that may be.", ("state",),
            registry=self._registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.queries = Counter(
            "xds_queries_answered_from", "Queries by the database that answered, where there are replicas.",
            ("database",), registry=self._registry,
        )  # fmt: skip
        self.deaths = Counter(
            "xds_process_deaths", "Processes that ended unasked, and were started again.", ("process",),
            registry=self._registry,
        )  # fmt: skip
        self.spans = Counter("xds_trace_spans", "Spans by what became of them.", ("outcome",), registry=self._registry)
        self.streams = Counter(
            "xds_streams", "Replies with documents or images, whole or broken off.", ("transaction", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self.audit_received = Counter(
            "xds_audit_received", "Syslog messages that came, by what became of them.", ("transport", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self.audit_stored = Counter(
            "xds_audit_stored", "Times that the audit log was put into the object store, by what became of it.",
            ("outcome",), registry=self._registry,
        )  # fmt: skip
        self.passed_over = Counter(
            "xds_passed_over_bytes", "Bytes between two messages of a stream, which belong to none.", ("protocol",),
            registry=self._registry,
        )  # fmt: skip
        self.watched = Counter(
            "xds_would_be_refused", "Requests that the policy would refuse or filter, were it enforced.",
            ("transaction",), registry=self._registry,
        )  # fmt: skip
        self.refused = Counter(
            "xds_refused", "Requests and connections refused for the sake of others.", ("reason",),
            registry=self._registry,
        )  # fmt: skip
        self.tolerated = Counter(
            "xds_tolerated", "Deviations put right or let pass, by sender.", ("sender", "tolerance"),
            registry=self._registry,
        )  # fmt: skip

        self.connections_refused = Counter(
            "xds_connections_refused", "Connections that were refused, or gave way to others.", ("listener", "reason"),
            registry=self._registry,
        )  # fmt: skip

    def answered(self, transaction: str, outcome: str, peer: str, seconds: float) -> None:
        """Count a transaction of a peer by its name in the settings, all without one as one; its trace says so, too."""
        self.transactions.labels(transaction, outcome).inc()
        self.seconds.labels(transaction).observe(seconds)
        self._peers.labels(self._bounded("peer", peer or "unnamed"), outcome).inc()
        tracing.note(transaction, outcome, peer)

    def asked(self, peer: str, outcome: str, seconds: float) -> None:
        """Count a request to another node."""
        name = self._bounded("outgoing", peer)
        self._outgoing.labels(name, outcome).inc()
        self._outgoing_seconds.labels(name).observe(seconds)

    def traced(self, outcome: str, count: int) -> None:
        """Count spans by what became of them."""
        self.spans.labels(outcome).inc(count)

    def store_took(self, operation: str, seconds: float, done: bool) -> None:
        """Count what the store of documents was asked to do."""
        self.documents_seconds.labels(operation).observe(seconds)
        if not done:
            self.documents_failures.labels(operation).inc()

    def _bounded(self, kind: str, name: str) -> str:
        """A label's value: the first so many have their own."""
        named = self._named[kind]
        if name in named or len(named) < NAMES:
            named.add(name)
            return name
        return "others"

    def begin(self, refusals: Iterable[str]) -> None:
        """Count from 0 what is seldom: a count that begins with 1 is not seen to rise."""
        for reason in refusals:
            self.refused.labels(reason).inc(0)
        for operation in ("put", "read", "look"):
            self.documents_failures.labels(operation).inc(0)

    def refused_connection(self, listener: str, reason: str) -> None:
        """Count a connection that a listener refuses."""
        self.connections_refused.labels(listener, reason).inc()

    def not_begun(self) -> None:
        """Count a message that was answered with a fault before it was any transaction."""
        self.transactions.labels("none", "fault").inc()

    def streamed(self, transaction: str, *, whole: bool) -> None:
        """Count a stream that has ended."""
        self.streams.labels(transaction, "whole" if whole else "broken").inc()

    def text(self) -> bytes:
        """All processes' values in the Prometheus text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if VARIABLE not in os.environ:
            return generate_latest(self._registry)
        _forget_the_dead(Path(os.environ[VARIABLE]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
