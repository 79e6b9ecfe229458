"""A node that puts its audit log into an object store: what it tells, and how one that was lost goes on from there."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from tests.audit.log.test_stored import locked
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.extent import LONG
from tests.hostile.server import Served
from tests.server.test_counted import values
from tests.store.audit.test_records import keep, rows
from tests.store.engines import Engine, engines
from xds.audit.log.sequencer import Sequencer, folder
from xds.audit.log.stored import SEGMENTS, Stored
from xds.audit.messages.message_xml import read
from xds.initiating.audit_storing import AuditStoring, cursor
from xds.server import queues
from xds.settings.configuration import load
from xds.settings.sections import Loaded
from xds.store.audit.objects import AuditObjects
from xds.store.deployment import log_id, prepare, with_identity
from xds.store.engine import make_engine
from xds.store.tables import audit_head, audit_record

__all__ = ["engines"]

pytestmark = [pytest.mark.large] if LONG else []


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Engine:
    started: Engine = request.getfixturevalue("engines")["seaweedfs"]
    return started


class Node:
    """One with a log of its own; what its sequencer and its storing do is done by hand."""

    def __init__(self, at: Path, server: Engine, bucket: str, **audit: object) -> None:
        self.at, self.counted = at, Counter[str]()
        (at / "xds.toml").write_text(
            f'[server]\ndata = "{at}/data"\n[s3]\nendpoint = "{server.url}"\n[audit]\n'
            f'object_store = "s3://{bucket}/logs"\n' + "".join(f"{key} = {value!r}\n" for key, value in audit.items())
        )
        self.loaded: Loaded = with_identity(load(at / "xds.toml", {}))
        self.engine = make_engine(self.loaded.settings.database_url)
        prepare(self.engine, self.loaded)
        self.objects = AuditObjects(self.loaded.settings)
        self.storing = self._storing()

    def _storing(self) -> AuditStoring:
        return AuditStoring(
            self.engine, self.loaded.settings, folder(self.loaded), lambda outcome: self.counted.update([outcome])
        )

    def restarted(self) -> None:
        self.storing = self._storing()

    def sealed(self) -> int:
        sequencer = Sequencer(self.engine, self.loaded)
        try:
            sequencer.step()
            return sequencer.size
        finally:
            sequencer.close()

    def alerts(self) -> list[str]:
        columns = sa.select(audit_record.c.message).where(audit_record.c.event == "110113").order_by(audit_record.c.id)
        with self.engine.connect() as connection:
            return [read(one).objects[0].details[0].text for one in connection.scalars(columns)]

    def xds(self, *command: object) -> tuple[int, str]:
        done = xds("audit", *command, "--config", self.at / "xds.toml")
        return done.code, done.out + done.err

    @property
    def stored(self) -> Stored:
        return Stored(self.objects, log_id(self.loaded.settings.data))


@pytest.fixture
def node(server: Engine, tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, server, server.bucket())
    keep(node.engine, rows(0, 10))
    assert node.sealed() >= 10
    yield node
    node.engine.dispose()


def waiting(node: Node) -> float:
    text = queues.storing(node.engine, cursor(log_id(node.loaded.settings.data)))
    return values(text, "xds_audit_unstored")[""]


def test_what_is_sealed_is_put_there_and_what_waits_is_told(node: Node) -> None:
    size = node.sealed()
    assert waiting(node) == size
    assert node.storing.step()
    assert waiting(node) == 0
    keep(node.engine, rows(10, 12))
    assert node.sealed() == size + 2
    assert waiting(node) == 2
    assert node.xds("verify", "--stored", "--database")[0] == 0  # what is there is the beginning of what is here
    assert node.storing.step()
    assert (waiting(node), node.counted, node.alerts()) == (0, {"stored": 2}, [])
    code, text = node.xds("verify", "--stored", "--every-signature", "--database")
    assert (code, f"the log holds: {size + 2} records" in text) == (0, True), text
    assert not list((node.at / "data").glob(".audit-*"))


def test_a_store_that_does_not_answer_is_told_and_later_gone_on_with(node: Node) -> None:
    node.storing.step()
    settings = node.loaded.changed({"s3.endpoint": "http://127.0.0.1:1", "s3.seconds": 0.5}, "file").settings
    away = AuditStoring(node.engine, settings, folder(node.loaded), lambda outcome: node.counted.update([outcome]))
    assert not away.step()
    assert node.counted == {"stored": 1, "failed": 1}
    assert node.alerts() == []
    code, text = node.xds("verify", "--stored", "--log-id", "1.2.3")
    assert code == 1
    assert log_id(node.loaded.settings.data) in text  # which logs there are


def test_another_history_there_is_an_alert_once(node: Node) -> None:
    node.storing.step()
    shutil.rmtree(folder(node.loaded))
    with node.engine.begin() as connection:  # as of a database that was brought back from long ago
        connection.execute(sa.delete(audit_record).where(audit_record.c.leaf_number >= 5))
        connection.execute(sa.update(audit_head).values(size=5))
        connection.execute(sa.text("DELETE FROM audit_checkpoint"))
    node.sealed()
    node.restarted()
    assert not node.storing.step()
    assert not node.storing.step()
    (said,) = node.alerts()
    assert "another history than the audit log" in said
    shutil.rmtree(folder(node.loaded))
    code, text = node.xds("fetch")
    assert (code, "step 6" in text) == (1, True), text
    assert not folder(node.loaded).exists() or not list(folder(node.loaded).glob("segments/*"))


# Brought back.


def test_a_node_that_has_lost_its_files_goes_on_from_there(node: Node) -> None:
    node.storing.step()
    keep(node.engine, rows(10, 13))
    size = node.sealed()  # more than is there
    shutil.rmtree(folder(node.loaded))
    code, text = node.xds("fetch")
    assert code == 0, text
    assert node.sealed() == size
    assert node.xds("verify", "--database")[0] == 0
    node.restarted()
    assert node.storing.step()
    assert node.xds("verify", "--stored", "--database")[0] == 0
    assert oct(folder(node.loaded).stat().st_mode & 0o777) == "0o700"


def test_nothing_is_written_over_and_what_was_changed_there_is_not_taken(node: Node, tmp_path: Path) -> None:
    node.storing.step()
    code, text = node.xds("fetch")
    assert (code, "is not empty" in text) == (1, True)
    (slice_, *_) = node.stored.slices(SEGMENTS)
    data = node.stored.data(SEGMENTS, slice_)
    node.objects.put(node.stored.path(SEGMENTS, slice_), data.replace(b"AuditMessage n='3'", b"AuditMessage n='8'"))
    code, text = node.xds("verify", "--stored")
    assert (code, "TAMPERED: step 2" in text) == (1, True), text
    code, text = node.xds("fetch", "--to", tmp_path / "evidence")
    assert (code, "is not used: step 2" in text) == (1, True), text
    assert not (tmp_path / "evidence").exists()


def test_it_is_fetched_into_an_empty_folder_for_who_wants_to_look(node: Node, tmp_path: Path) -> None:
    node.storing.step()
    code, text = node.xds("fetch", "--to", tmp_path / "evidence", "--log-id", log_id(node.loaded.settings.data))
    assert (code, "records under" in text) == (0, True), text
    assert node.xds("verify", "--log", tmp_path / "evidence")[0] == 0
    assert node.xds("fetch", "--log-id", "1.2.3")[0] == 2
    assert node.xds("verify", "--stored", "--log", tmp_path / "evidence")[0] == 2


# Kept by the bucket.


def test_what_must_be_locked_and_is_not_is_an_alert(node: Node, server: Engine, tmp_path: Path) -> None:
    node.loaded = node.loaded.changed({"audit.object_lock_days": 30}, "file")
    node.restarted()
    assert node.storing.step()
    assert node.counted == {"not locked": 1, "stored": 1}
    keep(node.engine, rows(20, 21))
    node.sealed()
    assert node.storing.step()
    (said,) = node.alerts()
    assert "does not keep what is put there for 30 days" in said
    for name, days, outcomes in (("a", 30, {"stored": 1}), ("b", 7, {"stored": 1, "not locked": 1})):
        (tmp_path / name).mkdir()
        other = Node(tmp_path / name, server, locked(server, days), object_lock_days=30)
        keep(other.engine, rows(0, 3))
        other.sealed()
        assert other.storing.step()
        assert other.counted == outcomes
        other.engine.dispose()


# A server.


def test_a_server_puts_its_log_there_by_itself(server: Engine, tmp_path: Path) -> None:
    bucket = server.bucket()
    served = Served(tmp_path, {
        "s3": {"endpoint": server.url},
        "audit": {"object_store": f"s3://{bucket}/logs", "object_store_seconds": 0.2},
    }).start()  # fmt: skip
    served.provide(b"good", tmp_path / "good")

    def unstored() -> float:
        with urlopen(f"{served.url}/metrics") as reply:  # noqa: S310
            return values(reply.read().decode(), "xds_audit_unstored").get("", 1.0)

    wait_for(lambda: unstored() == 0.0)
    assert served.stop() == 0
    done = xds("audit", "verify", "--stored", "--database", "--config", served.config)
    assert done.code == 0, done.err
