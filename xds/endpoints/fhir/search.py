"""ITI-81 Retrieve ATNA Audit Event: a search of the audit log by FHIR, for those whom the settings name.

ITI TF-2: 3.81; FHIR R4: 3.1.1 (search).  Each search is itself on record.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, json, request

from xds.endpoints.fhir.audit_event import resource
from xds.endpoints.fhir.capability import statement
from xds.endpoints.fhir.parameters import BadSearch, applied, wanted
from xds.store.audit.records import Recorded
from xds.store.audit.search import Page, Wanted
from xds.wire.certificates import NotACertificate, name_of
from xds.wire.http import HttpRequest

ITI_81 = ("ITI-81", "Retrieve ATNA Audit Event")

JSON = "application/fhir+json"
_AS_JSON = (JSON, "application/json", "text/json", "json")
"""How JSON is asked for, in Accept or ``_format``."""

FORM = "application/x-www-form-urlencoded"


def allowed(readers: Sequence[str], caller: HttpRequest) -> bool:
    """Whether somebody may read the log: by the subject of their certificate, or by their address or network."""
    return any(_is_in(caller.remote_address, one) or _is(caller, one) for one in readers)


def _is(caller: HttpRequest, subject: str) -> bool:
    try:
        return caller.certificate is not None and caller.certificate.subject == name_of(subject)
    except NotACertificate:
        return False


def _is_in(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def pages(
    permitted: Callable[[HttpRequest], str],
    find: Callable[[Wanted, int], Page],
    one: Callable[[int], Recorded | None],
    looked: Callable[[HttpRequest, str, str], None],
) -> Blueprint:
    """The resource's addresses.

    ``permitted`` says why somebody may not read, empty where they may; ``looked`` records a search and what became of
    it, before it is answered.
    """
    blueprint = Blueprint("fhir", __name__)

    def refused(caller: HttpRequest, asked: str) -> Response | None:
        """The answer to who may not read, or wants what is not written here; each is on record."""
        if reason := permitted(caller):
            looked(caller, asked, reason)
            return _outcome(403, "forbidden", "no peer with the role audit-reader is this caller")
        if not _json_will_do():
            looked(caller, asked, "not acceptable")
            return _outcome(406, "not-supported", f"this server writes {JSON} and no other format")
        return None

    @blueprint.get("/fhir/AuditEvent")
    @blueprint.post("/fhir/AuditEvent/_search")
    def search() -> Response:
        caller = HttpRequest.of(request.environ)
        url, given = caller.url.removesuffix("/_search"), _given()
        asked = f"{url}?{urlencode(given)}"
        if (answer := refused(caller, asked)) is not None:
            return answer
        if request.method == "POST" and request.mimetype != FORM:
            looked(caller, asked, "not understood")
            return _outcome(415, "not-supported", f"a search by POST is {FORM} (FHIR R4: 3.1.1)")
        try:
            asks = applied(given, strict="handling=strict" in request.headers.get("Prefer", "").replace(" ", ""))
            what, most = wanted(asks)
        except BadSearch as problem:
            looked(caller, asked, "not understood")
            return _outcome(400, problem.code, str(problem))
        found = find(what, most) if most else Page([], None)
        looked(caller, asked, "")
        return _json(200, _bundle(found, url, asks))

    @blueprint.get("/fhir/AuditEvent/<int:id_>")
    def read_one(id_: int) -> Response:
        caller = HttpRequest.of(request.environ)
        if (answer := refused(caller, caller.url)) is not None:
            return answer
        found = one(id_)
        looked(caller, caller.url, "" if found else "not found")
        return _json(200, resource(found)) if found else _outcome(404, "not-found", "there is no such AuditEvent")

    @blueprint.get("/fhir/metadata")
    def capabilities() -> Response:
        """What may be asked here: told to everybody, since it says nothing of anybody."""
        if not _json_will_do():
            return _outcome(406, "not-supported", f"this server writes {JSON} and no other format")
        return _json(200, statement(HttpRequest.of(request.environ).url.removesuffix("/metadata")))

    return blueprint


def _given() -> list[tuple[str, str]]:
    """The parameters of a search, in the address and, by POST, in the body."""
    return [*request.args.items(multi=True), *request.form.items(multi=True)]


def _json_will_do() -> bool:
    """Whether the caller takes JSON; ``_format`` goes before Accept."""
    formats = [value for name, value in _given() if name == "_format"]
    if formats:
        # A plus sign that was not escaped has come as a space.
        return formats[-1].partition(";")[0].strip().replace(" ", "+").lower() in _AS_JSON
    return not request.accept_mimetypes or any(request.accept_mimetypes.quality(one) > 0 for one in _AS_JSON[:3])


def _bundle(found: Page, url: str, asks: Sequence[tuple[str, str]]) -> dict[str, Any]:
    links = [{"relation": "self", "url": f"{url}?{urlencode(asks)}"}]
    if found.end:
        kept = [(name, value) for name, value in asks if name != "_before"]
        links.append({"relation": "next", "url": f"{url}?{urlencode([*kept, ('_before', str(found.end))])}"})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if found.records:  # FHIR has no empty lists
        bundle["entry"] = list(_entries(found.records, url))
    return bundle


def _entries(found: Sequence[Recorded], base: str) -> Iterator[dict[str, Any]]:
    for record in found:
        yield {"fullUrl": f"{base}/{record.id}", "resource": resource(record), "search": {"mode": "match"}}


def _outcome(status: int, code: str, text: str) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def _json(status: int, value: Any) -> Response:
    return Response(json.dumps(value), status, content_type=f"{JSON}; charset=utf-8")
