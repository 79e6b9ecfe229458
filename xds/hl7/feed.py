"""What a Patient Identity Feed says, whichever version of HL7 says it.  ITI TF-2: 3.8, 3.44."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from xds.metadata.demographics import Demographics
from xds.metadata.identifiers import PatientId

IDENTIFIERS = 30
"""Of one patient in a message, of all authorities: each has a record, and none has so many."""

CROSS_REFERENCED = 3_000
"""That a PIX Manager may answer with."""


class FeedAction(Enum):
    """What becomes of the patient."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Feed:
    """One message: its id, what it does, and the patient's identifiers of all authorities.

    ``subsumed``: of a merge, the identifiers of the patient that goes on as the other; ``demographics``: what is said
    of who goes on, if anything.
    """

    message_id: str
    action: FeedAction
    patient_ids: tuple[PatientId, ...]
    subsumed: tuple[PatientId, ...] = ()
    demographics: Demographics | None = None


class NotAFeed(ValueError):
    """A message that cannot be read as one; the text names the part at fault, never what it holds.

    ``code`` is of HL7's table 0357; ``rejected`` says that the kind of message is wrong (AR) and not its content (AE).
    """

    def __init__(self, reason: str, code: str = "207", *, rejected: bool = False) -> None:
        super().__init__(reason)
        self.code, self.rejected = code, rejected
