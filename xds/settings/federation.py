"""The settings of gateways: what they take from others, and which communities there are beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Gateway:
    """The Initiating and the Responding Gateway (XCA), where ``server.actors`` names them."""

    calls: int = 8  # queries to one community under way at once, a process, as many for documents, and for images
    answer_bytes: int = 32 * 1024 * 1024  # of one community's answer to a query
    document_bytes: int = 4 * 1024 * 1024 * 1024  # of the documents that one community gives to one request


@dataclass(frozen=True, slots=True)
class Community:
    """Another community, ``[communities.NAME]``, and its Responding Gateways; where one is silent the next is asked.

    What says neither what to present nor whom to trust uses ``[tls]``.  Who is asked about a patient: every community
    that has an id for them: by ``patients``, by a PIX Manager, because it is of ``authorities``, or as it says itself.
    """

    home_community_ids: tuple[str, ...] = ()  # OIDs that it answers for
    query: tuple[str, ...] = ()  # URLs of its gateways for ITI-38
    retrieve: tuple[str, ...] = ()  # and for ITI-39; empty: the same
    images: tuple[str, ...] = ()  # and for RAD-75, of its Responding Imaging Gateway; empty: as for ITI-39
    certificate: str = ""  # PEM file that we present there
    key: str = ""  # PEM file of its private key
    trusted: str = ""  # PEM file of what its certificate must come from
    seconds: float = 10.0  # an answer to a query must be whole by then, and in a retrieval it may be silent so long
    retrieve_seconds: float = 300.0  # all documents of a retrieval must be here by then
    patients: str = ""  # CSV file: a patient id of the domain's and one of this community's, as CX
    authorities: tuple[str, ...] = ()  # OIDs of patient ids that are the same there
    pix: str = ""  # PIX Manager for other ids, as imaging_source.pix
    pixm: str = ""  # or the base URL of its FHIR service (ITI-83)
    authority: str = ""  # OID of this community's patient ids, which the PIX Manager, or it itself, is asked for
    discover: tuple[str, ...] = ()  # URLs of its gateways for ITI-55: it is asked for whom none of these know
    discovered_hours: float = 24.0  # how long its answer is taken for true
    person: Literal["assertion", "voucher", "nobody"] = "assertion"  # told for whom: as it came, or by this node's word
    domains: tuple[str, ...] = ()  # affinity domains whose gateway asks it; empty: all
