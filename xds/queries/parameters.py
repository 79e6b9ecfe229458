"""The parameters of a stored query out of its slots.

ITI TF-2: 3.18.4.1.2.3.5 (coding style): ``'text'`` with quotes doubled, numbers bare, ``('a','b')`` for lists;
a slot that comes twice is an AND, for parameters that allow it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Refused
from xds.queries.catalogue import Many, Parameter, StoredQuery

# Where the coding style of values is, the parameters of each query, and the minimum of ITI-51's.
CODING, PARAMETERS = "ITI TF-2: 3.18.4.1.2.3.5", "ITI TF-2: 3.18.4.1.2.3.7"
MINIMUM = "ITI TF-2: 3.51.4.1.2.1"

VALUES = 10_000
"""Values of one query; more are refused."""

SLOTS = 20
"""How often parameters may be repeated in one query; each time is one more condition of the statement."""

_LISTED = re.compile(r"\s*(?:'((?:[^']|'')*)'|([^\s',()]+))\s*(,|$)")


def read(query: StoredQuery, sent: AdhocQuery) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Each known parameter that was given: a tuple a slot, of its values.  Unknown ones are ignored.

    Raises:
        Refused: values missing, too many, or not in the coding style; all of it is named.
    """
    findings: list[Finding] = []
    given: dict[str, list[tuple[str, ...]]] = {}
    for slot in sent.slots:
        parameter = query.parameter(slot.name.removeprefix("$"))
        if parameter is None:
            continue
        try:
            found = tuple(value for text in slot.values for value in values_of(text))
        except ValueError:
            findings.append(_finding(parameter, f"is not in the coding style ({CODING})"))
            continue
        given.setdefault(parameter.name, []).append(found)
    for parameter in query.parameters:
        findings += _counted(parameter, given.get(parameter.name, []))
    findings += _exclusive(query, given)
    if sum(len(slots) - 1 for slots in given.values()) > SLOTS:
        rule = f"parameters are repeated more than {SLOTS} times ({CODING})"
        findings.append(Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, rule))
    if sum(len(values) for slots in given.values() for values in slots) > VALUES:
        rule = f"more than {VALUES} values in one query ({CODING})"
        findings.append(Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, rule))
    if findings:
        raise Refused(findings)
    return {name: tuple(slots) for name, slots in given.items()}


def _finding(parameter: Parameter, rule: str, code: ErrorCode = ErrorCode.STORED_QUERY_PARAM_NUMBER) -> Finding:
    return Finding(code, f"${parameter.name} {rule}")


def _counted(parameter: Parameter, slots: list[tuple[str, ...]]) -> Iterable[Finding]:
    if parameter.required and not slots:
        yield _finding(parameter, f"is required ({PARAMETERS})", ErrorCode.STORED_QUERY_MISSING_PARAM)
    if any(not values for values in slots):
        yield _finding(parameter, f"has no value ({CODING})")
    if len(slots) > 1 and parameter.many is not Many.AND_OR:
        yield _finding(parameter, f"must not be repeated ({CODING})")
    if parameter.many is Many.ONE and any(len(values) > 1 for values in slots):
        yield _finding(parameter, f"takes one value ({PARAMETERS})")


def _exclusive(query: StoredQuery, given: dict[str, list[tuple[str, ...]]]) -> Iterable[Finding]:
    if query.any_of and not any(name in given for name in query.any_of):
        names = ", ".join(f"${name}" for name in query.any_of)
        yield Finding(ErrorCode.STORED_QUERY_MISSING_PARAM, f"one of {names} is required ({MINIMUM})")
    if not query.one_of:
        return
    names = " or ".join(f"${name}" for name in query.one_of)
    count = sum(name in given for name in query.one_of)
    if count == 0:
        yield Finding(ErrorCode.STORED_QUERY_MISSING_PARAM, f"{names} is required ({PARAMETERS})")
    if count > 1:
        yield Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, f"only one of {names} may be given ({PARAMETERS})")


def values_of(text: str) -> Iterable[str]:
    """The values of one text in the coding style.

    Raises:
        ValueError: it is not.
    """
    text = text.strip()
    if text.startswith("(") or text.endswith(")"):
        if not (text.startswith("(") and text.endswith(")")):
            raise ValueError("a bracket without its other")
        yield from _listed(text[1:-1])
    elif text.startswith("'"):
        yield from _listed(text)
    elif text:
        # A bare value: a number, or a text whose quotes the sender forgot, as the TF's own sample does.
        yield unicodedata.normalize("NFC", text)


def _listed(text: str) -> Iterable[str]:
    at = 0
    while at < len(text):
        match = _LISTED.match(text, at)
        if match is None or (match[3] == "," and match.end() >= len(text.rstrip())):
            raise ValueError("not a list of values")
        value = match[2] if match[1] is None else match[1].replace("''", "'")
        if not value:
            raise ValueError("an empty value")
        yield unicodedata.normalize("NFC", value)
        at = match.end()
