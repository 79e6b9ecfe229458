"""What ``/metrics`` counts: transactions by outcome, how long they took, and what was tolerated of whom.

With several processes the values are kept in files of ``PROMETHEUS_MULTIPROC_DIR``, which ``xds serve`` sets.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


MEMORY = Path("/dev/shm")  # noqa: S108  Linux's own; what is made there is ours alone  # nosec B108
_PREFIX = "xds-metrics-"


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


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        # Imported late: the library looks for the folder when it is imported.
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._registry = CollectorRegistry()
        self.transactions = Counter(
            "xds_transactions", "Transactions answered.", ("transaction", "outcome"), registry=self._registry
        )
        self.seconds = Histogram(
            "xds_transaction_seconds",
            "Seconds from the envelope read to the effect committed.",
            ("transaction",),
            registry=self._registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

        self.streams = Counter(
            "xds_streams", "Replies with documents or images, whole or broken off.", ("transaction", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self.audit_received = Counter(
            "xds_audit_received", "Syslog messages that came, by what became of them.", ("transport", "outcome"),
            registry=self._registry,
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
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
