"""Two nodes on the engines of a cluster, submissions that go on at both, and what has become of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import requests
import sqlalchemy as sa

from tests.bench.load import find_body, patient, register_body
from tests.builders import AUTHORITY
from tests.cluster.engines import Engines, running
from xds.demo.site import Site, free_port
from xds.store.engine import make_engine
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42

NODES = ("east", "west")
PATIENTS = 20
SETTINGS = {
    "domain": {"assigning_authorities": [AUTHORITY], "patients": "open", "home_community_id": "1.2.3.7.1"},
    "repository": {"unique_id": "1.2.3.7.2"},
    "imaging_source": {"retrieve_location_uid": "1.2.3.7.3"},
}
"""What all nodes of one deployment are told alike."""

_numbers = count(1)


@dataclass(slots=True)
class Region:
    """The nodes, and what was submitted to them; ``direct``: the URL of the server that writes, just now."""

    direct: Callable[[], str]
    nodes: list[Site]
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)  # when each acknowledgement came
    replies: Counter[str] = field(default_factory=Counter)
    unseen: list[str] = field(default_factory=list)  # acknowledged, and not found by who was told so

    def submit(self, node: Site) -> None:
        """One submission of one document, sent once; and the same peer looks for it at another node."""
        number = next(_numbers)
        unique_id, url = f"2.25.99{time.time_ns()}{number}", f"{node.url}/registry"
        whose = patient(number % PATIENTS)
        body = register_body(url).replace("@DOCUMENT@", unique_id).replace("@SET@", f"2.25.98{time.time_ns()}{number}")
        body = body.replace("@PATIENT@", whose.id).replace("@MESSAGE@", f"00000000-0000-4000-8000-{number:012x}")
        try:
            reply = requests.post(url, body.encode(), headers=_headers(ITI_42.action), timeout=60)
        except requests.RequestException:
            self.unknown.append(unique_id)
            self.replies["no answer"] += 1
            return
        if reply.status_code == 200 and b"ResponseStatusType:Success" in reply.content:
            self.acknowledged.append(unique_id)
            self.answered.append(time.monotonic())
            self.replies["acknowledged"] += 1
            self._look(self.nodes[number % len(self.nodes)], whose.id, unique_id)
        elif b"not known" in reply.content:
            self.unknown.append(unique_id)
            self.replies["not known"] += 1
        else:
            self.refused.append(unique_id)
            self.replies[f"{reply.status_code}, Retry-After {reply.headers.get('Retry-After', 'none')}"] += 1

    def _look(self, node: Site, whose: str, unique_id: str) -> None:
        url = f"{node.url}/registry"
        body = find_body(url).replace("@PATIENT@", whose).replace("@MESSAGE@", "00000000-0000-4000-8000-000000000000")
        try:
            reply = requests.post(url, body.encode(), headers=_headers(ITI_18.action), timeout=60)
        except requests.RequestException:
            return
        is_answer = reply.status_code == 200 and b"ResponseStatusType:Success" in reply.content
        if is_answer and unique_id.encode() not in reply.content:
            self.unseen.append(unique_id)

    @contextmanager
    def under_load(self, clients: int = 4) -> Iterator[None]:
        """While so many clients submit, one after the other, at both nodes."""
        stopping = threading.Event()

        def go_on(node: Site) -> None:
            while not stopping.is_set():
                self.submit(node)

        threads = [
            threading.Thread(target=go_on, args=(self.nodes[number % len(self.nodes)],)) for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join()

    def longest_outage(self, since: float) -> float:
        """The longest that nothing was acknowledged, in seconds, from a time on."""
        moments = [since, *sorted(one for one in self.answered if one >= since)]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    def kept(self) -> Counter[str]:
        """How often each document is in the registry."""
        engine = make_engine(self.direct(), connections=1)
        with engine.connect() as connection:
            found = Counter(connection.scalars(sa.text("SELECT unique_id FROM document_entry")))
        engine.dispose()
        return found


def _headers(action: str) -> dict[str, str]:
    return {"Content-Type": f'application/soap+xml; charset=UTF-8; action="{action}"'}


@contextmanager
def region(folder: Path) -> Iterator[tuple[Engines, Region]]:
    """The engines with two nodes on them."""
    with ExitStack() as stack:
        engines = stack.enter_context(running(folder))
        nodes = []
        for name in NODES:
            node = Site(name, folder / f"node-{name}", free_port())
            node.sections = {
                "server": {"database": engines.database, "replicas": [engines.replica], "actors": ["registry"]},
                "audit": {"enterprise_site_id": name},
                **SETTINGS,
            }
            node.write_config()
            node.start()
            stack.callback(node.stop)
            node.wait()
            nodes.append(node)

        def writing() -> str:
            primary = engines.primary()
            assert primary is not None
            return f"{primary.url}/xds"

        yield engines, Region(writing, nodes)
