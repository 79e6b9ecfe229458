"""What peers do at a node, by a seed, and what each was told.

A peer is told that something is done, that it is not, or nothing that it can rely on.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from lxml import etree

from tests.actors.test_metadata_update import an_update, replaces, version_of
from tests.builders import AUTHORITY, a_submission, an_entry, symbolic
from tests.hl7.test_v3 import ii, interaction
from tests.server.test_application import Site, of_bytes
from xds.actors.document_consumer import read_entries
from xds.ebxml import lcm, rs, xdsb
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.transactions import iti86_remove_documents
from xds.transactions.iti44_patient_identity_feed_hl7v3 import TRANSACTIONS as ITI_44
from xds.transactions.iti57_update_document_set import TRANSACTION as ITI_57
from xds.wire.client import Answer, Faulted, NoReply
from xds.wire.spool import Spool

PATIENTS = tuple(PatientId(name, AUTHORITY) for name in ("anna", "bert", "carl", "dora"))
NOTHING_DONE = ("nothing was changed", "was not carried out", "nothing was done")
"""What a fault says of something that is not done."""

_seconds = count()
"""Since 1990: one for each new version."""


@dataclass(slots=True)
class Told:
    """What became of each document, as its peer was told: by uniqueId, with its SHA-256."""

    done: dict[str, str] = field(default_factory=dict)
    not_done: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)  # times of service, each of one new version
    not_updated: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)  # from the repository
    perhaps_erased: set[str] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)  # what was done, by transaction
    perhaps: Counter[str] = field(default_factory=Counter)  # of what nobody knows whether it was
    wrong: list[str] = field(default_factory=list)


class Peers:
    """Several, of one seed, at one node; each works in a thread of its own."""

    def __init__(
        self, url: str, repository: str, folder: Path, seed: int, *, pause_seconds: float,
        patients: Sequence[PatientId] = PATIENTS,
    ) -> None:  # fmt: skip
        """``pause_seconds``: at most, between what a peer is answered and what it asks next."""
        self._url, self._repository, self._folder, self._seed = url, repository, folder, seed
        self._pause, self._patients = pause_seconds, patients
        self.told = Told()
        self._lock = threading.Lock()

    @property
    def kinds(self) -> Sequence[Callable[[Site, random.Random], object]]:
        """What each does, as often as it stands here."""
        return (self._provide, self._provide, self._fetch, self._find, self._update, self._remove, self._feed)

    def work(self, number: int, stopping: threading.Event) -> None:
        """Be one of them, until all stop."""
        chance, kinds = random.Random(f"{self._seed} {number}"), self.kinds  # noqa: S311
        with Spool(self._folder / f"peer-{number}") as spool:
            site = Site(self._url, None, spool)  # type: ignore[arg-type]  # the node is another process
            while not stopping.wait(chance.uniform(0, self._pause)):
                do = chance.choice(kinds)
                try:
                    do(site, chance)
                except (Faulted, NoReply):
                    continue
                except Exception as problem:
                    self.told.wrong.append(f"{do.__name__}: {problem!r}")

    def _provide(self, site: Site, chance: random.Random) -> None:
        content = chance.randbytes(chance.choice((10, 3000, 200_000)))
        entry = an_entry(**of_bytes(content), patient_id=chance.choice(self._patients))
        submission = symbolic(a_submission(patient=entry.patient_id, entries=[entry]))
        known = self._sent(lambda: site.provide(submission, [content]), "RAD-68")
        if known:
            self.told.done[str(entry.unique_id)] = hashlib.sha256(content).hexdigest()
        elif known is False:
            self.told.not_done.add(str(entry.unique_id))

    def _sent(self, send: Callable[[], Any], number: str) -> bool | None:
        """Whether it is done; None where that is not known."""
        try:
            status, _ = rs.read_response(send().body)
        except (Faulted, NoReply) as problem:
            if any(said in str(problem) for said in NOTHING_DONE):
                return False
            with self._lock:
                self.told.perhaps[number] += 1
            return None
        with self._lock:
            self.told.counted[number] += status is Status.SUCCESS
        return status is Status.SUCCESS

    def asked(self, number: str, ask: Callable[[], Answer], is_done: Callable[[Answer], bool]) -> Answer:
        """What was answered, counted: where nobody knows whether it was done and is on record, as that.

        Raises:
            Faulted, NoReply: as ``ask`` does.
        """
        done = False
        try:
            answer = ask()
            done = is_done(answer)
        finally:
            with self._lock:
                (self.told.counted if done else self.told.perhaps)[number] += 1
        return answer

    def _some(self, chance: random.Random) -> str:
        known = list(self.told.done)
        return chance.choice(known) if known else ""

    def _fetch(self, site: Site, chance: random.Random) -> None:
        unique_id = self._some(chance)
        if not unique_id:
            return
        answer = self.asked(
            "ITI-43", lambda: site.retrieve(unique_id, repository=self._repository), lambda got: bool(got.contents)
        )
        for spooled in answer.contents.values():
            if spooled.sha256 != self.told.done[unique_id]:
                self.told.wrong.append(f"{unique_id} came back with other bytes")
            spooled.path.unlink(missing_ok=True)

    def _find(self, site: Site, chance: random.Random) -> list[DocumentEntry]:
        patient = chance.choice(self._patients)
        answer = self.asked("ITI-18", lambda: site.find(patient), lambda got: _status(got) is Status.SUCCESS)
        return read_entries(answer.body)

    def _update(self, site: Site, chance: random.Random) -> None:
        """Give an entry a new version, told by the time of its service from any other."""
        entries = self._find(site, chance)
        if not entries:
            return
        entry = chance.choice(entries)
        when = Dtm.of(datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_seconds)))
        new = version_of(entry, logical_id=entry.logical_id, service_start_time=when, service_stop_time=None)
        sent = an_update(replaces(new, str(entry.version)), items=[new], patient=entry.patient_id)
        body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(sent)))
        known = self._sent(lambda: site.send("/registry", ITI_57.action, [body], mtom=False), "ITI-57")
        if known is not None:
            (self.told.updated if known else self.told.not_updated).add(when.text)

    def _remove(self, site: Site, chance: random.Random) -> None:
        """Of the repository: the registry goes on saying that there was one."""
        unique_id = self._some(chance)
        if not unique_id or chance.random() < 0.5:
            return
        body = etree.tostring(xdsb.write_remove_request([xdsb.DocumentRequest(self._repository, unique_id)]))
        self.told.perhaps_erased.add(unique_id)
        send = lambda: site.send("/repository", iti86_remove_documents.TRANSACTION.action, [body], mtom=False)  # noqa: E731
        if self._sent(send, "ITI-86") is True:
            self.told.erased.add(unique_id)

    def _feed(self, site: Site, chance: random.Random) -> None:
        """Somebody is made known, or two are merged who are in no other's way."""
        who, kept = PatientId(f"p{chance.randrange(10**9)}", AUTHORITY), self._patients[0]
        for sent in (interaction(ids=ii(who)), interaction("PRPA_IN201304UV02", ids=ii(kept), prior=ii(who))):
            action = next(one.action for one in ITI_44 if one.action.rpartition(":")[2] in sent)
            site.send("/registry", action, [sent.encode()], mtom=False)


def _status(answer: Answer) -> Status:
    status, _ = rs.read_response(answer.body)
    return status
