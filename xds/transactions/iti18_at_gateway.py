"""ITI-18 Registry Stored Query at the Initiating Gateway: this community and others, one answer.

ITI TF-2: 3.18.4.1.3, 3.38.4.1 (option XDS Affinity Domain).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lxml import etree

from xds.actors.communities import Question
from xds.actors.foreign_answers import Found, fragments, references, shown
from xds.actors.initiating_gateway import Asked, ToAsk
from xds.archives.interface import NotAnswering
from xds.ebxml import query
from xds.errors import ErrorCode, Finding, Refused, Severity, Status
from xds.metadata.homes import at_home
from xds.metadata.identifiers import PatientId
from xds.metadata.visible import NOTHING, Visible
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import own_community
from xds.transactions.iti38_cross_gateway_query import TRANSACTION as ITI_38
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    sent = query.read_request(call.body)
    call.event.about_query(sent, etree.tostring(call.body))
    gateway, filtered = call.actor.gateways.initiating, not call.work.access.everything
    routed = gateway.routed(sent)
    others = routed.others
    if filtered and not call.work.access.tells:
        others = _of_whom_something_may_be_told(call, others)
    questions = asking(call, others, whole=filtered)
    found, findings, answered = list[bytes](), list(routed.findings), False
    try:
        if routed.here:
            own, told = _here(call, sent)
            found += [at_home(one, gateway.home) for one in own]
            # Whoever does not know the patient answers with nothing, as the other communities do.
            told = [one for one in told if one.code is not ErrorCode.UNKNOWN_PATIENT_ID or not questions]
            answered = not any(one.severity is Severity.ERROR for one in told)
            findings += told
    finally:
        answers = told_of(call, questions, gateway.gathered(questions))
    for question, answer in zip(questions, answers, strict=True):
        community, objects = question.community, answer.objects
        if filtered:
            objects = tuple(shown(objects, seeing(call, question)))
            if call.work.access.tells and len(objects) < len(answer.objects):
                findings.append(replace(iti18.WITHHELD, location=community.home))
        as_references = filtered and sent.return_type == "ObjectRef"
        found += references(objects, community.home) if as_references else fragments(objects)
        findings += answer.findings
    return _reply(found, findings, answered=answered or any(one.answered for one in answers))


def _reply(found: Sequence[bytes], findings: Sequence[Finding], *, answered: bool) -> Reply:
    """Success where nothing is wrong, Failure where nobody has answered (ITI TF-3: Table 4.2.4.2-1)."""
    wrong = any(one.severity is Severity.ERROR for one in findings)
    status = Status.SUCCESS if not wrong else Status.PARTIAL_SUCCESS if answered else Status.FAILURE
    body = query.join_response(status, findings, found)
    return Reply((body,), tuple(findings), failed=status is Status.FAILURE)


def _here(call: Call, sent: query.AdhocQuery) -> tuple[list[bytes], list[Finding]]:
    """What this community has, and what is wrong."""
    before, own, told, failed = len(call.events), list[bytes](), tuple[Finding, ...](), False
    try:
        own, told = own_community.queried(call, sent, "gateway")
    except Refused as refused:
        told, failed = refused.findings, True
    for event in call.events[before:]:
        event.end(failed=failed, findings=told)
    home = call.actor.gateways.initiating.home
    return own, [replace(one, location=one.location or home) for one in told]


def _of_whom_something_may_be_told(call: Call, others: Sequence[ToAsk]) -> tuple[ToAsk, ...]:
    """Those to ask, without whom nothing may be told about who is asked for: nobody else is told of them, either."""
    nothing = {one: _wanted(call, one).nothing for one in {each.patient_id for each in others} if one is not None}
    return tuple(one for one in others if one.patient_id is None or not nothing[one.patient_id])


def asking(call: Call, others: Iterable[ToAsk], *, whole: bool) -> list[Question[Found]]:
    """Begin to ask other communities."""
    gateway, header = call.actor.gateways.initiating, call.message.header
    questions = [gateway.ask(one, ITI_38.action, header, whole=whole) for one in others]
    call.sent = call.sent or bool(questions)  # what this has brought about elsewhere is on record there
    return questions


def told_of(call: Call, questions: Sequence[Question[Found]], answers: list[Found]) -> list[Found]:
    """A record of each gateway that was called (ITI TF-2: 3.38.5.1.1)."""
    for question, answer in zip(questions, answers, strict=True):
        asked: Asked | None = question.tries.asked
        if asked is None:  # whoever has no id for the patient was not called
            continue
        for tried in question.tries.all():
            event = own_community.begun(call, ITI_38, tried)
            event.about_query(replace(asked.query, home=asked.query.home or question.community.home), asked.body)
            failed = bool(tried.silent) or not answer.answered
            event.end(failed=failed, findings=() if tried.silent else answer.findings)
    return answers


def seeing(call: Call, question: Question[Found]) -> Callable[[str], Visible]:
    """What who asks may see of a patient, by that community's id: as this domain's policy and the patient have it."""
    known = dict[str, Visible]()

    def visible(theirs: str) -> Visible:
        if theirs not in known:
            try:
                known[theirs] = _wanted(call, _ours(question, theirs))
            except NotAnswering:  # what the patient wants cannot be found
                known[theirs] = NOTHING
        return known[theirs]

    return visible


def _ours(question: Question[Found], theirs: str) -> PatientId | None:
    """The id of this domain for a patient of a community's: who was asked about, or whom its id leads to."""
    to_ask: ToAsk = question.asked
    asked: Asked | None = question.tries.asked
    if asked is not None and asked.patient_id is not None and theirs == str(asked.patient_id):
        return to_ask.patient_id
    try:
        return question.community.ours.mapped(PatientId.parse(theirs))
    except ValueError:
        return None


def _wanted(call: Call, patient_id: PatientId | None) -> Visible:
    with call.work.asking() as (registry, _):
        wanted: Visible = registry.wants_of(str(patient_id or ""))
    return wanted


TRANSACTION = replace(iti18.TRANSACTION, responder=Actor.INITIATING_GATEWAY, respond=respond)
