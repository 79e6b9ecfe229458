"""A study of real files as the DocumentEntry that is published, whatever its files hold."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from pydicom.dataset import Dataset

from tests.builders import ANNA
from tests.extent import examples
from tests.imaging.images import LOCATION, MR, STUDY, an_instance, put
from xds.ebxml import lcm, rim
from xds.imaging import kos
from xds.imaging.entry import Defaults, document_entry
from xds.imaging.group import Series, Study
from xds.imaging.manifest import Code as DicomCode
from xds.imaging.manifest import Manifest, Patient, Request
from xds.imaging.study import manifest_of, scan
from xds.metadata import from_ebxml, to_ebxml
from xds.metadata.datatypes import Author, Code, Dtm, Xcn, Xon
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId
from xds.rules.document_entry import RULES
from xds.wire.xml import parse, schema

DEFAULTS = Defaults(Oid("1.2.3.9"))
CREATED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DCM, SCT = "1.2.840.10008.2.16.4", "2.16.840.1.113883.6.96"


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def issuer(oid: str, type_: str = "ISO") -> list[Dataset]:
    return [item(UniversalEntityID=oid, UniversalEntityIDType=type_)]


def coded(value: str, scheme: str, meaning: str) -> list[Dataset]:
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def a_study(folder: Path, **changes: Any) -> Study:
    """A CT study with orders, anatomy and people; what is changed in its one file."""
    values: dict[str, Any] = {
        "AccessionNumber": "A^1",
        "IssuerOfAccessionNumberSequence": issuer("1.2.276.1"),
        "RequestAttributesSequence": [
            item(
                AccessionNumber="A^1",
                RequestedProcedureID="R1",
                PlacerOrderNumberImagingServiceRequest="P1",
                OrderPlacerIdentifierSequence=issuer("1.2.276.2"),
            )
        ],
        "IssuerOfPatientIDQualifiersSequence": issuer("1.2.276.3"),
        "StudyDescription": "CT Schädel",
        "InstitutionName": "Haus & Hof",
        "PerformingPhysicianName": "Röntgen^Wilhelm^^Dr.",
        "ProcedureCodeSequence": coded("24725-4", "LN", "CT Head"),
        "AcquisitionDate": "20260301",
        "AcquisitionTime": "102500",
    }
    put(folder, "1.dcm", an_instance(1, **{**values, **changes}))
    (study,) = scan(folder).studies
    return study


def entry_of(study: Study, **changes: Any) -> DocumentEntry:
    manifest = replace(
        manifest_of(study, retrieve_location_uid=LOCATION, retrieve_ae_title="XDS", created=CREATED), **changes
    )
    return document_entry(study, manifest, b"content", ANNA, DEFAULTS, "manifest")


def as_registered(entry: DocumentEntry) -> DocumentEntry:
    """The entry as a repository hands it on, through bytes that are valid by our schema."""
    entry = replace(entry, repository_unique_id=Oid("1.2.3.4.6"))
    element = parse(etree.tostring(lcm.write_submit_objects([to_ebxml.document_entry(entry)])))
    schema("lcm.xsd").assertValid(element)
    (sent,) = lcm.read_submit_objects(element).extrinsic_objects
    read, findings = from_ebxml.document_entry(sent)
    assert findings == []
    assert read is not None
    assert [finding for rule in RULES for finding in rule(read)] == []
    return replace(read, repository_unique_id=None)


def test_a_study_becomes_an_entry_with_all_that_it_says(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    entry = entry_of(study)
    assert as_registered(entry) == entry
    assert entry.patient_id == ANNA
    assert entry.source_patient_id == PatientId("4711", Oid("1.2.276.3"))
    assert entry.source_patient_info == (
        "PID-3|4711^^^&1.2.276.3&ISO", "PID-5|Müller^Anna", "PID-7|19561127", "PID-8|F",
    )  # fmt: skip
    assert entry.mime_type == "application/dicom"
    assert entry.format_code.key == "1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1"
    assert entry.type_code == Code("24725-4", "2.16.840.1.113883.6.1", "CT Head")
    assert entry.creation_time == Dtm("20260302080000")
    assert (entry.size, entry.hash) == (7, hashlib.sha1(b"content", usedforsecurity=False).hexdigest())
    assert [part.value for part in entry.title] == ["CT Schädel"]
    assert entry.author == (Author(Xcn("^Röntgen^Wilhelm^^^Dr."), (Xon("Haus \\T\\ Hof"),)),)
    assert (entry.language_code, entry.class_code.code) == ("en", "IMAGES")


def test_times_are_utc(tmp_path: Path) -> None:
    entry = entry_of(a_study(tmp_path))
    assert entry.service_start_time == Dtm("20260301091500")  # 10:15 at +0100
    assert entry.service_stop_time == Dtm("20260301092500")


def test_modality_and_anatomy_are_event_codes(tmp_path: Path) -> None:
    keys = [code.key for code in entry_of(a_study(tmp_path)).event_code_list]
    assert keys[0] == f"CT^^{DCM}"
    assert f"816094009^^{SCT}" in keys  # CHEST
    assert len(set(keys)) == len(keys)


def test_every_acquisition_modality_is_listed_once_and_no_other(tmp_path: Path) -> None:
    put(tmp_path, "2.dcm", an_instance(2, SeriesInstanceUID="1.2.3.100.2", SOPClassUID=MR, Modality="MR"))
    put(tmp_path, "3.dcm", an_instance(3, SeriesInstanceUID="1.2.3.100.3", Modality="SR"))
    put(tmp_path, "4.dcm", an_instance(4))
    modalities = [c.code for c in entry_of(a_study(tmp_path)).event_code_list if c.scheme == DCM]
    assert sorted(modalities) == ["CT", "MR"]


def test_anatomy_as_coded_goes_before_the_body_part(tmp_path: Path) -> None:
    region = coded("69536005", "SCT", "Head")
    keys = [code.key for code in entry_of(a_study(tmp_path, AnatomicRegionSequence=region)).event_code_list]
    assert f"69536005^^{SCT}" in keys
    assert f"816094009^^{SCT}" not in keys


def test_references_name_study_accession_and_order_with_their_issuers(tmp_path: Path) -> None:
    references = [reference.text for reference in entry_of(a_study(tmp_path)).reference_id_list]
    assert references == [
        f"{STUDY}^^^^urn:ihe:iti:xds:2016:studyInstanceUID",
        "A\\S\\1^^^&1.2.276.1&ISO^urn:ihe:iti:xds:2013:accession",
        "P1^^^&1.2.276.2&ISO^urn:ihe:iti:xds:2013:order",
    ]


def test_an_order_is_a_reference_with_its_issuer_or_the_domains(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    requests = (
        Request("A1", "", "P1", "1.2.276.2"),
        Request("A1", "", "P2", ""),
        Request(),
        Request("A1", "", "P1", "1.2.276.2"),
    )
    references = [reference.text for reference in entry_of(study, requests=requests).reference_id_list]
    assert references[1:] == [
        "A1^^^&1.2.3.9&ISO^urn:ihe:iti:xds:2013:accession",
        "P1^^^&1.2.276.2&ISO^urn:ihe:iti:xds:2013:order",
        "P2^^^&1.2.3.9&ISO^urn:ihe:iti:xds:2013:order",
    ]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), "18748-4"),
        ((DicomCode("X1", "99LOCAL", "ours"),), "18748-4"),
        ((DicomCode("X1", "99LOCAL", "ours"), DicomCode("24725-4", "LN", "")), "24725-4"),
        ((DicomCode("RPID1", "1.2.3.4", "by OID"),), "RPID1"),
        ((DicomCode("", "LN", "no code"),), "18748-4"),
    ],
)
def test_the_type_is_a_procedure_that_others_know_or_the_domains(
    tmp_path: Path, codes: tuple[DicomCode, ...], expected: str
) -> None:
    entry = entry_of(replace(a_study(tmp_path), procedure_codes=codes))
    assert entry.type_code.code == expected
    as_registered(entry)


def test_what_the_images_do_not_say_is_the_domains_or_left_out(tmp_path: Path) -> None:
    without = dict.fromkeys(
        ("StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "StudyDescription",
         "InstitutionName", "PerformingPhysicianName", "ProcedureCodeSequence", "BodyPartExamined", "PatientBirthDate",
         "PatientSex", "IssuerOfPatientIDQualifiersSequence", "AccessionNumber", "RequestAttributesSequence")
    )  # fmt: skip
    entry = as_registered(entry_of(a_study(tmp_path, **without, PatientID="", PatientName="")))
    assert (entry.service_start_time, entry.service_stop_time, entry.author) == (None, None, ())
    assert entry.source_patient_id == PatientId("unknown", Oid("1.2.3.9"))
    assert entry.source_patient_info == ("PID-3|unknown^^^&1.2.3.9&ISO",)
    assert [part.value for part in entry.title] == ["Manifest"]
    assert entry.type_code.code == "18748-4"
    assert len(entry.reference_id_list) == 1


def test_an_institution_alone_is_an_author(tmp_path: Path) -> None:
    entry = entry_of(a_study(tmp_path, PerformingPhysicianName=None))
    assert entry.author == (Author(None, (Xon("Haus \\T\\ Hof"),)),)


@pytest.mark.parametrize("name", ["^Wilhelm", "^^^Dr.", "=レントゲン", "Röntgen=", "^", "===", "\\"])
def test_a_physician_without_a_family_name_does_not_break_the_entry(tmp_path: Path, name: str) -> None:
    as_registered(entry_of(a_study(tmp_path, PerformingPhysicianName=name)))


@pytest.mark.parametrize("date", ["00010101", "09990101", "99991231"])
def test_a_date_that_stands_for_none_does_not_break_the_entry(tmp_path: Path, date: str) -> None:
    for offset in ("+0000", "+1400", "-1200"):
        as_registered(entry_of(a_study(tmp_path, StudyDate=date, TimezoneOffsetFromUTC=offset)))


# Whatever the files hold: DICOM lets little through, archives more.

odd = st.text(st.characters(codec="utf-8") | st.sampled_from("^&|~\\=<>\"'\n\t\0\x1b\x85\ufffe"), max_size=300)
names = odd | st.lists(odd, max_size=8).map("^".join)
dicom_codes = st.lists(st.builds(DicomCode, odd, odd | st.sampled_from(("DCM", "SCT", "1.2.3")), odd), max_size=2).map(
    tuple
)
oids = st.sampled_from(("", "1.2.276.1"))
studies = st.fixed_dictionaries({"description": odd, "procedure_codes": dicom_codes})
series = st.fixed_dictionaries(
    {"performing_physician": names, "anatomic_regions": dicom_codes, "body_part": odd, "modality": odd | st.just("CT")}
)
manifests = st.fixed_dictionaries(
    {
        "patient": st.builds(
            Patient, odd, odd, oids | odd, names, st.sampled_from(("", "19561127")), st.sampled_from("FMO")
        ),
        "requests": st.lists(st.builds(Request, odd, oids, odd, oids, odd, odd), max_size=2).map(tuple),
        "institution_name": odd,
    }
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return a_study(tmp_path_factory.mktemp("plain"))


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(studies, series, manifests)
def test_nothing_that_the_images_hold_breaks_the_entry(
    plain: Study, of_study: dict[str, Any], of_series: dict[str, Any], of_manifest: dict[str, Any]
) -> None:
    one: Series = replace(plain.series[0], **of_series)
    study = replace(plain, series=(one,), **of_study)
    entry = entry_of(study, **of_manifest)
    assert as_registered(entry).unique_id == entry.unique_id


def test_the_manifest_of_a_study_has_the_entrys_unique_id(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    manifest: Manifest = manifest_of(study, retrieve_location_uid=LOCATION, retrieve_ae_title="XDS")
    data = kos.write(manifest)
    entry = document_entry(study, manifest, data, ANNA, DEFAULTS, "manifest")
    assert kos.read(data).sop_instance_uid == entry.unique_id
    assert isinstance(to_ebxml.document_entry(entry), rim.ExtrinsicObject)
