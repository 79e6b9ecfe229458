"""Regions for tests: whole deployments of ours with gateways, and a Responding Gateway of another's to be spoilt."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from lxml import etree

from tests.builders import ANNA, AUTHORITY, a_submission, an_entry, symbolic
from tests.server.test_application import APPROVED, Site, of_bytes, serving
from xds.actors.communities import Community
from xds.ebxml import query, rim_writing, rs, xdsb
from xds.ebxml.rim import Slot
from xds.errors import Finding, Status
from xds.metadata import to_ebxml
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.homes import at_home, home_of
from xds.metadata.identifiers import Oid, PatientId
from xds.queries import catalogue
from xds.server.affinity_domain import AffinityDomain
from xds.settings.sections import DEFAULT_DOMAIN
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.transaction import Attachment
from xds.wire import mtom
from xds.wire.addressing import reply_headers
from xds.wire.client import Answer
from xds.wire.mime import Limits, read_package
from xds.wire.soap import around
from xds.wire.spool import Spool
from xds.wire.xml import Element, name, parse

NORTH, SOUTH, WEST = (Oid(f"1.2.3.4.10{n}") for n in (1, 2, 3))
ANNA_IN_SOUTH = PatientId("anna-south", AUTHORITY)
BOTH = 'actors = ["registry", "repository", "gateway", "responding-gateway"]'

Pieces: TypeAlias = Sequence[mtom.Piece]


@contextmanager
def region(folder: Path, template: Path, home: Oid, text: str = "", *, server: str = "") -> Iterator[Site]:
    """A deployment of ours with both gateways; ``text`` goes on behind its section of the domain."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, folder / "xds.sqlite")
    head = f'[server]\n{BOTH}\n{server}\n[domain]\nhome_community_id = "{home}"\n'
    with serving(f"sqlite:///{folder}/xds.sqlite", folder, head + text) as site:
        yield site


def community(name_: str, home: Oid, url: str, folder: Path, **settings: Any) -> str:
    """The settings of a community that knows Anna as ``anna-south``."""
    table = folder / f"{name_}.csv"
    table.write_text(f"# ours, theirs\n{ANNA},{ANNA_IN_SOUTH}\n", "utf-8")
    # On a busy machine nobody is quick.
    more = "".join(f"{key} = {value!r}\n" for key, value in {"seconds": 60.0, **settings}.items())
    return (
        f'[communities.{name_}]\nhome_community_ids = "{home}"\nquery = "{url}"\npatients = "{table}"\n{more}'
    )  # fmt: skip


def kept(site: Site, content: bytes, patient: PatientId = ANNA, **changes: Any) -> DocumentEntry:
    """A document that a region has."""
    entry = an_entry(**{"patient_id": patient, **of_bytes(content), **changes})
    answer = site.provide(symbolic(a_submission(patient=patient, entries=[entry])), [content])
    assert rs.read_response(answer.body) == (Status.SUCCESS, ())
    return entry


def asked(
    query_id: str = catalogue.FIND_DOCUMENTS.id, return_type: str = "LeafClass", home: str | None = None,
    **parameters: str | list[str],
) -> bytes:  # fmt: skip
    """An AdhocQueryRequest; of FindDocuments, without parameters, about Anna."""
    if not parameters:
        parameters = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    values = {key: [value] if isinstance(value, str) else value for key, value in parameters.items()}
    slots = tuple(Slot(f"${key}", tuple(value)) for key, value in values.items())
    return etree.tostring(query.write_request(query.AdhocQuery(query_id, return_type, slots, home)))


def find(site: Site, body: bytes = b"", path: str = "/gateway", action: str = ITI_18.action) -> Element:
    """The AdhocQueryResponse of a region."""
    return site.send(path, action, [body or asked()], mtom=False).body


def fetch(
    site: Site, *documents: tuple[Oid | None, str, str], path: str = "/gateway", action: str = ITI_43.action,
    as_mtom: bool = True,
) -> Answer:  # fmt: skip
    """Documents by community, repository and uniqueId."""
    requests = [xdsb.DocumentRequest(repository, uid, home and home_of(home)) for home, repository, uid in documents]
    return site.send(path, action, [etree.tostring(xdsb.write_retrieve_request(requests))], mtom=as_mtom)


def homes(response: Element) -> dict[str, str | None]:
    """Of an answer's objects the home, by uniqueId of entries and else by id."""
    found = {}
    for one in response.iterfind(f"{name('rim:RegistryObjectList')}/*"):
        uids = [
            each.get("value", "")
            for each in one.iterfind(name("rim:ExternalIdentifier"))
            if each.get("identificationScheme") == "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
        ]
        found[next(iter(uids), one.get("id", ""))] = one.get("home")
    return found


def said(response: Element) -> tuple[Status, list[tuple[str, str]]]:
    """The status of an answer, and its errors with their places."""
    status, findings = rs.read_response(response)
    return status, [(str(one.code), one.location) for one in findings]


# A gateway of another's.


def objects(*entries: DocumentEntry, home: str | None = None, status: Status = Status.SUCCESS,
            findings: Sequence[Finding] = ()) -> bytes:  # fmt: skip
    """An AdhocQueryResponse with these entries."""
    fragments = [rim_writing.fragment(to_ebxml.document_entry(one)) for one in entries]
    if home is not None:
        fragments = [at_home(one, home) for one in fragments]
    return query.join_response(status, findings, fragments)


def documents(*given: tuple[str, str, bytes], home: str | None = home_of(SOUTH), status: Status = Status.SUCCESS,
              findings: Any = ()) -> Pieces:  # fmt: skip
    """A RetrieveDocumentSetResponse with documents by repository and uniqueId."""
    pieces: list[Any] = [b'<xds:RetrieveDocumentSetResponse xmlns:xds="urn:ihe:iti:xds-b:2007">']
    pieces.append(etree.tostring(rs.write_response(status, findings)))
    for number, (repository, uid, content) in enumerate(given):
        said_ = "" if home is None else f"<xds:HomeCommunityId>{home}</xds:HomeCommunityId>"
        pieces.append((
            f"<xds:DocumentResponse>{said_}<xds:RepositoryUniqueId>{repository}</xds:RepositoryUniqueId>"
            f"<xds:DocumentUniqueId>{uid}</xds:DocumentUniqueId><xds:mimeType>text/plain</xds:mimeType><xds:Document>"
        ).encode())  # fmt: skip
        pieces.append(Attachment(f"{number}@x", len(content), lambda c=content: iter([c])))  # type: ignore[misc]
        pieces.append(b"</xds:Document></xds:DocumentResponse>")
    return [*pieces, b"</xds:RetrieveDocumentSetResponse>"]


def contents(answer: Any) -> dict[str, bytes]:
    return {
        item.findtext(name("xds:DocumentUniqueId")): answer.contents[item.find(name("xds:Document"))].path.read_bytes()
        for item in answer.body.iterfind(name("xds:DocumentResponse"))
    }


def outcome(answer: Any) -> tuple[Status, list[tuple[str, str]]]:
    return said(answer.body.find(name("rs:RegistryResponse")))


class Stub:
    """A Responding Gateway that answers as a test wants."""

    def __init__(self) -> None:
        self.answer: Callable[[Element], bytes | Pieces | None] = lambda _: objects()
        self.asked: list[Element] = []
        self.envelopes: list[Element] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = ""
        self.status = 200
        self.raw: Callable[[BaseHTTPRequestHandler], None] | None = None

    def replied(self, handler: BaseHTTPRequestHandler, folder: Path) -> None:
        left = int(handler.headers["Content-Length"])

        def read(size: int) -> bytes:
            nonlocal left
            data = handler.rfile.read(min(size, left))
            left -= len(data)
            return data

        with Spool(folder) as spool:
            package = read_package(handler.headers["Content-Type"], read, spool, Limits())
        envelope = parse(package.root)
        (body,) = envelope.iterfind(f"{name('soap:Body')}/*")
        self.envelopes.append(envelope)
        self.asked.append(body)
        self.go_on.wait(60)
        if self.raw is not None:
            self.raw(handler)
            return
        answer = self.answer(body)
        head, tail = around(reply_headers("urn:x", "urn:uuid:1"))
        pieces = [head, *([answer] if isinstance(answer, bytes) else answer or ()), tail]
        reply = mtom.mtom(pieces) if package.mtom else mtom.plain(pieces)
        handler.send_response(self.status)
        for key, value in [*reply.headers, ("Content-Length", str(reply.length))]:
            handler.send_header(key, value)
        handler.end_headers()
        for chunk in reply.chunks:
            handler.wfile.write(chunk)


@contextmanager
def a_gateway(folder: Path) -> Iterator[Stub]:
    """One that answers with nothing, until a test wants it otherwise."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                stub.replied(self, folder)
            except (BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    stub.url = f"http://127.0.0.1:{server.server_port}/rg"
    yield stub
    stub.go_on.set()
    server.shutdown()
    server.server_close()


# Both.


@dataclass
class World:
    """North, which is ours, with a document of Anna's; South and West, which answer as a test wants."""

    north: Site
    south: Stub
    west: Stub
    own: DocumentEntry

    @property
    def domain(self) -> AffinityDomain:
        return self.north.application.domains[DEFAULT_DOMAIN]

    @staticmethod
    def within(community: Community, seconds: float) -> None:
        """Have a community answer in this time."""
        for name_ in ("seconds", "retrieve_seconds"):
            object.__setattr__(community, name_, seconds)

    def hurry_west(self) -> None:
        """Let West have next to no time: it is to be too slow, and no other is on a busy machine."""
        self.within(self.domain.actors.gateways.initiating.communities.of(home_of(WEST)), 0.3)
