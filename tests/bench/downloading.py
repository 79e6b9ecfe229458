"""ITI-43 of one long document and RAD-69 of many instances, against nginx giving the same files, and their SHA-256."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lxml import etree
from pydicom.uid import ExplicitVRLittleEndian

from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.processes import used
from tests.bench.run import Run, Server, child, need, wait_for_port
from tests.bench.streams import Connection, get_all, post, write_file
from tests.imaging.images import SERIES, STUDY, an_instance, saved
from xds.demo.site import free_port
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest, write_imaging_request
from xds.ebxml.xdsb import write_retrieve_request as write_document_request
from xds.server.archives import archive
from xds.store.documents.folder import DocumentTable, Kept
from xds.store.documents.stores import open_blobs
from xds.store.engine import make_engine
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire import mtom
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.soap import around
from xds.wire.spool import Spooled

MEMORY, FIRST_BYTE = Reach("≤", 64, "MB"), Reach("≤", 0.2, "s")
SIDE_PIXELS = 256
"""An instance is a CT slice of 256 × 256 pixels of 16 bits: 128 KiB."""

_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def document(bench: Run) -> Iterator[Result]:
    """ITI-43: speed, first byte and memory."""
    need("nginx", "nginx-light")
    size, rounds = bench.of(2048, 256, 16) * 1024 * 1024, bench.of(3, 2, 1)
    site = bench.new_server()
    unique_id = "2.25.43"
    with bench.serving(site):
        path = _keep(site, write_file(bench.new_folder("document") / "content", size), unique_id, size)
        request = DocumentRequest(site.settings.repository.unique_id, unique_id)
        body = etree.tostring(write_document_request([request]))
        name = f"ITI-43 of {size >> 20} MiB"
        yield from _measured(bench, site, name, Reach("≥", 0.7), "/repository", ITI_43.action, body, [path], rounds)


def _keep(site: Server, file: Path, unique_id: str, size: int) -> Path:
    """A document of the repository, put there without the wire; return where its bytes are as they came."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    served = file.with_suffix(".served")
    served.hardlink_to(file)  # of a store that encrypts it is the only one
    engine = make_engine(site.settings.database_url, connections=2)
    open_blobs(site.settings, engine).put(Spooled(file, size, "0" * 40, sha256))
    with engine.begin() as connection:
        table = DocumentTable(connection, site.settings.repository.unique_id)
        table.add(Kept(unique_id, "application/octet-stream", size, "0" * 40, sha256))
    engine.dispose()
    return served


def instances_of_a_study(bench: Run) -> Iterator[Result]:
    """RAD-69: speed, first byte and memory."""
    need("nginx", "nginx-light")
    count, rounds = bench.of(5_000, 500, 50), bench.of(3, 2, 1)
    folder = bench.new_folder("images")
    paths = list(instances(folder, count))
    site = bench.new_server(imaging_source={"folder": str(folder)})
    images = archive(site.settings)
    assert images is not None
    images.refresh()
    images.close()
    source = site.settings.imaging_source.retrieve_location_uid
    listed = tuple(InstanceRequest(STUDY, SERIES, DocumentRequest(source, path.stem)) for path in paths)
    body = etree.tostring(write_imaging_request(ImagingRequest(listed, (ExplicitVRLittleEndian,))))
    name = f"RAD-69 of {count:,}"
    with bench.serving(site):
        yield from _measured(bench, site, name, Reach("≥", 0.5), "/imaging-source", RAD_69.action, body, paths, rounds)


def instances(folder: Path, count: int) -> Iterator[Path]:
    """Files of instances of one series, made by pydicom once and then given UIDs of the same length."""
    uids = [f"{SERIES}.{1_000_000 + number}" for number in range(count)]
    pixels = os.urandom(SIDE_PIXELS * SIDE_PIXELS * 2)
    first = saved(an_instance(SOPInstanceUID=uids[0], Rows=SIDE_PIXELS, Columns=SIDE_PIXELS, PixelData=pixels))
    for uid in uids:
        path = folder / f"{uid}.dcm"
        path.write_bytes(first.replace(uids[0].encode(), uid.encode()))
        yield path


def _measured(
    bench: Run, site: Server, name: str, reach: Reach, path: str, action: str, body: bytes, files: Sequence[Path],
    rounds: int,
) -> Iterator[Result]:  # fmt: skip
    size = sum(file.stat().st_size for file in files)
    head, tail = around(request_headers(action, site.url + path, new_message_id()))
    message = mtom.mtom((head + body + tail,), action)
    request = post(path, message.headers, message.length or 0) + b"".join(message.chunks)
    times, first, growth, cpu, gets, hashes = [], [], [], [], [], []
    with _nginx(bench, files[0].parent) as port:
        paths = [f"/{file.name}" for file in files]
        for _ in range(rounds):
            gets.append(get_all(port, paths, size))
            hashes.append(_hashed(files))
            with used(site.pid) as taken, Connection(site.port) as connection:
                reply = connection.exchange(request)
            if b"ResponseStatusType:Success" not in reply.begin or reply.body_bytes < size:
                raise Broken(f"{name} was refused: {reply.begin[:2000].decode(errors='replace')}")
            times.append(reply.seconds)
            first.append(reply.first_byte_seconds)
            growth.append(taken.growth_mb)
            cpu.append(taken.cpu_seconds)
    floor = min(gets) + min(hashes)
    note = f"best of {rounds}; nginx {min(gets):.2f} s + SHA-256 {min(hashes):.2f} s; {size / 1e6:,.0f} MB"
    yield judged(
        f"{name}: speed", "MB/s", size / 1e6 / min(times), size / 1e6 / floor, reach,
        server_cpu_ms=min(cpu) * 1000, memory_mb=max(growth), note=note,
    )  # fmt: skip
    yield judged(f"{name}: first byte", "s", min(first), None, FIRST_BYTE, note=f"worst {max(first):.3f} s")
    yield judged(f"{name}: memory", "MB", max(growth), None, MEMORY, memory_mb=max(growth), note="peak above idle")


def _hashed(files: Sequence[Path]) -> float:
    """Seconds to read and hash the files."""
    started = time.perf_counter()
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return time.perf_counter() - started


@contextmanager
def _nginx(bench: Run, root: Path) -> Iterator[int]:
    """nginx over a folder; its port."""
    folder, port = bench.new_folder("nginx"), free_port()
    user = "user root;" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, root=root, port=port, user=user), "utf-8")
    with child([need("nginx", "nginx-light"), "-c", str(config)], folder / "log") as process:
        if not wait_for_port(port, process):
            raise Broken("nginx does not start")
        yield port
