"""The one XML parser, hardened; namespaces; our schemas.

Nothing that comes in is parsed elsewhere.  No DTD, no entity, no network, bounded depth, size and number of elements.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from lxml import etree

from xds.system.values import value

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


ELEMENTS = 200_000
"""In one message, and as many attributes.  A document of a submission has about 100; each costs some 200 bytes."""


class NotXml(ValueError):
    """The bytes are not a document that we read: malformed, a DTD in it, too deep, or of too many elements."""


@value(frozen=True, slots=True)
class SchemaError:
    """What libxml2 says; the message may quote values."""

    line: int
    message: str
    kind: str  # SCHEMAV_…


@lru_cache(2000)
def name(prefixed: str) -> str:
    """``rim:Slot`` as lxml wants it, ``{urn:…}Slot``."""
    prefix, _, local = prefixed.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def local_name(element: Element) -> str:
    """The element's name without its namespace."""
    return etree.QName(element).localname


def parse(data: bytes, most: int | None = ELEMENTS) -> Element:
    """Read one document; return its root, with comments and processing instructions left out.

    ``most``: elements and attributes; None: any number, where we have asked for them.

    Raises:
        NotXml: not well-formed, a document type declaration, deeper than ``DEPTH_LIMIT``, or of too many elements.
    """
    read = _whole if most is None or _has_few(data, most) else partial(_counted, most=most)
    try:
        root = read(data, long=False)
    except (etree.XMLSyntaxError, ValueError) as problem:
        if getattr(problem, "code", None) != etree.ErrorTypes.ERR_RESOURCE_LIMIT:
            raise problem if isinstance(problem, NotXml) else _not_well_formed(problem) from None
        root = _long(data, read)
    # A billion laughs needs a DTD, and SOAP forbids one (SOAP 1.2 part 1, section 5).
    if getattr(root.getroottree().docinfo, "doctype", ""):
        raise NotXml("a document type declaration is not allowed (SOAP 1.2 part 1: 5)")
    return root


_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "remove_comments": True,
    "remove_pis": True,
}


def _whole(data: bytes, *, long: bool) -> Element:
    return etree.fromstring(data, etree.XMLParser(huge_tree=long, **_OPTIONS))


# Documents whose markup can be counted in their bytes: "<" is 3C in them, and in UTF-16 beside a zero.
_PLAIN = re.compile(
    rb"\xff\xfe|\xfe\xff|(\xef\xbb\xbf)?\s*<(?!\?xml|\0)"
    rb"|(\xef\xbb\xbf)?\s*<\?xml(?![^>]{0,200}\sencoding\s*=\s*[\"'](?!(utf-?8|us-ascii|iso-8859-\d+|windows-125\d)[\"']))",
    re.IGNORECASE,
)


def _has_few(data: bytes, most: int) -> bool:
    """Whether there cannot be too many, by the signs that each must have; quicker than to count them."""
    if _PLAIN.match(data) is None or data.count(b"<") - data.count(b"</") > most:
        return False
    return _attributes(data) <= most


def _attributes(data: bytes) -> int:
    """No less than there are, namespace declarations among them: each has a sign and two quotation marks."""
    equal = data.count(b"=")
    return equal and min(equal, (data.count(b'"') + data.count(b"'")) // 2)


def _counted(data: bytes, *, long: bool, most: int) -> Element:
    """Read a document, and stop where it has too many elements or attributes.

    Raises:
        NotXml: it has.
    """
    if _PLAIN.match(data) is None and len(data) > _UNUSUAL_BYTES:
        raise NotXml(f"over {_UNUSUAL_BYTES} bytes in an encoding that is none of UTF-8, UTF-16, ISO 8859 and Windows")
    # A start tag is read as a whole, before it is counted; between two "<" there is no more than one.
    tags = (_TAG.match(found[0]) for found in re.finditer(rb"<[^<]{%d,}" % most, data))
    if any(tag and _attributes(tag[0]) > most for tag in tags):
        raise NotXml(f"more than {most} attributes")
    parser = etree.XMLPullParser(events=("start", "start-ns"), huge_tree=long, **_OPTIONS)
    found: Any
    elements = attributes = 0
    for at in range(0, len(data), _PIECE):
        parser.feed(data[at : at + _PIECE])
        for event, found in parser.read_events():
            elements += event == "start"
            attributes += len(found.attrib) if event == "start" else 1
        if max(elements, attributes) > most:
            raise NotXml(f"more than {most} elements or attributes")
    root = parser.close()
    if not isinstance(root, etree._Element):
        raise NotXml("not well-formed XML")
    return root


_TAG = re.compile(rb"<(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+")
_PIECE, _UNUSUAL_BYTES = 64 * 1024, 1024 * 1024


def _long(data: bytes, read: Callable[..., Element]) -> Element:
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
        root = read(data, long=True)
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
