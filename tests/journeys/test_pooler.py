"""A real PgBouncer, which gives each transaction another connection, between a node and its database."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.needs import needed
from tests.pgbouncer import USER, configured
from tests.postgres import answers
from tests.server.test_application import Site, of_bytes, serving
from xds.demo.site import free_port
from xds.ebxml import rs
from xds.errors import Status
from xds.wire.xml import name

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""SQLite has no server that connections could be pooled to."""

CLIENTS, CONNECTIONS, EACH = 12, 3, 8
"""Who ask at once, the connections that they share, and how often each of them asks."""


@pytest.fixture
def pooled(database_url: str) -> Iterator[str]:
    """The URL of the database through the pooler, as the operator's guide says."""
    program = needed("pgbouncer", "pgbouncer", "PgBouncer")
    url, port = sa.make_url(database_url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="xds-pgbouncer-"))
    assert url.port is not None
    made = configured(folder, server=url.port, port=port, default_pool_size=CONNECTIONS, max_client_conn=100)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, made], stdout=log, stderr=log, user=USER, cwd="/")
    through = url.set(port=port).render_as_string(hide_password=False) + "?prepare_threshold=none"
    try:
        wait_for(lambda: answers(through) or process.poll() is not None, 20)
        assert process.poll() is None, (folder / "log").read_text()
        yield through
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture
def site(pooled: str, tmp_path: Path) -> Iterator[Site]:
    with serving(pooled, tmp_path) as site:
        yield site


def test_a_node_works_through_a_pooler_of_transactions(site: Site) -> None:
    """More ask at once than there are connections, so that each transaction has another one's."""

    def goes_in_and_comes_back(number: int) -> bytes:
        found = b""
        for nth in range(EACH):
            content = f"{number} {nth}".encode()
            entry = an_entry(**of_bytes(content))
            answer = site.provide(symbolic(a_submission(entries=[entry])), [content])
            assert rs.read_response(answer.body) == (Status.SUCCESS, ())
            assert entry.unique_id.encode() in etree.tostring(site.find().body)
            (spooled,) = site.retrieve(entry.unique_id).contents.values()
            found = spooled.path.read_bytes()
            assert found == content
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert len(set(pool.map(goes_in_and_comes_back, range(CLIENTS)))) == CLIENTS
    assert len(list(site.find(ANNA).body.iter(name("rim:ExtrinsicObject")))) == CLIENTS * EACH
    assert site.outcomes().count(("RAD-68", "110107", 0)) == CLIENTS * EACH
    assert site.outcomes().count(("ITI-43", "110106", 0)) == CLIENTS * EACH
