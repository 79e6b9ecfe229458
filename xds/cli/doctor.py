"""``xds doctor``: what would be refused, and why, before it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from xds.actors import document_registry
from xds.cli.common import affinity_domain, as_json, database, deployment, in_domain, print_json, settings
from xds.domain import registry_of
from xds.ebxml import lcm, rim
from xds.errors import ErrorCode, Finding, Refused, Severity, Unusable
from xds.metadata.vocabulary import ON_DEMAND
from xds.settings import Loaded
from xds.store.registry import SqlRegistry
from xds.wire.xml import Element, NotXml, name, parse, schema_errors

FILE_BYTES = 64 * 1024 * 1024


@click.group()
def doctor() -> None:
    """Find out what is wrong before others do."""


@doctor.command(epilog="Example: xds doctor submission message.xml --data ./xds-data")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@deployment
@in_domain
@as_json
def submission(file: Path, config: Path | None, data: str | None, domain: str, json_: bool) -> None:
    """Hold the submission in FILE to every rule of the registry; exit code 1 if it breaks one.

    FILE holds a SubmitObjectsRequest, bare, in a ProvideAndRegisterDocumentSetRequest or in a SOAP envelope.  With
    --data or --config it is held to what that registry has, too; nothing is kept.
    """
    loaded = settings(config, data) if config or data else None
    findings = list(_findings(_submitted(file), loaded, domain))
    if json_:
        print_json([{"code": f.code, "object": f.location, "context": f.context} for f in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.code}  {finding.location or '-'}\n    {finding.context}")
        click.echo(f"{len(findings)} findings" if findings else f"{file}: would be registered")
    sys.exit(1 if any(finding.severity is Severity.ERROR for finding in findings) else 0)


def _submitted(file: Path) -> Element:
    """The SubmitObjectsRequest of a file.

    Raises:
        Unusable: too long, not XML, or without one.
    """
    if file.stat().st_size > FILE_BYTES:
        raise Unusable(f"{file}: over {FILE_BYTES} bytes")
    try:
        root = parse(file.read_bytes())
    except NotXml as problem:
        raise Unusable(f"{file}: {problem}") from None
    found = list(root.iter(name("lcm:SubmitObjectsRequest")))
    if len(found) != 1:
        raise Unusable(f"{file}: exactly one lcm:SubmitObjectsRequest is looked for, there are {len(found)}")
    return found[0]


def _findings(submitted: Element, loaded: Loaded | None, domain: str) -> Iterable[Finding]:
    errors = schema_errors("lcm.xsd", submitted, most=50)
    if errors:
        return [Finding(ErrorCode.REGISTRY_METADATA, f"line {e.line}: {e.message}") for e in errors]
    objects = lcm.read_submit_objects(submitted)
    on_demand = _is_on_demand(objects)
    try:
        if loaded is not None:
            return _tried(objects, loaded, domain, on_demand=on_demand)
        return document_registry.read(objects, on_demand=on_demand)[1]
    except Refused as refused:
        return refused.findings


def _is_on_demand(objects: rim.RegistryObjectList) -> bool:
    """Whether it is meant for ITI-61: its first entry says so."""
    return bool(objects.extrinsic_objects) and objects.extrinsic_objects[0].object_type == ON_DEMAND


def _tried(objects: rim.RegistryObjectList, loaded: Loaded, domain: str, *, on_demand: bool) -> Iterable[Finding]:
    """Register it in a transaction that is rolled back; return what the registry would warn of.

    Raises:
        Refused: as the registry would.
    """
    own = affinity_domain(loaded, domain)
    with database(loaded) as engine, engine.connect() as connection:
        store = SqlRegistry(connection, domain)
        warnings = registry_of(loaded.settings, own).submit(objects, store, on_demand=on_demand)
        connection.rollback()
    return warnings
