"""F2: over mutual TLS each record names the certificate of who asked, by every way in; a claim stands beside it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from pynetdicom import AE

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.endpoints.test_syslog import QUERY, framed
from tests.hl7.test_v2 import adt
from tests.hostile.certificates import Authority, known
from tests.hostile.server import Served, connected, reply_of
from tests.imaging.images import CT, an_instance
from xds.demo.site import free_port
from xds.store.engine import make_engine
from xds.store.tables import audit_record
from xds.wire import mllp, syslog
from xds.wire.client import Client

OURS = b"CN=hospital-a"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    own = authority.signed("hospital-a")
    made = ssl.create_default_context(cafile=authority.trusted)
    made.load_cert_chain(own.certificate, own.key)
    return made


class Node:
    """With its ports, and what it has on record."""

    def __init__(self, served: Served, ports: dict[str, int]) -> None:
        self.served, self.ports = served, ports

    def names(self, transaction: str, word: bytes = OURS, origin: str = "") -> int:
        """How many records of a transaction have a word in them, or in where they came from."""
        engine = make_engine(self.served.settings.database_url)
        with engine.connect() as connection:
            columns = sa.select(audit_record.c.message, audit_record.c.origin)
            rows = connection.execute(columns.where(audit_record.c.transaction == transaction)).all()
        engine.dispose()
        found = [row for row in rows if (row.origin or "").startswith(origin)]
        return sum((word.decode() in row.origin) if origin else (word in row.message) for row in found)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Node]:
    folder, own = tmp_path_factory.mktemp("node"), authority.signed("node")
    (folder / "images").mkdir()
    ports = {name: free_port() for name in ("mllp", "syslog", "cstore")}
    sections = {
        "tls": {"certificate": own.certificate, "key": own.key, "trusted": authority.trusted},
        "mllp": {"listen": f"127.0.0.1:{ports['mllp']}"},
        "syslog": {"tls": f"127.0.0.1:{ports['syslog']}"},
        "imaging_source": {"folder": str(folder / "images"), "cstore_listen": f"127.0.0.1:{ports['cstore']}",
                           "retrieve_ae_title": "XDS"},
        "peers": known("hospital-a"),
    }  # fmt: skip
    served = Served(folder, sections, scheme="https").start()
    for port in ports.values():
        wait_for(lambda port=port: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    yield Node(served, ports)
    assert served.stop() == 0


def test_a_query(node: Node, authority: Authority) -> None:
    own = authority.signed("hospital-a")
    node.served.found(client=Client(f"{node.served.url}/registry", certificate=own.certificate, key=own.key,
                                    trusted=authority.trusted))  # fmt: skip
    wait_for(lambda: node.names("ITI-18"))


@pytest.mark.parametrize("path", ["/dicomweb/studies", "/%64icomweb/studies"])
def test_a_search_of_images_however_its_path_is_written(node: Node, context: ssl.SSLContext, path: str) -> None:
    before = node.names("RAD-129")
    with context.wrap_socket(connected(node.served.port), server_hostname="localhost") as sock:
        sock.sendall(f"GET {path}?PatientID={len(path)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = reply_of(sock)
    assert got is not None
    assert got.status in (200, 204)
    wait_for(lambda: node.names("RAD-129") > before)


def test_a_feed_and_what_it_claims(node: Node, context: ssl.SSLContext) -> None:
    message = adt(pid=f"fed^^^&{AUTHORITY}&ISO").encode()
    assert b"MSA|AA" in mllp.send("localhost", node.ports["mllp"], message, 20, context)
    wait_for(lambda: node.names("ITI-8") and node.names("ITI-8", b"NORTH|ADT"))


def test_an_image_and_the_title_that_was_claimed(node: Node, context: ssl.SSLContext) -> None:
    entity = AE(ae_title="CLAIMED")
    entity.add_requested_context(CT, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", node.ports["cstore"], ae_title="XDS", tls_args=(context, "localhost"))
    assert association.is_established
    one = an_instance(1)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = CT, one.SOPInstanceUID
    assert association.send_c_store(one).Status == 0
    association.release()
    wait_for(lambda: node.names("C-STORE") or node.names(""))
    assert node.names("C-STORE", b"CLAIMED") or node.names("", b"CLAIMED")


def test_a_record_of_another_node(node: Node, context: ssl.SSLContext) -> None:
    plain = socket.create_connection(("127.0.0.1", node.ports["syslog"]), 10)
    with context.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(framed(syslog.message(QUERY)))
        with contextlib.suppress(OSError):
            stream.unwrap()
    wait_for(lambda: node.names("ITI-18", b"hospital-a", "tls "))
