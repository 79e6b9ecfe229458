"""What is said at the end of programs that were missing."""

from __future__ import annotations

import pytest

from tests import needs
from tests.needs import missing, told


def test_each_missing_program_has_a_line_with_its_tests_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "CI", False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        missing("Orthanc", "orthanc orthanc-dicomweb")
    reason = f"Skipped: {skipped.value.msg}"
    assert told([reason, reason, "Skipped: SQLite has one writer"]) == [
        "2 tests were skipped without Orthanc: apt-get install orthanc orthanc-dicomweb"
    ]


def test_in_ci_a_missing_program_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "CI", True)
    with pytest.raises(pytest.fail.Exception, match="Orthanc is not installed"):
        missing("Orthanc", "orthanc")
