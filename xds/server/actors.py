"""Which actors a process plays, which transactions each answers, and how they are made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xds.access.consent_documents import ConsentDocuments
from xds.access.studies import Studies
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.study_patients import StudyPatients
from xds.ebxml import rim
from xds.errors import Finding, Severity
from xds.metadata.identifiers import Oid
from xds.rules.code_sets import ANY, CodeSets, CodeSetsFile
from xds.settings.sections import DEFAULT_DOMAIN, Domain, Settings
from xds.transactions import (
    iti18_at_gateway,
    iti18_registry_stored_query,
    iti38_cross_gateway_query,
    iti39_cross_gateway_retrieve,
    iti41_provide_and_register_document_set_b,
    iti42_register_document_set_b,
    iti43_at_gateway,
    iti43_retrieve_document_set,
    iti44_patient_identity_feed_hl7v3,
    iti51_multi_patient_stored_query,
    iti55_cross_gateway_patient_discovery,
    iti57_update_document_set,
    iti61_register_on_demand_document_entry,
    iti62_remove_metadata,
    iti86_remove_documents,
    iti92_restricted_update_document_set,
    rad69_at_gateway,
    rad69_retrieve_imaging_document_set,
    rad75_cross_gateway_retrieve_imaging_document_set,
)
from xds.transactions.own_community import Gateways
from xds.transactions.transaction import Call, Transaction

SERVED: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "registry": (
        "DocumentRegistry",
        (
            iti18_registry_stored_query,
            iti42_register_document_set_b,
            iti44_patient_identity_feed_hl7v3,
            iti51_multi_patient_stored_query,
            iti57_update_document_set,
            iti61_register_on_demand_document_entry,
            iti62_remove_metadata,
            iti92_restricted_update_document_set,
        ),
    ),
    "repository": (
        "DocumentRepository",
        (iti41_provide_and_register_document_set_b, iti43_retrieve_document_set, iti86_remove_documents),
    ),
    "imaging-source": ("ImagingDocumentSource", (rad69_retrieve_imaging_document_set,)),
    "gateway": ("InitiatingGateway", (iti18_at_gateway, iti43_at_gateway, rad69_at_gateway)),
    "responding-gateway": (
        "RespondingGateway",
        (
            iti38_cross_gateway_query,
            iti39_cross_gateway_retrieve,
            iti55_cross_gateway_patient_discovery,
            rad75_cross_gateway_retrieve_imaging_document_set,
        ),
    ),
}
"""Each actor by the last part of its path, with its title and the transactions it answers."""


NOT_BY_DOMAIN = ("imaging-source",)
"""Actors that belong to the deployment, and have the bare path only."""


@dataclass(frozen=True, slots=True)
class Actors:
    """The actors of one process that transactions speak to."""

    registry: DocumentRegistry
    repository: DocumentRepository
    imaging_source: ImagingDocumentSource
    study_patients: StudyPatients
    studies: Studies
    register: Callable[[rim.RegistryObjectList, Call], tuple[Finding, ...]]
    device: Oid
    """What they are called in messages of HL7 v3."""
    consents: ConsentDocuments | None
    """What consent documents say, where the registry is in this process."""
    gateways: Gateways


def transactions_of(page: Any) -> tuple[Transaction, ...]:
    """A page's transaction; of ITI-44 several, one an interaction."""
    found: tuple[Transaction, ...] = getattr(page, "TRANSACTIONS", (page.TRANSACTION,))
    return found


def busy_codes(settings: Settings) -> dict[str, str]:
    """The paths of the SOAP addresses, each with the code by which its transactions say that they are busy."""
    return {
        f"{'' if name == DEFAULT_DOMAIN else f'/{name}'}/{actor}": str(transactions_of(pages[0])[0].busy)
        for name in settings.affinity_domains
        for actor, (_, pages) in SERVED.items()
        if actor in settings.server.actors and (name == DEFAULT_DOMAIN or actor not in NOT_BY_DOMAIN)
    }


def code_sets(domain: Domain) -> Callable[[], CodeSets]:
    """The domain's code sets as they are at the time of each call.

    Raises:
        Unusable: the file cannot be read.
    """
    if not domain.codes or domain.codes_mode == "off":
        return lambda: ANY
    severity = Severity.ERROR if domain.codes_mode == "strict" else Severity.WARNING
    return CodeSetsFile(Path(domain.codes), severity).current


def registry_of(settings: Settings, domain: Domain) -> DocumentRegistry:
    """The Document Registry of an affinity domain.

    Raises:
        Unusable: the code sets cannot be read.
    """
    return DocumentRegistry(
        map(Oid, domain.assigning_authorities),
        open_patients=domain.patients == "open",
        most_results=settings.registry.most_results,
        most_references=settings.registry.most_references,
        refuse_unknown=settings.registry.unknown_patient == "refused",
        code_sets=code_sets(domain),
        keeps_demographics=settings.registry.demographics,
    )
