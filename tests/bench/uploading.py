"""ITI-41 of one long document, streamed, against a server that only reads, hashes, writes and syncs."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.processes import cpu_seconds, used
from tests.bench.run import Run, child, wait_for_port
from tests.bench.streams import Connection, Exchanged, post, write_file
from tests.builders import a_submission, an_entry, symbolic
from xds.demo.site import free_port
from xds.ebxml import lcm
from xds.metadata import to_ebxml
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.wire import mtom
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.soap import around

SALT_BYTES = 64
"""The beginning of each document is its own: one whose bytes are held already is not written again."""

SPEED, MEMORY = Reach("≥", 0.6), Reach("≤", 64, "MB")
_CONTENT = b"\0CONTENT\0"


@dataclass(frozen=True, slots=True)
class _Part:
    """The document, of which the message holds only a mark."""

    size_bytes: int
    content_id: str = "document@bench"
    content_type: str = "application/octet-stream"

    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]:
        return lambda: iter((_CONTENT,))


def run(bench: Run) -> Iterator[Result]:
    """Speed, and memory above idle."""
    size, rounds = bench.of(1024, 128, 16) * 1024 * 1024, bench.of(3, 2, 1)
    folder = bench.new_folder("upload")
    file = write_file(folder / "content", size)
    site, floor_port = bench.new_server(), free_port()
    command = [sys.executable, "-m", "tests.bench.plain_server", str(floor_port), str(folder / "floor")]
    with bench.serving(site), child(command, folder / "floor.log") as plain:
        if not wait_for_port(floor_port, plain):
            raise Broken("the floor's server does not start")
        _provide(site.url, site.port, file, 1, 1024)  # everything is imported and warm
        times, floors, growth, cpu, floor_cpu = [], [], [], 0.0, 0.0
        for number in range(rounds):
            with used(site.pid) as taken:
                times.append(_provide(site.url, site.port, file, number, size).seconds)
            growth.append(taken.growth_mb)
            cpu += taken.cpu_seconds
            before = cpu_seconds(plain.pid)
            floors.append(_floor(floor_port, file, number, size).seconds)
            floor_cpu += cpu_seconds(plain.pid) - before
    megabytes = size / 1e6
    name = f"ITI-41 of {size >> 20} MiB"
    note = f"median of {rounds}; floor's CPU {floor_cpu / rounds * 1000:.0f} ms"
    yield judged(
        f"{name}: speed", "MB/s", megabytes / statistics.median(times), megabytes / statistics.median(floors), SPEED,
        server_cpu_ms=cpu / rounds * 1000, memory_mb=max(growth), note=note,
    )  # fmt: skip
    yield judged(f"{name}: memory", "MB", max(growth), None, MEMORY, memory_mb=max(growth), note="peak above idle")


def _salt(number: int) -> bytes:
    return f"{number:0{SALT_BYTES}d}".encode()


def _provide(url: str, port: int, file: Path, number: int, size: int) -> Exchanged:
    """Upload the file's first bytes as a document of their own, with the salt before the rest."""
    headers, length, head, tail = _message(f"{url}/repository", size)
    request = post("/repository", headers, length) + head + _salt(number)
    with Connection(port) as connection:
        if size == file.stat().st_size:
            reply = connection.exchange(request, file, SALT_BYTES, tail)
        else:
            with file.open("rb") as opened:
                opened.seek(SALT_BYTES)
                reply = connection.exchange(request + opened.read(size - SALT_BYTES) + tail)
    if b"ResponseStatusType:Success" not in reply.begin:
        raise Broken(f"ITI-41 was refused: {reply.begin[:2000].decode(errors='replace')}")
    return reply


def _message(url: str, size: int) -> tuple[Sequence[tuple[str, str]], int, bytes, bytes]:
    """Headers, length, and what stands before and behind the document."""
    entry = an_entry(hash=None, size=None, repository_unique_id=None, mime_type="application/octet-stream")
    submission = symbolic(a_submission(entries=[entry]))
    objects = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission)))
    before, behind = around(request_headers(ITI_41.action, url, new_message_id()))
    message = mtom.mtom(
        (
            before + b'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">' + objects,
            f'<xds:Document id="{submission.document_entries[0].entry_uuid}">'.encode(),
            _Part(size),
            b"</xds:Document></xds:ProvideAndRegisterDocumentSetRequest>" + behind,
        ),
        ITI_41.action,
    )
    head, _, tail = b"".join(message.chunks).partition(_CONTENT)
    assert message.length is not None
    return message.headers, message.length, head, tail


def _floor(port: int, file: Path, number: int, size: int) -> Exchanged:
    with Connection(port) as connection:
        return connection.exchange(post("/", (), size) + _salt(number), file, SALT_BYTES)
