"""W3C Trace Context between nodes, and OpenTelemetry's spans where ``[tracing]`` asks for them.

Off, nothing of OpenTelemetry is imported and nothing is passed on.  On, one trace goes from who publishes to who
registers.  Spans say transaction, outcome and the peer's name; never whose data, which documents, or what was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from xds.errors import Unusable
from xds.settings.sections import Tracing

TRACESTATE = 512
"""Characters that are passed on of what others carry along (W3C Trace Context, 3.3.1.5); of more none."""

_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of another node that a request is part of."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""

    @classmethod
    def read(cls, traceparent: str, tracestate: str = "") -> Parent | None:
        """From a request's headers; None where there is none, or none that can be read (3.2.2, 4.3)."""
        found = _PARENT.fullmatch(traceparent) if len(traceparent) <= 256 else None
        if found is None or (found[1] == "00" and found[5]):
            return None
        state = tracestate if len(tracestate) <= TRACESTATE else ""
        return cls(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & 1), state)


class Spans(Protocol):
    """What makes spans."""

    def answering(self, parent: Parent | None, known: Callable[[], bool]) -> AbstractContextManager[None]:
        """The span of a request that is answered inside; ``known``: whether its peer is one of the settings'."""
        ...

    def calling(self, name: str, peer: str) -> AbstractContextManager[Mapping[str, str]]:
        """The span of a request to another node, or of what is begun here; and the headers that go along."""
        ...

    def headers(self) -> Mapping[str, str]:
        """The headers of what is under way."""
        ...

    def note(self, transaction: str, outcome: str, peer: str) -> None:
        """Say of the request that is answered what it is."""
        ...

    def close(self) -> None:
        """Send what is left, if that can be done soon."""
        ...


_spans: Spans | None = None


def check(settings: Tracing) -> None:
    """See that there is what it takes.

    Raises:
        Unusable: it is asked for, and the package is not installed; or a value is none.
    """
    if not settings.endpoint:
        return
    if not settings.endpoint.startswith(("http://", "https://")):
        raise Unusable("tracing.endpoint: the URL of a collector, as http://127.0.0.1:4318/v1/traces")
    if not 0 <= settings.ratio <= 1:
        raise Unusable("tracing.ratio: between 0 and 1")
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise Unusable("tracing.endpoint is set, and OpenTelemetry is not installed: pip install 'xds[tracing]'")


def start(settings: Tracing, node: str, count: Callable[[str, int], None]) -> None:
    """Make spans in this process, if the settings ask for them; to be called after the fork.

    ``count`` is told what became of spans, and of how many.
    """
    global _spans
    if not settings.endpoint or _spans is not None:
        return
    check(settings)
    from xds.wire.spans import Exported

    _spans = Exported(settings, node, count)


def stop() -> None:
    """Make no more."""
    global _spans
    if _spans is not None:
        _spans.close()
    _spans = None


def answering(traceparent: str, tracestate: str, known: Callable[[], bool]) -> AbstractContextManager[None]:
    """What is done inside answers a request with these headers."""
    if _spans is None:
        return nullcontext()
    return _spans.answering(Parent.read(traceparent, tracestate), known)


@contextmanager
def beginning(name: str) -> Iterator[None]:
    """What is done inside this node does by itself, and is a trace."""
    if _spans is None:
        yield
        return
    with _spans.calling(name, ""):
        yield


def calling(peer: str) -> AbstractContextManager[Mapping[str, str]]:
    """What is done inside asks another node; gives the headers that go along."""
    return nullcontext({}) if _spans is None else _spans.calling("request", peer)


def headers() -> Mapping[str, str]:
    """Those that go along with a request that is not made by ``calling``."""
    return {} if _spans is None else _spans.headers()


def note(transaction: str, outcome: str, peer: str) -> None:
    """Say of the request that is answered what it is; a peer by its name in the settings."""
    if _spans is not None:
        _spans.note(transaction, outcome, peer)
