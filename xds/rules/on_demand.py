"""Which kind of entries a transaction registers; each finding names attribute, rule and clause."""

from __future__ import annotations

from collections.abc import Iterator

from xds.errors import ErrorCode, Finding
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import STABLE


def entries_are_stable(submission: Submission) -> Iterator[Finding]:
    """ITI-42 registers stable entries.  ITI TF-2: 3.42.4.1.2."""
    for entry in submission.document_entries:
        if entry.on_demand:
            rule = "DocumentEntry.objectType must be a stable document's (ITI TF-2: 3.42.4.1.2)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, entry.entry_uuid)


def entries_are_on_demand(submission: Submission) -> Iterator[Finding]:
    """ITI-61 registers on-demand entries.  ITI TF-2: 3.61.4.1.2."""
    for entry in submission.document_entries:
        if entry.object_type == STABLE:  # of any other it is said that it is neither
            rule = "DocumentEntry.objectType must be an on-demand document's (ITI TF-2: 3.61.4.1.2)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, entry.entry_uuid)


def some_are_on_demand(submission: Submission) -> Iterator[Finding]:
    """ITI-61 registers at least one entry.  ITI TF-2: 3.61.4.1.2."""
    if not submission.document_entries:
        yield Finding(ErrorCode.REGISTRY_METADATA, "an on-demand DocumentEntry is required (ITI TF-2: 3.61.4.1.2)")


STABLE_RULES = (entries_are_stable,)
ON_DEMAND_RULES = (entries_are_on_demand, some_are_on_demand)
