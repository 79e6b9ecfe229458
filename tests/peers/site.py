"""The site that IPF visits: every actor on, patients by the feed, images of pydicom's own; open, or by mutual TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pydicom
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.hostile.certificates import Authority, Signed, known
from tests.hostile.server import Served
from tests.imaging.images import PYDICOM_FILES
from xds.demo.site import free_port

HOME, REPOSITORY, SOURCE = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "1.3.6.1.4.1.99999.3"
IMAGES = ("CT_small.dcm", "MR_small.dcm")
PASSWORD = "changeit"  # Java's stores must have one


@dataclass(frozen=True)
class Visit:
    """A server that runs, and what Java is told about it."""

    served: Served
    told: Path
    """A properties file, as ``Site.java`` reads it."""
    java: dict[str, str] = field(default_factory=dict)
    """Java's own properties: its key and whom it trusts."""
    context: ssl.SSLContext | None = None

    def get(self, path: str) -> bytes:
        """What is answered there to somebody whom the site trusts."""
        with urlopen(f"{self.served.url}{path}", timeout=60, context=self.context) as reply:  # noqa: S310
            body: bytes = reply.read()
        return body


@contextmanager
def visit(folder: Path, *, secure: bool) -> Iterator[Visit]:
    """A server in that folder for as long as this lasts, with a client's keys where it is secure."""
    folder.mkdir()
    images = folder / "images"
    images.mkdir()
    mllp, syslog = free_port(), free_port()
    sections: dict[str, dict[str, Any]] = {
        "domain": {"patients": "feed", "home_community_id": f"urn:oid:{HOME}"},
        "repository": {"unique_id": REPOSITORY},
        "imaging_source": {"folder": str(images), "retrieve_location_uid": SOURCE},
        "mllp": {"listen": f"127.0.0.1:{mllp}"},
        "syslog": {"tls" if secure else "udp": f"127.0.0.1:{syslog}"},
        "audit": {"readers": ["127.0.0.1"]},
    }
    java, context = {}, None
    if secure:
        authority = Authority(folder / "pki")
        server, client = authority.signed("server"), authority.signed("client")
        sections["tls"] = {"certificate": server.certificate, "key": server.key, "trusted": authority.trusted}
        sections["peers"] = known("client")
        java = _java_stores(folder / "pki", authority, client)
        context = ssl.create_default_context(cafile=authority.trusted)
        context.load_cert_chain(client.certificate, client.key)
    served = Served(folder, sections, scheme="https" if secure else "http")
    told = {
        "address": f"127.0.0.1:{served.port}", "secure": str(secure).lower(), "mllp": f"127.0.0.1:{mllp}",
        "syslog": f"127.0.0.1:{syslog}", "authority": AUTHORITY, "home": f"urn:oid:{HOME}", "repository": REPOSITORY,
        "source": SOURCE, "images": " ".join(_copied(images)),
    }  # fmt: skip
    properties = folder / "site.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in told.items()), "utf-8")
    served.start()
    try:
        wait_for(lambda: _listens(mllp), 30)
        yield Visit(served, properties, java, context)
    finally:
        served.stop()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _copied(images: Path) -> Iterator[str]:
    """The ids of each image, once it is in the folder."""
    for title in IMAGES:
        path = Path(shutil.copy(PYDICOM_FILES / "test_files" / title, images))
        header = pydicom.dcmread(path, stop_before_pixels=True)
        yield f"{header.StudyInstanceUID}/{header.SeriesInstanceUID}/{header.SOPInstanceUID}"


def _java_stores(folder: Path, authority: Authority, client: Signed) -> dict[str, str]:
    """The client's key and the authority as PKCS #12, and the properties by which Java finds them."""
    encryption = BestAvailableEncryption(PASSWORD.encode())
    key = load_pem_private_key(Path(client.key).read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(Path(client.certificate).read_bytes())
    trusted = x509.load_pem_x509_certificate(Path(authority.trusted).read_bytes())
    stores = {
        "keyStore": pkcs12.serialize_key_and_certificates(b"client", key, certificate, None, encryption),  # type: ignore[arg-type]
        "trustStore": pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(trusted, b"authority")], encryption),
    }
    properties = {}
    for name, content in stores.items():
        (folder / f"{name}.p12").write_bytes(content)
        properties[f"javax.net.ssl.{name}"] = str(folder / f"{name}.p12")
        properties[f"javax.net.ssl.{name}Password"] = PASSWORD
        properties[f"javax.net.ssl.{name}Type"] = "PKCS12"
    return properties
