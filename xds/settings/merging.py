"""The settings of sources that are merged into this deployment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Merge:
    """A registry that is merged into this one, ``[merges.NAME]``; where its repositories are, ``[repositories]`` says.

    What says neither what to present nor whom to trust uses ``[tls]``.  A patient is mapped by ``patients``, because
    their id is of ``authorities``, or by a PIX Manager, who is asked about the others; who is not mapped waits.
    """

    registry: str = ""  # URL of its registry, which is asked by ITI-18
    certificate: str = ""  # PEM file that we present there
    key: str = ""  # PEM file of its private key
    trusted: str = ""  # PEM file of what its certificate must come from
    seconds: float = 60.0  # the longest wait for an answer
    patients: str = ""  # CSV file: a patient id of the source's and one of this domain's, as CX
    authorities: tuple[str, ...] = ()  # OIDs of patient ids that are the same here
    pix: str = ""  # PIX Manager for other ids, as imaging_source.pix
    pixm: str = ""  # or the base URL of its FHIR service (ITI-83)
    codes: str = ""  # TOML file: by coding scheme of the source, for each of its codes what it is here
    answer_bytes: int = 256 * 1024 * 1024  # of one answer to a query
    document_bytes: int = 16 * 1024 * 1024 * 1024  # of one document
