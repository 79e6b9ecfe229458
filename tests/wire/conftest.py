"""An application on SQLite, called as a WSGI server calls it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import AUTHORITY
from tests.wire.messages import ACTION, AMessage, an_envelope, read
from xds.server.application import Application
from xds.settings.configuration import load
from xds.store.deployment import prepare, with_identity
from xds.store.engine import make_engine
from xds.wire.xml import Element, name, parse


@dataclass(frozen=True)
class Answered:
    """An HTTP reply, and the envelope in it."""

    status: int
    content_type: str
    envelope: Element

    @property
    def mtom(self) -> bool:
        return self.content_type.startswith("multipart/related")

    @property
    def codes(self) -> list[str]:
        """The fault's code and subcodes."""
        return [value.text or "" for value in self.envelope.iter(name("soap:Value"))]

    @property
    def reason(self) -> str:
        return self.envelope.findtext(f".//{name('soap:Text')}") or ""

    def header(self, prefixed: str) -> str | None:
        return self.envelope.findtext(f"{name('soap:Header')}/{name(prefixed)}")


@dataclass(frozen=True)
class Site:
    """An application and the folder of its data."""

    application: Application
    data: Path

    def post(
        self, data: bytes, *, path: str = "/registry", content_type: str = "application/soap+xml; charset=UTF-8"
    ) -> Answered:
        """Send one message; everything it left in the staging folder is an error."""
        said: list[tuple[str, list[tuple[str, str]]]] = []
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(data)),
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(data),
        }
        start: Callable[..., None] = lambda status, headers: said.append((status, headers))  # noqa: E731
        chunks = self.application(environ, start)
        reply = b"".join(chunks)
        ((status, headers),) = said
        named = dict(headers)
        assert int(named["Content-Length"]) == len(reply)
        root = read(reply, self.data / "read", content_type=named["Content-Type"]).root
        assert list((self.data / "documents" / "staging").iterdir()) == []
        return Answered(int(status.split()[0]), named["Content-Type"], parse(root))

    def ask(self, *, mtom: bool = False, **changes: str) -> Answered:
        """The good request with some of it spoilt."""
        envelope = an_envelope(**{"body": A_QUERY, "action": ACTION, **changes})  # type: ignore[arg-type]
        return self.send_mtom(envelope) if mtom else self.post(envelope)

    def send_mtom(self, envelope: bytes) -> Answered:
        message = AMessage(parts=(AMessage().parts[0].__class__(envelope),))
        return self.post(message.packed(), content_type=message.content_type)


A_QUERY = (
    "<q:AdhocQueryRequest xmlns:q='urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0'>"
    "<q:ResponseOption returnType='LeafClass' returnComposedObjects='true'/>"
    "<r:AdhocQuery xmlns:r='urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0' "
    "id='urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d'>"
    "<r:Slot name='$XDSDocumentEntryPatientId'><r:ValueList><r:Value>'anna^^^&amp;1.2.3.4.5&amp;ISO'</r:Value>"
    "</r:ValueList></r:Slot><r:Slot name='$XDSDocumentEntryStatus'><r:ValueList><r:Value>"
    "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')</r:Value></r:ValueList></r:Slot>"
    "</r:AdhocQuery></q:AdhocQueryRequest>"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    loaded = load(environment={}).changed(
        {
            "server.data": str(tmp_path / "data"),
            "domain.patients": "open",
            "domain.assigning_authorities": (AUTHORITY,),
        },
        "command line",
    )
    loaded = with_identity(loaded)
    prepare(make_engine(loaded.settings.database_url), loaded)
    application = Application(loaded)
    yield Site(application, tmp_path / "data")
    application.close()


def xml(text: str) -> Element:
    return etree.fromstring(text)
