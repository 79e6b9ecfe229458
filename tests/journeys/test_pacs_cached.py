"""A PACS that is read once: who asks is judged and recorded as ever, and a killed server leaves nothing half."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.archives.test_read_through import at_once, http_answering
from tests.conftest import wait_for
from tests.endpoints.dicomweb.test_service import got
from tests.hostile.server import Served
from tests.hostile.test_who_may_what import by, certificates
from tests.hostile.test_who_may_what import settings as with_peers
from tests.imaging.images import CT, SERIES, STUDY, an_instance, saved
from tests.journeys.test_pacs_behind import asked, made
from tests.places import ROOT
from tests.server.test_application import Site, serving
from tests.server.test_counted import values
from xds.archives import cache_index
from xds.archives.cache import Cache
from xds.archives.contents import Member
from xds.archives.dicomweb import DicomWebWay
from xds.errors import Status, Unusable
from xds.server import counted
from xds.server.archives import archive, cache_folder, tidy_cache
from xds.settings.imaging import ImagingSource
from xds.settings.sections import Settings
from xds.store.engine import make_engine
from xds.store.tables import audit_record

__all__ = ["certificates", "orthanc", "orthanc_server"]

COUNT = 6
MULTIPART = 'multipart/related; type="application/dicom"'


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is fetched by DICOMweb, by SOP Instance UID."""
    found, real = Counter[str](), DicomWebWay.fetch

    def fetch(self: DicomWebWay, study: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:
        found[member.sop_instance_uid] += 1
        return real(self, study, member, keep)

    monkeypatch.setattr(DicomWebWay, "fetch", fetch)
    return found


@pytest.fixture
def text(orthanc: Orthanc) -> str:
    orthanc.keep(*(saved(an_instance(number)) for number in range(1, COUNT + 1)))
    return (
        f'[imaging_source]\ndicomweb = "{orthanc.dicomweb}"\northanc = "{orthanc.url}"\npacs_seconds = 5.0\n'
        "cache_bytes = 10000000\n"
    )


@pytest.fixture
def site(database_url: str, tmp_path: Path, text: str) -> Iterator[Site]:
    with serving(database_url, tmp_path, text) as site:
        yield site


def test_who_comes_later_costs_the_pacs_nothing_and_has_a_record(site: Site, fetched: Counter[str]) -> None:
    wanted = [made(number) for number in range(1, COUNT + 1)]
    found = [asked(site, *wanted) for _ in range(3)]
    assert found == [(Status.SUCCESS, [], {f"{SERIES}.{n}": saved(an_instance(n)) for n in range(1, COUNT + 1)})] * 3
    status, _, body = got(f"{site.url}/dicomweb/studies/{STUDY}", MULTIPART)
    assert (status, body.count(b"Content-Location")) == (200, COUNT)
    assert fetched == {f"{SERIES}.{n}": 1 for n in range(1, COUNT + 1)}
    outcomes = Counter((transaction, outcome) for transaction, _, outcome in site.outcomes())
    assert outcomes == {("RAD-69", 0): 3, ("RAD-107", 0): 1}


def test_what_it_spares_is_told_at_metrics(site: Site) -> None:
    for _ in range(3):
        asked(site, *map(made, range(1, COUNT + 1)))
    told = counted.image_cache(site.application.settings)
    size = sum(len(saved(an_instance(n))) for n in range(1, COUNT + 1))
    assert values(told, "xds_image_cache_requests_total") == {"hit": 2 * COUNT, "miss": COUNT, "uncached": 0}
    assert values(told, "xds_image_cache_read_bytes_total") == {"cache": 2 * size, "archive": size}
    assert values(told, "xds_image_cache_bytes") == {"": size}
    assert values(told, "xds_image_cache_limit_bytes") == {"": 10_000_000}
    assert values(told, "xds_image_cache_evictions_total") == {"": 0}
    page = (ROOT / "deploy" / "OPERATIONS.md").read_text("utf-8")
    names = set(re.findall(r"xds_image_cache_\w+", page))
    assert names
    with urlopen(f"{site.url}/metrics") as reply:  # noqa: S310
        assert names <= set(re.findall(r"^(xds_\w+)", reply.read().decode(), re.MULTILINE))


def test_who_may_not_is_given_nothing_from_the_cache_and_is_on_record(
    database_url: str, tmp_path: Path, text: str, certificates: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, real = list[object](), Cache.taken

    def taken(self: Cache, *args: Any, **named: Any) -> Any:
        looked.append(args)
        return real(self, *args, **named)

    monkeypatch.setattr(Cache, "taken", taken)
    with serving(database_url, tmp_path, with_peers(text)) as site:
        with by(site, certificates["consumer"]):
            assert asked(site, made(1))[2] == {f"{SERIES}.1": saved(an_instance(1))}
        assert looked
        looked.clear()
        for who in ("reader", "identity", "unlisted", "nobody"):
            with by(site, certificates[who]):
                status, _, found = asked(site, made(1))
                assert (status, found) == (Status.FAILURE, {})
                assert got(f"{site.url}/dicomweb/studies/{STUDY}")[0] == 403
        assert looked == []
        assert Counter(outcome for number, _, outcome in site.outcomes() if number == "RAD-69")[0] == 1
        assert sum(outcome != 0 for number, _, outcome in site.outcomes() if number == "RAD-69") == 4


# The settings.


def settings(tmp_path: Path, **imaging: Any) -> Settings:
    given = Settings(imaging_source=ImagingSource(**imaging))
    return replace(given, server=replace(given.server, data=str(tmp_path)))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"folder": ".", "cache_bytes": 1000}, "a folder is on disk"),
        ({"cache_bytes": 1000}, "is for images of a PACS"),
        ({"dicomweb": "http://127.0.0.1:1", "cache_bytes": -1}, "0 or more"),
        ({"dicomweb": "http://127.0.0.1:1", "cache_bytes": 1, "cache_seconds": 0.0}, "more than 0"),
        ({"dicomweb": "http://127.0.0.1:1", "cache_bytes": 1, "cache_seconds": float("nan")}, "more than 0"),
    ],
)
def test_a_cache_that_makes_no_sense_is_refused(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(Unusable, match=told):
        archive(settings(tmp_path, **given))


def test_a_cache_that_is_wanted_no_more_is_empty_after_the_next_start(tmp_path: Path) -> None:
    given = settings(tmp_path, dicomweb="http://127.0.0.1:1", cache_bytes=1000)
    folder = cache_folder(given)
    tidy_cache(given)
    (folder / cache_index.FILES / "ab").mkdir(parents=True)
    (folder / cache_index.FILES / "ab" / "abc").write_bytes(b"Anna's image")
    tidy_cache(given)
    assert not list(folder.glob(f"{cache_index.FILES}/*/*"))
    (folder / cache_index.FILES / "ab" / "abc").write_bytes(b"Anna's image")
    tidy_cache(settings(tmp_path, dicomweb="http://127.0.0.1:1"))
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert counted.image_cache(settings(tmp_path)) == ""


# A real server.


class SlowPacs:
    """A DICOMweb service that sends what it has in two halves, the second when it is told to."""

    def __init__(self) -> None:
        self.data = {f"{SERIES}.{n}": saved(an_instance(n, PixelData=bytes(2 * 512 * 512), Rows=512, Columns=512))
                     for n in (1, 2, 3)}  # fmt: skip
        self.asked = Counter[str]()
        self.goes_on = threading.Event()

    def answer(self, path: str, _: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        uid = path.rpartition("/")[2]
        if uid in self.data:
            self.asked[uid] += 1
            if uid == f"{SERIES}.2":
                assert self.goes_on.wait(120)
            return 200, {"Content-Type": "application/dicom"}, self.data[uid]
        if path.endswith("/metadata"):
            (first, *_) = (one for one in self.data if one in path)
            found: Any = [json.loads(an_instance(int(first[-1]), PixelData=None).to_json())]
        else:
            found = [{"0020000D": {"Value": [STUDY]}, "0020000E": {"Value": [SERIES]}, "00080016": {"Value": [CT]},
                      "00080018": {"Value": [uid]}} for uid in self.data]  # fmt: skip
        return 200, {"Content-Type": "application/dicom+json"}, json.dumps(found).encode()


def test_fifty_consumers_at_once_cost_the_pacs_one_read_and_each_has_its_record(tmp_path: Path) -> None:
    pacs = SlowPacs()
    with http_answering(pacs.answer) as url:
        imaging = {"dicomweb": url, "cache_bytes": 100_000_000, "processes": 2, "streams": 60}
        served = Served(tmp_path, {"imaging_source": imaging, "server": {"share": 1.0, "threads": 60}}).start()
        address, found = f"{served.url}/dicomweb/studies/{STUDY}", list[Any]()
        asking = threading.Thread(target=lambda: found.extend(at_once(lambda: got(address, MULTIPART), 50)))
        asking.start()
        wait_for(lambda: pacs.asked[f"{SERIES}.2"])
        pacs.goes_on.set()
        asking.join()
        assert Counter(status for status, _, _ in found) == {200: 50}
        assert all(all(data in body for data in pacs.data.values()) for _, _, body in found)
        assert pacs.asked == dict.fromkeys(pacs.data, 1)
        assert served.stop() == 0
    engine = make_engine(served.settings.database_url)
    with engine.connect() as connection:
        outcomes = connection.execute(
            sa.select(audit_record.c.outcome).where(audit_record.c.transaction == "RAD-107")
        ).scalars()
        assert Counter(outcomes) == {0: 50}
    engine.dispose()


def test_a_server_that_is_killed_while_images_come_keeps_none_half_and_what_was_whole(tmp_path: Path) -> None:
    pacs = SlowPacs()
    with http_answering(pacs.answer) as url:
        imaging = {"dicomweb": url, "cache_bytes": 100_000_000}
        served = Served(tmp_path, {"imaging_source": imaging}).start()
        address = f"{served.url}/dicomweb/studies/{STUDY}"
        asking = threading.Thread(target=lambda: at_once(lambda: got(address, MULTIPART), 1))
        asking.start()
        wait_for(lambda: pacs.asked[f"{SERIES}.2"])
        assert served.process is not None
        os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait()
        asking.join()
        pacs.goes_on.set()
        assert len(kept(served)) == 1
        served.start()
        status, _, body = got(address, MULTIPART)
        assert (status, body.count(b"Content-Location")) == (200, 3)
        assert all(data in body for data in pacs.data.values())
        assert pacs.asked == {f"{SERIES}.1": 1, f"{SERIES}.2": 2, f"{SERIES}.3": 1}
        wait_for(lambda: not list((served.data / "spool").glob("xds-*")))
        assert len(kept(served)) == 3
        assert served.stop() == 0


def kept(served: Served) -> list[Path]:
    return list((served.data / "cache" / cache_index.FILES).glob("*/*"))
