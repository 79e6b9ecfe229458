"""OpenTelemetry's spans, sent to a collector by OTLP over HTTP.  Imported only where ``tracing.endpoint`` is set.

Nobody waits for the collector: spans wait in a queue that is bounded, and what finds it full is dropped and counted.
Who is not in the settings does not decide what is sent: of their requests a part is, by ``tracing.ratio``.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any

import requests
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from xds import __version__
from xds.settings.sections import Tracing
from xds.wire.now_and_then import NowAndThen
from xds.wire.tracing import Parent

log = logging.getLogger("xds.wire.spans")

QUEUE, BATCH = 2048, 512
"""Spans that wait at most, and that are sent at once."""

SEND_SECONDS, PATIENCE_SECONDS, STOP_SECONDS = 1.0, 5.0, 2.0
"""Between two looks at the queue, for the collector to take a batch, and for all that is left when a process ends."""

_CHOSEN = contexts.create_key("xds-chosen")
_answered: ContextVar[Any] = ContextVar("answered", default=None)


class _Chosen(Sampler):
    """What was chosen for a request holds for all that is done for it."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def should_sample(self, parent_context: Any, *_given: Any, **_named: Any) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        chosen = contexts.get_value(_CHOSEN, parent_context)
        if chosen is None:
            chosen = parent.trace_flags.sampled if parent.is_valid else random.random() < self._ratio  # noqa: S311  # nosec B311
        decision = Decision.RECORD_AND_SAMPLE if chosen else Decision.DROP
        return SamplingResult(decision, trace_state=parent.trace_state if parent.is_valid else None)

    def get_description(self) -> str:
        return "xds"


class Pace:
    """So many in a second, and no more.  Safe with threads."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock, self._lock = per_second, clock, Lock()
        self._left, self._since = float(per_second), clock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._left = min(self._left + (now - self._since) * self._per_second, float(self._per_second))
            self._since = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Sending(SpanProcessor):
    """Sends spans in batches, by a thread that nobody waits for."""

    def __init__(
        self, exporter: SpanExporter, count: Callable[[str, int], None], seconds: float = SEND_SECONDS
    ) -> None:
        self._exporter, self._count, self._seconds = exporter, count, seconds
        self._queue = Queue[ReadableSpan](QUEUE)
        self._stopping, self._told = Event(), NowAndThen(60.0)
        self._thread = Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        try:
            self._queue.put_nowait(span)
        except Full:
            self._count("dropped", 1)

    def shutdown(self) -> None:
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the library's
        """Nobody waits: what is left is sent as the process ends."""
        return True

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self._send()
        self._send()

    def _send(self) -> None:
        while batch := self._batch():
            outcome = "failed"
            try:
                if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                    outcome = "sent"
            except Exception:
                log.exception("tracing.failed")
            self._count(outcome, len(batch))
            if outcome == "failed" and self._told.due("collector") is not None:
                log.warning("tracing.not_sent", extra={"spans": len(batch)})

    def _batch(self) -> Sequence[ReadableSpan]:
        found = list[ReadableSpan]()
        try:
            while len(found) < BATCH:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found


class Exported:
    """One process' spans.  Safe with threads."""

    def __init__(
        self, settings: Tracing, node: str, count: Callable[[str, int], None], exporter: SpanExporter | None = None
    ) -> None:  # fmt: skip
        self._settings, self._count, self._pace = settings, count, Pace(settings.most_per_second)
        self._sending = Sending(exporter or _exporter(settings), count)
        provider = TracerProvider(
            sampler=_Chosen(settings.ratio),
            resource=Resource({"service.name": "xds", "service.version": __version__, "service.instance.id": node}),
            span_limits=SpanLimits(max_attributes=16, max_attribute_length=128),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._sending)
        self._tracer = provider.get_tracer("xds")
        self._plain = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._record)

    def close(self) -> None:
        logging.setLogRecordFactory(self._plain)
        self._sending.shutdown()

    @contextmanager
    def answering(self, parent: Parent | None, known: Callable[[], bool]) -> Iterator[None]:
        here = contexts.get_current()
        if trace.get_current_span(here).get_span_context().is_valid:  # an actor of this process asks another
            above = here
        else:
            above = contexts.set_value(_CHOSEN, self._chooses(parent, known), _under(parent, here))
        with self._tracer.start_as_current_span(
            "request", above, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            # What was chosen is in the span from here on; a span below it asks that.
            token = contexts.attach(trace.set_span_in_context(span, here))
            noted = _answered.set(span)
            try:
                yield
            finally:
                _answered.reset(noted)
                contexts.detach(token)

    def _chooses(self, parent: Parent | None, known: Callable[[], bool]) -> bool:
        """Whether spans of a request are sent: as a known peer has chosen, else by the ratio; never too many."""
        if parent is not None and not parent.sampled:
            return False
        by_peer = parent is not None and known()
        if not by_peer and random.random() >= self._settings.ratio:  # noqa: S311  # nosec B311
            return False
        if self._pace.take():
            return True
        self._count("over-pace", 1)
        return False

    @contextmanager
    def calling(self, name: str, peer: str) -> Iterator[Mapping[str, str]]:
        kind = SpanKind.CLIENT if peer else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name, None, kind, {"peer.name": peer} if peer else {}, record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield self.headers()
            except Exception as problem:
                span.set_attribute("error.type", type(problem).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def headers(self) -> Mapping[str, str]:
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return {}
        parent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
        state = found.trace_state.to_header() if found.trace_state else ""
        return {"traceparent": parent} | ({"tracestate": state} if state else {})

    def note(self, transaction: str, outcome: str, peer: str) -> None:
        span = _answered.get()
        if span is None:
            return
        span.update_name(transaction)
        span.set_attributes({"xds.transaction": transaction, "xds.outcome": outcome, "peer.name": peer or "unnamed"})
        if outcome == "fault":
            span.set_status(Status(StatusCode.ERROR))

    def _record(self, *args: Any, **named: Any) -> logging.LogRecord:
        """A log line of a request says of which trace it is."""
        made = self._plain(*args, **named)
        found = trace.get_current_span().get_span_context()
        if found.is_valid:
            made.trace_id = f"{found.trace_id:032x}"
        return made


def _under(parent: Parent | None, here: Any) -> Any:
    if parent is None:
        return here
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([parent.state]) if parent.state else TraceState()
    found = SpanContext(parent.trace_id, parent.span_id, True, flags, state)
    return trace.set_span_in_context(trace.NonRecordingSpan(found), here)


def _exporter(settings: Tracing) -> SpanExporter:
    for name in ("opentelemetry", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is not sent is counted, and told now and then
    session = requests.Session()
    session.trust_env = False
    return OTLPSpanExporter(
        settings.endpoint, certificate_file=settings.trusted or None, timeout=PATIENCE_SECONDS, session=session
    )
