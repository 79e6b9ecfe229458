"""Requests to other nodes: each is counted, by whom it asks, and part of the trace of what it is sent for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import urllib3

from xds.wire import tracing

Count: TypeAlias = Callable[[str, str, float], None]
"""Told the name of who was asked, what became of it, and the seconds until the answer began."""

_names: Mapping[str, str] = {}
_count: Count | None = None


def count(by: Count, names: Mapping[str, str]) -> None:
    """Count requests of this process from now on; ``names``: what others are called, by host and port."""
    global _count, _names
    _count, _names = by, dict(names)


def called(url: str) -> str:
    """What somebody is called: by the settings, else by host and port."""
    host = host_of(url)
    return _names.get(host, host)[:64]


def host_of(url: str) -> str:
    """Host and port of an address, without who signs in there; of what is none a question mark."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "?"


@dataclass(slots=True)
class Asking:
    """A request under way: what goes along with it, and what became of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    outcome: str = "answered"


@contextmanager
def asking(peer: str) -> Iterator[Asking]:
    """What is done inside asks another node and gets its answer; when it raises, there was none."""
    one, started = Asking(), time.monotonic()
    try:
        with tracing.calling(peer) as one.headers:
            yield one
    except Exception:
        one.outcome = "no answer"
        raise
    finally:
        if _count is not None:
            _count(peer, one.outcome, time.monotonic() - started)


class Pool(urllib3.PoolManager):
    """Connections to other nodes."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **named: Any) -> Any:  # type: ignore[override]
        """One request; see ``urllib3.PoolManager``."""
        with asking(called(url)) as one:
            if one.headers:
                named["headers"] = {**(named.get("headers") or self.headers), **one.headers}
            response = super().urlopen(method, url, redirect, **named)
            one.outcome = "answered" if response.status < 400 else "refused" if response.status < 500 else "failed"
            return response
