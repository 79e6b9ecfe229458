"""A log line names an event and identifiers; never a value that an exception carries."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xds.errors import Unusable
from xds.settings.configuration import load
from xds.system.logs import EventFormatter, JsonFormatter

SECRET = "Müller^Anna"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter())
    logger = logging.getLogger("xds.test")
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)
    logger.propagate = True


log = logging.getLogger("xds.test")


def test_a_line_is_time_level_logger_event_and_identifiers(written: io.StringIO) -> None:
    log.warning("document.damaged", extra={"document": "2.25.1", "reason": "not there"})
    time, rest = written.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'WARNING xds.test document.damaged document=2.25.1 reason="not there"\n'


def test_an_exception_is_told_by_type_and_place_and_not_by_its_message(written: io.StringIO) -> None:
    def told() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as problem:
            raise ValueError(f"of {SECRET}") from problem

    try:
        told()
    except ValueError:
        log.exception("request %s failed", SECRET)
    line = written.getvalue()
    assert "request %s failed error=ValueError<KeyError" in line
    assert SECRET not in line
    assert line.count("\n") == 1


def test_the_systems_own_word_and_our_places_are_told(written: io.StringIO) -> None:
    try:
        load(Path("/nowhere/at/all"), {})
    except Unusable:
        log.exception("settings.unreadable")
    assert 'error=Unusable<FileNotFoundError reason="No such file or directory"' in written.getvalue()
    assert " at=settings/configuration.py:" in written.getvalue()


def test_what_a_peer_sends_cannot_begin_a_line_of_its_own(written: io.StringIO) -> None:
    log.error("peer.said %s", "x\n2026-01-01 ERROR forged")
    assert written.getvalue().count("\n") == 1


def test_in_json_a_line_is_one_object_whatever_its_values_say() -> None:
    record = logging.makeLogRecord({
        "name": "xds.test", "levelname": "WARNING", "msg": "document.damaged", "document": '2.25.1"}\n{"x',
        "size_bytes": 3, "time": "never",
    })  # fmt: skip
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "WARNING", "logger": "xds.test", "event": "document.damaged", "document": '2.25.1"}?{"x',
        "size_bytes": 3,
    }  # fmt: skip


def test_in_json_an_exception_is_told_without_its_message() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        record = logging.LogRecord("xds.test", logging.ERROR, "", 0, "it.failed", (), sys.exc_info())
    text = JsonFormatter().format(record)
    assert SECRET not in text
    assert json.loads(text)["error"] == "ValueError"
