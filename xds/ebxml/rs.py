"""ebRS 3.0 responses: a status and what was wrong.  ITI TF-3: 4.2.4."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from xds.errors import ErrorCode, Finding, Severity, Status
from xds.wire.xml import NAMESPACES, Element, name


def write_error_list(findings: Iterable[Finding]) -> Element | None:
    """A RegistryErrorList, or None when there is nothing to say."""
    findings = tuple(findings)
    if not findings:
        return None
    worst = max(findings, key=lambda finding: finding.severity is Severity.ERROR).severity
    element = etree.Element(name("rs:RegistryErrorList"), nsmap={"rs": NAMESPACES["rs"]}, highestSeverity=worst)
    for finding in findings:
        error = etree.SubElement(
            element, name("rs:RegistryError"),
            codeContext=finding.context, errorCode=finding.code, severity=finding.severity,
        )  # fmt: skip
        if finding.location:
            error.set("location", finding.location)
    return element


def write_response(status: Status, findings: Iterable[Finding] = ()) -> Element:
    """A RegistryResponse."""
    element = etree.Element(name("rs:RegistryResponse"), nsmap={"rs": NAMESPACES["rs"]}, status=status)
    errors = write_error_list(findings)
    if errors is not None:
        element.append(errors)
    return element


def status_of(findings: Iterable[Finding]) -> Status:
    """Failure if any finding is an error; warnings alone are a success."""
    failed = any(finding.severity is Severity.ERROR for finding in findings)
    return Status.FAILURE if failed else Status.SUCCESS


def read_response(element: Element) -> tuple[Status, tuple[Finding, ...]]:
    """Status and findings of a RegistryResponse or AdhocQueryResponse.

    A code that we do not know is read as XDSRegistryError and kept in the context.

    Raises:
        ValueError: the status is none of IHE's three.
    """
    findings = []
    for error in element.iterfind(f"{name('rs:RegistryErrorList')}/{name('rs:RegistryError')}"):
        code, context = error.get("errorCode", ""), error.get("codeContext", "")
        if code not in set(ErrorCode):
            code, context = ErrorCode.REGISTRY_ERROR, f"{code}: {context}"
        severity = Severity.WARNING if error.get("severity") == Severity.WARNING else Severity.ERROR
        findings.append(Finding(ErrorCode(code), context, error.get("location", ""), severity))
    return Status(element.get("status", "")), tuple(findings)
