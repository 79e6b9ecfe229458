"""Kills the primary while submissions go on, again and again, and holds what must hold afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.engines import Engines
from tests.cluster.region import Region
from tests.conftest import wait_for
from xds.audit.log.keys import log_certificates
from xds.audit.log.verify import verify


@dataclass(frozen=True, slots=True)
class Failover:
    """One of them: what was killed, and for how long nothing was acknowledged."""

    seed: int
    what: str
    outage_seconds: float


def fail_over(engines: Engines, region: Region, seed: int, tell: Callable[[str], None] = print) -> Failover:
    """Kill the primary at a moment that the seed says, by kill -9: PostgreSQL alone, or with its Patroni."""
    chance = random.Random(seed)  # noqa: S311
    machine = chance.random() < 0.5
    with region.under_load():
        acknowledged = len(region.acknowledged)
        wait_for(lambda: len(region.acknowledged) > acknowledged + 20, 120)
        time.sleep(chance.uniform(0, 1))  # in the middle of whatever is going on
        primary = engines.primary()
        assert primary is not None
        killed = time.monotonic()
        primary.crash(machine=machine)
        before = len(region.acknowledged)
        wait_for(lambda: len(region.acknowledged) > before + 20, 180)
        outage = region.longest_outage(killed)
        primary.come_back()
        wait_for(engines.is_whole, 180)
    done = Failover(seed, "PostgreSQL and Patroni" if machine else "PostgreSQL", outage)
    tell(f"seed {seed}: {done.what} of {primary.name} killed, nothing acknowledged for {outage:.1f} s")
    return done


def hold(region: Region) -> None:
    """What was acknowledged is there, once; what was refused is not; who was told so saw it; logs hold."""
    kept = region.kept()
    lost = [one for one in region.acknowledged if one not in kept]
    assert not lost, f"{len(lost)} of {len(region.acknowledged)} acknowledged are lost: {lost[:3]}"
    twice = [one for one, times in kept.items() if times > 1]
    assert not twice, f"{len(twice)} are there more than once"
    there = [one for one in region.refused if one in kept]
    assert not there, f"{len(there)} of {len(region.refused)} refused are there"
    assert not region.unseen, f"{len(region.unseen)} were not seen by who was told of them"
    for node in region.nodes:
        settings = node.settings
        verify(settings.data / "audit", log_certificates(settings))
