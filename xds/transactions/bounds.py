"""How much one request may name; who asks for more is refused before anything is looked for or kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lxml import etree

from xds.audit.messages.bounded import about_refused
from xds.errors import ErrorCode, Finding, Refused
from xds.settings.sections import Settings
from xds.transactions.transaction import Call
from xds.wire.xml import Element, name


@dataclass(frozen=True, slots=True)
class Bounds:
    """See the settings of the same names."""

    query_bytes: int = 64 * 1024
    submission_objects: int = 2_000
    documents: int = 1_000
    instances: int = 20_000

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        registry = settings.registry
        most = settings.repository.documents, settings.imaging_source.instances
        return cls(registry.query_bytes, registry.submission_objects, *most)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What is counted of a body, the bound, and the error: empty, the one that a body not valid by its schema has."""

    count: Callable[[Element], int]
    bound: str
    said: str
    code: ErrorCode | None = None


def _bytes(body: Element) -> int:
    return len(etree.tostring(body))


def _requests(body: Element) -> int:
    return sum(1 for _ in body.iter(name("xds:DocumentRequest")))


def _objects(body: Element) -> int:
    """Of a submission, or ids of a removal."""
    lists = (name("rim:RegistryObjectList"), name("rim:ObjectRefList"))
    return sum(len(found) for found in body.iter(*lists))


# ITI TF-3: Table 4.2.4.1-2; over VALUES a query has the same error.
_QUERY = _Rule(_bytes, "query_bytes", "bytes in a query", ErrorCode.STORED_QUERY_PARAM_NUMBER)
_SUBMISSION = _Rule(_objects, "submission_objects", "objects in one message")
_RETRIEVAL = _Rule(_requests, "documents", "documents in one request", ErrorCode.TOO_MANY_RESULTS)
_IMAGES = _Rule(_requests, "instances", "instances in one request", ErrorCode.TOO_MANY_RESULTS)
_RULES: Mapping[str, _Rule] = {
    "ITI-18": _QUERY,
    "ITI-38": _QUERY,
    "ITI-51": _QUERY,
    **dict.fromkeys(("ITI-41", "ITI-42", "ITI-57", "ITI-61", "ITI-62", "ITI-92"), _SUBMISSION),
    "ITI-39": _RETRIEVAL,
    "ITI-43": _RETRIEVAL,
    "ITI-86": _Rule(_requests, "documents", "documents in one request"),
    **dict.fromkeys(("RAD-69", "RAD-75"), _IMAGES),
}


def check(call: Call, bounds: Bounds) -> None:
    """Hold a request to what one may name.

    Raises:
        Refused: it names more; the record has its hash, length and beginning.
    """
    rule = _RULES.get(call.transaction.number)
    if rule is None:
        return
    most: int = getattr(bounds, rule.bound)
    if rule.count(call.body) > most:
        about_refused(call.event, etree.tostring(call.body))
        raise Refused([Finding(rule.code or call.transaction.schema_error, f"more than {most} {rule.said}")])
