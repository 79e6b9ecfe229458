"""What an Orthanc says has changed: Debian's own, and answers that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.builders import AUTHORITY, REPOSITORY
from tests.conftest import wait_for
from tests.imaging.images import STUDY, an_instance, saved
from tests.initiating.test_publisher import Follower
from tests.server.test_application import serving
from xds.archives import orthanc as module
from xds.archives.interface import Gone, NotAnswering
from xds.archives.orthanc import OrthancChanges
from xds.archives.web import Web

__all__ = ["orthanc", "orthanc_server"]


def an_image(number: int, study: str = STUDY) -> bytes:
    dataset = an_instance(number)
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = "anna", []
    return saved(dataset)


def removed(orthanc: Orthanc, level: str) -> None:
    with urlopen(f"{orthanc.url}/{level}") as reply:  # noqa: S310
        (first, *_) = json.loads(reply.read())
    with urlopen(Request(f"{orthanc.url}/{level}/{first}", method="DELETE")):  # noqa: S310
        pass


def test_a_study_is_named_when_it_is_stable_and_a_removal_is_for_a_look_at_everything(orthanc: Orthanc) -> None:
    changes = OrthancChanges(Web(orthanc.url))
    assert changes.studies() is None
    assert changes.studies() == set()
    orthanc.keep(an_image(1), an_image(2))
    wait_for(lambda: changes.studies() == {STUDY}, 20)
    assert changes.studies() == set()
    orthanc.keep(an_image(3))
    wait_for(lambda: changes.studies() == {STUDY}, 20)
    for level in ("instances", "studies"):
        removed(orthanc, level)
        assert changes.studies() is None
        wait_for(lambda: changes.studies() == set(), 20)


@pytest.fixture
def follower(orthanc: Orthanc, tmp_path: Path) -> Iterator[Follower]:
    text = (
        f'[repository]\nunique_id = "{REPOSITORY}"\n[imaging_source]\ndicomweb = "{orthanc.dicomweb}"\n'
        f'orthanc = "{orthanc.url}"\nissuer = "{AUTHORITY}"\npublish_quiet_seconds = 0.0\npacs_seconds = 5.0\n'
    )
    with serving(f"sqlite:///{tmp_path / 'xds.db'}", tmp_path, text) as site:
        yield Follower(site, tmp_path, tmp_path / "none")


def test_what_comes_into_an_orthanc_is_published_and_what_goes_withdrawn(orthanc: Orthanc, follower: Follower) -> None:
    follower.step()
    orthanc.keep(an_image(1), an_image(2))
    wait_for(lambda: follower.step() == 1, 20)
    assert (follower.state.state, follower.manifest()) == ("published", {f"{STUDY}.1.1", f"{STUDY}.1.2"})
    orthanc.keep(an_image(3))
    wait_for(lambda: follower.step() == 1, 20)
    assert len(follower.manifest()) == 3
    removed(orthanc, "studies")
    wait_for(lambda: follower.step() == 1, 20)
    assert follower.state.state == "withdrawn"


class Answers(Web):
    """A REST API that says one thing after the other."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def json(self, path: str, *, accept: str = "", **parameters: str) -> Any:  # noqa: ARG002
        if path == "/statistics":
            return {"CountInstances": 0}
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def a_page(*changes: tuple[str, str], last: int = 9, done: bool = True) -> dict[str, Any]:
    return {"Changes": [{"ChangeType": kind, "ID": id_} for kind, id_ in changes], "Last": last, "Done": done}


START = {"Last": 5}
A_STUDY = {"MainDicomTags": {"StudyInstanceUID": "1.2"}}


@pytest.mark.parametrize("problem", [Gone("404"), NotAnswering("503")])
def test_after_a_page_that_did_not_come_everything_is_looked_at(problem: Exception) -> None:
    changes = OrthancChanges(Answers(START, a_page(("NewInstance", "i"), done=False), problem, START, a_page()))
    assert changes.studies() is None
    with pytest.raises(NotAnswering):
        changes.studies()
    assert [changes.studies(), changes.studies()] == [None, set()]


def test_changes_come_in_pages_and_a_study_that_is_gone_again_is_passed_over() -> None:
    pages = (a_page(("StableStudy", "a"), done=False), a_page(("StableStudy", "a"), ("NewSeries", "s")))
    changes = OrthancChanges(Answers(START, *pages, A_STUDY, a_page(("StableStudy", "b")), Gone("404")))
    assert [changes.studies(), changes.studies(), changes.studies()] == [None, {"1.2"}, set()]


def test_after_too_many_changes_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    changes = OrthancChanges(Answers(START, a_page(("NewSeries", "s"), last=50), START, a_page(last=5)))
    assert [changes.studies(), changes.studies(), changes.studies()] == [None, None, set()]


@pytest.mark.parametrize("answer", [[], {}, {"Changes": {}}, {"Changes": [], "Last": "x"}, {"Changes": 1, "Last": 1}])
def test_what_is_no_list_of_changes_is_said_so(answer: Any) -> None:
    changes = OrthancChanges(Answers(START, answer))
    changes.studies()
    with pytest.raises(NotAnswering):
        changes.studies()


@pytest.mark.parametrize("study", [[], {}, {"MainDicomTags": 1}])
def test_what_is_no_study_is_passed_over(study: Any) -> None:
    changes = OrthancChanges(Answers(START, a_page(("StableStudy", "a")), study))
    changes.studies()
    assert changes.studies() == set()
