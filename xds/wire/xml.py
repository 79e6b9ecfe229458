"""The one XML parser, hardened; namespaces; our schemas.

Nothing that comes in is parsed elsewhere.  No DTD, no entity, no network, bounded depth and size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from lxml import etree

Element: TypeAlias = etree._Element

# ITI TF-2: Appendix V.3 and the schemas' target namespaces.
NAMESPACES = {
    "soap": "http://www.w3.org/2003/05/soap-envelope",
    "wsa": "http://www.w3.org/2005/08/addressing",
    "xop": "http://www.w3.org/2004/08/xop/include",
    "rim": "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0",
    "rs": "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0",
    "lcm": "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0",
    "query": "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0",
    "xds": "urn:ihe:iti:xds-b:2007",
    "xdsi": "urn:ihe:rad:xdsi-b:2009",
    "rmd": "urn:ihe:iti:rmd:2017",
    "hl7": "urn:hl7-org:v3",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "wsse": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
}

DEPTH_LIMIT = 256
"""Elements inside one another.  Real messages stay under 20; libxml2 itself stops here, unless told not to."""


class NotXml(ValueError):
    """The bytes are not a document that we read: malformed, a DTD in it, or too deep."""


@dataclass(frozen=True, slots=True)
class SchemaError:
    """What libxml2 says; the message may quote values."""

    line: int
    message: str
    kind: str  # SCHEMAV_…


def name(prefixed: str) -> str:
    """``rim:Slot`` as lxml wants it, ``{urn:…}Slot``."""
    prefix, _, local = prefixed.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def local_name(element: Element) -> str:
    """The element's name without its namespace."""
    return etree.QName(element).localname


def parse(data: bytes) -> Element:
    """Read one document; return its root, with comments and processing instructions left out.

    Raises:
        NotXml: not well-formed, a document type declaration, or deeper than ``DEPTH_LIMIT``.
    """
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError) as problem:
        if getattr(problem, "code", None) != etree.ErrorTypes.ERR_RESOURCE_LIMIT:
            raise _not_well_formed(problem) from None
        root = _long(data)
    # A billion laughs needs a DTD, and SOAP forbids one (SOAP 1.2 part 1, section 5).
    if getattr(root.getroottree().docinfo, "doctype", ""):
        raise NotXml("a document type declaration is not allowed (SOAP 1.2 part 1: 5)")
    return root


def _parser(*, long: bool = False) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=long,
        remove_comments=True,
        remove_pis=True,
    )


def _long(data: bytes) -> Element:
    """Read a document with a text of over 10 MB, as inline base64 may be.

    libxml2 then gives up its other limits too.  Entities need a DTD, which is looked for up to the root's own
    start with the limits still on; depth is counted afterwards.
    """
    beginning = etree.XMLPullParser(events=("start",), resolve_entities=False, no_network=True, load_dtd=False)
    started: list[Any] = []
    try:
        for at in range(0, len(data), 65536):
            beginning.feed(data[at : at + 65536])
            started = [element for _, element in beginning.read_events()]
            if started:
                break
        if not started or started[0].getroottree().docinfo.doctype:
            raise NotXml("a document type declaration is not allowed (SOAP 1.2 part 1: 5)")
        root = etree.fromstring(data, _parser(long=True))
    except (etree.XMLSyntaxError, ValueError) as problem:
        raise problem if isinstance(problem, NotXml) else _not_well_formed(problem) from None
    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > DEPTH_LIMIT:
            raise NotXml(f"elements more than {DEPTH_LIMIT} deep")
    return root


def _not_well_formed(problem: Exception) -> NotXml:
    line = getattr(problem, "lineno", None)
    return NotXml(f"not well-formed XML{f', line {line}' if line else ''}")


def resource(folder: str, file: str) -> Path:
    """The path of a file of ours under ``wsdl`` or ``schemas``: in the wheel, or in the source tree.

    Raises:
        FileNotFoundError: there is no such file.
    """
    packaged = Path(str(files("xds"))) / folder / file
    path = packaged if packaged.exists() else Path(__file__).parents[2] / folder / file
    if not path.is_file():
        raise FileNotFoundError(file)
    return path


_compiling = Lock()
_validating = Lock()


def schema(file: str) -> etree.XMLSchema:
    """One of our schemas, compiled once.

    One at a time: libxml2 makes its table of types when it compiles its first schema, and a second thread that
    comes then leaves it broken for as long as the process lives.
    """
    with _compiling:
        return _compiled(file)


@cache
def _compiled(file: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(resource("schemas", file))))


def schema_errors(file: str, element: Element, most: int = 5) -> list[SchemaError]:
    """The first errors of an element by one of our schemas; none when it is valid."""
    validator = schema(file)
    with _validating:  # a schema has one list of errors, whoever asks
        if validator.validate(element):
            return []
        found: Any = validator.error_log  # iterable, whatever its stub says
        return [SchemaError(e.line, e.message, e.type_name) for e in itertools.islice(found, most)]
