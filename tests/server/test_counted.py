"""``/metrics``: what waits, what is free, who asked, and that it is told while the database is away."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from tests.builders import a_submission, an_entry
from tests.conftest import wait_for
from tests.cutting import cuttable
from tests.hostile.server import Served
from tests.needs import missing
from tests.postgres import Databases, Server
from tests.server.test_application import Site, of_bytes, serving
from xds.audit.messages.events import AuditEvent, source_of
from xds.demo.site import free_port
from xds.server import counted, queues
from xds.server.counted import Aside, Counted
from xds.settings.imaging import ImagingSource
from xds.settings.sections import Server as ServerSettings
from xds.settings.sections import Settings
from xds.store import publications
from xds.store.audit.records import now_microseconds, record
from xds.store.engine import make_engine
from xds.store.tables import document
from xds.system.parent import ends_with_us
from xds.wire.client import NoReply
from xds.wire.metrics import NAMES, Metrics


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path) as site:
        yield site


def values(text: str, name: str) -> dict[str, float]:
    """Of a metric, by its labels' values."""
    return {
        " ".join(text for _, text in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_what_waits_to_be_sealed_is_told_with_its_age(site: Site) -> None:
    event = AuditEvent.application(source_of(site.application.settings), starts=True)
    with site.application.engine.begin() as connection:
        for one in event.records():
            record(connection, [one])
    text = queues.sealing(site.application.engine)
    assert values(text, "xds_audit_unsealed") == {"": len(event.records())}
    (age,) = values(text, "xds_audit_unsealed_oldest_seconds").values()
    assert 0 <= age < 60


def test_a_registration_that_was_not_answered_is_open(site: Site) -> None:
    site.provide(a_submission(entries=[an_entry(**of_bytes(b"x"))]), [b"x"])
    assert values(queues.unsettled(site.application.engine), "xds_registrations_open") == {"": 0}
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(document).values(state="pending", since=now_microseconds() - 90_000_000))
    text = queues.unsettled(site.application.engine)
    assert values(text, "xds_registrations_open") == {"": 1}
    assert values(text, "xds_registrations_open_oldest_seconds")[""] >= 90


def test_studies_are_told_by_what_became_of_them(site: Site) -> None:
    with site.application.engine.begin() as connection:
        publications.look(connection, {"1.2.3": "a", "1.2.4": "b"}, now_microseconds() - 60_000_000)
        publications.change(connection, "1.2.4", state="published")
    text = queues.publications(site.application.engine)
    assert {state: count for state, count in values(text, "xds_publications").items() if count} == {
        "waiting": 1, "published": 1,
    }  # fmt: skip
    assert values(text, "xds_publications_oldest_seconds")[""] >= 60


def test_every_part_is_answered_by_both_databases(site: Site) -> None:
    settings = Settings(imaging_source=ImagingSource(folder="x", publish_to="http://127.0.0.1"))
    for part in queues.parts(settings):
        for family in text_string_to_metric_families(part(site.application.engine)):
            assert family.name.startswith("xds_")


def test_a_request_is_counted_by_its_peer_s_name_and_the_store_by_what_it_took(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    site.retrieve(entry.unique_id)
    text = site.application.metrics.text().decode()
    assert values(text, "xds_peer_requests_total") == {"done this-machine": 2}
    took = values(text, "xds_documents_seconds_count")
    assert {operation for operation, count in took.items() if count} >= {"put", "read"}
    assert set(values(text, "xds_documents_failures_total").values()) == {0}


def test_bytes_that_are_gone_are_a_failure_of_the_store(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    for path in (site.application.settings.data / "documents").glob("??/??/*"):
        path.write_bytes(b"y")
    with pytest.raises(NoReply):
        site.retrieve(entry.unique_id)
    failed = values(site.application.metrics.text().decode(), "xds_documents_failures_total")
    assert failed == {"put": 0, "read": 1, "look": 0}


def test_of_peers_so_many_are_told_apart_and_the_others_are_one() -> None:
    metrics = Metrics()
    for number in range(NAMES + 50):
        metrics.answered("ITI-18", "done", f"peer-{number}", 0.1)
        metrics.asked(f"host-{number}", "answered", 0.1)
    text = metrics.text().decode()
    assert values(text, "xds_peer_requests_total")["done others"] == 50
    assert len(values(text, "xds_outgoing_requests_total")) == NAMES + 1


def test_while_the_database_is_away_the_rest_is_told_and_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(server=ServerSettings(data=str(tmp_path)))
    there = Counted(settings)
    monkeypatch.setattr(counted, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(there, "_database", Aside(lambda: time.sleep(3) or "late 1\n"))  # type: ignore[func-returns-value]
    started = time.monotonic()
    text = there.text()
    assert time.monotonic() - started < 2
    assert values(text, "xds_database_up") == {"": 0}
    assert "xds_disk_free_bytes" in text
    assert "late" not in text


def test_a_queue_that_takes_long_to_count_does_not_say_that_the_database_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Counted(site.application.settings)
    monkeypatch.setattr(counted, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(there, "_queues", Aside(lambda: time.sleep(4) or ""))  # type: ignore[func-returns-value]
    wait_for(lambda: values(there.text(), "xds_database_up") == {"": 1})
    there.close()


def test_what_takes_long_is_asked_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "KEPT_SECONDS", 0.0)
    asked = list[float]()

    def ask() -> str:
        asked.append(time.monotonic())
        time.sleep(0.5)
        return "said"

    aside = Aside(ask)
    assert [aside.text() for _ in range(20)] == ["said"] * 20
    assert len(asked) == 1


def test_a_database_that_comes_back_is_told_of(tmp_path: Path, postgres_databases: Databases) -> None:
    """PostgreSQL, behind a way that is cut."""
    url = postgres_databases.new()
    with serving(url, tmp_path) as site:
        place = sa.make_url(url)
        assert place.port is not None
        with cuttable(place.port) as way:
            behind = url.replace(f":{place.port}", f":{way.port}")
            settings = site.application.settings
            there = Counted(Settings(server=ServerSettings(data=settings.server.data, database=behind)))
            up = lambda: values(there.text(), "xds_database_up")[""]  # noqa: E731
            assert up() == 1
            way.go_away()
            wait_for(lambda: up() == 0)
            way.away = False
            wait_for(lambda: up() == 1)
            there.close()


AS_MANY = ("max_connections=200",)
"""A copy must have room for what the primary has room for."""


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Server]:
    """A PostgreSQL with a copy that follows it."""
    try:
        primary = Server()
    except FileNotFoundError:
        missing("PostgreSQL", "postgresql")
    try:
        wait_for(primary.answers)
        place = sa.make_url(primary.url)
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        user = "postgres" if os.getuid() == 0 else None
        with TemporaryDirectory(prefix="xds-pg-copy-") as folder, ExitStack() as stack:
            if user:
                shutil.chown(folder, user)
            data, log = f"{folder}/data", stack.enter_context(Path(folder, "log").open("wb"))
            way = ["-h", "127.0.0.1", "-p", str(place.port), "-U", "xds"]
            begin = [bins / "pg_basebackup", "-D", data, "-R", "-c", "fast", *way]
            subprocess.run(begin, check=True, user=user, stdout=log, stderr=log, cwd="/")
            settings = (
                f"port={free_port()}",
                "listen_addresses=127.0.0.1",
                f"unix_socket_directories={folder}",
                *AS_MANY,
            )
            copy = subprocess.Popen(
                [bins / "postgres", "-D", data, *(part for one in settings for part in ("-c", one))],
                user=user, stdout=log, stderr=log, cwd="/", preexec_fn=partial(ends_with_us, signal.SIGQUIT),
            )  # fmt: skip
            yield primary
            copy.send_signal(signal.SIGQUIT)
            copy.wait(20)
    finally:
        primary.stop()


def test_a_copy_of_the_database_is_told_with_how_far_it_is_behind(copied: Server) -> None:
    engine = make_engine(f"{copied.url}/postgres", connections=1)
    lag = lambda: values(queues.database(engine), "xds_database_replica_lag_seconds")  # noqa: E731
    wait_for(lag)
    assert lag().keys() == {"walreceiver"}
    assert 0 <= lag()["walreceiver"] < 60
    engine.dispose()


def test_a_worker_that_dies_is_counted_and_what_it_had_is_told_no_more(tmp_path: Path) -> None:
    node = Served(tmp_path / "node").start()

    def told(name: str) -> dict[str, float]:
        with contextlib.suppress(OSError), urlopen(f"{node.url}/metrics", timeout=10) as reply:  # noqa: S310
            return values(reply.read().decode(), name)
        return {}

    assert {"supervisor", "sequencer", "sweeper", "images", "web"} == set(told("xds_processes"))
    wait_for(lambda: "short total" in told("xds_places"))
    before = told("xds_places")["short total"]
    os.kill(node.web_worker(), signal.SIGKILL)
    wait_for(lambda: told("xds_process_deaths_total").get("web") == 1)
    wait_for(lambda: told("xds_places").get("short total") == before)
    assert node.stop() == 0


def test_nothing_that_is_told_names_a_patient_or_a_document(site: Site) -> None:
    entry = an_entry(**of_bytes(b"x"))
    site.provide(a_submission(entries=[entry]), [b"x"])
    site.find()
    text = site.application.metrics.text().decode() + site.application._counted.text()
    for secret in (str(entry.unique_id), str(entry.entry_uuid), str(entry.patient_id), entry.patient_id.id):
        assert secret not in text
    assert re.search(r"&ISO|urn:uuid", text) is None
