"""One history: peers work at a node while faults come and go by a seed; then what each was told must be true.

A peer is told that something is done, that it is not, or nothing that it can rely on.  What is done must be there, and
on record; what is not must be wholly absent; of the rest either is right.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from lxml import etree

from tests.builders import AUTHORITY, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.extent import size
from tests.faults.deployment import Deployment
from tests.hl7.test_v3 import ii, interaction
from tests.server.test_application import Site, of_bytes
from xds.audit.log.keys import log_certificates
from xds.audit.log.verify import verify
from xds.ebxml import rs, xdsb
from xds.errors import Status, Unusable
from xds.metadata.identifiers import PatientId
from xds.store.audit.records import streams
from xds.store.engine import make_engine, reading
from xds.store.tables import audit_record, document, document_entry
from xds.transactions import iti86_remove_documents
from xds.transactions.iti44_patient_identity_feed_hl7v3 import TRANSACTIONS as ITI_44
from xds.wire.client import Faulted, NoReply
from xds.wire.spool import Spool

PEERS, STEPS = 3, size(4, 8)

BETWEEN_SECONDS = 0.05
"""At most, between what a peer is answered and what it asks next: other tests run beside."""

PATIENTS = [PatientId(name, AUTHORITY) for name in ("anna", "bert", "carl", "dora")]
NOTHING_DONE = ("nothing was changed", "was not carried out", "nothing was done")
"""What a fault says of something that is not done."""
ANSWERED_SECONDS = 60.0
STARTS = 5


@dataclass(slots=True)
class Told:
    """What became of each document, as its peer was told."""

    done: dict[str, bytes] = field(default_factory=dict)
    not_done: dict[str, bytes] = field(default_factory=dict)
    unknown: dict[str, bytes] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)  # from the repository
    perhaps_erased: set[str] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)  # what was done, by transaction
    wrong: list[str] = field(default_factory=list)


class History:
    """Of one seed."""

    def __init__(self, node: Deployment, seed: int, *, steps: int = STEPS) -> None:
        self._node, self._seed, self._steps = node, seed, steps
        self._chance = random.Random(seed)  # noqa: S311
        self.told, self.faults = Told(), list[str]()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Let peers work while things fail; then everything is well, and what must hold is held.

        Raises:
            AssertionError: it does not; the message has the seed and the faults.
        """
        stopping = threading.Event()
        peers = [threading.Thread(target=self._work, args=(number, stopping)) for number in range(PEERS)]
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

    # What peers do.

    def _work(self, number: int, stopping: threading.Event) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311
        with Spool(self._node.folder / f"peer-{number}") as spool:
            site = Site(self._node.url, None, spool)  # type: ignore[arg-type]  # the node is another process
            while not stopping.wait(chance.uniform(0, BETWEEN_SECONDS)):
                do = chance.choice([self._provide, self._provide, self._fetch, self._find, self._remove, self._feed])
                try:
                    do(site, chance)
                except (Faulted, NoReply):
                    continue
                except Exception as problem:
                    self.told.wrong.append(f"{do.__name__}: {problem!r}")

    def _provide(self, site: Site, chance: random.Random) -> None:
        content = chance.randbytes(chance.choice((10, 3000, 200_000)))
        entry = an_entry(**of_bytes(content), patient_id=chance.choice(PATIENTS))
        submission = symbolic(a_submission(patient=entry.patient_id, entries=[entry]))
        known = self._sent(lambda: site.provide(submission, [content]), "RAD-68", str(entry.unique_id), content)
        if known is not None:
            (self.told.done if known else self.told.not_done)[str(entry.unique_id)] = content

    def _sent(self, send: Callable[[], Any], number: str, unique_id: str = "", content: bytes = b"") -> bool | None:
        """Whether it is done; None where that is not known."""
        try:
            status, _ = rs.read_response(send().body)
        except Faulted as fault:
            if any(said in str(fault) for said in NOTHING_DONE):
                return False
            self.told.unknown[unique_id] = content
            return None
        except NoReply:
            self.told.unknown[unique_id] = content
            return None
        with self._lock:
            self.told.counted[number] += status is Status.SUCCESS
        return status is Status.SUCCESS

    def _some(self, chance: random.Random) -> str:
        known = list(self.told.done)
        return chance.choice(known) if known else ""

    def _fetch(self, site: Site, chance: random.Random) -> None:
        unique_id = self._some(chance)
        if not unique_id:
            return
        answer = site.retrieve(unique_id, repository=self._node.settings.repository.unique_id)
        for spooled in answer.contents.values():
            with self._lock:
                self.told.counted["ITI-43"] += 1
            if spooled.path.read_bytes() != self.told.done[unique_id]:
                self.told.wrong.append(f"{unique_id} came back with other bytes")

    def _find(self, site: Site, chance: random.Random) -> None:
        site.find(chance.choice(PATIENTS))
        with self._lock:
            self.told.counted["ITI-18"] += 1

    def _remove(self, site: Site, chance: random.Random) -> None:
        """Of the repository: the registry goes on saying that there was one."""
        unique_id = self._some(chance)
        if not unique_id or chance.random() < 0.5:
            return
        repository = self._node.settings.repository.unique_id
        body = etree.tostring(xdsb.write_remove_request([xdsb.DocumentRequest(repository, unique_id)]))
        self.told.perhaps_erased.add(unique_id)
        send = lambda: site.send("/repository", iti86_remove_documents.TRANSACTION.action, [body], mtom=False)  # noqa: E731
        if self._sent(send, "ITI-86") is True:
            self.told.erased.add(unique_id)

    def _feed(self, site: Site, chance: random.Random) -> None:
        """Somebody is made known, or two are merged who are in no other's way."""
        name = f"p{chance.randrange(10**9)}"
        who = PatientId(name, AUTHORITY)
        for sent in (interaction(ids=ii(who)), interaction("PRPA_IN201304UV02", ids=ii(PATIENTS[0]), prior=ii(who))):
            action = next(one.action for one in ITI_44 if one.action.rpartition(":")[2] in sent)
            site.send("/registry", action, [sent.encode()], mtom=False)

    # What must hold.

    def _hold(self) -> None:
        told, node = self.told, self._node
        engine = make_engine(self._database())
        wait_for(lambda: not _open(engine), ANSWERED_SECONDS)
        wait_for(lambda: _unsealed(engine) == 0, ANSWERED_SECONDS)
        node.stop()
        with engine.connect() as connection:
            registered = Counter(connection.scalars(sa.select(document_entry.c.unique_id)))
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
        told.wrong += [
            f"{told.counted[number]} of {number} are done, and {done[number]} on record"
            for number in told.counted
            if done[number] < told.counted[number]
        ]
        settings = node.settings
        blobs = settings.data / "documents"
        for unique_id, content in told.done.items():
            if unique_id not in told.perhaps_erased:
                digest = hashlib.sha256(content).hexdigest()
                if not any(blobs.rglob(f"{digest}*")):
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
