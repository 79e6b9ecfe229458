"""``xds guide`` prints what the source has, and says what there is."""

from __future__ import annotations

from click.testing import CliRunner

from tests.deploy.guides import FOLDER
from xds.cli import commands


def test_the_guides_are_listed_with_their_titles() -> None:
    done = CliRunner().invoke(commands, ["guide"])
    assert [line.split()[0] for line in done.output.splitlines()] == [
        "ehr", "imaging-consumer", "pacs", "auditor", "privacy-officer", "operator", "merging",
    ]  # fmt: skip
    assert "EHR: register documents and find them" in done.output


def test_every_guide_is_listed_and_printed_as_it_is() -> None:
    for path in FOLDER.glob("*.md"):
        assert CliRunner().invoke(commands, ["guide", path.stem]).output == path.read_text("utf-8")


def test_a_guide_that_is_not_there_is_wrong_use_and_says_what_there_is() -> None:
    for name in ("nurse", "../README", "", "EHR", "ehr.md", "ehr\0"):
        done = CliRunner().invoke(commands, ["guide", name])
        assert done.exit_code == 2
        assert "there are ehr, imaging-consumer, pacs, auditor, privacy-officer, operator, merging" in done.output
