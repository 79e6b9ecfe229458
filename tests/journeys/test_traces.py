"""One submission is one trace, from who publishes it to who registers it, at a collector of OpenTelemetry's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import AUTHORITY
from tests.collector import Collector, Span, collecting
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.journeys.test_failures import counted
from xds.demo.site import free_port

NAMES = {"publish", "request", "ITI-41", "ITI-42"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def a_registry(folder: Path, endpoint: str) -> Served:
    """It sends nothing of its own accord: only what who is known has chosen."""
    return Served(folder, {
        "server": {"actors": ["registry"], "log": "json"}, "audit": {"source_id": "registry"},
        "tracing": {"endpoint": endpoint, "ratio": 0.0},
    })  # fmt: skip


def a_hospital(folder: Path, endpoint: str, registry: Served) -> Served:
    """A repository and a source of images that publishes them there."""
    port = free_port()
    put(folder / "images", "1.dcm", an_instance(1))
    return Served(folder, {
        "server": {"actors": ["repository", "imaging-source"]}, "audit": {"source_id": "hospital"},
        "repository": {"registry_url": f"{registry.url}/registry"},
        "imaging_source": {
            "folder": str(folder / "images"), "refresh_seconds": 0.2, "publish_quiet_seconds": 0.2,
            "publish_to": f"http://127.0.0.1:{port}/repository", "issuer": AUTHORITY,
        },
        "tracing": {"endpoint": endpoint, "ratio": 1.0},
    }, port=port)  # fmt: skip


def test_a_submission_is_one_trace_from_publisher_to_registry(tmp_path: Path, collector: Collector) -> None:
    registry = a_registry(tmp_path / "registry", collector.url).start()
    hospital = a_hospital(tmp_path / "hospital", collector.url, registry).start()

    def registered() -> list[Span]:
        return [span for span in collector.spans if span.name == "ITI-42" and span.node == "registry"]

    def path() -> list[Span]:
        """From the registry's span up to the one without a parent; each process sends its own when it will."""
        spans = {span.id: span for span in collector.spans}
        found = registered()[:1]
        while found and found[-1].parent:
            if found[-1].parent not in spans:
                return []
            found.append(spans[found[-1].parent])
        return found

    wait_for(path)
    last = path()[0]
    assert [(one.node, one.name) for one in reversed(path())] == [
        ("hospital", "publish"), ("hospital", "request"), ("hospital", "ITI-41"), ("hospital", "request"),
        ("registry", "ITI-42"),
    ]  # fmt: skip
    assert {one.trace for one in path()} == {last.trace}
    assert last.attributes == {"xds.transaction": "ITI-42", "xds.outcome": "done", "peer.name": "this-machine"}
    assert (hospital.stop(), registry.stop()) == (0, 0)
    said = b"".join(collector.bodies)
    for secret in (STUDY, SERIES, AUTHORITY, "4711", "Müller", "urn:uuid"):
        assert secret.encode() not in said
    assert {span.name for span in collector.spans} <= NAMES


def test_a_log_line_in_json_says_of_which_trace_it_is(tmp_path: Path, collector: Collector) -> None:
    registry = a_registry(tmp_path / "registry", collector.url).start()
    hospital = a_hospital(tmp_path / "hospital", collector.url, registry)
    hospital.sections = {**hospital.sections, "server": {**hospital.sections["server"], "log": "json"}}
    hospital.start()

    def published() -> list[dict[str, str]]:
        lines = [json.loads(line) for line in hospital.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "study.published"]

    wait_for(published)
    (line,) = published()
    wait_for(lambda: line["trace_id"] in {span.trace for span in collector.spans})
    assert (line["level"], line["logger"], line["study"]) == ("INFO", "xds.initiating.publisher", STUDY)
    assert (hospital.stop(), registry.stop()) == (0, 0)


def test_without_a_collector_that_answers_nobody_waits_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1/traces"
    node = Served(tmp_path / "node", {"tracing": {"endpoint": nowhere, "ratio": 1.0}}).start()
    started = time.monotonic()
    for number in range(5):
        node.provide(str(number).encode(), tmp_path)
    assert time.monotonic() - started < 20
    wait_for(lambda: counted(node, "xds_trace_spans").get('outcome="failed"', 0) >= 5)
    assert node.stop() == 0
