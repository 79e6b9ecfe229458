"""What a gateway asks of the Imaging Document Sources of its own community: the one in this process, and others.

RAD TF-2: 4.69, 4.75.  Both sides of each step are on record, and it is done by the access of who has asked the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeAlias

from xds.actors.communities import Community, Question
from xds.actors.fetching import Came, arrived
from xds.actors.foreign_answers import Document
from xds.audit.messages.objects import StudyPatient
from xds.audit.messages.parties import Side
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.settings.sections import DEFAULT_DOMAIN
from xds.transactions import own_community, passed_manifests
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Call, Transaction

Part: TypeAlias = tuple[Community, ImagingRequest]
"""A place, and what it is to be asked for."""


class Asked(NamedTuple):
    """A question to a place, what it is asked for, and whom the studies show."""

    question: Question[Came]
    request: ImagingRequest
    whose: Mapping[str, StudyPatient]


@dataclass(frozen=True, slots=True)
class Sorted:
    """Instances of this community by their sources."""

    here: tuple[InstanceRequest, ...]
    there: tuple[tuple[Community, tuple[InstanceRequest, ...]], ...]
    findings: tuple[Finding, ...]


def sort(call: Call, instances: Sequence[InstanceRequest]) -> Sorted:
    """Which source has which instances, as they say."""
    by_source = dict[str, list[InstanceRequest]]()
    for one in instances:
        by_source.setdefault(one.document.repository_unique_id, []).append(one)
    # The images of the deployment are of its default domain: another one knows nothing of whose they are.
    is_here = call.work.database.domain == DEFAULT_DOMAIN
    ours = _ours(call) if is_here else ()
    here = [one for uid in ours for one in by_source.pop(uid, [])]
    there, findings = list[tuple[Community, tuple[InstanceRequest, ...]]](), list[Finding]()
    for uid, asked in by_source.items():
        place = call.actor.gateways.sources(uid)
        if place is not None:
            there.append((place, tuple(asked)))
            continue
        rule = f"{uid[:64]} is no Imaging Document Source that is known here (RAD TF-2: 4.75)"
        findings += [Finding(ErrorCode.XDSI_UNKNOWN_IDS, rule, one.document.document_unique_id) for one in asked]
    return Sorted(tuple(here), tuple(there), tuple(findings))


def _ours(call: Call) -> list[str]:
    """The sources whose images are here: of one merged into ours, once the settings do not say that it is elsewhere."""
    return [uid for uid in call.actor.imaging_source.locations if call.actor.gateways.sources(uid) is None]


def retrieved(
    call: Call, request: ImagingRequest, gateway: str, *, alone: bool = True
) -> tuple[list[Given], list[Finding]]:
    """RAD-69 to each source of this community; findings are placed by the instance.

    ``alone``: nothing else is in the answer.  Then what one source elsewhere gives is passed on as it comes.
    """
    listed = sort(call, request.instances)
    home, findings, parts = call.actor.gateways.responding.home, list(listed.findings), list[Part]()
    for place, instances in listed.there:
        seen, told = passed_manifests.permitted(call, home, instances, partial(_seen, call))
        findings += told
        if seen:
            parts.append((place, replace(request, instances=tuple(seen))))
    passes = alone and not listed.here and len(listed.there) == 1
    asked = begin(call, rad69.TRANSACTION, parts, passes=passes, plain=True)
    try:
        given, told = _held(call, replace(request, instances=listed.here), gateway) if listed.here else ([], [])
    finally:
        documents, silent = gathered(call, asked, rad69.TRANSACTION)
    came = own_community.as_sent(documents, (one.document for one in request.instances))
    return [*given, *came], [*findings, *told, *silent]


def begin(
    call: Call, transaction: Transaction, parts: Sequence[Part], *, passes: bool, plain: bool = False
) -> list[Asked]:  # fmt: skip
    """Begin to ask places for images; ``passes``: they are passed on as they come.

    ``plain``: of sources, which need not know what a homeCommunityId is.  All that may fail here is done before any
    message is sent.
    """
    ready = [(place, _plain(request) if plain else request, patients(call, request)) for place, request in parts]
    taking, header = call.actor.gateways.taking, call.message.header
    call.sent = call.sent or bool(ready)
    return [
        Asked(taking.images(place, transaction.action, request, header, passes=passes), request, whose)
        for place, request, whose in ready
    ]


def _plain(request: ImagingRequest) -> ImagingRequest:
    bare = (replace(one, document=replace(one.document, home_community_id=None)) for one in request.instances)
    return replace(request, instances=tuple(bare))


def gathered(call: Call, asked: Sequence[Asked], transaction: Transaction) -> tuple[list[Document], list[Finding]]:
    """What each place has given, or has still to give, and what is wrong; each call is on record until it has ended."""
    documents, findings = list[Document](), list[Finding]()
    answers = [came for _, came in arrived([one.question for one in asked])]
    for came in answers:
        call.at_end(came.close)
    for (question, request, whose), came in zip(asked, answers, strict=True):
        documents += came.documents
        findings += came.findings
        for tried in question.tries.all():
            event = own_community.begun(call, transaction, tried)
            call.parts.append(event)
            event.about_studies(request)
            event.of_patients(whose)
            if tried.silent or not came.documents:
                told = () if tried.silent else by_instance(came.findings, request)
                event.end(failed=True, findings=told)
    return documents, findings


def by_instance(findings: Sequence[Finding], request: ImagingRequest) -> tuple[Finding, ...]:
    """Findings placed by the instance alone, as records have them."""
    return own_community.by_document(findings, [one.document for one in request.instances])


def patients(call: Call, request: ImagingRequest) -> dict[str, StudyPatient]:
    """Whom the studies of a request show: of the source in this process, or as the manifests of others have said."""
    ours = _ours(call)
    here = {one.study_instance_uid for one in request.instances if one.document.repository_unique_id in ours}
    others = replace(request, instances=tuple(one for one in request.instances if one.study_instance_uid not in here))
    return {**passed_manifests.patients(call, others), **call.actor.study_patients.of(here)}


def _held(call: Call, request: ImagingRequest, gateway: str) -> tuple[list[Given], list[Finding]]:
    """Of the source in this process."""
    studies = {one.study_instance_uid for one in request.instances}
    whose = call.actor.study_patients.of(studies)
    events = [call.actor.gateways.in_process(rad69.TRANSACTION, side, gateway, "imaging-source") for side in Side]
    for event in events:
        call.of_part(event).about_studies(request)
        event.of_patients(whose)
    try:
        given, findings = rad69.given(call, request)
    except Refused as refused:  # of all that it was asked for
        given, findings = [], own_community.of_each(refused, [one.document for one in request.instances])
    if not given:
        for event in events:
            event.end(failed=True, findings=findings)
    return given, findings


def _seen(call: Call, manifests: Sequence[DocumentRequest]) -> passed_manifests.Seen:
    """Those that who asks may see, by their entries in the registry of this process."""
    return passed_manifests.Seen(frozenset(own_community.seen(call, manifests)))
