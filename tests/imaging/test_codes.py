"""The tables of codes."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes as pydicom_codes

from tests.imaging.images import CT, ECG, KOS, SR
from xds.imaging import anatomy, codes
from xds.imaging.manifest import MANIFEST_TITLE, Code


def test_a_modality_has_its_meaning() -> None:
    assert codes.modality("CT") == Code("CT", "DCM", "Computed Tomography")
    assert codes.modality("XX") is None


def test_a_retired_modality_is_what_stands_for_it_now() -> None:
    assert codes.modality("DS") == codes.modality("XA")
    assert codes.is_acquisition("DS")


def test_documents_and_presentation_states_do_not_acquire() -> None:
    assert not any(map(codes.is_acquisition, ("KO", "SR", "PR", "SEG", "")))


def test_the_modalities_are_those_of_context_group_33() -> None:
    expected = {getattr(pydicom_codes.cid33, name).value for name in pydicom_codes.cid33.dir()}
    assert codes.ACQUISITION_MODALITIES.keys() | codes.OTHER_MODALITIES.keys() == expected


def test_the_titles_are_those_of_context_group_7010() -> None:
    expected = {getattr(pydicom_codes.cid7010, name).value for name in pydicom_codes.cid7010.dir()}
    assert codes.DOCUMENT_TITLES.keys() == expected
    assert codes.document_title("113030") == MANIFEST_TITLE


def test_four_titles_are_of_rejection_notes() -> None:
    notes = [one for one in codes.DOCUMENT_TITLES if codes.is_rejection_note(Code(one, "DCM", ""))]
    assert sorted(notes) == ["113001", "113037", "113038", "113039"]


@pytest.mark.parametrize(
    ("sop_class", "expected"),
    [
        (CT, "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "IMAGE"),  # segmentation
        ("1.2.840.10008.5.1.4.1.1.481.2", "IMAGE"),  # RT dose
        (ECG, "WAVEFORM"),
        (SR, "COMPOSITE"),
        (KOS, "COMPOSITE"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "COMPOSITE"),  # PDF
        ("1.2.3.4", "COMPOSITE"),
    ],
)
def test_the_value_type_is_that_of_the_sop_class(sop_class: str, expected: str) -> None:
    assert codes.value_type(sop_class) == expected


@pytest.mark.parametrize("examined", ["CHEST", "chest", "Thorax", " CHEST "])
def test_a_body_part_is_found_however_it_is_written(examined: str) -> None:
    assert anatomy.body_part(examined) == Code("816094009", "SCT", "Thorax")


def test_a_body_part_that_is_no_defined_term_has_no_code() -> None:
    assert anatomy.body_part("LEFT ELBOW OBLIQUE") is None
    assert anatomy.body_part("") is None


def test_every_body_part_lies_in_a_region() -> None:
    for term in anatomy._BODY_PARTS:
        part = anatomy.body_part(term)
        assert part is not None
        assert anatomy.regions(part)


def test_a_body_part_over_several_regions_has_them_all() -> None:
    part = anatomy.body_part("CHESTABDPELVIS")
    assert part is not None
    assert anatomy.regions(part) == (anatomy.UPPER_TRUNK, anatomy.LOWER_TRUNK)


def test_a_code_of_another_scheme_has_no_region() -> None:
    assert anatomy.regions(Code("816094009", "99LOCAL", "Thorax")) == ()
