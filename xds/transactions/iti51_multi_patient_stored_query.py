"""ITI-51 Multi-Patient Stored Query: Document Consumer → Document Registry.

ITI TF-2: 3.51.  query:AdhocQueryRequest in, query:AdhocQueryResponse out; an audit record a patient of the answer.
"""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from xds.ebxml import query
from xds.errors import Status
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions.transaction import Call, Reply


def respond(call: Call) -> Reply:
    sent = query.read_request(call.body)
    call.event.about_query(sent, etree.tostring(call.body))
    call.event.about_patient("")  # several may be asked about; those of the answer are recorded (3.51.5.1)
    with call.work.asking() as (registry, _):
        found = call.actor.registry.query_multi_patient(sent, registry)
        patient_ids = registry.patient_ids(found.patient_keys)
        told = iti18.withheld(call, registry, found, call.actor.registry.query_multi_patient, sent)
    for number, patient_id in enumerate(patient_ids):
        event = call.also(call.event.copy()) if number else call.event
        event.about_patient(str(patient_id))
    return Reply((query.join_response(Status.SUCCESS, told, found.fragments),), told)


TRANSACTION = replace(
    iti18.TRANSACTION,
    number="ITI-51",
    title="Multi-Patient Stored Query",
    action="urn:ihe:iti:2009:MultiPatientStoredQuery",
    reply_action="urn:ihe:iti:2009:MultiPatientStoredQueryResponse",
    respond=respond,
)
