"""The acknowledgement of an HL7 v2 message, in the version and the character set of the message.

ITI TF-2: Appendix C.2.3; HL7 v2.3.1: 2.24.3 (ERR).
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

from xds.hl7.charset import codec
from xds.hl7.feed import NotAFeed
from xds.hl7.v2 import ERRORS, Header
from xds.metadata.identifiers import escaped

_TEXT = 80
"""Characters of MSA-3 in HL7 v2.3.1."""


def acknowledgement(head: Header, problem: NotAFeed | None = None, *, now: datetime | None = None) -> bytes:
    """The ACK of a message in original mode: AA, or AE or AR with what is wrong."""
    time = (now or datetime.now(UTC)).strftime("%Y%m%d%H%M%S")
    code = "AA" if problem is None else "AR" if problem.rejected else "AE"
    msh = ["MSH", "^~\\&", head.receiving_application, head.receiving_facility, head.sending_application,
           head.sending_facility, time, "", f"ACK^{head.event}" if head.event else "ACK", uuid.uuid4().hex[:20], "P",
           head.version or "2.3.1"]  # fmt: skip
    known = codec(head.character_set)
    if known:
        msh += [""] * 5 + [head.character_set]
    msa, *err = _msa_and_err(head, code, problem)
    return "".join(f"{segment}\r" for segment in ("|".join(msh), msa, *err)).encode(known or "utf-8", "replace")


def _msa_and_err(head: Header, code: str, problem: NotAFeed | None) -> list[str]:
    """What is wrong, where the message's version has it.

    Until v2.4 ERR has one field, whose fourth component is the code, with the sign of subcomponents between its
    parts (HL7 v2.3.1: 2.24.3.1); what there is to say stands in MSA-3.  Since v2.5 ERR has fields for each.
    """
    msa = f"MSA|{code}|{head.control_id}"
    if problem is None:
        return [msa]
    error = (problem.code, ERRORS.get(problem.code, ERRORS["207"]), "HL70357")
    where = re.match(r"([A-Z0-9]{3})-(\d+)", str(problem))
    location = f"{where[1]}^1^{where[2]}" if where else ""
    if _has_fields(head.version):
        return [msa, f"ERR||{location}|{'^'.join(error)}|E||||{escaped(str(problem))}"]
    return [f"{msa}|{escaped(str(problem)[:_TEXT])}", f"ERR|{location or '^^'}^{'&'.join(error)}"]


def _has_fields(version: str) -> bool:
    match = re.match(r"2\.(\d{1,2})(?!\d)", version)
    return match is not None and int(match[1]) >= 5
