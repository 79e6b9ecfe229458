"""Histories from several threads and from several processes at once, one of which may be killed.

After each the registry is held to what must be true of it whatever has happened, and to a model: what was
acknowledged is there, unless it was acknowledged to be removed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests import extent
from tests.actors.histories import PATIENTS, History, Model, holds, rows
from tests.actors.processes import in_processes
from tests.builders import a_submission, an_association, an_entry
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.errors import Refused
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import REPLACING, AssociationType
from xds.store.registry import patients
from xds.store.tables import association

pytestmark = pytest.mark.large

__all__ = ["domain", "shared_engine"]

SEEDS = [int(seed) for seed in os.environ.get("HISTORY_SEEDS", " ".join(map(str, extent.SEEDS))).split()]
THREADS = 6


@pytest.fixture
def known(domain: Domain) -> Domain:
    """With all patients of a history."""
    domain(lambda store: [store.add_patient(one) for one in PATIENTS])
    return domain


def agrees(site: Domain, model: Model, seed: int) -> None:
    """What must be true is, and so is what was acknowledged."""
    holds(site)
    there = site(lambda store: store.kinds_of(model.registered())).keys()
    assert model.registered() - set(model.removed) == there, f"seed {seed}"
    # Not everything is refused, and something is: the history says something.
    assert model.submissions
    assert model.refused


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_at_once_the_registry_is_what_it_must_be(known: Domain, seed: int) -> None:
    history = History(known, seed)
    done = at_once(history.operations(), THREADS)
    faults = [one for one in done if isinstance(one, Exception)]
    assert faults == [], f"seed {seed}"
    agrees(known, history.model, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_several_processes_do_at_once_the_registry_is_what_it_must_be(known: Domain, seed: int) -> None:
    agrees(known, in_processes(known, seed), seed)


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_a_process_killed_while_it_writes_takes_nothing_acknowledged_with_it(known: Domain, seed: int) -> None:
    """The rows that it had written are gone with it, and nobody waits for its locks."""
    model = in_processes(known, seed, kill=True)
    holds(known)
    there = known(lambda store: store.kinds_of(model.registered())).keys()
    # It may have died before it could say that something was removed.
    assert model.registered() - set(model.removing) <= there, f"seed {seed}"
    assert model.submissions
    with known.engine.connect() as connection:
        living = patients.all_of(connection, known.name)
    for one in living:
        known.register(a_submission(patient=one))


@pytest.mark.parametrize(
    "end", [lambda *_: 1 / 0, lambda *_: os.kill(os.getpid(), signal.SIGKILL)], ids=["raises", "dies"]
)
def test_a_process_that_raises_or_dies_fails_its_history(
    known: Domain, monkeypatch: pytest.MonkeyPatch, end: Callable[..., object]
) -> None:
    monkeypatch.setattr(History, "register", end)
    with pytest.raises(AssertionError, match="seed 7"):
        in_processes(known, 7)


def test_what_is_replaced_is_deprecated_whatever_came_between(domain: Domain) -> None:
    """Several replace one document at once: one does, the others find it deprecated."""
    old = domain.register(a_submission()).document_entries[0]
    sent = []
    for _ in range(6):
        new = an_entry()
        relation = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
        sent.append(a_submission(entries=[new], relations=[relation]))
    done = at_once([lambda one=one: domain.register(one) for one in sent])  # type: ignore[misc]
    assert [type(one) for one in done].count(Submission) == 1
    assert {type(one) for one in done} == {Submission, Refused}
    replacing = [row for row in rows(domain, association) if row.type in REPLACING and row.target == old.entry_uuid]
    assert len(replacing) == 1
