"""A request's body: its documents taken out, and what is left held to its transaction's schema."""

from __future__ import annotations

from collections.abc import Mapping

from xds.errors import Finding
from xds.transactions.transaction import Transaction
from xds.wire.faults import sender
from xds.wire.spool import Spool, Spooled
from xds.wire.xml import Element, SchemaError, local_name, name, schema_errors
from xds.wire.xop import take_includes, take_inline


def taken_out(
    transaction: Transaction, body: Element, attachments: Mapping[str, Spooled], spool: Spool
) -> dict[Element, Spooled]:
    """The documents, taken out of the body.

    Raises:
        Fault: another element than the action's, or an xop:Include astray.
    """
    if body.tag != name(transaction.request):
        raise sender(f"the body of {transaction.number} is {transaction.request}, not {local_name(body)[:64]}")
    contents = take_includes(body, attachments)
    for element in body.iter(name("xds:Document")):
        if element not in contents:
            contents[element] = take_inline(element, spool)
    return contents


def schema_findings(transaction: Transaction, body: Element) -> tuple[Finding, ...]:
    """What the schema finds wrong."""
    errors = schema_errors(transaction.schema, body)
    if not errors:
        return ()
    context = f"not valid by {transaction.schema}: {'; '.join(map(_told, errors))}"
    return (Finding(transaction.schema_error, context),)


def _told(error: SchemaError) -> str:
    """An error without any value: libxml2 puts values between quotes."""
    element, _, rest = error.message.partition(": ")
    return f"line {error.line}, {_without_namespace(element)}: {_kind_of(rest, error.kind)}"


def _without_namespace(text: str) -> str:
    return text.replace("{", "").rpartition("}")[2].strip("'").replace("Element '", "")


def _kind_of(text: str, type_name: str) -> str:
    if "This element is not expected" in text or "Missing child" in text or "attribute" in text.lower():
        return text.split(" Expected", 1)[0]
    return type_name.removeprefix("SCHEMAV_").replace("_", " ").lower()
