"""What a document entry must be in itself, beyond the form of its attributes.  ITI TF-3: 4.2.3.2."""

from __future__ import annotations

from collections.abc import Iterator

from xds.errors import ErrorCode, Finding
from xds.metadata.document_entry import DocumentEntry


def service_times_in_order(entry: DocumentEntry) -> Iterator[Finding]:
    """serviceStartTime is not after serviceStopTime, as far as both are known.  ITI TF-3: 4.2.3.2.19 and .20."""
    start, stop = entry.service_start_time, entry.service_stop_time
    # A day stands for all of it: what began at three o'clock may have ended that day.
    if start and stop and start.text[: len(stop.text)] > stop.text[: len(start.text)]:
        yield Finding(
            ErrorCode.REGISTRY_METADATA,
            "DocumentEntry.serviceStopTime is before serviceStartTime (ITI TF-3: 4.2.3.2.20)",
            entry.entry_uuid,
        )


def single_valued_patient_info(entry: DocumentEntry) -> Iterator[Finding]:
    """PID-7 and PID-8 occur at most once in sourcePatientInfo.  ITI TF-3: 4.2.3.2.23."""
    for field in ("PID-7|", "PID-8|"):
        if sum(value.startswith(field) for value in entry.source_patient_info) > 1:
            yield Finding(
                ErrorCode.REGISTRY_METADATA,
                f"DocumentEntry.sourcePatientInfo: {field[:-1]} occurs more than once (ITI TF-3: 4.2.3.2.23)",
                entry.entry_uuid,
            )


RULES = (service_times_in_order, single_valued_patient_info)
