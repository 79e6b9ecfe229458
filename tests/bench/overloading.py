"""Ten times as much as a node can do: what it takes on is as quick as before, the rest is told to come again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench import load, rows
from tests.bench.figures import Broken, Curve, Reach, Result, judged
from tests.bench.pressing import Pressed, press
from tests.bench.registering import PATIENTS, submissions
from tests.bench.run import Run, Server
from xds.wire.mtom import SOAP

ADDRESSES = 40
"""Peers."""

TIMES = 10
"""Its capacity, in clients and in requests a second."""

TAIL = Reach("≤", 2.0)
LOST = Reach("≤", 0.0, "in all")
RECOVERED = Reach("≤", 5.0, "s")
AS_BEFORE = 0.8
"""Of its rate at capacity: with this it has recovered."""


def run(bench: Run) -> Iterator[Result]:
    """ITI-42 at capacity, at ten times as much, and after it."""
    yield from bench.each_database("overload", lambda kind: _one(bench, kind))


def _one(bench: Run, kind: str) -> Iterator[Result]:
    site = bench.new_server(kind)
    server = site.settings.server
    clients = server.workers * int(server.threads / server.share)  # at its capacity: one for each of its places
    calm_seconds = bench.of(15.0, 6.0, 1.0)
    with bench.serving(site):
        rows.add_patients(site.settings.database_url, PATIENTS)
        template = load.register_body(f"{site.url}/registry")
        _press(site, template, clients, bench.of(3.0, 2.0, 1.0))
        calm = _press(site, template, clients, calm_seconds)
        before = submissions(site)
        pressed = _press(site, template, clients * TIMES, bench.of(300.0, 20.0, 2.0), calm.rate * TIMES)
        kept = submissions(site) - before
        after = _press(site, template, clients, calm_seconds)
    if kept < len(pressed.milliseconds):
        raise Broken(f"{len(pressed.milliseconds)} submissions were acknowledged, {kept} are registered")
    if not pressed.milliseconds:
        raise Broken("nothing was carried out")
    name, note = f"overload {kind}", f"{pressed.offered:,.0f} a second were asked for by {clients * TIMES} clients"
    yield judged(f"{name}: p99", "ms", pressed.p(99), calm.p(99), TAIL, note=f"floor: at capacity; {note}")
    yield judged(f"{name}: carried out", "1/s", pressed.rate, calm.rate, None, note="floor: at capacity")
    yield judged(
        f"{name}: told to come again", "1/s", pressed.told_busy / pressed.seconds, None, None,
        note=f"p99 of that {pressed.busy_p(99):,.0f} ms",
    )  # fmt: skip
    yield judged(f"{name}: no answer", "", float(pressed.lost.total()), None, LOST, note=_listed(pressed))
    yield judged(f"{name}: recovered after", "s", _recovered(after, calm.rate), None, RECOVERED)
    yield Curve(f"{name}: carried out", "s", "1/s", kind, _by_second(pressed))


def _press(site: Server, template: str, clients: int, seconds: float, rate: float = 0.0) -> Pressed:
    """Submissions from so many clients of all addresses."""
    run = time.time_ns() // 1000
    head = (f"POST /registry HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {SOAP}\r\nContent-Length: ").encode()

    def request(number: int) -> bytes:
        body = (
            template.replace("@DOCUMENT@", f"2.25.{run}.1.{number}").replace("@SET@", f"2.25.{run}.2.{number}")
            .replace("@MESSAGE@", f"{number:08x}-0000-4000-8000-{run:012x}"[:36])
            .replace("@PATIENT@", load.patient(number % PATIENTS).id)
        ).encode()  # fmt: skip
        return b"%s%d\r\n\r\n%s" % (head, len(body), body)

    return press(site.port, request, clients=clients, addresses=ADDRESSES, seconds=seconds, rate=rate)


def _recovered(after: Pressed, rate: float) -> float:
    """Seconds until a whole one in which as much is carried out as before."""
    for second, count in _by_second(after):
        if count >= rate * AS_BEFORE:
            return second
    return after.seconds


def _by_second(told: Pressed) -> tuple[tuple[float, float], ...]:
    """How many were carried out in each."""
    counts = [0] * (int(told.seconds) + 1)
    for when in told.when:
        if when < len(counts):
            counts[int(when)] += 1
    return tuple((float(second), float(count)) for second, count in enumerate(counts[:-1]))


def _listed(told: Pressed) -> str:
    return ", ".join(f"{count} × {how}" for how, count in told.lost.items() if count)
