"""Code sets: what the domain's file names restricts, what it does not name does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.builders import DCM, a_folder, a_submission, an_entry
from xds.errors import ErrorCode, Severity, Unusable
from xds.metadata.datatypes import Code
from xds.rules.code_sets import ANY, CodeSetsFile, read

LOINC = "2.16.840.1.113883.6.1"
GOOD = f"""
mimeType = ["application/dicom"]
languageCode = ["en-US", "de-CH"]
repositoryUniqueId = ["1.2.3.4.6"]
sourceId = ["1.2.3.4.7"]
[formats]
"1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1" = ["application/dicom"]
"urn:ihe:rad:PDF^^1.3.6.1.4.1.19376.1.2.3" = ["application/pdf"]
[typeCode]
"{LOINC}" = ["18748-4", "11525-3"]
[eventCodeList]
"{DCM}" = ["CT", "MR"]
[contentTypeCode]
"1.2.3.4.10" = ["IMG"]
[codeList]
"1.2.3.4.11" = ["ONC"]
"""
ODD = Code("x", "1.2.3", "odd")
PDF = Code("urn:ihe:rad:PDF", "1.3.6.1.4.1.19376.1.2.3", "PDF")


def test_what_the_domain_uses_is_let_pass() -> None:
    assert list(read(GOOD).findings(a_submission(folders=[a_folder()]))) == []
    assert list(ANY.findings(a_submission(entries=[an_entry(type_code=ODD)]))) == []


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"type_code": ODD}, "DocumentEntry.typeCode"),
        ({"type_code": Code("18748-4", "1.2.3", "another scheme")}, "DocumentEntry.typeCode"),
        ({"event_code_list": (Code("CT", DCM, "ct"), ODD)}, "DocumentEntry.eventCodeList"),
        ({"language_code": "fr"}, "DocumentEntry.languageCode"),
        ({"repository_unique_id": "1.2.3.4.66"}, "DocumentEntry.repositoryUniqueId"),
        ({"format_code": PDF}, "DocumentEntry.mimeType"),
    ],
)
def test_another_code_of_an_entry_is_named(changes: dict[str, Any], attribute: str) -> None:
    entry = an_entry(**changes)
    (finding,) = read(GOOD).findings(a_submission(entries=[entry]))
    assert (finding.code, finding.location, finding.severity) == (
        ErrorCode.REGISTRY_METADATA, entry.entry_uuid, Severity.ERROR,
    )  # fmt: skip
    assert finding.context.startswith(f"{attribute}: ")
    assert "(ITI TF-2: 3.42.4.1.3)" in finding.context


def test_a_media_type_may_be_none_of_the_domains_and_none_of_its_formats() -> None:
    found = [f.context for f in read(GOOD).findings(a_submission(entries=[an_entry(mime_type="text/plain")]))]
    assert [context.split(" (")[0] for context in found] == [
        "DocumentEntry.mimeType: is none that this domain uses",
        "DocumentEntry.mimeType: is none that goes with the formatCode",
    ]


def test_a_format_that_is_not_named_goes_with_any_media_type() -> None:
    assert list(read(GOOD).findings(a_submission(entries=[an_entry(format_code=ODD)]))) == []


def test_a_source_that_the_domain_does_not_know_is_named() -> None:
    (finding,) = read(GOOD).findings(a_submission(source_id="1.2.3.4.77"))
    assert finding.context.startswith("SubmissionSet.sourceId: ")


def test_codes_of_sets_and_folders_are_held_to_it_too() -> None:
    submission = a_submission(content_type_code=ODD, folders=[a_folder(code_list=(ODD,))])
    found = [finding.context.split(":")[0] for finding in read(GOOD).findings(submission)]
    assert found == ["SubmissionSet.contentTypeCode", "Folder.codeList"]


def test_the_name_of_a_code_and_attributes_that_are_not_named_are_free() -> None:
    entry = an_entry(type_code=Code("18748-4", LOINC, "Bildgebung"), class_code=ODD, format_code=ODD)
    assert list(read(GOOD).findings(a_submission(entries=[entry]))) == []


def test_an_attribute_without_any_code_allows_none() -> None:
    (finding,) = read("[classCode]\n").findings(a_submission())
    assert finding.context.startswith("DocumentEntry.classCode")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[typeCode", "code sets"),
        ("[colour]\n", "colour is none of"),
        ("typeCode = ['x']\n", "typeCode is a table"),
        ("[typeCode]\nx = 'y'\n", "typeCode needs lists"),
        ("[typeCode]\nx = [1]\n", "typeCode needs lists"),
        ("mimeType = 'x'\n", "mimeType needs lists"),
        ("formats = ['x']\n", "formats is a table"),
        ("[formats]\nx = 'y'\n", "formats needs lists"),
    ],
)
def test_a_file_that_holds_something_else_is_said_so(text: str, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        read(text)


# The file.


def rewritten(path: Path, text: str, time: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(time, time))


def test_a_file_that_has_changed_is_read_again_and_a_bad_one_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "codes.toml"
    rewritten(path, GOOD, 10**18)
    file = CodeSetsFile(path, Severity.WARNING)
    before = file.current()
    assert before == read(GOOD, Severity.WARNING)
    assert file.current() is before
    rewritten(path, "[typeCode]\n", 2 * 10**18)
    after = file.current()
    assert after == read("[typeCode]\n", Severity.WARNING)
    rewritten(path, "[typeCode", 3 * 10**18)
    assert file.current() is after
    path.unlink()
    assert file.current() is after
    rewritten(path, GOOD, 4 * 10**18)
    assert file.current() == before


@pytest.mark.parametrize("content", [None, b"\xff", b"[typeCode"])
def test_a_file_that_cannot_be_read_at_first_is_said_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "codes.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unusable):
        CodeSetsFile(path, Severity.ERROR)
