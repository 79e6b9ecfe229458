"""``xds find``: ITI-18."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, counted, print_json
from xds.cli.options import audited, searching
from xds.errors import CannotMatch, ErrorCode, Refused, Unusable

if TYPE_CHECKING:
    from xds.actors.document_consumer import Search
    from xds.cli.client import Desk
    from xds.metadata.document_entry import DocumentEntry
    from xds.metadata.identifiers import PatientId
    from xds.store.registry.standing import Standing


def search_of(patient: str, study: str, accession: str, modality: str, since: str, until: str) -> Search:
    """What the options say.

    Raises:
        CannotMatch: the patient id is malformed.
        Unusable: the accession number is.
    """
    from xds.actors.document_consumer import Search
    from xds.metadata.identifiers import PatientId

    number, _, authority = accession.partition("^^^")
    if authority and not (authority.startswith("&") and authority.endswith("&ISO")):
        raise Unusable("the accession number is not of the form NUMBER^^^&OID&ISO")
    try:
        whom = PatientId.parse(patient)
    except ValueError as problem:
        raise CannotMatch(f"the patient id is {problem}") from None
    return Search(whom, study, number, authority.removeprefix("&").removesuffix("&ISO"), modality, since, until)


def found(at: Desk, registry: str, search: Search, missing: list[str]) -> list[DocumentEntry]:
    """The entries that a registry has for a search; the query is audited.

    Why they are not all, as where a community does not answer its gateway, is added to ``missing``.

    Raises:
        CannotMatch: the registry, or this node where it is its own, says that nobody is called so.
    """
    from xds.actors.document_consumer import read_answer
    from xds.ebxml.query import read_request
    from xds.store.registry.standing import Standing
    from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
    from xds.wire.stored_query_client import StoredQueryClient
    from xds.wire.xml import parse

    query_id, parameters = search.query()
    peer = at.peer(registry)
    client = StoredQueryClient(
        registry, certificate=peer.certificate, key=peer.key, trusted=peer.trusted, header_blocks=at.header_blocks
    )
    try:
        with at.transaction(ITI_18, registry) as event:
            request = client.request(query_id, "LeafClass", parameters)
            event.about_query(read_request(parse(request)), request)
            entries, wrong = read_answer(client.send(query_id, "LeafClass", parameters))
            event.end(failed=False, findings=wrong)
    except Refused as refused:
        if {finding.code for finding in refused.findings} != {ErrorCode.UNKNOWN_PATIENT_ID}:
            raise
        raise CannotMatch(_nothing(at, registry, search.patient_id, Standing.UNKNOWN)) from None
    missing += [f"not complete: {one.code}: {one.context}" for one in wrong]
    if not entries and not wrong:
        click.echo(_nothing(at, registry, search.patient_id), err=True)
    return entries


def _nothing(at: Desk, registry: str, patient_id: PatientId, by_registry: Standing | None = None) -> str:
    """Why there is nothing, as far as it is known; ``by_registry``: as the registry itself says.

    Raises:
        CannotMatch: nobody is called so.
    """
    from xds.store.registry.standing import Standing, said

    standing, survivor, authorities = at.standing(registry, patient_id)
    if standing is Standing.UNSURE and by_registry is not None:
        standing = by_registry
    text = said(standing, authorities, survivor)
    if standing not in (Standing.KNOWN, Standing.UNSURE):
        raise CannotMatch(text)
    return text


@click.command(epilog="Example: xds find --patient 'anna^^^&1.2.3.4&ISO' --modality CT --data ./xds-data")
@searching
@as_json
@audited
def find(
    patient: str,
    study: str,
    accession: str,
    modality: str,
    since: str,
    until: str,
    registry: str,
    json_: bool,
    config: Path | None,
    data: str | None,
    audit_to: str,
) -> None:
    """Find a patient's documents in a registry, or by a gateway.

    Exit code 1: not all could be found, as where a community does not answer; 3: nobody of this id is known there.
    """
    from xds.cli.client import desk
    from xds.settings.addresses import names_of_communities

    with desk(config, data, audit_to) as at:
        missing = list[str]()
        entries = found(at, registry, search_of(patient, study, accession, modality, since, until), missing)
        named = names_of_communities(at.settings)
    rows = sorted(map(row, entries), key=lambda one: one["start"], reverse=True)
    if json_:
        print_json(rows)
    else:
        for one in rows:
            of = named.get(one["homeCommunityId"], "")
            said = f"{one['title']} ({of})" if of else one["title"]
            click.echo(f"{one['start'] or '-':14}  {one['modalities']:8}  {said}  {one['uniqueId']}")
        click.echo(counted(len(rows), "document"))
    for why in missing:
        click.echo(why, err=True)
    sys.exit(1 if missing else 0)


def row(entry: DocumentEntry) -> dict[str, str]:
    from xds.metadata.reading import display

    modalities = [c.code for c in entry.event_code_list if c.scheme == "1.2.840.10008.2.16.4"]
    return {
        "start": entry.service_start_time.text if entry.service_start_time else "",
        "modalities": "/".join(modalities),
        "title": display(entry.title),
        "study": ",".join(entry.study_instance_uids),
        "mimeType": entry.mime_type,
        "uniqueId": entry.unique_id,
        "repositoryUniqueId": entry.repository_unique_id or "",
        "entryUUID": entry.entry_uuid,
        "homeCommunityId": entry.home_community_id or "",
    }
