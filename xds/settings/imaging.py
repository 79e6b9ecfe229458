"""Settings of the Imaging Document Source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ImagingSource:
    """The Imaging Document Source."""

    folder: str = ""  # tree of DICOM files
    stow_rs: bool = False  # instances are taken into the folder by STOW-RS, at /dicomweb/studies
    cstore_listen: str = ""  # HOST:PORT where they are by C-STORE, called by retrieve_ae_title; empty: nowhere
    cstore_from: tuple[str, ...] = ()  # AE titles that may send; empty: every one
    study_senders: Literal["one", "all"] = "one"  # of a study that is there, more is taken from who stored it; or all
    apart_instances: int = 5_000  # against others' studies, kept for a person to decide; over it, or 0: refused
    apart_bytes: int = 32 * 1024 * 1024 * 1024  # of them all, likewise
    apart_peer_instances: int = 2_000  # of one peer, likewise
    apart_peer_bytes: int = 8 * 1024 * 1024 * 1024  # likewise
    dicomweb: str = ""  # or the base URL of a PACS' DICOMweb service, called with [tls]'s certificate
    dimse: str = ""  # or a PACS by DIMSE, TITLE@HOST:PORT; it is called by retrieve_ae_title
    orthanc: str = ""  # where that PACS is an Orthanc, the URL of its REST API: its change log says what to publish
    dimse_move_port: int = 0  # where it sends to what C-MOVE asks for, one image process only; 0: C-GET
    publish_to: str = ""  # URL of the repository that manifests go to (RAD-68) as the archive changes; empty: none do
    publish_registry: str = ""  # URL of the registry where what is gone is deprecated (ITI-57); empty: it is not
    publish_quiet_seconds: float = 60.0  # a study is published when it has not changed for so long
    patients: str = ""  # CSV file: a patient id of the archive and the domain's, as CX; of the domain's own: the same
    pix: str = ""  # PIX Manager for other ids: mllp://HOST:PORT[/FACILITY/APPLICATION] (ITI-9), or URL of SOAP (ITI-45)
    pixm: str = ""  # or the base URL of its FHIR service (ITI-83)
    issuer: str = ""  # OID of the archive's patient ids that name no issuer; empty: such patients are not published
    pacs_seconds: float = 30.0  # the longest that a PACS may be silent, and that what it lists is taken for true
    cache_bytes: int = 0  # of instances from a PACS, kept on disk so that many who want one cost it one read; 0: none
    cache_seconds: float = 3600.0  # given so long without asking whether they are unchanged; unused, gone after it
    retrieve_location_uid: str = ""  # OID of this source; empty: one is made
    also: tuple[str, ...] = ()  # OIDs of sources merged into it (xds merge images), under which it gives images, too
    retrieve_ae_title: str = "XDS"  # written into manifests
    retrieve_url: str = ""  # base URL of WADO-RS, written into manifests; empty: none
    timezone: str = "UTC"  # of DICOM times without an offset of their own
    refresh_seconds: float = 30.0  # how often the folder is looked through for what is new
    processes: int = 1  # image processes
    streams: int = 8  # RAD-69 answers under way at once to one peer, an image process; over it XDSRepositoryBusy
    instances: int = 20_000  # that one RAD-69 may name; over it XDSTooManyResults


@dataclass(frozen=True, slots=True)
class Priors:
    """Earlier examinations that matter to one that is ordered."""

    rules: str = ""  # TOML file of the region's rules (xds guide imaging-consumer); empty: those that come with xds
