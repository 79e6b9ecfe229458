"""The load client: wrk, in C, with bodies that are built beforehand and filled in by a few lines of Lua."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from tests.bench.figures import Broken, Curve
from tests.bench.run import need
from tests.builders import AUTHORITY, a_submission, an_entry, symbolic
from xds.actors.document_consumer import Search
from xds.ebxml import lcm
from xds.ebxml.query import AdhocQuery, write_request
from xds.ebxml.rim import Slot
from xds.metadata import to_ebxml
from xds.metadata.identifiers import PatientId, UniqueId
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42
from xds.wire.addressing import request_headers
from xds.wire.soap import around

PATIENT = PatientId("@PATIENT@", AUTHORITY)
MESSAGE_ID = "urn:uuid:@MESSAGE@"
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9)
"""Of the requests, the quickest first: how long they took at most is told."""

_SCRIPT = """
local headers = {
  ["Content-Type"] = 'application/soap+xml; charset=UTF-8; action="%(action)s"', ["Accept-Encoding"] = "%(encoding)s"
}
local n = 0
math.randomseed(1)
request = function()
  n = n + 1
  local message = string.format("%%08x-0000-4000-8000-%%012x", n, %(run)d)
  local document, set = "2.25.%(run)d.1." .. n, "2.25.%(run)d.2." .. n
  local patient = "p" .. (1000000 + %(patient)s)
  return wrk.format("POST", nil, headers, table.concat({%(pieces)s}))
end
done = function(summary, latency, requests)
  local e, at = summary.errors, {}
  for _, percent in ipairs({%(percents)s}) do at[#at + 1] = latency:percentile(percent) / 1000 end
  io.write(string.format(
    'RESULT {"requests": %%d, "seconds": %%f, "milliseconds": [%%s], "bytes": %%.0f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, table.concat(at, ", "), summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    requests: int
    seconds: float
    milliseconds: tuple[float, ...]  # at each of PERCENTS
    bytes: int
    errors: int

    @property
    def p50_ms(self) -> float:
        return self.milliseconds[PERCENTS.index(50)]

    @property
    def p99_ms(self) -> float:
        return self.milliseconds[PERCENTS.index(99)]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def patient(number: int) -> PatientId:
    """The patients that scripts name."""
    return PatientId(f"p{1_000_000 + number}", AUTHORITY)


def register_body(url: str) -> str:
    """An ITI-42 of one document, with marks for what differs."""
    entry = an_entry(unique_id=UniqueId("@DOCUMENT@"), patient_id=PATIENT)
    submission = symbolic(a_submission(patient=PATIENT, entries=[entry], unique_id=UniqueId("@SET@")))
    body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(submission)))
    return enveloped(ITI_42.action, url, body)


def find_body(url: str, patient_id: PatientId = PATIENT) -> str:
    """An ITI-18 FindDocuments, LeafClass, of one patient."""
    return enveloped(ITI_18.action, url, etree.tostring(write_request(find_query(patient_id))))


def find_query(patient_id: PatientId) -> AdhocQuery:
    query_id, parameters = Search(patient_id).query()
    slots = tuple(Slot(f"${name}", tuple(values)) for name, values in parameters.items())
    return AdhocQuery(query_id, "LeafClass", slots)


def enveloped(action: str, url: str, body: bytes) -> str:
    """A message with marks; without them where its MessageID may be any."""
    head, tail = around(request_headers(action, url, MESSAGE_ID))
    return (head + body + tail).decode()


def register(site_url: str, folder: Path, *, first: int, patients: int, clients: int, seconds: float) -> Load:
    """ITI-42 from so many clients, each request its own uniqueIds, the patients from ``first`` on in turn."""
    url = f"{site_url}/registry"
    script = _script(ITI_42.action, register_body(url), f"{first} + n % {patients}")
    return _wrk(url, script, folder, clients, seconds)


def find(
    site_url: str, folder: Path, *, patients: int, clients: int, seconds: float, encoding: str = "identity"
) -> Load:  # fmt: skip
    """ITI-18 for one of the first so many patients, at random."""
    url = f"{site_url}/registry"
    script = _script(ITI_18.action, find_body(url), f"math.random(0, {patients - 1})", encoding)
    return _wrk(url, script, folder, clients, seconds)


def _script(action: str, body: str, patient_number: str, encoding: str = "identity") -> str:
    """Literals and marks in turn, joined for each request."""
    names = {"@DOCUMENT@": "document", "@SET@": "set", "@PATIENT@": "patient", "@MESSAGE@": "message"}
    pieces = [names.get(piece, f"[==[{piece}]==]") for piece in re.split("(@[A-Z]+@)", body)]
    return _SCRIPT % {
        "action": action, "run": time.time_ns() // 1000, "patient": patient_number,
        "percents": ", ".join(map(str, PERCENTS)), "pieces": ", ".join(pieces), "encoding": encoding,
    }  # fmt: skip


def _wrk(url: str, script: str, folder: Path, clients: int, seconds: float) -> Load:
    program = need("wrk", "wrk")
    path = folder / "load.lua"
    path.write_text(script, "utf-8")
    # wrk counts whole seconds.
    whole = max(1, round(seconds))
    command = [program, "-t1", f"-c{clients}", f"-d{whole}s", "--timeout", "30s", "-s", str(path), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=whole + 60)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise Broken(f"wrk: {(done.stderr or done.stdout).strip()[:200]}")
    told = json.loads(found[1])
    load = Load(**told | {"milliseconds": tuple(told["milliseconds"])})
    if load.errors or not load.requests:
        raise Broken(f"wrk: {load.errors} errors in {load.requests} requests")
    return load


def latencies(name: str, seen: Load) -> Curve:
    """How long requests took, by the share of them that took no longer."""
    return Curve(f"{name}: latency", "% of requests", "ms", name, tuple(zip(PERCENTS, seen.milliseconds, strict=True)))
