"""A manifest as a Key Object Selection, and back; held against pydicom."""

from __future__ import annotations

import contextlib
import io
import unicodedata
import zlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.extent import examples
from tests.imaging.images import CT, ECG, KOS, SR, STUDY, a_kos, a_manifest, a_series, an_instance, saved
from xds.imaging import kos, part10
from xds.imaging.codes import value_type
from xds.imaging.manifest import Code, InstanceReference, Manifest, Patient, Request, SeriesReference

uids = st.from_regex(r"1\.2(\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True)
readable = st.characters(codec="utf-8", exclude_categories=("C", "Z", "M"))
free_texts = st.text(readable, max_size=40).map(lambda value: unicodedata.normalize("NFC", value))
texts = free_texts.map(lambda value: value.translate(dict.fromkeys(map(ord, "\\^=")))[:12])
names = st.builds("^".join, st.lists(texts, min_size=1, max_size=3)).map(lambda name: name.rstrip("^"))
oids = st.one_of(st.just(""), uids)


@st.composite
def requests(draw: Any) -> Request:
    accession, placer = draw(texts), draw(texts)
    request = Request(
        accession,
        draw(oids) if accession else "",
        placer,
        draw(oids) if placer else "",
        draw(texts),
        draw(texts),
    )
    return request if request != Request() else Request(accession_number="A")


@st.composite
def manifests(draw: Any) -> Manifest:
    listed = draw(st.lists(uids, min_size=1, max_size=12, unique=True))
    cuts = draw(st.lists(st.integers(1, len(listed)), max_size=3))
    groups = [part for part in _split(listed, sorted(set(cuts))) if part]
    series_uids = draw(st.lists(uids, min_size=len(groups), max_size=len(groups), unique=True))
    classes = st.sampled_from([CT, ECG, SR, "1.2.3.4.5"])
    series = tuple(
        SeriesReference(
            uid,
            "",
            draw(st.from_regex(r"[A-Z][A-Z0-9_]{0,15}", fullmatch=True)),
            draw(uids),
            draw(st.sampled_from(["", "https://a.example/wado", "https://b.example/x?y=z"])),
            tuple(InstanceReference(draw(classes), one) for one in group),
        )
        for uid, group in zip(series_uids, groups, strict=True)
    )
    issuer = draw(st.tuples(texts, oids))
    return Manifest(
        sop_instance_uid="2.25." + str(draw(st.integers(1, 2**100))),
        series_instance_uid=draw(uids),
        study_instance_uid=draw(uids),
        created=draw(st.datetimes(datetime(1950, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))),
        patient=Patient(
            draw(texts), *issuer, draw(names), draw(st.sampled_from(["", "19561127"])), draw(st.sampled_from("MFO"))
        ),
        series=series,
        title=draw(st.sampled_from([Code("113030", "DCM", "Manifest"), Code("113032", "DCM", "Complete")])),
        study_date=draw(st.sampled_from(["", "20260301"])),
        study_time=draw(st.sampled_from(["", "10", "101500", "101500.123456"])),
        timezone_offset=draw(st.sampled_from(["+0000", "+0100", "-0330", "+1400", "-1200"])),
        study_id=draw(texts),
        study_description=draw(texts),
        requests=tuple(draw(st.lists(requests(), max_size=3, unique=True))),
        referring_physician=draw(names),
        institution_name=draw(texts),
        manufacturer=draw(texts),
        description=draw(free_texts),
    )


def _split(values: list[str], cuts: list[int]) -> list[list[str]]:
    edges = [0, *cuts, len(values)]
    return [values[begin:end] for begin, end in pairwise(edges)]


@given(manifests())
@settings(max_examples=examples(60), deadline=None)
def test_what_is_written_is_read_the_same(manifest: Manifest) -> None:
    assert kos.read(kos.write(manifest)) == manifest


@given(manifests())
@settings(max_examples=examples(25), deadline=None)
def test_pydicom_reads_both_trees_as_they_were_written(manifest: Manifest) -> None:
    dataset = pydicom.dcmread(io.BytesIO(kos.write(manifest)))
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == manifest.study_instance_uid
    assert tuple(_series(one) for one in study.ReferencedSeriesSequence) == manifest.series
    items = [one for one in dataset.ContentSequence if one.ValueType != "TEXT"]
    assert [(one.ValueType, *_reference(one.ReferencedSOPSequence[0])) for one in items] == [
        (value_type(one.sop_class_uid), one.sop_class_uid, one.sop_instance_uid) for _, one in manifest.instances()
    ]
    assert all(one.RelationshipType == "CONTAINS" for one in dataset.ContentSequence)


def _series(item: Dataset) -> SeriesReference:
    return SeriesReference(
        item.SeriesInstanceUID,
        "",
        item.RetrieveAETitle,
        item.RetrieveLocationUID,
        item.get("RetrieveURL", ""),
        tuple(InstanceReference(*_reference(one)) for one in item.ReferencedSOPSequence),
    )


def _reference(item: Dataset) -> tuple[str, str]:
    return str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)


@given(manifests(), st.booleans(), st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
@settings(max_examples=examples(25), deadline=None)
def test_what_pydicom_writes_is_read_the_same(manifest: Manifest, undefined: bool, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(kos.write(manifest)))
    _undefine(dataset, undefined)
    dataset.file_meta.TransferSyntaxUID = syntax
    assert kos.read(saved(dataset)) == kos.read(kos.write(manifest))


def _undefine(dataset: Dataset, undefined: bool) -> None:
    """Have pydicom write sequences and items with undefined, or all with defined lengths."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
                _undefine(item, undefined)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_manifest_in_another_little_endian_syntax_is_read(syntax: str) -> None:
    dataset = a_kos()
    dataset.file_meta.TransferSyntaxUID = syntax
    assert kos.read(saved(dataset)) == a_manifest()
    assert kos.check(saved(dataset)) == []


def test_a_manifest_in_latin_1_is_read() -> None:
    dataset = a_kos(institution_name="Köln")
    dataset.decode()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    assert kos.read(saved(dataset)).patient.name == "Müller^Anna^^Dr."


def test_times_are_written_at_the_offset_that_is_written() -> None:
    dataset = a_kos()
    assert (dataset.InstanceCreationDate, dataset.InstanceCreationTime) == ("20260302", "003015.250000")
    assert (dataset.StudyDate, dataset.StudyTime, dataset.TimezoneOffsetFromUTC) == ("20260301", "101500", "+0100")
    manifest = kos.read(saved(dataset))
    assert manifest.created == datetime(2026, 3, 1, 23, 30, 15, 250000, tzinfo=UTC)
    assert manifest.study_date_time == datetime(2026, 3, 1, 9, 15, tzinfo=UTC)


def test_times_without_an_offset_are_of_the_zone_given() -> None:
    dataset = a_kos()
    del dataset.TimezoneOffsetFromUTC
    manifest = kos.read(saved(dataset), zone="Europe/Berlin")
    assert manifest.study_date_time == datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
    assert manifest.timezone_offset == "+0100"


def test_one_accession_number_is_the_studys() -> None:
    dataset = a_kos(requests=(Request("A1", "1.2.3", "P1"), Request("A1", "1.2.3", "P2")))
    assert dataset.AccessionNumber == "A1"
    assert dataset.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3"
    assert len(dataset.ReferencedRequestSequence) == 2


def test_of_several_accession_numbers_none_is_the_studys() -> None:
    dataset = a_kos()
    assert dataset.AccessionNumber == ""
    assert [one.AccessionNumber for one in dataset.ReferencedRequestSequence] == ["A1", "A2"]


def test_an_accession_number_without_a_request_is_read() -> None:
    dataset = a_kos(requests=(Request("A1", "1.2.3"),))
    del dataset.ReferencedRequestSequence
    assert kos.read(saved(dataset)).requests == (Request("A1", "1.2.3"),)


def test_a_long_accession_number_is_not_cut() -> None:
    long = "20260301-RADIOLOGY-0000004711"
    assert kos.read(kos.write(a_manifest(requests=(Request(long),)))).accession_numbers == (long,)


def test_a_long_description_is_cut_to_what_its_vr_allows() -> None:
    assert a_kos(study_description="x" * 100).StudyDescription == "x" * 64


def test_characters_that_separate_values_do_not_get_in() -> None:
    assert a_kos(study_description="a\\b\r\n\x1bc").StudyDescription == "a/bc"


def test_helpers_count_and_list() -> None:
    manifest = a_manifest()
    assert manifest.count == 4
    assert manifest.retrieve_location_uids == ("1.2.3.4.5",)
    assert manifest.accession_numbers == ("A1", "A2")
    assert [instance.sop_instance_uid for _, instance in manifest.instances()][-1] == "1.2.3.100.2.2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series": ()}, "at least one instance"),
        ({"series": (a_series(1), a_series(2, instances=()))}, "at least one instance"),
        ({"study_instance_uid": "1.2.x"}, "malformed"),
        ({"series": (a_series(retrieve_location_uid="here"),)}, "malformed"),
        ({"series": (a_series(1), a_series(2, InstanceReference(CT, "1.2.3.100.1.1")))}, "once"),
        ({"series": (a_series(1, InstanceReference(KOS, "2.25.1")),)}, "itself"),
        ({"timezone_offset": "CET"}, "offset"),
        ({"created": datetime(2026, 3, 1)}, "UTC"),
    ],
)
def test_a_manifest_that_is_none_is_not_written(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kos.write(a_manifest(**changes))


def _without(keyword: str) -> bytes:
    dataset = a_kos()
    delattr(dataset, keyword)
    return saved(dataset)


def _with(**changes: Any) -> bytes:
    dataset = a_kos()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return saved(dataset)


def _two_studies() -> bytes:
    dataset = a_kos()
    other = Dataset()
    other.StudyInstanceUID = "1.2.9"
    other.ReferencedSeriesSequence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    dataset.CurrentRequestedProcedureEvidenceSequence.append(other)
    return saved(dataset)


def _dataset() -> bytes:
    data = kos.write(a_manifest())
    return data[data.index(b"\x08\0\x05\0CS") :]


def _as(syntax: str, dataset: bytes) -> bytes:
    return part10.file_head(KOS, "2.25.1", syntax) + dataset


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a DICOM file"),
        (b"%PDF-1.7" * 100, "not a DICOM file"),
        (saved(an_instance()), "another SOP Class UID"),
        (_without("CurrentRequestedProcedureEvidenceSequence"), "no evidence"),
        (_with(CurrentRequestedProcedureEvidenceSequence=Sequence()), "no evidence"),
        (_without("ConceptNameCodeSequence"), "no title"),
        (_without("StudyInstanceUID"), r"no UID in \(0020,000D\)"),
        (_two_studies(), "several studies"),
        (_as(part10.EXPLICIT_BIG, _dataset()), "Big Endian"),
        (_as(part10.DEFLATED, _dataset()), "inflate"),
        (b"\0" * (64 * 1024 * 1024 + 1), "larger than"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_is_no_manifest_is_refused_with_its_reason(data: bytes, message: str) -> None:
    with pytest.raises(kos.NotAManifest, match=message):
        kos.read(data)


def test_a_manifest_without_any_date_is_refused() -> None:
    dataset = a_kos()
    for keyword in ("InstanceCreationDate", "ContentDate"):
        delattr(dataset, keyword)
    with pytest.raises(kos.NotAManifest, match="no date"):
        kos.read(saved(dataset))


def test_the_content_date_stands_in_for_the_instances() -> None:
    dataset = a_kos()
    del dataset.InstanceCreationDate
    assert kos.read(saved(dataset)).created == a_manifest().created


@given(st.data())
@settings(max_examples=examples(150), deadline=None)
def test_a_damaged_manifest_is_refused_or_read_and_nothing_else_happens(data: st.DataObject) -> None:
    whole = bytearray(kos.write(a_manifest()))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole)
    kos.check(cut)
    with contextlib.suppress(kos.NotAManifest):
        kos.read(cut)


@given(st.binary(max_size=400))
@settings(max_examples=examples(100), deadline=None)
def test_any_bytes_after_a_good_beginning_are_refused_or_read(tail: bytes) -> None:
    data = kos.write(a_manifest())
    cut = data[: data.index(b"\x08\0\x16\0UI")] + tail
    kos.check(cut)
    with pytest.raises(kos.NotAManifest):
        kos.read(cut)


def test_a_sequence_nested_too_deeply_is_refused() -> None:
    data = kos.write(a_manifest())
    deep = (b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff") * 100_000
    with pytest.raises(kos.NotAManifest, match="nested"):
        kos.read(data[: data.index(b"\x40\0\x30\xa7SQ")] + deep)


def test_a_deflated_bomb_is_refused() -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(squeezer.compress(bytes(1024 * 1024)) for _ in range(70)) + squeezer.flush()
    with pytest.raises(kos.NotAManifest, match="inflates to more"):
        kos.read(_as(part10.DEFLATED, bomb))


def test_a_manifest_of_one_instance_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.imaging.evidence.INSTANCE_LIMIT", 3)
    with pytest.raises(kos.NotAManifest, match="more than 3 instances"):
        kos.read(kos.write(a_manifest()))


def test_a_refusal_holds_nothing_of_the_patient() -> None:
    dataset = a_kos()
    dataset.StudyInstanceUID = "Müller"
    with pytest.raises(kos.NotAManifest) as refused:
        kos.read(saved(dataset))
    assert "ller" not in str(refused.value)


def test_the_study_is_that_of_the_images() -> None:
    assert a_kos().StudyInstanceUID == STUDY
