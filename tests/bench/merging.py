"""Several registries and repositories merged into one by runs that are killed again and again, and only asked.

Each source is an ``xds serve`` with the patients, histories and folders of a province, and a document an entry; the
target is a deployment on PostgreSQL.  The floor asks the same of the same source, and keeps nothing.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.bench import loading, rows
from tests.bench.documents import of_a_province
from tests.bench.figures import Broken, Curve, Reach, Result, judged
from tests.bench.load import patient
from tests.bench.run import POSTGRESQL, Run, Server
from tests.bench.templates import CONTENT
from tests.builders import AUTHORITY, REPOSITORY
from tests.places import ROOT
from xds.audit.messages.events import AuditEvent, AuditSource
from xds.audit.messages.parties import Party
from xds.demo.site import as_toml
from xds.ebxml.xdsb import DocumentRequest
from xds.merging.source import Source
from xds.metadata.document_entry import DocumentEntry
from xds.settings.merging import Merge
from xds.settings.sections import Location, Tls
from xds.store.deployment import migrate
from xds.store.engine import make_engine
from xds.store.tables import document_entry, merged_object
from xds.wire.spool import Spool

JOBS = 4
KEEPS = Reach("≥", 0.3)
PROVEN = 150_000_000
"""Documents of a province: what they would take is told."""

_DOCUMENTS = """
INSERT INTO document (repository_unique_id, document_unique_id, state, submission, since, mime_type, size, sha1, sha256,
                      patient_id, facts)
SELECT repository_unique_id, unique_id, 'registered', '', 0, 'application/dicom', {size}, '{sha1}', '{sha256}', '', ''
FROM document_entry
"""


@dataclass(slots=True)
class _Copied:
    """What the runs of all sources took."""

    documents: int = 0
    seconds: float = 0.0
    kills: int = 0
    floor_documents: int = 0
    floor_seconds: float = 0.0


def run(bench: Run) -> Iterator[Result]:
    """Documents a second, kills and all; that nothing is lost or twice; proof and its time."""
    sources, of_all = bench.of(4, 2, 1), bench.of(bench.documents, 2_000, 40)
    each = of_all // sources
    target = bench.new_server(POSTGRESQL, repository={"unique_id": "1.2.3.4.66", "also": [REPOSITORY]})
    copied, curve = _Copied(), list[tuple[float, float]]()
    with bench.serving(target):
        for number in range(sources):
            site = _filled(bench, number, each)
            with bench.serving(site):
                config, listed = _merging(target, site, number, each)
                _floor(bench, site, listed, copied)
                _copy(bench, target, config, number, listed, copied, curve)
                proof = _merge(config, "prove", f"source{number}", "--read", "20")
                if not proof["holds"]:
                    raise Broken(f"what was merged is not what was there: {proof['differences'][:3]}")
    _see_all(target, sources * each)
    rate, floor = copied.documents / copied.seconds, copied.floor_documents / copied.floor_seconds
    days = PROVEN / rate / 86_400
    note = f"{copied.kills} kills; floor: asked and fetched only; {PROVEN:,} would take {days:,.0f} days"
    yield judged("merge: documents", "1/s", rate, floor, KEEPS, note=note)
    yield Curve("merge: documents that are here", "s", "", POSTGRESQL, curve)


def _filled(bench: Run, number: int, count: int) -> Server:
    """A source that has so many documents, of patients of its own."""
    site = bench.new_server(POSTGRESQL)
    documents = of_a_province(number * count, (number + 1) * count, first_patient=number * count)
    url = site.settings.database_url
    engine = make_engine(url)
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    loading.load(url, documents)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    sha1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
    blob = site.settings.documents_folder / sha256[:2] / sha256[2:4] / sha256
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(CONTENT)
    with rows.raw(url) as (connection, _):
        connection.execute(_DOCUMENTS.format(size=len(CONTENT), sha1=sha1, sha256=sha256))
        connection.commit()
    return site


def _merging(target: Server, site: Server, number: int, count: int) -> tuple[Path, Path]:
    """The settings by which a source is merged, and the file of its patients."""
    sections = {
        **target.sections,
        "server": {"data": str(target.folder / "data"), **target.sections["server"]},
        "repositories": {REPOSITORY: f"{site.url}/repository"},
        "merges": {f"source{number}": {"registry": f"{site.url}/registry", "authorities": [AUTHORITY]}},
    }
    config, listed = target.folder / f"merge{number}.toml", target.folder / f"patients{number}.txt"
    config.write_text(as_toml(sections), "utf-8")
    with make_engine(site.settings.database_url).connect() as connection:
        found = connection.execute(
            sa.text("SELECT id, authority FROM patient WHERE patient_key IN (SELECT patient_key FROM document_entry)")
        )
        listed.write_text("".join(f"{one}^^^&{authority}&ISO\n" for one, authority in found), "utf-8")
    assert count
    return config, listed


def _floor(bench: Run, site: Server, listed: Path, copied: _Copied) -> None:
    """Ask the same of some patients, and fetch their documents; nothing is kept."""
    node = AuditSource("bench")
    here = Party("bench", "localhost", ours=True)

    def audited(transaction: Any, _url: str) -> Any:
        return nullcontext(AuditEvent(node, "110112", "E", (transaction.number, transaction.title), here, here))

    folder = bench.new_folder("floor")
    source = Source(
        "floor", Merge(registry=f"{site.url}/registry"), {REPOSITORY: Location(f"{site.url}/repository")}, Tls(),
        folder, audited,
    )  # fmt: skip
    some = listed.read_text("utf-8").splitlines()[: bench.of(400, 100, 4)]

    def one(text: str) -> int:
        found = source.everything(type(patient(0)).parse(text))
        entries = [item for item in found.objects if isinstance(item, DocumentEntry)]
        for start in range(0, len(entries), 20):
            requests = [DocumentRequest(REPOSITORY, item.unique_id) for item in entries[start : start + 20]]
            with Spool(folder) as spool:
                source.documents(requests, spool)
        return len(entries)

    began = time.perf_counter()
    with ThreadPoolExecutor(JOBS) as pool:
        copied.floor_documents += sum(pool.map(one, some))
    copied.floor_seconds += time.perf_counter() - began


def _copy(
    bench: Run, target: Server, config: Path, number: int, listed: Path, copied: _Copied,
    curve: list[tuple[float, float]],
) -> None:  # fmt: skip
    """Copy a source, killed again and again, until a run comes to its end."""
    command = [sys.executable, "-m", "xds", "merge", "copy", f"source{number}", "--patients", str(listed)]
    command += ["--jobs", str(JOBS), "--config", str(config)]
    before, began, seconds = _here(target), time.perf_counter(), bench.of(180.0, 8.0, 3600.0)
    offset = copied.seconds
    while True:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            copied.kills += 1
            curve.append((offset + time.perf_counter() - began, float(_here(target))))
            continue
        if code:
            raise Broken(f"xds merge copy ended with {code}")
        break
    copied.seconds += time.perf_counter() - began
    copied.documents += _here(target) - before
    curve.append((copied.seconds, float(_here(target))))


def _here(target: Server) -> int:
    with make_engine(target.settings.database_url).connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(document_entry)) or 0)


def _see_all(target: Server, count: int) -> None:
    """
    Raises:
        Broken: something is lost, or was not told.
    """
    with make_engine(target.settings.database_url).connect() as connection:
        states: Sequence[Any] = connection.execute(
            sa.select(merged_object.c.state, sa.func.count()).group_by(merged_object.c.state)
        ).all()
    if [state for state, _ in states] != ["copied"] or _here(target) != count:
        raise Broken(f"{_here(target)} of {count} documents are here; {states}")


def _merge(config: Path, step: str, *more: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "xds", "merge", step, *more, "--json", "--config", str(config)],
        cwd=ROOT, capture_output=True, check=False, text=True,
    )  # fmt: skip
    if not done.stdout:
        raise Broken(f"xds merge {step}: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout)
