"""Queries go to a read replica: who was acknowledged something sees it there, also by another node, or is not sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.postgres import Server
from tests.replication import caught_up, do, hanging, paused, promoted, replicated, resumed
from tests.server.test_application import Site, of_bytes, serving
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.ebxml import rs
from xds.errors import Status, Unusable
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store import replicas
from xds.store.engine import make_engine
from xds.store.registry.patients import key_of
from xds.store.replicas import PRIMARY
from xds.store.tables import acknowledged
from xds.wire.peers import serving as serving_peer

CONTENT = b"a document"


class Region:
    """A primary, a replica, and nodes that ask it."""

    def __init__(self, primary: Server, replica: Server, folder: Path) -> None:
        self.primary, self.replica, self.folder = primary, replica, folder
        self.url = f"{primary.url}/xds"

    @contextmanager
    def node(self, name: str, **given: str) -> Iterator[Site]:
        settings = {"replicas": f'["{self.replica.url}/xds"]', "replica_wait_seconds": "0.05"} | given
        text = "[server]\n" + "\n".join(f"{key} = {value}" for key, value in settings.items())
        folder = self.folder / name
        folder.mkdir()
        with serving(self.url, folder, text + REPOSITORY) as site:
            yield site

    def caught_up(self) -> None:
        caught_up(self.primary, self.replica)

    def acknowledged(self) -> int:
        """How often anybody was acknowledged anything."""
        engine = make_engine(self.url)
        with engine.connect() as connection:
            found = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(acknowledged.c.count), 0)))
        engine.dispose()
        return int(found or 0)

    def wrote_nothing(self) -> None:
        """Let it have been somebody else who was acknowledged everything so far."""
        engine = make_engine(self.url)
        with engine.begin() as connection:
            connection.execute(sa.update(acknowledged).values(peer="another"))
        engine.dispose()


REPOSITORY = '\n[repository]\nunique_id = "1.2.3.4.5"\n[imaging_source]\nretrieve_location_uid = "1.2.3.4.6"\n'


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    with replicated() as (primary, replica):
        yield Region(primary, replica, tmp_path)


def put(site: Site) -> str:
    """Let a peer submit a document; return its uniqueId."""
    entry = an_entry(**of_bytes(CONTENT))
    answer = site.provide(symbolic(a_submission(entries=[entry])), [CONTENT])
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    return str(entry.unique_id)


def sees(site: Site, unique_id: str) -> bool:
    return unique_id.encode() in etree.tostring(site.find().body)


def _answered(site: Site, *, by_primary: bool) -> int:
    samples = [sample for metric in site.application.metrics.queries.collect() for sample in metric.samples]
    counts = [one for one in samples if one.name.endswith("_total")]
    return int(sum(one.value for one in counts if (one.labels["database"] == PRIMARY) == by_primary))


def by_replica(site: Site) -> int:
    """How many questions the replica has answered."""
    return _answered(site, by_primary=False)


def passed_over(site: Site) -> int:
    """How many the primary has, because no replica could."""
    return _answered(site, by_primary=True)


def test_a_replica_that_has_everything_answers(region: Region) -> None:
    with region.node("a") as site:
        first = put(site)
        region.caught_up()
        assert sees(site, first)
        assert by_replica(site) == 1
        site.retrieve(first)
        assert by_replica(site) == 2
        assert passed_over(site) == 0


def test_who_wrote_at_one_node_sees_it_at_the_other_while_the_replica_lags(region: Region) -> None:
    with region.node("a") as one, region.node("b") as other:
        put(one)
        region.caught_up()
        paused(region.replica)
        before = by_replica(other)
        second = put(one)
        assert sees(other, second)
        assert by_replica(other) == before  # so the primary has answered
        resumed(region.replica)
        region.caught_up()
        assert sees(other, second)
        assert by_replica(other) == before + 1


def test_a_replica_that_catches_up_in_time_is_waited_for(region: Region) -> None:
    with region.node("a", replica_wait_seconds="20.0") as site:
        put(site)
        region.caught_up()
        paused(region.replica)
        second = put(site)
        resuming = threading.Timer(0.2, lambda: resumed(region.replica))
        resuming.start()
        assert sees(site, second)
        assert by_replica(site) == 1
        resuming.join()


def test_who_wrote_nothing_is_answered_by_a_replica_that_lags_a_little(region: Region) -> None:
    with region.node("a") as one, region.node("b") as other:
        first = put(one)
        region.caught_up()
        paused(region.replica)
        region.wrote_nothing()
        assert sees(other, first)
        assert by_replica(other) == 1


def test_a_replica_that_is_too_far_behind_is_not_asked(region: Region) -> None:
    with region.node("a", replica_seconds="0.2") as site:
        first = put(site)
        region.caught_up()
        paused(region.replica)
        region.wrote_nothing()
        wait_for(lambda: sees(site, first) and passed_over(site) > 0)


def test_what_a_patient_wants_holds_at_once_for_everybody(region: Region) -> None:
    with region.node("a") as site:
        first = put(site)
        region.caught_up()
        assert sees(site, first)
        paused(region.replica)
        region.wrote_nothing()
        with site.application.engine.begin() as connection:
            key = key_of(connection, DEFAULT_DOMAIN, ANNA)
            assert key is not None
            set_directive(connection, key, Directive(permit=False), "her")
        before = by_replica(site)
        assert sees(site, first)  # on loopback everybody may see everything
        assert by_replica(site) == before


def test_without_its_replica_a_node_asks_the_primary_and_comes_back_to_it(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "AWAY_SECONDS", 0.2)
    with region.node("a") as site:
        first = put(site)
        region.caught_up()
        assert sees(site, first)
        region.replica.stop()
        assert sees(site, first)
        assert by_replica(site) == 1
        region.replica.start()
        wait_for(region.replica.answers)
        wait_for(lambda: sees(site, first) and by_replica(site) > 1)


def test_a_replica_that_hangs_is_not_waited_for_for_long(region: Region) -> None:
    with region.node("a") as site:
        first = put(site)
        region.caught_up()
        assert sees(site, first)
        with hanging(region.replica):
            asked = time.monotonic()
            assert sees(site, first)
            assert time.monotonic() - asked < 20  # TCP itself would wait for a quarter of an hour
        assert by_replica(site) == 1


def test_a_document_that_is_removed_by_one_peer_is_given_to_no_other(region: Region) -> None:
    with region.node("a") as site:
        first = put(site)
        region.caught_up()
        paused(region.replica)
        region.wrote_nothing()
        with serving_peer("another"):
            work = site.application.database.work()
            assert work.documents.remove(first)
            work.commit()
        answer = site.retrieve(first)
        assert not answer.contents
        assert by_replica(site) == 0


def test_who_fetches_is_not_taken_to_have_written(region: Region) -> None:
    with region.node("a") as site:
        first = put(site)
        before = region.acknowledged()
        site.retrieve(first)
        site.outcomes()
        assert region.acknowledged() == before


def test_what_a_repository_keeps_by_itself_is_seen_by_who_sent_it(region: Region) -> None:
    with region.node("a") as site:
        before = region.acknowledged()
        with site.application.database.work().apart():
            pass
        assert region.acknowledged() == before + 1


def test_a_replica_of_another_cluster_is_refused_and_never_asked(region: Region) -> None:
    with replicated() as (_, stranger):
        refused_and_never_asked(region, f"{stranger.url}/xds")


def test_another_database_of_the_same_cluster_is_refused_and_never_asked(region: Region) -> None:
    do(region.primary, "CREATE DATABASE another")
    region.caught_up()
    refused_and_never_asked(region, f"{region.replica.url}/another")


def refused_and_never_asked(region: Region, url: str) -> None:
    engine = make_engine(region.url)
    with pytest.raises(Unusable, match="is no copy of"):
        replicas.check(engine, [url])
    engine.dispose()
    with region.node("a", replicas=f'["{url}"]') as site:
        assert sees(site, put(site))
        assert by_replica(site) == 0


def test_a_copy_that_follows_nobody_any_more_is_not_asked(region: Region) -> None:
    with region.node("a", replica_seconds="1000.0") as site:
        first = put(site)
        region.caught_up()
        assert sees(site, first)
        promoted(region.replica)
        region.wrote_nothing()
        assert sees(site, first)
        assert by_replica(site) == 1


@pytest.mark.parametrize(
    "url", ["postgresql://h:abc/x", "postgresql://[::1/x", "postgresql:nonsense", "http://x", "sqlite:///x"]
)
def test_what_is_no_url_of_postgresql_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(Unusable, match=r"server\.replicas"):
        replicas._engine(url, 1)


def test_sqlite_has_no_replicas() -> None:
    engine = make_engine("sqlite:///:memory:")
    with pytest.raises(Unusable, match="SQLite has none"):
        replicas.check(engine, ["postgresql://x"])
