"""What must be so in a manifest: one good one, one part spoilt, the finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.imaging.images import KOS, a_kos, a_manifest, saved
from xds.errors import ErrorCode, Severity
from xds.imaging import kos


def _series(dataset: Dataset) -> Any:
    return dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence


def _content(dataset: Dataset) -> Any:
    return dataset.ContentSequence


def _take(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


def _give(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def _title(code: str, scheme: str = "DCM") -> Callable[[Dataset], None]:
    def spoil(dataset: Dataset) -> None:
        dataset.ConceptNameCodeSequence[0].CodeValue = code
        dataset.ConceptNameCodeSequence[0].CodingSchemeDesignator = scheme

    return spoil


def _another_study(dataset: Dataset) -> None:
    other = Dataset()
    other.StudyInstanceUID = "1.2.9"
    other.ReferencedSeriesSequence = Sequence([_series(dataset).pop()])
    dataset.CurrentRequestedProcedureEvidenceSequence.append(other)


def _lists_itself(dataset: Dataset) -> None:
    for sequence in (_series(dataset)[0].ReferencedSOPSequence, _content(dataset)[1].ReferencedSOPSequence):
        sequence[0].ReferencedSOPClassUID = KOS
        sequence[0].ReferencedSOPInstanceUID = dataset.SOPInstanceUID


def _twice(dataset: Dataset) -> None:
    instances = _series(dataset)[0].ReferencedSOPSequence
    instances.append(instances[0])


SPOILT: list[tuple[Callable[[Dataset], None], str]] = [
    (_give("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "SOP Class UID (0008,0016)"),
    (_give("Modality", "CT"), "Modality (0008,0060)"),
    (_take("SeriesNumber"), "Series Number (0020,0011)"),
    (_give("InstanceNumber", None), "Instance Number (0020,0013)"),
    (_take("ContentDate"), "Content Date (0008,0023)"),
    (_give("ContentDate", "20261301"), "no date of the form"),
    (_take("ContentTime"), "Content Time (0008,0033)"),
    (_take("PatientName"), "Patient's Name (0010,0010)"),
    (_take("PatientID"), "Patient ID (0010,0020)"),
    (_take("AccessionNumber"), "Accession Number (0008,0050)"),
    (_take("Manufacturer"), "Manufacturer (0008,0070)"),
    (_take("ReferencedPerformedProcedureStepSequence"), "(0008,1111)"),
    (_give("TimezoneOffsetFromUTC", "CET"), "Timezone Offset From UTC (0008,0201)"),
    (_take("ValueType"), "Value Type (0040,A040)"),
    (_give("ContinuityOfContent", "CONTINUOUS"), "Continuity of Content (0040,A050)"),
    (_take("ConceptNameCodeSequence"), "the document has no title"),
    (_title("113001"), "a rejection note is no manifest"),
    (_title("121058"), "CID 7010: the title is not in the context group"),
    (_title("113030", "99LOCAL"), "CID 7010: the title is not in the context group"),
    (lambda dataset: _give("TemplateIdentifier", "2000")(dataset.ContentTemplateSequence[0]), "must be 2010"),
    (_give("SOPInstanceUID", "1.2.x"), "malformed UID"),
    (_take("CurrentRequestedProcedureEvidenceSequence"), "(0040,A375), PS3.3: C.17.6.2: required"),
    (_give("CurrentRequestedProcedureEvidenceSequence", Sequence()), "(0040,A375), PS3.3: C.17.6.2: required"),
    (_another_study, "instances of more than one study"),
    (_give("StudyInstanceUID", "1.2.9"), "the study differs"),
    (lambda dataset: _take("RetrieveAETitle")(_series(dataset)[0]), "(0008,0054), RAD XDS-I.b: missing in 1 of 2"),
    (lambda dataset: _take("RetrieveLocationUID")(_series(dataset)[1]), "(0040,E011), RAD XDS-I.b: missing"),
    (lambda dataset: _give("RetrieveLocationUID", "here")(_series(dataset)[1]), "missing or malformed in 1 of 2"),
    (lambda dataset: _take("SeriesInstanceUID")(_series(dataset)[0]), "Series Instance UID (0020,000E)"),
    (lambda dataset: _give("ReferencedSOPSequence", Sequence())(_series(dataset)[1]), "Referenced SOP Sequence"),
    (lambda dataset: _series(dataset).append(_series(dataset)[0]), "a series is in it twice"),
    (_twice, "an instance is in it twice"),
    (_lists_itself, "the manifest lists itself"),
    (lambda dataset: _content(dataset).pop(), "1 instances of the evidence are not referred to"),
    (lambda dataset: _series(dataset)[1].ReferencedSOPSequence.pop(), "1 instances that the content refers to"),
    (_take("ContentSequence"), "refers to no instance"),
    (lambda dataset: _give("ValueType", "IMAGE")(_content(dataset)[4]), "does not fit the SOP class in 1"),
    (
        lambda dataset: _give("ReferencedSOPInstanceUID", "1..2")(_series(dataset)[0].ReferencedSOPSequence[0]),
        "Referenced SOP Instance UID (0008,1155)",
    ),
]


def test_a_good_manifest_has_no_findings() -> None:
    assert kos.check(kos.write(a_manifest())) == []


@pytest.mark.parametrize(("spoil", "expected"), SPOILT, ids=[expected for _, expected in SPOILT])
def test_one_part_spoilt_is_found(spoil: Callable[[Dataset], None], expected: str) -> None:
    dataset = a_kos()
    spoil(dataset)
    findings = kos.check(saved(dataset))
    assert any(expected in finding.context for finding in findings), findings
    assert {finding.code for finding in findings} == {ErrorCode.INVALID_DOCUMENT_CONTENT}


def test_everything_that_is_wrong_is_found_at_once() -> None:
    dataset = a_kos()
    for spoil in (_take("PatientID"), _give("Modality", "CT"), _title("113001"), _twice):
        spoil(dataset)
    assert len(kos.check(saved(dataset))) == 4


def test_a_wrong_value_type_is_a_warning() -> None:
    dataset = a_kos()
    _content(dataset)[4].ValueType = "IMAGE"
    assert [finding.severity for finding in kos.check(saved(dataset))] == [Severity.WARNING]


@pytest.mark.parametrize("title", ["131560", "MADOTEMP001", "ddd001"])
def test_a_manifest_with_description_need_not_name_an_ae_title(title: str) -> None:
    dataset = a_kos()
    _title(title)(dataset)
    for series in _series(dataset):
        del series.RetrieveAETitle
    assert kos.check(saved(dataset)) == []


def test_a_file_meta_information_of_another_instance_is_found() -> None:
    data = kos.write(a_manifest()).replace(b"2.25.1", b"2.25.9", 1)
    assert ["(0002,0003)" in finding.context for finding in kos.check(data)] == [True]


@pytest.mark.parametrize("data", [b"", b"x" * 1000, kos.write(a_manifest())[:200], kos.write(a_manifest())[:-3]])
def test_what_is_not_readable_is_one_finding(data: bytes) -> None:
    (finding,) = kos.check(data)
    assert "not readable" in finding.context


def test_findings_hold_nothing_of_the_patient() -> None:
    dataset = a_kos()
    dataset.PatientName, dataset.ContentDate, dataset.SOPInstanceUID = "Müller", "Müller", "Müller"
    assert not any("ller" in finding.context for finding in kos.check(saved(dataset)))
