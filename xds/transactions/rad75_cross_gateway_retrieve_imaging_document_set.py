"""RAD-75 Cross Gateway Retrieve Imaging Document Set: Initiating Imaging Gateway → Responding Imaging Gateway.

RAD TF-2: 4.75 (XCA-I).  xdsi:RetrieveImagingDocumentSetRequest in, xds:RetrieveDocumentSetResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xds.ebxml import xdsb
from xds.errors import Finding
from xds.transactions import own_images, passed_manifests, retrieving
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    request = passed_manifests.check(xdsb.read_imaging_request(call.body))
    call.event.about_studies(request)
    call.at_end(call.actor.repository.streams.enter())
    gateway, documents = call.actor.gateways.responding, [one.document for one in request.instances]
    _, others = gateway.sorted_out(documents)
    asked = tuple(one for one in request.instances if one.document.home_community_id in gateway.homes)
    call.event.of_patients(own_images.patients(call, request))
    given, findings = own_images.retrieved(call, replace(request, instances=asked), "responding-gateway")
    said = (*others, *own_images.by_instance(findings, request))
    return replace(retrieving.reply(given, gateway.located(said, documents)), findings=said)


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """A response without instances, each error with the community."""
    return retrieving.reply((), call.actor.gateways.responding.located(findings))


TRANSACTION = replace(
    rad69.TRANSACTION,
    number="RAD-75",
    title="Cross Gateway Retrieve Imaging Document Set",
    action="urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSet",
    reply_action="urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSetResponse",
    initiator=Actor.INITIATING_IMAGING_GATEWAY,
    responder=Actor.RESPONDING_IMAGING_GATEWAY,
    respond=respond,
    refuse=refuse,
)
