"""``xds find``: ITI-18."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, print_json
from xds.cli.options import audited, searching
from xds.cli.patient import patient_id
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.actors.document_consumer import Search
    from xds.cli.client import Desk
    from xds.metadata.document_entry import DocumentEntry


def search_of(patient: str, study: str, accession: str, modality: str, since: str, until: str) -> Search:
    """What the options say.

    Raises:
        Unusable: the patient id or the accession number is malformed.
    """
    from xds.actors.document_consumer import Search

    number, _, authority = accession.partition("^^^")
    if authority and not (authority.startswith("&") and authority.endswith("&ISO")):
        raise Unusable("the accession number is not of the form NUMBER^^^&OID&ISO")
    return Search(
        patient_id(patient), study, number, authority.removeprefix("&").removesuffix("&ISO"), modality, since, until
    )


def found(at: Desk, registry: str, search: Search) -> list[DocumentEntry]:
    """The entries that a registry has for a search; the query is audited."""
    from xds.actors.document_consumer import read_entries
    from xds.ebxml.query import read_request
    from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
    from xds.wire.stored_query_client import StoredQueryClient
    from xds.wire.xml import parse

    query_id, parameters = search.query()
    peer = at.peer(registry)
    client = StoredQueryClient(
        registry, certificate=peer.certificate, key=peer.key, trusted=peer.trusted, header_blocks=at.header_blocks
    )
    with at.transaction(ITI_18, registry) as event:
        request = client.request(query_id, "LeafClass", parameters)
        event.about_query(read_request(parse(request)), request)
        return read_entries(client.send(query_id, "LeafClass", parameters))


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
    """Find a patient's documents in a registry."""
    from xds.cli.client import desk

    with desk(config, data, audit_to) as at:
        entries = found(at, registry, search_of(patient, study, accession, modality, since, until))
    rows = sorted(map(_row, entries), key=lambda row: row["start"], reverse=True)
    if json_:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['start'] or '-':14}  {row['modalities']:8}  {row['title']}  {row['uniqueId']}")
    click.echo(f"{len(rows)} documents")


def _row(entry: DocumentEntry) -> dict[str, str]:
    from xds.metadata import vocabulary as v
    from xds.metadata.reading import display

    studies = [r.key.split("^")[0] for r in entry.reference_id_list if r.key.endswith(v.REFERENCE_STUDY)]
    modalities = [c.code for c in entry.event_code_list if c.scheme == "1.2.840.10008.2.16.4"]
    return {
        "start": entry.service_start_time.text if entry.service_start_time else "",
        "modalities": "/".join(modalities),
        "title": display(entry.title),
        "study": ",".join(studies),
        "mimeType": entry.mime_type,
        "uniqueId": entry.unique_id,
        "repositoryUniqueId": entry.repository_unique_id or "",
        "entryUUID": entry.entry_uuid,
    }
