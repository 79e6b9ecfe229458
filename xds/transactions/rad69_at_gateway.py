"""RAD-69 Retrieve Imaging Document Set at the Initiating Imaging Gateway: each instance from its community, one answer.

RAD TF-2: 4.69, 4.75 (XCA-I).  What a manifest says of where its images are is meant in the community that it came from:
instances go by their HomeCommunityId first, and by their Retrieve Location UID there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from xds.actors.communities import Community
from xds.ebxml import xdsb
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding
from xds.transactions import own_community, own_images, passed_manifests, retrieving
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.transactions.iti43_at_gateway import permitted_of
from xds.transactions.rad75_cross_gateway_retrieve_imaging_document_set import TRANSACTION as RAD_75
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    request = passed_manifests.check(xdsb.read_imaging_request(call.body))
    call.event.about_studies(request)
    call.at_end(call.actor.repository.streams.enter())
    call.event.of_patients(own_images.patients(call, request))
    here, others, findings = _split(call, request)
    alone = len(others) + bool(here) == 1
    parts = list[own_images.Part]()
    for community, instances in others:  # of one homeCommunityId each
        home = instances[0].document.home_community_id or community.home
        seen, told = passed_manifests.permitted(call, home, instances, partial(_seen, call, community))
        findings += told
        if seen:
            parts.append((community, replace(request, instances=tuple(seen))))
    asked = own_images.begin(call, RAD_75, parts, passes=alone)
    given = list[Given]()
    try:
        if here:
            given, told = own_images.retrieved(call, replace(request, instances=here), "gateway", alone=alone)
            findings += told
    finally:
        documents, silent = own_images.gathered(call, asked, RAD_75)
    given += map(own_community.given_of, documents)
    findings += silent
    return replace(retrieving.reply(given, findings), findings=own_images.by_instance(findings, request))


def _split(
    call: Call, request: ImagingRequest
) -> tuple[tuple[InstanceRequest, ...], list[tuple[Community, tuple[InstanceRequest, ...]]], list[Finding]]:
    """Instances of this community, those of others, and why the rest cannot be asked for."""
    split = call.actor.gateways.initiating.split([one.document for one in request.instances])

    def of(documents: Sequence[DocumentRequest]) -> tuple[InstanceRequest, ...]:
        wanted = set(documents)
        return tuple(one for one in request.instances if one.document in wanted)

    return of(split.here), [(community, of(asked)) for community, asked in split.others], list(split.findings)


def _seen(call: Call, community: Community, manifests: Sequence[DocumentRequest]) -> passed_manifests.Seen:
    """The manifests of a community that who asks may see, as it answers about their entries now."""
    if not manifests:
        return passed_manifests.Seen()
    permitted, findings = permitted_of(call, [(community, tuple(manifests))])
    silent = next((one for one in findings if one.code is ErrorCode.UNAVAILABLE_COMMUNITY), None)
    return passed_manifests.Seen(frozenset(one for _, asked in permitted for one in asked), silent)


TRANSACTION = replace(rad69.TRANSACTION, responder=Actor.INITIATING_IMAGING_GATEWAY, respond=respond)
