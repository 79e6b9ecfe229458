"""The IHE Integration Statement, from the table of what is served: nothing is claimed that nothing answers.

IHE Integration Statements: a vendor's list of profiles, actors and options (ITI TF-1: Appendix F).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from xds import __version__
from xds.endpoints.dicomweb.service import RAD_55, RAD_107, RAD_129
from xds.endpoints.dicomweb.store import RAD_108
from xds.endpoints.fhir.search import ITI_81
from xds.initiating.patient_identifier_consumer import ByFhir, ByMllp, BySoap
from xds.server.actors import SERVED, transactions_of
from xds.settings.sections import Settings
from xds.transactions import iti8_patient_identity_feed as iti8
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti38_cross_gateway_query import TRANSACTION as ITI_38
from xds.transactions.iti39_cross_gateway_retrieve import TRANSACTION as ITI_39
from xds.transactions.iti41_provide_and_register_document_set_b import RAD_68
from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.transactions.iti55_cross_gateway_patient_discovery import TRANSACTION as ITI_55
from xds.transactions.iti57_update_document_set import TRANSACTION as ITI_57
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.transactions.rad75_cross_gateway_retrieve_imaging_document_set import TRANSACTION as RAD_75
from xds.transactions.transaction import Actor, Transaction


@dataclass(frozen=True, slots=True)
class Option:
    """An option of an actor, and the transactions that it adds."""

    title: str
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """An actor of a profile: the transactions that it must answer or start, and its options."""

    profile: str
    actor: str
    part: str  # of ``server.actors``; empty: a command
    needs: frozenset[str]
    options: tuple[Option, ...] = ()
    starts: frozenset[str] = frozenset()  # those that it must start itself, whoever else here answers them


def _of(*numbers: str) -> frozenset[str]:
    return frozenset(numbers)


_ITI_20, _REPOSITORY = ("ITI-20", "Record Audit Event"), "Audit Record Repository"
_ITI_40, _PROVIDER = ("ITI-40", "Provide X-User Assertion"), "X-Service Provider"
_ITI_72, _RESOURCE_SERVER = ("ITI-72", "Incorporate Access Token"), "Resource Server"
_PIX_CONSUMER = "Patient Identifier Cross-reference Consumer"

# ITI TF-1: 10 (XDS.b), 29 (MPQ); the supplements XDS Metadata Update, RMU and RMD; RAD TF-1: 18 (XDS-I.b).
CLAIMS = (
    Claim(
        "Cross-Enterprise Document Sharing (XDS.b)", "Document Registry", "registry", _of("ITI-18", "ITI-42"),
        (
            Option("Patient Identity Feed", _of("ITI-8")),
            Option("Patient Identity Feed HL7v3", _of("ITI-44")),
            Option("Reference ID", _of("ITI-18")),
            Option("On-Demand Documents", _of("ITI-61")),
            Option("Document Metadata Update", _of("ITI-57")),
        ),
    ),
    Claim("Cross-Enterprise Document Sharing (XDS.b)", "Document Repository", "repository", _of("ITI-41", "ITI-43")),
    Claim("Cross-Enterprise Document Sharing (XDS.b)", "Document Source", "", _of("ITI-41")),
    Claim("Cross-Enterprise Document Sharing (XDS.b)", "Document Consumer", "", _of("ITI-18", "ITI-43")),
    Claim("Cross-Enterprise Document Sharing for Imaging (XDS-I.b)", "Imaging Document Source", "imaging-source",
          _of("RAD-55", "RAD-68", "RAD-69"), (Option("Set of DICOM Instances", _of("RAD-68")),)),
    Claim("Cross-Enterprise Document Sharing for Imaging (XDS-I.b)", "Imaging Document Consumer", "", _of("RAD-69")),
    # Responding Gateways must answer asynchronously, too (ITI TF-1: 18.2), which ours does not: it is no claim yet.
    Claim("Cross-Community Access (XCA)", "Initiating Gateway", "gateway", _of("ITI-38", "ITI-39"),
          (Option("XDS Affinity Domain", _of("ITI-18", "ITI-43")), Option("On-Demand Documents"),
           Option("Target Communities"))),
    Claim("Cross-Community Access for Imaging (XCA-I)", "Initiating Imaging Gateway", "gateway",
          _of("RAD-69", "RAD-75")),
    Claim("Cross-Community Patient Discovery (XCPD)", "Initiating Gateway", "gateway", _of("ITI-55"),
          starts=_of("ITI-55")),
    Claim("Multi-Patient Query (MPQ)", "Document Registry", "registry", _of("ITI-51")),
    Claim("Audit Trail and Node Authentication (ATNA)", _REPOSITORY, "", _of("ITI-20"),
          (Option("Retrieve Audit Message", _of("ITI-81")),)),
    Claim("Cross-Enterprise User Assertion (XUA)", _PROVIDER, "", _of("ITI-40")),
    Claim("Internet User Authorization (IUA)", _RESOURCE_SERVER, "", _of("ITI-72")),
    Claim("Patient Identifier Cross-referencing (PIX)", _PIX_CONSUMER, "imaging-source", _of("ITI-9")),
    Claim("Patient Identifier Cross-referencing HL7 V3 (PIXV3)", _PIX_CONSUMER, "imaging-source", _of("ITI-45")),
    Claim("Patient Identifier Cross-reference for Mobile (PIXm)", _PIX_CONSUMER, "imaging-source", _of("ITI-83")),
    Claim("Restricted Metadata Update (RMU)", "Update Responder", "registry", _of("ITI-92"),
          (Option("XDS Persistence", _of("ITI-92")),)),
    Claim("Remove Metadata and Documents (RMD)", "Document Registry", "registry", _of("ITI-62")),
    Claim("Remove Metadata and Documents (RMD)", "Document Repository", "repository", _of("ITI-86")),
)  # fmt: skip

# What commands and actors of ours start: xds publish, find and fetch, and the repository's ITI-42.
STARTED: tuple[Transaction, ...] = (ITI_18, ITI_41, ITI_42, ITI_43, RAD_68, RAD_69)


@dataclass(frozen=True, slots=True)
class Line:
    """One transaction of the statement."""

    number: str
    title: str
    role: str  # Responder, Initiator
    actor: str


def lines(settings: Settings) -> list[Line]:
    """Every transaction that a deployment answers, and what the commands start."""
    found = [
        Line(transaction.number, transaction.title, "Responder", transaction.responder)
        for part, (_, pages) in SERVED.items()
        if part in settings.server.actors
        for page in pages
        for transaction in transactions_of(page)
    ]
    if "repository" in settings.server.actors:
        found.append(Line(RAD_68.number, RAD_68.title, "Responder", RAD_68.responder))
    if "imaging-source" in settings.server.actors:
        found += [
            Line(*numbered, "Responder", Actor.IMAGING_DOCUMENT_SOURCE) for numbered in (RAD_55, RAD_107, RAD_129)
        ]
        if settings.imaging_source.stow_rs:
            found.append(Line(*RAD_108, "Responder", Actor.IMAGING_DOCUMENT_SOURCE))
    if any(domain.mllp_listen for domain in settings.affinity_domains.values()):
        found.append(Line(iti8.NUMBER, iti8.TITLE, "Responder", Actor.DOCUMENT_REGISTRY))
    found += [Line(t.number, t.title, "Initiator", t.initiator) for t in STARTED]
    if "gateway" in settings.server.actors:
        found += [Line(t.number, t.title, "Initiator", t.initiator) for t in (ITI_38, ITI_39, RAD_75)]
        if any(community.discover for community in settings.communities.values()):
            found.append(Line(ITI_55.number, ITI_55.title, "Initiator", ITI_55.initiator))
    found.append(Line(*RAD_107, "Initiator", Actor.IMAGING_DOCUMENT_CONSUMER))
    if settings.imaging_source.publish_registry:
        found.append(Line(ITI_57.number, ITI_57.title, "Initiator", ITI_57.initiator))
    syslog = settings.syslog
    if syslog.tls or syslog.tcp or syslog.udp:
        found.append(Line(*_ITI_20, "Responder", _REPOSITORY))
    if settings.xua.trusted or settings.xua.issuers:
        found.append(Line(*_ITI_40, "Responder", _PROVIDER))
    guarded = "imaging-source" in settings.server.actors or settings.audit.readers
    if guarded and (settings.xua.trusted or settings.xua.issuers or settings.tokens.issuer):
        found.append(Line(*_ITI_72, "Responder", _RESOURCE_SERVER))
    if settings.audit.forward_to:
        found.append(Line(*_ITI_20, "Initiator", "Audit Record Forwarder"))
    if settings.audit.readers:
        found.append(Line(*ITI_81, "Responder", _REPOSITORY))
    own, communities, merges = settings.imaging_source, settings.communities.values(), settings.merges.values()
    pix = {own.pix, *(one.pix for one in communities), *(one.pix for one in merges)} - {""}
    for by in {ByMllp if url.startswith("mllp") else BySoap for url in pix}:
        found.append(Line(*by.transaction, "Initiator", _PIX_CONSUMER))
    if own.pixm or any(one.pixm for one in communities) or any(one.pixm for one in merges):
        found.append(Line(*ByFhir.transaction, "Initiator", _PIX_CONSUMER))
    return sorted(dict.fromkeys(found), key=lambda line: (line.role != "Responder", _order(line.number)))


def _order(number: str) -> tuple[str, int]:
    domain, _, digits = number.partition("-")
    return domain, int(digits)


def claims(settings: Settings) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Profile, actor and options that a deployment supports, by what it answers and starts."""
    listed = lines(settings)
    answered = {line.number for line in listed if line.role == "Responder"}
    started = {line.number for line in listed if line.role == "Initiator"}
    for claim in CLAIMS:
        if claim.part and claim.part not in settings.server.actors:
            continue
        if claim.actor == _REPOSITORY and not (settings.syslog.tls and settings.syslog.udp):
            continue  # it takes records by both (ITI TF-2: 3.20.4.1)
        served = claim.actor in (_REPOSITORY, _PROVIDER, _RESOURCE_SERVER)
        known = (answered | started) if claim.part else answered if served else started
        if claim.needs <= known and claim.starts <= started:
            yield claim.profile, claim.actor, _options(claim, known)


def _options(claim: Claim, known: Collection[str]) -> tuple[str, ...]:
    return tuple(option.title for option in claim.options if option.needs <= set(known))


def markdown(settings: Settings, date: str) -> str:
    """The whole statement; ``date`` as it is to stand there."""
    text = [
        "# IHE Integration Statement",
        "",
        "| Product | Version | Date |",
        "|---|---|---|",
        f"| xds | {__version__} | {date} |",
        "",
        "This product implements all transactions that the IHE Technical Frameworks require for the profiles, actors",
        "and options below.",
        "",
        "| Profile | Actor | Options |",
        "|---|---|---|",
        *(f"| {profile} | {actor} | {', '.join(options) or 'none'} |" for profile, actor, options in claims(settings)),
        "",
        "| Transaction | Role | Actor |",
        "|---|---|---|",
        *(f"| {line.number} {line.title} | {line.role} | {line.actor} |" for line in lines(settings)),
        "",
        "Security: mutual TLS (ITI-19) in the process; an audit record of either side of every transaction above.",
    ]
    return "\n".join(text) + "\n"
