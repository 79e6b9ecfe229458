"""Segments: a record comes back as it was, with number and time, and what is hashed covers all of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.logs import NOW, a_record, files, records
from tests.extent import examples
from xds.audit.log.framing import BadFrame
from xds.audit.log.segments import Record, SegmentLog, leaf_data, read_time

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.tuples(st.binary(max_size=300), TIMES, st.text(max_size=40)), min_size=1, max_size=10))
def test_records_come_back_as_they_were(contents: list[tuple[bytes, datetime, str]]) -> None:
    written = [Record(leaf, time, message, origin) for leaf, (message, time, origin) in enumerate(contents)]
    with tempfile.TemporaryDirectory() as folder:
        log = SegmentLog(Path(folder), 500)
        for record in written:
            log.append([record])
        assert list(log.records()) == written
        assert list(log.records(3)) == written[3:]
        assert [leaf_data(*raw) for raw in log.raw()] == [record.leaf_data() for record in written]


def test_what_is_hashed_is_the_frame_as_it_stands_in_the_file(tmp_path: Path) -> None:
    SegmentLog(tmp_path).append(records(0, 3))
    (path,) = files(tmp_path)
    assert path.read_bytes() == b"".join(record.leaf_data() + b"\n" for record in records(0, 3))


def test_number_time_message_and_origin_are_each_hashed() -> None:
    one = a_record(7)
    others = [
        replace(one, leaf=8),
        replace(one, recorded=one.recorded + timedelta(microseconds=1)),
        replace(one, message=one.message + b" "),
        replace(one, origin="tcp 192.0.2.9"),
        replace(one, origin="tcp 192.0.2.8"),
    ]
    assert len({record.leaf_data() for record in [one, *others]}) == 6


def test_a_long_origin_is_written_as_far_as_a_header_has_room(tmp_path: Path) -> None:
    one = replace(a_record(0), origin="\U0001f600 ;\n" * 200)
    SegmentLog(tmp_path).append([one])
    ((leaf, said, message),) = SegmentLog(tmp_path).raw()
    assert leaf_data(leaf, said, message) == one.leaf_data()
    assert one.origin.startswith(next(SegmentLog(tmp_path).records()).origin[:20])


def test_a_time_is_written_in_utc_whatever_its_zone() -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    assert Record(0, berlin, b"").said == Record(0, NOW, b"").said == b"2026-03-01T08:00:00.000000Z"


@pytest.mark.parametrize("said", [b"yesterday", b"2026-03-01T08:00:00Z", b"2026-13-01T08:00:00.000000Z", b"\xff"])
def test_a_time_that_is_none_is_a_bad_frame(said: bytes) -> None:
    with pytest.raises(BadFrame, match="time is malformed") as bad:
        read_time(9, said)
    assert bad.value.entry == 9


def test_truncated_records_are_gone(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, 300)
    for record in records(0, 20):
        log.append([record])
    log.truncate(11)
    assert list(log.records()) == records(0, 11)
