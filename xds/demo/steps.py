"""The demo, step by step; each returns what it saw in one line_of, and raises if something does not hold."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lxml import etree

from xds.access import vouching
from xds.actors.document_consumer import Search
from xds.audit.log.keys import load_certificates
from xds.audit.log.verify import Tampered, verify
from xds.cli.client import Desk, desk
from xds.cli.fetch import fetch_all
from xds.cli.fetching import Outcome
from xds.cli.find import found
from xds.cli.publish import publish_study
from xds.demo.consent import Withholding
from xds.demo.identity import DOCTOR, HOURS, vouch
from xds.demo.images import EAST, NORTH, SOUTH, Examined, lay_out, lay_out_phantom
from xds.demo.logs import certificate, line_of, not_named, sealed
from xds.demo.orthanc import Orthanc, program
from xds.demo.site import Site, free_port
from xds.demo.waiting import waited
from xds.ebxml.query import AdhocQuery, write_request
from xds.ebxml.rim import Slot
from xds.endpoints.console.passwords import hashed
from xds.imaging.part10 import PREAMBLE
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId, new_oid
from xds.store import accounts
from xds.store.engine import make_engine
from xds.store.registry import patients
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.soap import around

T = TypeVar("T")

NOTICE = {"notice": "DEMO: nobody here is real"}
"""On every page of the demonstration."""


class DoesNotHold(Exception):
    """A step saw something else than it should."""


@dataclass(slots=True)
class Demo:
    """What the steps share."""

    folder: Path
    authority: Oid = field(default_factory=new_oid)
    north: Site = field(init=False)
    south: Site = field(init=False)
    clinic: Site = field(init=False)
    east: Site | None = None  # whose images are in an Orthanc, where this machine has one
    orthanc: Orthanc | None = None
    studies: dict[str, list[Examined]] = field(default_factory=dict)
    images_retrieved: int = 0
    audit_records: int = 0
    tell: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        ports = [free_port(8080), free_port(8081), free_port(8082)]
        names = ("north", "south", "clinic")
        self.north, self.south, self.clinic = (
            Site(name, self.folder / name, port) for name, port in zip(names, ports, strict=True)
        )
        if program() is not None:
            self.east = Site("east", self.folder / "east", free_port(8083))
            self.orthanc = Orthanc(self.folder / "orthanc")

    @property
    def hospitals(self) -> list[Site]:
        return [self.north, self.south, *([self.east] if self.east else [])]

    @property
    def sites(self) -> list[Site]:
        return [*self.hospitals, self.clinic]

    def stop(self) -> None:
        """Stop everything that was started."""
        for site in self.sites:
            site.stop()
        if self.orthanc is not None:
            self.orthanc.stop()

    def patient(self, name: str) -> PatientId:
        return PatientId(name, self.authority)

    def all_studies(self) -> list[Examined]:
        return [one for studies in self.studies.values() for one in studies]

    @contextmanager
    def at(self, site: Site) -> Iterator[Desk]:
        """A client command run at a site: its own settings, its own audit log."""
        with desk(site.config, None, None) as opened:
            yield opened

    # The steps.

    def lay_out_images(self) -> str:
        """Real images into the archives of the hospitals, and a computed CT of 500 slices."""
        for site, table in zip(self.hospitals, (NORTH, SOUTH, EAST), strict=False):
            self.studies[site.name] = list(lay_out(table, site.folder / "images"))
        self.studies["south"].append(lay_out_phantom(self.south.folder / "images", "dora"))
        studies = self.all_studies()
        modalities = sorted({m for one in studies for m in one.study.modalities})
        syntaxes = {i.transfer_syntax_uid for one in studies for i in one.study.instances}
        images = sum(one.study.count for one in studies)
        return f"{len(studies)} studies, {images} images, {', '.join(modalities)}; {len(syntaxes)} transfer syntaxes"

    def start_sites(self) -> str:
        """A server each: north with the domain's registry, the others registering there, the clinic reading."""
        domain = {"assigning_authorities": [self.authority]}
        identity_provider, doctor = vouch(self.folder)
        console = self._vouched_for(self.clinic)
        for site in self.hospitals:
            site.sections = {
                "domain": domain,
                "console": NOTICE,
                "xua": {"trusted": str(identity_provider), "issuers": [console], "longest_seconds": HOURS * 3600.0},
                "audit": {"source_id": f"{site.name}-hospital", "enterprise_site_id": site.title},
                "imaging_source": {"folder": str(site.folder / "images"), "retrieve_ae_title": site.name.upper()},
            }
        for site in self.hospitals[1:]:
            site.sections["repository"] = {"registry_url": f"{self.north.url}/registry"}
            site.sections["server"] = {"actors": ["repository", "imaging-source"]}
        if self.east and self.orthanc:
            self.orthanc.start(self.tell)
            self.east.sections["imaging_source"] = self._in_orthanc(self.east, self.orthanc)
        for site in self.hospitals:
            site.write_config()
        self.clinic.sections = {
            "server": {"actors": []},
            "console": {"registry_url": f"{self.north.url}/registry", **NOTICE},
            "domain": domain,
            "xua": {"assertion": str(doctor)},
            "audit": {"source_id": "clinic", "enterprise_site_id": "Clinic"},
            "repositories": {s.settings.repository.unique_id: s.named("/repository") for s in self.hospitals},
            "imaging_sources": {
                s.settings.imaging_source.retrieve_location_uid: s.named("/imaging-source") for s in self.hospitals
            },
        }
        self.clinic.write_config()
        for site in self.sites:
            site.start()
        for site in self.sites:
            site.wait(self.tell)
        return ", ".join(f"{site.name} {site.url}" for site in self.sites)

    def _vouched_for(self, site: Site) -> str:
        """By what others trust a site to say who has signed in at its console: ISSUER=FILE."""
        site.write_config()
        settings = site.settings
        vouching.own_key(settings)
        return f"{vouching.issuer(settings)}={vouching.certificate_file(settings)}"

    def _in_orthanc(self, site: Site, orthanc: Orthanc) -> dict[str, Any]:
        """Its own patient ids are told by a table, and what comes into it is published without being asked."""
        issuer = new_oid()
        table = site.folder / "patients.csv"
        rows = {(one.study.patient.id, one.patient) for one in self.studies[site.name]}
        table.write_text(
            "".join(f"{PatientId.of(own, issuer)},{self.patient(patient)}\n" for own, patient in sorted(rows)), "utf-8"
        )
        return {
            "dicomweb": orthanc.dicomweb, "orthanc": orthanc.url, "patients": str(table), "issuer": issuer,
            "publish_to": f"{site.url}/repository", "publish_registry": f"{self.north.url}/registry",
            "publish_quiet_seconds": 0.5, "refresh_seconds": 0.5, "retrieve_ae_title": site.name.upper(),
        }  # fmt: skip

    def register_patients(self) -> str:
        """The affinity domain's patients, made known to the registry by hand."""
        engine = make_engine(self.north.settings.database_url, connections=2)
        names = sorted({one.patient for one in self.all_studies()})
        with engine.begin() as connection:
            for name in names:
                patients.add(connection, "default", self.patient(name))
        engine.dispose()
        return ", ".join(names)

    def publish(self) -> str:
        """Two hospitals publish their studies: a manifest each, by RAD-68, to their own repositories."""
        studies = [one for site in (self.north, self.south) for one in self.studies[site.name]]
        for site in (self.north, self.south):
            with self.at(site) as here:
                for one in self.studies[site.name]:
                    publish_study(here, one.study, self.patient(one.patient), f"{site.url}/repository")
        return f"{len(studies)} manifests acknowledged, the largest of {max(one.study.count for one in studies)} images"

    def publish_by_itself(self) -> str:
        """Images come into the third hospital's Orthanc, and are found a little later without a command."""
        assert self.east is not None  # noqa: S101  the step is there where it is
        assert self.orthanc is not None  # noqa: S101
        started = time.monotonic()
        studies = self.studies[self.east.name]
        self.orthanc.keep(*(i.path.read_bytes() for one in studies for i in one.study.instances))
        expected = {one.study.study_instance_uid for one in studies}

        def all_found() -> bool:
            return expected <= {uid for name in {one.patient for one in studies} for uid in self._studies_found(name)}

        _hold(self._waited(all_found, "what publishes what came into Orthanc"), "not all that came is published")
        return f"{len(expected)} studies found {time.monotonic() - started:.1f} s after they came"

    def _waited(self, for_: Callable[[], T], what: str) -> T:
        """The first answer that is true, or one that is not when a site has died, or it cannot come any more."""
        return waited(for_, what, self.tell, lambda: all(site.lives() for site in self.sites))

    def _studies_found(self, name: str) -> set[str]:
        return _studies_of(self._found(Search(self.patient(name))))

    def _found(self, search: Search) -> list[DocumentEntry]:
        with self.at(self.clinic) as here:
            missing = list[str]()
            entries = found(here, f"{self.north.url}/registry", search, missing)
            _hold(not missing, "; ".join(missing))
            return entries

    def find_by_patient(self) -> str:
        """The clinic finds all studies of each patient, whichever hospital has them."""
        seen = []
        for name in sorted({one.patient for one in self.all_studies()}):
            found = self._studies_found(name)
            expected = {one.study.study_instance_uid for one in self.all_studies() if one.patient == name}
            _hold(found == expected, f"{name}: not the studies that were published")
            seen.append(f"{name} {len(found)}")
        return ", ".join(seen)

    def find_by_accession(self) -> str:
        """The clinic finds a study by its accession number."""
        for one in self.all_studies():
            for request in one.study.requests:
                number = request.accession_number
                if not number:
                    continue
                issuer = request.accession_issuer_oid or self.authority
                search = Search(self.patient(one.patient), accession_number=number, accession_authority=issuer)
                studies = _studies_of(self._found(search))
                _hold(one.study.study_instance_uid in studies, f"accession {number} is not found")
                return f"accession {number}: {len(studies)} studies"
        raise DoesNotHold("no study has an accession number")

    def find_by_study(self) -> str:
        """The clinic finds each study by its Study Instance UID, and nothing else with it."""
        for one in self.all_studies():
            uid = one.study.study_instance_uid
            studies = _studies_of(self._found(Search(self.patient(one.patient), study_instance_uid=uid)))
            _hold(studies == {uid}, f"study {uid} is not found alone")
        return f"{len(self.all_studies())} studies, each found alone"

    def fetch(self) -> str:
        """The clinic fetches manifests (ITI-43) and every image they list (RAD-69), checked on arrival."""
        outcome = Outcome()
        to = self.clinic.folder / "fetched"
        for name in sorted({one.patient for one in self.all_studies()}):
            with self.at(self.clinic) as here:
                fetch_all(here, f"{self.north.url}/registry", Search(self.patient(name)), to, outcome, quiet=True)
        _hold(not outcome.problems, "; ".join(outcome.problems or ()))
        _hold(outcome.arrived == outcome.promised, f"{outcome.arrived} of {outcome.promised} images arrived")
        self.images_retrieved = outcome.arrived
        return f"{outcome.arrived} of {outcome.promised} images, {outcome.size_bytes / 1e6:.1f} MB"

    def compare(self) -> str:
        """What arrived is, byte for byte from after the preamble, what the hospitals hold."""
        held = {
            instance.sop_instance_uid: instance.path for one in self.all_studies() for instance in one.study.instances
        }
        arrived = {path.stem: path for path in (self.clinic.folder / "fetched").glob("*/*/*.dcm")}
        _hold(len(held) == self.images_retrieved, "two images have one UID")
        _hold(held.keys() == arrived.keys(), "not the images that were published")
        for uid, path in held.items():
            _hold(_digest(path) == _digest(arrived[uid]), f"{uid} differs")
        return f"{len(held)} images identical"

    def withhold(self) -> str:
        """A patient withholds one study from the clinic; its doctor does not find it, and then breaks the glass."""
        one = next(one for one in self.studies["north"] if one.patient == "anna")
        withholding = Withholding(
            self.north.settings.database_url, self.patient("anna"), one.study.study_instance_uid
        )  # fmt: skip
        waited = lambda done: self._waited(done, "the directive")  # noqa: E731
        seen = withholding.tried(lambda: self._studies_found("anna"), waited, self.folder / "doctor.xml")
        _hold(bool(seen), "what anna withholds is found, or is not with the glass broken, or nobody is told of that")
        return seen

    def who_saw(self) -> str:
        """Each hospital's log says that the doctor at the clinic saw the patient, retrievals by document included."""
        patient, seen = str(self.patient("anna")), []
        for site in self.hospitals:
            line = self._waited(partial(line_of, site, patient, DOCTOR), f"the index of {site.name}'s audit log")
            _hold(line is not None, f"{site.name}: the log does not say that {DOCTOR} saw {patient}")
            if line is not None:
                seen.append(f"{site.name} {line.count}")
            theirs = {one.study.study_instance_uid for one in self.studies[site.name] if one.patient == "anna"}
            _hold(not not_named(site, patient, theirs), f"{site.name}: a retrieval of anna's images does not name her")
        return f"{DOCTOR} saw anna: {', '.join(seen)} records"

    def audit(self) -> str:
        """Every step has left its records at each site, under a signed checkpoint; each log verifies."""
        seen = []
        for site in self.sites:
            verified = self._waited(partial(sealed, site), f"the sealing of {site.name}'s audit log")
            if verified is None:
                raise DoesNotHold(f"{site.name}: not all records are sealed")
            self.audit_records += verified.records
            seen.append(f"{site.name} {verified.records}")
        return f"records: {', '.join(seen)}; all signatures and hashes hold"

    def tamper(self) -> str:
        """In a copy of north's log one character of one record is changed: verification names the record."""
        copy = self.folder / "tampered-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.north.folder / "data" / "audit", copy)
        segment = min((copy / "segments").glob("*.log"))
        data = bytearray(segment.read_bytes())
        at = data.index(b'EventOutcomeIndicator="0"', len(data) // 2) + len(b'EventOutcomeIndicator="')
        data[at : at + 1] = b"8"
        segment.write_bytes(data)
        try:
            verify(copy, load_certificates(certificate(self.north)))
        except Tampered as finding:
            return f"found: {finding}"
        raise DoesNotHold("the change was not found")

    def make_account(self, site: Site, name: str, role: str) -> str:
        """An account at a site's console; its password, which is made for this demo."""
        password = secrets.token_urlsafe(9)
        engine = make_engine(site.settings.database_url, connections=1)
        with engine.begin() as connection:
            accounts.add(connection, name, role, hashed(password))
        engine.dispose()
        return password

    def curl_request(self) -> bytes:
        """A whole ITI-18 request for one patient's studies, to be sent by hand."""
        query_id, parameters = Search(self.patient("anna")).query()
        slots = tuple(Slot(f"${name}", tuple(values)) for name, values in parameters.items())
        body = write_request(AdhocQuery(query_id, "LeafClass", slots))
        head, tail = around(request_headers(ITI_18.action, f"{self.north.url}/registry", new_message_id()))
        return head + etree.tostring(body) + tail

    def steps(self) -> list[tuple[str, str, Callable[[], str]]]:
        """Name, transaction and what to do, in order."""
        by_itself = [("Publish what comes into an Orthanc", "RAD-68, ITI-42", self.publish_by_itself)] * bool(self.east)
        return [
            ("Lay out images", "", self.lay_out_images),
            (f"Start {'three' if self.east else 'two'} hospitals and a clinic", "", self.start_sites),
            ("Make patients known", "", self.register_patients),
            ("Publish manifests", "RAD-68, ITI-42", self.publish),
            *by_itself,
            ("Find by patient", "ITI-18", self.find_by_patient),
            ("Find by accession number", "ITI-18", self.find_by_accession),
            ("Find by study", "ITI-18", self.find_by_study),
            ("Fetch manifests and images", "ITI-43, RAD-69", self.fetch),
            ("Compare bytes", "", self.compare),
            ("Withhold a study, and break the glass", "ITI-18, ITI-40", self.withhold),
            ("Who saw this patient", "ITI-40", self.who_saw),
            ("Verify the audit trail", "", self.audit),
            ("Tamper with a copy", "", self.tamper),
        ]


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DoesNotHold(otherwise)


def _studies_of(entries: list[DocumentEntry]) -> set[str]:
    return {study for entry in entries for study in entry.study_instance_uids}


def _digest(path: Path) -> str:
    """Of all after the preamble: one that is no zeros and no TIFF is not given out (PS3.10: 7.1)."""
    with path.open("rb") as file:
        file.seek(PREAMBLE)
        return hashlib.file_digest(file, "sha256").hexdigest()
