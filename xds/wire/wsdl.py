"""Our WSDLs and schemas as a server gives them out: ``?wsdl`` and ``?xsd=NAME``, with its real address."""

from __future__ import annotations

import re
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from xds.wire.http import TextReply
from xds.wire.xml import resource

XML = "text/xml; charset=utf-8"


def served(endpoint: str, query: str, url: str) -> TextReply:
    """The WSDL or schema that a GET asks for."""
    asked = {key.lower(): values for key, values in parse_qs(query, keep_blank_values=True, max_num_fields=8).items()}
    try:
        if "wsdl" in asked:
            text = resource("wsdl", f"{endpoint.replace('-', '_')}.wsdl").read_text("utf-8")
            text = re.sub(r'(<soap12:address\s+location=")[^"]*"', lambda m: f'{m[1]}{escape(url)}"', text)
            return TextReply(200, XML, _relinked(text, url))
        name = asked.get("xsd", [""])[0].removesuffix(".xsd")
        if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
            return TextReply(200, XML, _relinked(resource("schemas", f"{name}.xsd").read_text("utf-8"), url))
    except FileNotFoundError:
        pass
    return TextReply(404, "text/plain; charset=utf-8", "ask with POST, or for ?wsdl or ?xsd=NAME\n")


def _relinked(text: str, url: str) -> str:
    """Imports that name files of ours name this address instead."""
    pattern = r'schemaLocation="(?:\.\./schemas/)?([a-z0-9-]+)\.xsd"'
    return re.sub(pattern, lambda m: f'schemaLocation="{escape(url)}?xsd={m[1]}"', text)
