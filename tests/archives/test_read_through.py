"""A PACS behind the cache: it is read once, however many want it; and what it has no more is given to nobody."""

from __future__ import annotations

import io
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from tests.archives.clock import Clock
from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.archives.test_cache import forked, waited
from tests.conftest import wait_for
from tests.imaging.images import CT, SERIES, STUDY, a_rejection_note, an_instance, saved
from xds.archives.cache import Cache
from xds.archives.cache_index import FILES, counts
from xds.archives.contents import Member, Members
from xds.archives.dicomweb import DicomWebWay
from xds.archives.dimse import DimseWay, Peer
from xds.archives.flights import Flights, Turns
from xds.archives.interface import Gone, Held, Mislaid, NotAnswering
from xds.archives.orthanc import OrthancStamps
from xds.archives.pacs import Pacs
from xds.archives.web import Web
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

__all__ = ["orthanc", "orthanc_server"]

COUNT, CONSUMERS = 6, 50


class Counting:
    """A PACS that counts what it is asked for.  ``held``: no instance comes before it is set."""

    gives_headers = False

    def __init__(self, *numbers: int, extra: bytes = b"") -> None:
        self.instances = {f"{SERIES}.{n}": saved(an_instance(n)) + extra for n in numbers or range(1, COUNT + 1)}
        self.fetched, self.searches, self.asked = Counter[str](), 0, Counter[str]()
        self.tag = ""
        self.held = threading.Event()
        self.held.set()
        self.spoil: Callable[[str], bytes] | None = None

    def studies(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:  # noqa: ARG002
        yield STUDY, str(len(self.instances))

    def members(self, study_instance_uid: str) -> Members:  # noqa: ARG002
        self.searches += 1
        return {(SERIES, uid): Member(SERIES, CT, uid) for uid in self.instances}

    def header(self, study_instance_uid: str, member: Member) -> pydicom.Dataset:
        raise AssertionError((study_instance_uid, member))

    def fetch(self, study_instance_uid: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:  # noqa: ARG002
        self.fetched[member.sop_instance_uid] += 1
        assert self.held.wait(30)
        data = self.instances[member.sop_instance_uid]
        if self.spoil is not None:
            keep(data[: len(data) // 2])
            data = self.spoil(member.sop_instance_uid)
        keep(data)
        return self.tag

    def is_still(self, study_instance_uid: str, member: Member, tag: str) -> bool:  # noqa: ARG002
        self.asked[member.sop_instance_uid] += 1
        return tag == self.tag


@pytest.fixture
def way() -> Counting:
    return Counting()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Cache:
    return Cache(tmp_path / "cache", 100_000, 60.0, clock=clock)


@pytest.fixture
def archive(way: Counting, cache: Cache, tmp_path: Path) -> Iterator[Pacs]:
    archive = Pacs(way, tmp_path / "spool", known_seconds=0.0, cache=cache)
    yield archive
    archive.close()


def held_of(archive: Pacs, number: int = 1) -> Held:
    found = archive.find(STUDY, SERIES, f"{SERIES}.{number}")
    assert found is not None
    return found


def given(archive: Pacs, number: int = 1, *syntaxes: str) -> bytes:
    with archive.open(held_of(archive, number), syntaxes) as ready:
        data = b"".join(ready.chunks())
        assert len(data) == ready.size_bytes
        return data


def at_once(what: Callable[[], Any], count: int = CONSUMERS) -> list[Any]:
    """What each of so many threads got, or what was raised to it."""

    def tried(_: int) -> Any:
        try:
            return what()
        except Exception as problem:
            return problem

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(tried, range(count)))


def files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / FILES).glob("*/*"))


def left(tmp_path: Path) -> list[Path]:
    return [*(tmp_path / "spool").iterdir()]


def test_fifty_who_want_a_study_at_once_cost_the_pacs_one_read(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    way.held.clear()
    threading.Timer(0.2, way.held.set).start()  # by then they wait; were it late, the test would still hold
    found = at_once(lambda: [given(archive, number) for number in range(1, COUNT + 1)])
    assert all(one == list(way.instances.values()) for one in found)
    assert way.fetched == dict.fromkeys(way.instances, 1)
    told = counts(tmp_path / "cache")
    assert (told["miss"], told["uncached"], told["hit"]) == (COUNT, 0, COUNT * (CONSUMERS - 1))
    assert left(tmp_path) == []


def test_and_one_search_and_one_header(archive: Pacs, way: Counting) -> None:
    way.held.clear()
    started = threading.Barrier(8)

    def whose() -> str:
        started.wait()
        found = archive.patient(STUDY)
        assert found is not None
        return found.id

    threading.Timer(0.3, way.held.set).start()
    assert at_once(whose, 8) == ["4711"] * 8
    assert sum(way.fetched.values()) == 1
    assert given(archive) == way.instances[f"{SERIES}.1"]
    assert sum(way.fetched.values()) == 1  # what came for its header is kept


def test_without_a_cache_each_costs_one(way: Counting, tmp_path: Path) -> None:
    archive = Pacs(way, tmp_path / "spool")
    assert [given(archive), given(archive)] == [way.instances[f"{SERIES}.1"]] * 2
    assert way.fetched[f"{SERIES}.1"] == 2
    assert not (tmp_path / "cache").exists()


def test_nor_do_several_processes_of_a_node_read_it_twice(tmp_path: Path, way: Counting) -> None:
    reads, writes = os.pipe()  # closed: all begin
    fetched = way.fetch

    def fetch(study: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:
        with (tmp_path / "fetched").open("a") as file:
            file.write(f"{member.sop_instance_uid}\n")
        return fetched(study, member, keep)

    way.fetch = fetch  # type: ignore[method-assign]

    def wants(name: int) -> None:
        os.close(writes)
        os.read(reads, 1)
        cache = Cache(tmp_path / "cache", 100_000, 60.0)
        archive = Pacs(way, tmp_path / f"spool-{name}", cache=cache)
        assert [given(archive, number) for number in range(1, COUNT + 1)] == list(way.instances.values())

    children = [forked(partial(wants, name)) for name in range(4)]
    os.close(reads)
    os.close(writes)
    assert [waited(child) for child in children] == [0] * 4
    assert Counter((tmp_path / "fetched").read_text().split()) == dict.fromkeys(way.instances, 1)


# What goes wrong.


def test_what_broke_off_is_told_to_all_who_wait_and_is_not_kept(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    def breaks(_: str) -> bytes:
        raise NotAnswering("broke off")

    wanted, started = held_of(archive), threading.Barrier(CONSUMERS)
    way.spoil = breaks
    way.held.clear()

    def one() -> None:
        started.wait()
        archive.open(wanted, ())

    threading.Timer(0.3, way.held.set).start()
    assert {str(problem) for problem in at_once(one)} == {"broke off"}
    assert way.fetched[f"{SERIES}.1"] < CONSUMERS
    assert files(tmp_path) == left(tmp_path) == []
    way.spoil = None
    assert given(archive) == way.instances[f"{SERIES}.1"]


@pytest.mark.parametrize("data", [b"", b"nonsense", saved(an_instance(2)), saved(an_instance(1))[:300]])
def test_what_is_not_the_instance_is_not_kept_for_it(archive: Pacs, way: Counting, data: bytes, tmp_path: Path) -> None:
    way.instances[f"{SERIES}.1"] = data
    with pytest.raises(Gone):
        archive.open(held_of(archive), [EXPLICIT_LITTLE])
    assert files(tmp_path) == left(tmp_path) == []


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2/..", "a", "1." + "2" * 70, "1.2\n3"])
def test_what_is_called_by_no_uid_is_not_kept(archive: Pacs, way: Counting, uid: str, tmp_path: Path) -> None:
    dataset = an_instance(1)
    dataset.SOPInstanceUID = uid
    way.instances = {uid: saved(dataset)}
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts and path.is_file()}
    for _ in range(2):
        found = archive.find(STUDY, SERIES, uid)
        assert found is not None
        with pytest.raises(Gone):  # what has no UID is no instance
            archive.open(found, ())
    assert way.fetched[uid] == 2
    assert files(tmp_path) == left(tmp_path) == []
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts and path.is_file()} == before


def test_what_has_no_room_streams_through(way: Counting, tmp_path: Path) -> None:
    small = Pacs(way, tmp_path / "spool", cache=Cache(tmp_path / "cache", 100, 60.0))
    assert at_once(lambda: given(small), 8) == [way.instances[f"{SERIES}.1"]] * 8
    assert files(tmp_path) == left(tmp_path) == []
    assert counts(tmp_path / "cache")["uncached"] >= 1


def test_what_is_being_sent_is_whole_although_others_have_come(way: Counting, tmp_path: Path) -> None:
    one = len(way.instances[f"{SERIES}.1"])
    small = Pacs(way, tmp_path / "spool", cache=Cache(tmp_path / "cache", 2 * one, 60.0))
    with small.open(held_of(small, 1), ()) as ready:
        for number in range(2, COUNT + 1):
            assert given(small, number) == way.instances[f"{SERIES}.{number}"]
        assert b"".join(ready.chunks()) == way.instances[f"{SERIES}.1"]
    assert len(files(tmp_path)) == 2
    assert given(small, 1) == way.instances[f"{SERIES}.1"]
    assert way.fetched[f"{SERIES}.1"] == 1


def spoilt(tmp_path: Path) -> None:
    """The one file of the cache, a byte of its pixels another one."""
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_file_that_was_damaged_here_is_never_given_whole_and_comes_from_the_pacs_the_next_time(
    archive: Pacs, way: Counting, tmp_path: Path
) -> None:
    given(archive)
    spoilt(tmp_path)
    with archive.open(held_of(archive), ()) as ready:
        sent = list[bytes]()
        with pytest.raises(Mislaid):
            sent.extend(ready.chunks(100))
    assert sum(map(len, sent)) < ready.size_bytes
    assert given(archive) == way.instances[f"{SERIES}.1"]
    assert way.fetched[f"{SERIES}.1"] == 2


def test_nor_is_anything_made_of_it(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    given(archive)
    spoilt(tmp_path)
    found = given(archive, 1, IMPLICIT_LITTLE)
    assert pydicom.dcmread(io.BytesIO(found)).PixelData == bytes(range(32))
    assert way.fetched[f"{SERIES}.1"] == 2
    assert given(archive, 1, IMPLICIT_LITTLE) == found
    assert way.fetched[f"{SERIES}.1"] == 2


def test_one_of_which_nothing_is_left_here_comes_from_the_pacs(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    data = given(archive)
    (path,) = files(tmp_path)
    path.write_bytes(bytes(len(data)))
    assert given(archive) == data
    assert way.fetched[f"{SERIES}.1"] == 2


# What is not so any more.


def test_what_the_pacs_has_no_more_is_given_to_nobody_and_goes(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    wanted = held_of(archive)
    given(archive, 1), given(archive, 2)
    del way.instances[f"{SERIES}.1"]
    with pytest.raises(Gone):
        archive.open(wanted, ())
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is None
    assert len(files(tmp_path)) == 1


def test_what_was_rejected_is_given_to_nobody_and_goes(archive: Pacs, way: Counting, tmp_path: Path) -> None:
    wanted = held_of(archive)
    given(archive)
    note = a_rejection_note(f"{SERIES}.1")
    uid, series = str(note.SOPInstanceUID), str(note.SeriesInstanceUID)
    members = way.members
    way.instances[uid] = saved(note)
    way.members = lambda study: {  # type: ignore[method-assign]
        **{at: one for at, one in members(study).items() if at[1] != uid},
        (series, uid): Member(series, str(note.SOPClassUID), uid),
    }
    with pytest.raises(Gone):
        archive.open(wanted, ())
    assert files(tmp_path) == []


def test_one_that_has_changed_is_given_as_it_was_no_longer_than_is_set(
    archive: Pacs, way: Counting, clock: Clock
) -> None:
    before = given(archive)
    way.instances[f"{SERIES}.1"] = after = saved(an_instance(1, PatientName="Married^Anna"))
    clock.now += 59
    assert given(archive) == before
    clock.now += 1
    assert given(archive) == after
    assert not way.asked  # a PACS that gives no tags is not asked about them


def test_where_the_pacs_can_say_that_one_has_not_changed_it_does_not_come_again(
    archive: Pacs, way: Counting, clock: Clock
) -> None:
    way.tag = '"one"'
    before = given(archive)
    clock.now += 60
    assert at_once(lambda: given(archive), 8) == [before] * 8
    assert (way.fetched[f"{SERIES}.1"], way.asked[f"{SERIES}.1"]) == (1, 1)
    clock.now += 60
    way.tag = '"two"'
    way.instances[f"{SERIES}.1"] = after = saved(an_instance(1, PatientName="Married^Anna"))
    assert given(archive) == given(archive) == after
    assert (way.fetched[f"{SERIES}.1"], way.asked[f"{SERIES}.1"]) == (2, 2)


def test_where_it_tells_of_each_change_that_holds_at_once_and_what_it_does_not_tell_of_is_not_kept(
    way: Counting, cache: Cache, clock: Clock, tmp_path: Path
) -> None:
    told: dict[str, str] = {f"{SERIES}.1": "one"}

    def stamps(_: str) -> dict[str, str]:
        if not told:
            raise NotAnswering("no")
        return told

    archive = Pacs(way, tmp_path / "spool", known_seconds=0.0, cache=cache, stamps=stamps)
    before = given(archive)
    clock.now += 59
    assert given(archive) == before
    way.instances[f"{SERIES}.1"] = after = saved(an_instance(1, PatientName="Married^Anna"))
    told[f"{SERIES}.1"] = "two"
    assert given(archive) == given(archive) == after
    assert way.fetched[f"{SERIES}.1"] == 2
    assert given(archive, 2) == given(archive, 2)
    assert way.fetched[f"{SERIES}.2"] == 2
    told.clear()
    assert given(archive) == after
    assert way.fetched[f"{SERIES}.1"] == 3


# By HTTP.

Answer = Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]]


@contextmanager
def http_answering(answer: Answer) -> Iterator[str]:
    """The URL of a service that answers each GET so, by its path and headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, {name.lower(): text for name, text in self.headers.items()})
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_entity_tag_is_asked_about_and_nothing_else_is_one(tmp_path: Path, clock: Clock) -> None:
    data, tags = saved(an_instance(1)), ['"one"']
    listed = [{"0020000E": {"Value": [SERIES]}, "00080016": {"Value": [CT]}, "00080018": {"Value": [f"{SERIES}.1"]}}]
    asked = list[str]()

    def answer(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if "/instances/" not in path:
            return 200, {"Content-Type": "application/dicom+json"}, json.dumps(listed).encode()
        asked.append(headers.get("if-none-match", ""))
        if asked[-1] and asked[-1] == tags[0]:
            return 304, {"ETag": tags[0]}, b""
        return 200, {"Content-Type": "application/dicom", "ETag": tags[0]}, data

    with http_answering(answer) as url:
        cache = Cache(tmp_path / "cache", 100_000, 60.0, clock=clock)
        archive = Pacs(DicomWebWay(Web(url)), tmp_path / "spool", cache=cache)
        assert given(archive) == data
        clock.now += 60
        assert given(archive) == data
        tags[0] = '"two"'
        clock.now += 60
        assert given(archive) == data
        assert asked == ["", '"one"', '"one"', ""]
        for tags[0] in ('W/"weak"', "bare", '"' + "x" * 300 + '"', '"a" "b"', ""):
            asked.clear()
            clock.now += 60
            given(archive)
            clock.now += 60
            given(archive)
            assert asked[-1] == ""


# Debian's Orthanc.


@pytest.fixture(params=["dicomweb", "c-get", "c-move"])
def of_orthanc(request: pytest.FixtureRequest, orthanc: Orthanc, cache: Cache, tmp_path: Path) -> Iterator[Pacs]:
    orthanc.keep(*(saved(an_instance(number)) for number in range(1, COUNT + 1)))
    title = f"ORTHANC@127.0.0.1:{orthanc.dicom_port}"
    way: Any = {
        "dicomweb": lambda: DicomWebWay(Web(orthanc.dicomweb)),
        "c-get": lambda: DimseWay(Peer.parse(title, seconds=10.0)),
        "c-move": lambda: DimseWay(Peer.parse(title, seconds=10.0, move_port=orthanc.move_port)),
    }[request.param]()
    counted, real = Counter[str](), way.fetch

    def fetch(study: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> Any:
        counted[member.sop_instance_uid] += 1
        return real(study, member, keep)

    way.fetch = fetch
    stamps = OrthancStamps(Web(orthanc.url)).of
    archive = Pacs(way, tmp_path / "spool", known_seconds=0.5, cache=cache, stamps=stamps)
    archive.counted = counted  # type: ignore[attr-defined]
    yield archive
    archive.close()
    if isinstance(way, DimseWay):
        way.close()


def test_an_orthanc_is_read_once_by_fifty_at_once(of_orthanc: Pacs) -> None:
    wanted = of_orthanc.members(STUDY)

    def one() -> list[bytes]:
        assert of_orthanc.patient(STUDY) is not None
        found = []
        for held in wanted:
            with of_orthanc.open(held, [EXPLICIT_LITTLE]) as ready:
                found.append(b"".join(ready.chunks()))
        return found

    first, *others = at_once(one)
    assert all(one == first for one in others)
    assert [pydicom.dcmread(io.BytesIO(data)).InstanceNumber for data in first] == [*range(1, COUNT + 1)]
    assert of_orthanc.counted == {f"{SERIES}.{n}": 1 for n in range(1, COUNT + 1)}  # type: ignore[attr-defined]


def test_what_an_orthanc_has_otherwise_now_is_given_as_it_is_now(of_orthanc: Pacs, orthanc: Orthanc) -> None:
    def name() -> str:
        held = held_of(of_orthanc)
        with of_orthanc.open(held, [EXPLICIT_LITTLE]) as ready:
            data = b"".join(ready.chunks())
        return str(pydicom.dcmread(io.BytesIO(data)).PatientName)

    assert name() == "Müller^Anna"
    found = requests.post(
        f"{orthanc.url}/tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": f"{SERIES}.1"}}, timeout=30
    ).json()
    requests.delete(f"{orthanc.url}/instances/{found[0]}", timeout=30).raise_for_status()
    orthanc.keep(saved(an_instance(1, PatientName="Married^Anna")))
    wait_for(lambda: name() == "Married^Anna", 20)


# One at a time.


def test_what_is_raised_is_raised_to_all_and_the_next_time_it_is_done_again() -> None:
    flights, done = Flights[int](), list[int]()
    entered, goes_on = threading.Event(), threading.Event()

    def do() -> int:
        entered.set()
        assert goes_on.wait(30)
        done.append(1)
        raise NotAnswering("no")

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(flights.once, "a", do)
        entered.wait(30)
        others = [pool.submit(flights.once, "a", do) for _ in range(8)]
        goes_on.set()
        assert all(isinstance(one.exception(), NotAnswering) for one in (first, *others))
    assert len(done) < 9
    assert flights.once("a", lambda: 7) == 7


def test_turns_are_taken_by_key_and_a_process_that_is_killed_gives_its_own_back(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "lock")
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        with turns.alone("a"):
            os.write(writes, b"x")
            threading.Event().wait()
    os.read(reads, 1)
    with turns.alone("b"):
        pass
    got = threading.Event()

    def take() -> None:
        with turns.alone("a"):
            got.set()

    thread = threading.Thread(target=take)
    thread.start()
    was_early = got.wait(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert got.wait(30)
    assert not was_early
    thread.join()
    os.close(reads), os.close(writes)
