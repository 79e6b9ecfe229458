"""Gateways are made as the settings say, and what the settings cannot mean is refused at the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import ANNA, AUTHORITY, BERT
from tests.initiating.test_patient_identifier_consumer import by_http
from tests.regions import ANNA_IN_SOUTH, NORTH, SOUTH, a_gateway, asked, find, homes, kept, objects, region, said
from tests.server.test_application import APPROVED
from xds.errors import Status, Unusable
from xds.metadata.identifiers import Oid, PatientId
from xds.server.clients import called
from xds.server.gateways import check
from xds.settings.configuration import load
from xds.settings.sections import Settings

GOOD = (
    '[server]\nactors = ["registry", "gateway"]\n[domain]\nhome_community_id = "1.2.3"\n'
    '[communities.south]\nhome_community_ids = "1.2.4"\nquery = "https://south.example/rg"\n'
)


def settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "xds.toml"
    file.write_text(text, "utf-8")
    return load(file, {}).settings


def test_a_community_is_known_by_one_url_or_several_and_to_metrics_by_its_name(tmp_path: Path) -> None:
    found = settings(tmp_path, GOOD + 'retrieve = ["https://a.example/r", "https://b.example/r"]\n')
    check(found)
    discovering = settings(tmp_path, GOOD + 'discover = "https://c.example/d"\n')
    check(discovering)
    assert called(discovering)["c.example"] == "south"
    assert found.communities["south"].query == ("https://south.example/rg",)
    assert called(found) == {"south.example": "south", "a.example": "south", "b.example": "south"}


@pytest.mark.parametrize(("changes", "said_"), [
    ([('["registry", "gateway"]', '["gateway"]')], "registry"),
    ([('"1.2.4"', '"urn:oid:1.2.4"')], "home_community_ids"),
    ([('home_community_ids = "1.2.4"\n', "")], "home_community_ids"),
    ([('"1.2.4"', '"1.2.3"')], "too"),
    ([('query = "https://south.example/rg"\n', "")], "query"),
    ([('"1.2.3"', '"north"')], "OIDs"),
    ([("query", 'pix = "http://pix.example"\nquery')], "authority"),
    ([("query", 'authorities = ["x"]\nquery')], "authorities"),
    ([("query", "seconds = 0\nquery")], "seconds"),
    ([("query", 'discovered_hours = -1\nquery')], "discovered_hours"),
    ([("query", 'discover = "https://south.example/rg"\nauthority = "x"\nquery')], "authority"),
    ([("[communities", "[registry]\ndemographics = false\n[communities"),
      ("query", 'discover = "https://south.example/rg"\nquery')], "registry.demographics"),
    ([("query", 'domains = ["nowhere"]\nquery')], "nowhere"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, changes: Sequence[tuple[str, str]], said_: str) -> None:
    text = GOOD
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    with pytest.raises(Unusable, match=said_):
        check(settings(tmp_path, text))


def test_two_communities_do_not_have_the_same_id(tmp_path: Path) -> None:
    text = GOOD + '[communities.west]\nhome_community_ids = ["1.2.5", "1.2.4"]\nquery = "https://west.example"\n'
    with pytest.raises(Unusable, match=r"communities\.west.*communities\.south"):
        check(settings(tmp_path, text))


def test_a_table_of_patients_that_cannot_be_read_is_named_with_its_setting(
    tmp_path: Path, sqlite_template: Path
) -> None:
    (tmp_path / "table.csv").write_text("anna,x\n")
    text = (
        f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "http://s"\npatients = "{tmp_path}/table.csv"\n'
    )
    with (
        pytest.raises(Unusable, match=r"communities\.south\.patients.*line 1"),
        region(tmp_path / "north", sqlite_template, NORTH, text),
    ):
        pass


ABOUT_ANNA = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}


def test_ids_of_an_authority_that_both_know_are_asked_as_they_are(tmp_path: Path, sqlite_template: Path) -> None:
    with a_gateway(tmp_path / "stub") as south:
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "{south.url}"\nauthorities = "{AUTHORITY}"\n'
        )
        with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
            assert said(find(north)) == (Status.SUCCESS, [])
    assert str(ANNA).replace("&", "&amp;").encode() in etree.tostring(south.asked[0])


def nobody(_path: str, _request: bytes) -> tuple[int, str, bytes]:
    """A PIX Manager that knows nobody."""
    return 404, "application/fhir+json", b'{"resourceType": "OperationOutcome"}'


def test_where_a_pix_manager_is_asked_it_says_by_which_id(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_gateway(tmp_path / "stub") as south, by_http(nobody) as manager:
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "{south.url}"\n'
            f'pixm = "{manager}"\nauthority = "1.2.3.60"\n'
        )
        with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
            assert said(find(north)) == (Status.SUCCESS, [])
            assert south.asked == []  # that one knows nobody
            assert ("ITI-83", "110112", 0) in north.outcomes()
            community = north.application.domains["default"].actors.gateways.initiating.communities.all[0]
            theirs = PatientId("S1", Oid("1.2.3.60"))
            monkeypatch.setattr(community.patients, "mapped", lambda own: theirs if own == ANNA else None)
            find(north)
            assert str(theirs).replace("&", "&amp;").encode() in etree.tostring(south.asked[0])


def test_a_pix_manager_that_is_silent_is_told_and_keeps_nobody_back(tmp_path: Path, sqlite_template: Path) -> None:
    text = (
        f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "http://127.0.0.1:9/"\n'
        'pixm = "http://127.0.0.1:9/pix"\nauthority = "1.2.3.60"\n'
    )
    with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
        own = kept(north, b"x")
        found = find(north)
    status, ((code, _),) = said(found)
    assert (status, code, list(homes(found))) == (
        Status.PARTIAL_SUCCESS, "XDSUnavailableCommunity", [own.unique_id],
    )  # fmt: skip


def test_the_next_gateway_of_a_community_is_asked_where_the_first_is_silent(
    tmp_path: Path, sqlite_template: Path
) -> None:
    (tmp_path / "table.csv").write_text(f"{ANNA},{ANNA_IN_SOUTH}\n{BERT},{ANNA_IN_SOUTH}\n")
    with a_gateway(tmp_path / "stub") as south:
        south.answer = lambda _: objects()
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = ["http://127.0.0.1:9/", "{south.url}"]\n'
            f'patients = "{tmp_path}/table.csv"\n'
        )
        with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
            assert said(find(north, asked(**ABOUT_ANNA))) == (Status.SUCCESS, [])
            cross = [one for one in north.outcomes() if one[0] == "ITI-38"]
    assert len(south.asked) == 1
    assert sorted(cross) == [("ITI-38", "110112", 0), ("ITI-38", "110112", 8)]


def test_a_gateway_that_is_silent_leaves_time_for_the_next(tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "table.csv").write_text(f"{ANNA},{ANNA_IN_SOUTH}\n")
    with a_gateway(tmp_path / "silent") as silent, a_gateway(tmp_path / "stub") as south:
        silent.go_on.clear()
        south.answer = lambda _: objects()
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = ["{silent.url}", "{south.url}"]\n'
            f'patients = "{tmp_path}/table.csv"\nseconds = 4.0\n'
        )
        with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
            assert said(find(north, asked(**ABOUT_ANNA))) == (Status.SUCCESS, [])
    assert (len(silent.asked), len(south.asked)) == (1, 1)


def test_a_community_of_another_affinity_domain_is_not_asked(tmp_path: Path, sqlite_template: Path) -> None:
    with a_gateway(tmp_path / "stub") as south:
        text = (
            f'[communities.south]\nhome_community_ids = "{SOUTH}"\nquery = "{south.url}"\nauthorities = "{AUTHORITY}"\n'
            'domains = "other"\n[domains.other]\nhome_community_id = "1.2.3.4.104"\n'
            f'assigning_authorities = ["{AUTHORITY}"]\npatients = "open"\n'
        )
        with region(tmp_path / "north", sqlite_template, NORTH, text) as north:
            find(north)
            assert south.asked == []
            find(north, path="/other/gateway")
            assert len(south.asked) == 1
            assert said(find(north, path="/other/gateway"))[0] is Status.SUCCESS
