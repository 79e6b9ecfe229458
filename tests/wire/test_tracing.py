"""What comes of ``traceparent``, who chooses what is sent, and that nobody waits for a collector."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.collector import collecting
from tests.conftest import wait_for
from xds.errors import Unusable
from xds.settings.sections import Tracing
from xds.wire import spans, tracing
from xds.wire.calls import Pool
from xds.wire.tracing import Parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
ENDPOINT = "http://127.0.0.1:9/v1/traces"


class Kept(SpanExporter):
    """An exporter that keeps what it is given, once it may."""

    def __init__(self) -> None:
        self.spans, self.may = list[ReadableSpan](), Event()
        self.may.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.may.wait(10)
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr(spans, "SEND_SECONDS", 0.01)
    exporter = Kept()
    monkeypatch.setattr(spans, "_exporter", lambda _settings: exporter)
    return exporter


@pytest.fixture
def counted() -> Counter[str]:
    return Counter()


@pytest.fixture
def stops() -> Iterator[None]:
    yield
    tracing.stop()


def started(counted: Counter[str], **changes: Any) -> None:
    def count(outcome: str, number: int) -> None:
        counted[outcome] += number

    tracing.stop()
    tracing.start(Tracing(**{"endpoint": ENDPOINT, "ratio": 1.0, **changes}), "here", count)


def test_a_parent_is_read_as_it_was_written() -> None:
    assert Parent.read(GOOD, "a=1,b=2") == Parent(int(TRACE, 16), int(SPAN, 16), True, "a=1,b=2")
    assert Parent.read(f"01-{TRACE}-{SPAN}-00-later") == Parent(int(TRACE, 16), int(SPAN, 16), False)


@pytest.mark.parametrize("text", [
    "", "00", GOOD.upper(), GOOD + "-more", GOOD + " ", f"{GOOD},{GOOD}", f"ff{GOOD[2:]}", f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[:-1]}-{SPAN}-01", f"01{GOOD[2:]}-" + "x" * 300, "\r\n" + GOOD,
])  # fmt: skip
def test_what_is_no_parent_is_passed_over(text: str) -> None:
    assert Parent.read(text) is None


def test_of_what_others_carry_along_no_more_is_passed_on_than_is_bounded() -> None:
    parent = Parent.read(GOOD, "a=" + "x" * 600)
    assert parent is not None
    assert parent.state == ""


@pytest.mark.usefixtures("stops")
@pytest.mark.parametrize(("known", "header", "sent"), [
    (True, GOOD, 1), (False, GOOD, 0), (False, "", 0), (True, f"{GOOD[:-1]}0", 0),
])  # fmt: skip
def test_only_who_is_known_chooses_what_is_sent(
    exporter: Kept, counted: Counter[str], *, known: bool, header: str, sent: int
) -> None:
    started(counted, ratio=0.0)
    with tracing.answering(header, "", lambda: known):
        tracing.note("ITI-42", "done", "pacs")
        sampled = tracing.headers()["traceparent"].endswith("01")
    tracing.stop()
    assert [span.name for span in exporter.spans] == ["ITI-42"] * sent
    assert sampled is bool(sent)


@pytest.mark.usefixtures("stops")
def test_of_a_strangers_requests_a_part_is_sent_in_the_trace_that_they_name(
    exporter: Kept, counted: Counter[str]
) -> None:
    started(counted)
    with tracing.answering(GOOD, "k=v", lambda: False):
        assert tracing.headers()["traceparent"].startswith(f"00-{TRACE}-")
        assert tracing.headers()["tracestate"] == "k=v"
    tracing.stop()
    (span,) = exporter.spans
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN


@pytest.mark.usefixtures("stops")
def test_however_many_requests_come_no_more_are_sent_than_the_pace(exporter: Kept, counted: Counter[str]) -> None:
    started(counted, most_per_second=3)
    for _ in range(100):
        with tracing.answering(GOOD, "", lambda: True):
            pass
    tracing.stop()
    assert 3 <= len(exporter.spans) <= 10
    assert counted["over-pace"] == 100 - len(exporter.spans)


@pytest.mark.usefixtures("stops")
def test_while_a_collector_is_silent_nobody_waits_and_what_is_over_the_queue_is_dropped_and_counted(
    exporter: Kept, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "QUEUE", 20)
    started(counted, most_per_second=1000)
    exporter.may.clear()
    before = time.monotonic()
    for _ in range(200):
        with tracing.answering("", "", lambda: False):
            pass
    assert time.monotonic() - before < 5
    assert counted["dropped"] >= 100
    exporter.may.set()
    tracing.stop()
    assert counted["sent"] + counted["dropped"] == 200


@pytest.mark.usefixtures("stops")
def test_an_exception_is_told_by_its_type_alone(exporter: Kept, counted: Counter[str]) -> None:
    started(counted)
    with pytest.raises(ValueError, match="Anna"), tracing.answering("", "", lambda: False), tracing.calling("pacs"):
        raise ValueError("Müller^Anna")
    tracing.stop()
    assert len(exporter.spans) == 2
    assert "Anna" not in "".join(span.to_json() for span in exporter.spans)


@pytest.mark.usefixtures("stops")
def test_a_log_line_names_the_trace_it_was_written_in(
    exporter: Kept, counted: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    started(counted)
    with tracing.answering(GOOD, "", lambda: True):
        logging.getLogger("xds.test").warning("inside")
    logging.getLogger("xds.test").warning("outside")
    assert [getattr(one, "trace_id", "") for one in caplog.records] == [TRACE, ""]


@pytest.mark.usefixtures("stops")
def test_a_request_to_another_node_carries_the_trace(counted: Counter[str], exporter: Kept) -> None:
    started(counted)
    with collecting() as other, tracing.answering(GOOD, "", lambda: True):
        response = Pool(retries=False).request("POST", other.url, body=b"", headers={"Content-Length": "0"})
    assert response.status == 200
    tracing.stop()
    inner, outer = exporter.spans
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id


def test_off_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, xds.server.application, xds.server.workers; from xds.settings.sections import Tracing;"
        "from xds.wire import tracing; tracing.start(Tracing(), '', print);"
        "sys.exit(any('opentelemetry' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert tracing.headers() == {}
    with tracing.answering(GOOD, "", lambda: True), tracing.calling("pacs") as headers:
        assert headers == {}


@pytest.mark.parametrize(("changes", "said"), [
    ({"endpoint": "collector:4318"}, "tracing.endpoint"), ({"ratio": 1.5}, "tracing.ratio"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_told_at_the_start(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Unusable, match=said):
        tracing.check(Tracing(**{"endpoint": ENDPOINT, **changes}))


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _name: None)
    with pytest.raises(Unusable, match=r"xds\[tracing\]"):
        tracing.check(Tracing(endpoint=ENDPOINT))
    tracing.check(Tracing())


def test_what_is_begun_here_is_a_trace_of_its_own(exporter: Kept, counted: Counter[str], stops: None) -> None:
    started(counted)
    with tracing.beginning("publish"), tracing.calling("pacs"):
        pass
    wait_for(lambda: len(exporter.spans) == 2)
    assert {span.name for span in exporter.spans} == {"publish", "request"}
