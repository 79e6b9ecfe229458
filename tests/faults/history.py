"""One history: peers work at a node while faults come and go by a seed; then what each was told must be true.

A peer is told that something is done, that it is not, or nothing that it can rely on.  What is done must be there, and
on record; what is not must be wholly absent; of the rest either is right.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import sqlalchemy as sa

from tests.conftest import wait_for
from tests.extent import size
from tests.faults.deployment import Deployment
from tests.faults.peers import Peers
from xds.audit.log.keys import log_certificates
from xds.audit.log.verify import verify
from xds.errors import Unusable
from xds.store.audit.records import streams
from xds.store.engine import make_engine, reading
from xds.store.tables import audit_record, document, document_entry

PEERS, STEPS = 3, size(4, 8)

BETWEEN_SECONDS = 0.05
"""At most, between what a peer is answered and what it asks next: other tests run beside."""

ANSWERED_SECONDS = 60.0
STARTS = 5


class History:
    """Of one seed."""

    def __init__(self, node: Deployment, seed: int, *, steps: int = STEPS) -> None:
        self._node, self._seed, self._steps = node, seed, steps
        self._chance = random.Random(seed)  # noqa: S311
        self._peers = Peers(
            node.url, node.settings.repository.unique_id, node.folder, seed, pause_seconds=BETWEEN_SECONDS
        )
        self.told, self.faults = self._peers.told, list[str]()

    def run(self) -> None:
        """Let peers work while things fail; then everything is well, and what must hold is held.

        Raises:
            AssertionError: it does not; the message has the seed and the faults.
        """
        stopping = threading.Event()
        peers = [threading.Thread(target=self._peers.work, args=(number, stopping)) for number in range(PEERS)]
        for peer in peers:
            peer.start()
        try:
            for _ in range(self._steps):
                time.sleep(self._chance.uniform(0.2, 0.8))
                self._fault()
        finally:
            self._well_again()
            wait_for(lambda: self.told.counted["RAD-68"] > 0, ANSWERED_SECONDS)
            stopping.set()
            for peer in peers:
                peer.join()
        self._hold()

    def _fault(self) -> None:
        node, chance = self._node, self._chance
        kinds: list[Callable[[], Any]] = [
            lambda: node.kill_one(chance), node.kill_all, lambda: node.die_at(chance), lambda: node.fail_disk(chance),
            lambda: node.step_clock(chance),
        ]  # fmt: skip
        if node.disk is not None:
            kinds.append(node.fill_disk)
        if node.cuttable is not None:
            kinds += [node.without_database, node.with_a_paused_database]
        made = chance.choice(kinds)()
        with ExitStack() as stack:
            self.faults.append(made if isinstance(made, str) else stack.enter_context(made))
            time.sleep(chance.uniform(0.1, 1.0))
        if chance.random() < 0.7:
            node.nothing_fails()
            node.free_disk()
        if not node.lives():
            node.start()

    def _well_again(self) -> None:
        self._node.nothing_fails()
        self._node.free_disk()
        for _ in range(STARTS):  # as a service's manager does, where it ends while it starts
            if not self._node.lives():
                self._node.start()
            with suppress(Unusable):
                self._node.wait()
                return
        self._node.wait()

    # What must hold.

    def _hold(self) -> None:
        told, node = self.told, self._node
        engine = make_engine(self._database())
        wait_for(lambda: not _open(engine), ANSWERED_SECONDS)
        wait_for(lambda: _unsealed(engine) == 0, ANSWERED_SECONDS)
        node.stop()
        with engine.connect() as connection:
            first = sa.select(document_entry.c.unique_id).where(document_entry.c.version == 1)
            registered = Counter(connection.scalars(first))
            versions = Counter(connection.scalars(sa.select(document_entry.c.service_start_time)))
            kept = {*connection.scalars(sa.select(document.c.document_unique_id))}
            outcomes = connection.execute(sa.select(audit_record.c.transaction, audit_record.c.outcome)).all()
        # What was under way when its process died is on record as broken off, although its last byte may have arrived.
        done = Counter(number for number, outcome in outcomes if outcome == 0 or number == "ITI-43")
        engine.dispose()
        told.wrong += [f"{one} is acknowledged and not registered" for one in told.done if registered[one] != 1]
        gone = [one for one in told.done if one not in kept and one not in told.perhaps_erased]
        told.wrong += [f"{one} is acknowledged and not kept" for one in gone]
        told.wrong += [f"{one} is not done and there" for one in told.not_done if registered[one] or one in kept]
        told.wrong += [f"{one} is removed and kept" for one in told.erased if one in kept]
        told.wrong += [f"{one} is there {times} times" for one, times in registered.items() if times > 1]
        told.wrong += [f"version {one} is acknowledged and not there" for one in told.updated if versions[one] != 1]
        told.wrong += [f"version {one} is not done and there" for one in told.not_updated if versions[one]]
        told.wrong += [
            f"{told.counted[number]} of {number} are done, of {told.perhaps[number]} nobody knows, and {done[number]} "
            "are on record"
            for number in told.counted
            if not told.counted[number] <= done[number] <= told.counted[number] + told.perhaps[number]
        ]
        settings = node.settings
        blobs = settings.data / "documents"
        for unique_id, digest in told.done.items():
            if unique_id not in told.perhaps_erased and not any(blobs.rglob(f"{digest}*")):
                told.wrong.append(f"the bytes of {unique_id} are not on disk")
        try:
            verify(settings.data / "audit", log_certificates(settings))
        except Exception as problem:
            told.wrong.append(f"the audit log: {problem}")
        assert not told.wrong, f"seed {self._seed}, after {self.faults}: {told.wrong[:5]}"

    def _database(self) -> str:
        return self._node.settings.database_url


def _open(engine: sa.Engine) -> bool:
    with reading(engine) as connection:
        return bool(list(streams(connection)))


def _unsealed(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        waiting = sa.select(sa.func.count()).where(audit_record.c.leaf_number.is_(None))
        return int(connection.scalar(waiting) or 0)
