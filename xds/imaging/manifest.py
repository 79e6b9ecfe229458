"""The manifest of an XDS-I.b submission as values, whatever it is encoded as.

What RAD-68 publishes: a list of instances by series, where to retrieve them, whose they are and what
they belong to.  ``kos.py`` writes it as a DICOM Key Object Selection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from xds.imaging import text


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value of DICOM.  PS3.3: 8.8 (Code Sequence Macro)."""

    value: str
    scheme: str
    meaning: str


MANIFEST_TITLE = Code("113030", "DCM", "Manifest")
"""The title of an XDS-I.b manifest.  PS3.16: CID 7010."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose images they are, as the images say."""

    id: str = ""
    issuer: str = ""  # local name of the assigning authority, (0010,0021)
    issuer_oid: str = ""  # its OID, (0010,0024)
    name: str = ""  # alphabetic group of a DICOM PN
    birth_date: str = ""  # YYYYMMDD
    sex: str = ""  # M, F or O


@dataclass(frozen=True, slots=True)
class Request:
    """One order that the study fulfils.  PS3.3: Table 10-9 and C.17.6 (Referenced Request Sequence)."""

    accession_number: str = ""
    accession_issuer_oid: str = ""
    placer_order_number: str = ""
    placer_issuer_oid: str = ""
    filler_order_number: str = ""
    requested_procedure_id: str = ""


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """One instance listed."""

    sop_class_uid: str
    sop_instance_uid: str
    number_of_frames: int | None = None  # None: not known; a plain KOS does not hold it


@dataclass(frozen=True, slots=True)
class SeriesReference:
    """One series and how its instances are retrieved.

    ``modality`` is empty in what was read from a KOS, which does not hold it.
    """

    series_instance_uid: str
    modality: str
    retrieve_ae_title: str
    retrieve_location_uid: str
    retrieve_url: str  # base URL of WADO-RS, or empty
    instances: tuple[InstanceReference, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Instances of one study, listed for retrieval.

    ``created`` is an aware UTC time.  ``study_date`` and ``study_time`` are as the images have them, local
    at ``timezone_offset``; ``study_date_time`` is their UTC.
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    created: datetime
    patient: Patient
    series: tuple[SeriesReference, ...]
    title: Code = MANIFEST_TITLE
    study_date: str = ""  # YYYYMMDD
    study_time: str = ""  # HHMMSS.FFFFFF, or a beginning of it
    timezone_offset: str = "+0000"
    study_id: str = ""
    study_description: str = ""
    requests: tuple[Request, ...] = ()
    referring_physician: str = ""  # DICOM PN
    institution_name: str = ""
    manufacturer: str = ""
    description: str = ""  # Key Object Description, free text

    @property
    def study_date_time(self) -> datetime | None:
        """When the study began, in UTC; midnight where only its date is known; ``None`` where nothing is."""
        return text.utc(self.study_date, self.study_time, self.timezone_offset)

    @property
    def accession_numbers(self) -> tuple[str, ...]:
        """Each once, in order."""
        return tuple(dict.fromkeys(r.accession_number for r in self.requests if r.accession_number))

    @property
    def count(self) -> int:
        """How many instances are listed."""
        return sum(len(series.instances) for series in self.series)

    @property
    def retrieve_location_uids(self) -> tuple[str, ...]:
        """The Imaging Document Sources that hold the instances, each once, in order."""
        found = (series.retrieve_location_uid for series in self.series)
        return tuple(dict.fromkeys(filter(None, found)))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Each once, in order; empty for a manifest that was read from a KOS."""
        return tuple(dict.fromkeys(filter(None, (series.modality for series in self.series))))

    def instances(self) -> Iterator[tuple[SeriesReference, InstanceReference]]:
        """Every instance with its series, in order."""
        for series in self.series:
            for instance in series.instances:
                yield series, instance
