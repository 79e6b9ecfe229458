"""``xds doctor``: what would be refused, and why, before it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import affinity_domain, as_json, database, deployment, in_domain, print_json, settings
from xds.cli.hostile import hostile
from xds.errors import ErrorCode, Finding, Refused, Severity, Unusable
from xds.settings.sections import DEFAULT_DOMAIN, Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.ebxml import rim
    from xds.store.interface import Blobs
    from xds.wire.xml import Element

FILE_BYTES = 64 * 1024 * 1024

# What a site does about a refusal, by its code (ITI TF-3: Table 4.2.4.1-2).
FIXES = {
    ErrorCode.REGISTRY_METADATA: "Correct the attribute that is named; the clause says what it must be.",
    ErrorCode.UNKNOWN_PATIENT_ID: "Feed the patient first (ITI-8, ITI-44, xds patient add), or send the surviving id.",
    ErrorCode.PATIENT_ID_DOES_NOT_MATCH: "Send what is of one patient together, under one id of the affinity domain.",
    ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY: "Give the SubmissionSet or Folder a uniqueId that was never used.",
    ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE: "Give each object of the message a uniqueId of its own.",
    ErrorCode.NON_IDENTICAL_HASH: "Give another document another uniqueId; to change one, replace it (RPLC).",
    ErrorCode.NON_IDENTICAL_SIZE: "Give another document another uniqueId; to change one, replace it (RPLC).",
    ErrorCode.UNRESOLVED_REFERENCE: "Register what is referred to first, or correct the entryUUID.",
    ErrorCode.REGISTRY_DEPRECATED_DOCUMENT: "Refer to what is Approved: GetRelatedDocuments finds it.",
}


@click.group()
def doctor() -> None:
    """Find out what is wrong before others do."""


doctor.add_command(hostile)


@doctor.command(epilog="Example: xds doctor submission message.xml --data ./xds-data")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@deployment
@in_domain
@click.option("--sender", metavar="NAME", default="", help="As this sender of the settings would send it.")
@as_json
def submission(file: Path, config: Path | None, data: str | None, domain: str, sender: str, json_: bool) -> None:
    """Hold the submission in FILE to every rule of the registry; exit code 1 if it breaks one.

    FILE holds a SubmitObjectsRequest, bare, in a ProvideAndRegisterDocumentSetRequest or in a SOAP envelope.  With
    --data or --config it is held to what that registry has, too; nothing is kept.  With --sender what is tolerated
    of that sender is put right first.
    """
    from xds.rules import tolerances

    loaded = settings(config, data) if config or data else None
    submitted = _submitted(file)
    tolerated = tolerances.apply(_tolerated(sender, loaded), submitted)
    findings = list(_findings(submitted, loaded, domain))
    could_be = {} if not findings else tolerances.apply(tolerances.TOLERANCES, submitted)
    if json_:
        print_json([
            {"code": f.code, "object": f.location, "context": f.context, "fix": FIXES.get(f.code, "")} for f in findings
        ])  # fmt: skip
    else:
        _print(file, findings, tolerated, could_be)
    sys.exit(1 if any(finding.severity is Severity.ERROR for finding in findings) else 0)


@doctor.command(epilog="Example: xds doctor documents --read --data ./xds-data")
@deployment
@in_domain
@click.option("--read", "reads", is_flag=True, help="Read every byte, not only sizes.")
@as_json
def documents(config: Path | None, data: str | None, domain: str, reads: bool, json_: bool) -> None:
    """Look for documents of the repository that are missing or changed; exit code 1 if there are any."""
    from xds.store.documents.folder import NotReachable
    from xds.store.documents.stores import open_blobs

    loaded = settings(config, data)
    own = affinity_domain(loaded, domain)
    also = loaded.settings.repository.also if domain == DEFAULT_DOMAIN else ()
    with database(loaded) as engine:
        blobs = open_blobs(loaded.settings, engine)
        try:
            ids = [own.repository_unique_id, *also]
            wrong = [one for uid in ids for one in _damaged(engine, blobs, uid, reads=reads)]
        except NotReachable:
            raise Unusable("the document store does not answer") from None
    if json_:
        print_json([{"document": unique_id, "problem": problem} for unique_id, problem in wrong])
    else:
        for unique_id, problem in wrong:
            click.echo(f"{unique_id}  {problem}")
        click.echo(f"{len(wrong)} damaged" if wrong else "every document is there")
    sys.exit(1 if wrong else 0)


@doctor.command("deployment", epilog="Example: xds doctor deployment --config xds.toml")
@deployment
@as_json
def deployment_(config: Path | None, data: str | None, json_: bool) -> None:
    """Hold a deployment to the hardening list: TLS, trust, revocation, listeners, files, accounts, evidence.

    Each thing that is wrong comes with what to do about it; exit code 1 if there is any.
    """
    from dataclasses import asdict

    from xds.cli.common import existing
    from xds.server.hardening import checks

    found = list(checks(existing(config, data), config))
    wrong = [one for one in found if one.wrong]
    if json_:
        print_json([{**asdict(one), "fix": one.fix if one.wrong else ""} for one in found])
    else:
        for one in sorted(found, key=lambda one: not one.wrong):
            click.echo(f"{'WRONG' if one.wrong else 'ok   '}  {one.name}: {one.wrong or one.said}")
            if one.wrong:
                click.echo(f"       {one.fix}")
        click.echo(f"{len(wrong)} of {len(found)} are wrong" if wrong else f"all {len(found)} are right")
    sys.exit(1 if wrong else 0)


@doctor.command("settings", epilog="Example: xds doctor settings --config xds.toml")
@deployment
@as_json
def settings_(config: Path | None, data: str | None, json_: bool) -> None:
    """Name settings that peers have taken the place of, and the command that rewrites them; exit code 1 if any."""
    from xds.access.migrating import COMMAND, old_settings

    old = old_settings(settings(config, data, made=False).settings)
    if json_:
        print_json([{"setting": name, "fix": COMMAND} for name in old])
    else:
        for name in old:
            click.echo(f"{name}: peers have taken its place; {COMMAND} rewrites it")
        click.echo(f"{len(old)} old settings" if old else "no setting is old")
    sys.exit(1 if old else 0)


def _damaged(engine: sa.Engine, blobs: Blobs, repository: str, *, reads: bool) -> Iterator[tuple[str, str]]:
    """The uniqueId of each document that is not as it was stored, and what is wrong; progress on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from xds.store.documents.folder import DocumentTable, is_whole
    from xds.store.engine import reading

    last = ""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        with reading(engine) as connection:
            task = progress.add_task("documents", total=DocumentTable(connection, repository).count())
        while True:
            with reading(engine) as connection:
                batch = DocumentTable(connection, repository).after(last)
            if not batch:
                return
            for kept, there in zip(batch, blobs.holding([(k.sha256, k.size_bytes) for k in batch]), strict=True):
                if not there:
                    yield kept.document_unique_id, "missing, or of another size"
                elif reads and not is_whole(blobs.chunks(kept.sha256, kept.size_bytes)):
                    yield kept.document_unique_id, "changed"
                progress.advance(task)
            last = batch[-1].document_unique_id


def _tolerated(sender: str, loaded: Loaded | None) -> tuple[str, ...]:
    """What is tolerated of a sender.

    Raises:
        Unusable: the settings have none of the name.
    """
    from xds.access.senders import Senders

    if not sender:
        return ()
    senders = {} if loaded is None else loaded.settings.senders
    if sender not in senders:
        raise Unusable(f"the settings have no sender {sender}")
    Senders(senders)  # says what is wrong with them
    return senders[sender].tolerate


def _print(file: Path, findings: Sequence[Finding], tolerated: Mapping[str, int], could_be: Mapping[str, int]) -> None:
    from xds.rules import tolerances

    for key, count in tolerated.items():
        click.echo(f"tolerated: {key}, {count} times ({tolerances.TOLERANCES[key].what})")
    for finding in findings:
        click.echo(f"{finding.code}  {finding.location or '-'}\n    {finding.context}")
        if finding.code in FIXES:
            click.echo(f"    {FIXES[finding.code]}")
    for key, count in could_be.items():
        click.echo(f"could be tolerated: {key}, {count} times ({tolerances.TOLERANCES[key].what})")
    click.echo(f"{len(findings)} findings" if findings else f"{file}: would be registered")


def _submitted(file: Path) -> Element:
    """The SubmitObjectsRequest of a file.

    Raises:
        Unusable: too long, not XML, or without one.
    """
    from xds.wire.xml import NotXml, name, parse

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
    from xds.actors import document_registry
    from xds.ebxml import lcm
    from xds.wire.xml import schema_errors

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
    from xds.metadata.vocabulary import ON_DEMAND

    return bool(objects.extrinsic_objects) and objects.extrinsic_objects[0].object_type == ON_DEMAND


def _tried(objects: rim.RegistryObjectList, loaded: Loaded, domain: str, *, on_demand: bool) -> Iterable[Finding]:
    """Register it in a transaction that is rolled back; return what the registry would warn of.

    Raises:
        Refused: as the registry would.
    """
    from xds.server.actors import registry_of
    from xds.store.registry.sql_registry import SqlRegistry

    own = affinity_domain(loaded, domain)
    with database(loaded) as engine, engine.connect() as connection:
        store = SqlRegistry(connection, domain)
        warnings = registry_of(loaded.settings, own).submit(objects, store, on_demand=on_demand)
        connection.rollback()
    return warnings
