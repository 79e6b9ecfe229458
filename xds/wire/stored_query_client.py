"""ITI-18 by zeep, driven by our WSDL.

zeep's gaps, and what stands in for it: it sends no mustUnderstand and no ReplyTo (the plugin adds them); it cannot
read substitution groups, so a RegistryObjectList is taken raw and read by ``ebxml``.  Replies are read as ``client``
reads them, packed in MIME or not.
"""

from __future__ import annotations

import copy
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
import zeep
from lxml import etree
from requests.adapters import HTTPAdapter

from xds.wire import tracing
from xds.wire.addressing import ANONYMOUS
from xds.wire.client import NoReply, answer_of, client_context, kind_of
from xds.wire.contexts import held
from xds.wire.mime import Limits
from xds.wire.spool import Spool
from xds.wire.xml import Element, name, resource

BINDING = "{urn:ihe:iti:xds-b:2007}DocumentRegistry_Binding_Soap12"
REPLY_BYTES = 256 * 1024 * 1024


class _Addressing(zeep.Plugin):
    """The WS-Addressing headers that ITI TF-2: Appendix V.3.2 asks for and zeep leaves out; and others beside them."""

    def __init__(self, header_blocks: Sequence[Element] = ()) -> None:
        self._header_blocks = header_blocks

    def egress(self, envelope: Element, http_headers: Any, _operation: Any, _options: Any) -> tuple[Element, Any]:
        header = envelope.find(name("soap:Header"))
        assert header is not None  # noqa: S101  zeep's own WS-Addressing has made it
        for block in header.findall(name("wsa:Action")):
            block.set(name("soap:mustUnderstand"), "true")
        reply_to = etree.SubElement(header, name("wsa:ReplyTo"))
        etree.SubElement(reply_to, name("wsa:Address")).text = ANONYMOUS
        header.extend(copy.deepcopy(list(self._header_blocks)))
        http_headers.pop("SOAPAction", None)
        http_headers.update(tracing.headers())
        return envelope, http_headers


class _Adapter(HTTPAdapter):
    """Our TLS below requests: its own knows no revocation."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named, ssl_context=self._context)
        held(self.poolmanager)


class StoredQueryClient:
    """A Document Consumer's side of ITI-18 at one registry."""

    def __init__(
        self, url: str, *, certificate: str = "", key: str = "", trusted: str = "", seconds: float = 60.0,
        header_blocks: Sequence[Element] = (),
    ) -> None:  # fmt: skip
        """``header_blocks`` go with each message, beside WS-Addressing's."""
        self.url = url
        logging.getLogger("zeep").setLevel(logging.ERROR)
        session = requests.Session()
        session.trust_env = False
        session.max_redirects = 0
        if url.startswith("https:"):
            session.mount("https://", _Adapter(client_context(certificate, key, trusted)))
        self._presents = bool(certificate)
        transport = zeep.Transport(session=session, timeout=seconds, operation_timeout=seconds)
        client = zeep.Client(
            str(resource("wsdl", "registry.wsdl")), transport=transport, plugins=[_Addressing(header_blocks)]
        )
        client.settings.raw_response = True
        self._service = client.create_service(BINDING, url)
        self._client = client

    def request(self, query_id: str, return_type: str, parameters: Mapping[str, Sequence[str]]) -> bytes:
        """The AdhocQueryRequest as it will be sent, for the audit record."""
        envelope = self._client.create_message(
            self._service, "DocumentRegistry_RegistryStoredQuery", **_arguments(query_id, return_type, parameters)
        )
        return etree.tostring(envelope.find(f"{name('soap:Body')}/{name('query:AdhocQueryRequest')}"))

    def send(self, query_id: str, return_type: str, parameters: Mapping[str, Sequence[str]]) -> Element:
        """The AdhocQueryResponse.

        Raises:
            NoReply: no usable reply came.
            Faulted: the registry answered with a SOAP fault.
        """
        try:
            response = self._service.DocumentRegistry_RegistryStoredQuery(
                **_arguments(query_id, return_type, parameters)
            )
        except (requests.RequestException, zeep.exceptions.Error) as problem:
            raise NoReply(f"{self.url}: {kind_of(problem, self.url, presented=self._presents)}") from None
        came = _Came(response.status_code, response.headers, BytesIO(response.content).read)
        with TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
            body = answer_of(came, spool, Limits(root_part_bytes=REPLY_BYTES), self.url).body
        if body.tag != name("query:AdhocQueryResponse"):
            raise NoReply(f"{self.url}: HTTP {response.status_code}, no AdhocQueryResponse in the reply")
        return body


@dataclass(frozen=True, slots=True)
class _Came:
    """A response of requests' as ``answer_of`` reads one."""

    status: int
    headers: Mapping[str, str]
    read: Callable[[int], bytes]


def _arguments(query_id: str, return_type: str, parameters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    slots = [{"name": f"${key}", "ValueList": {"Value": list(values)}} for key, values in parameters.items()]
    return {
        "ResponseOption": {"returnType": return_type, "returnComposedObjects": True},
        "AdhocQuery": {"id": query_id, "Slot": slots},
    }
