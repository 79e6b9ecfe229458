"""``xds config``, ``xds patient``, ``xds db``: what is set, and patients by hand; wrong use in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import xds
from xds import __version__
from xds.cli import commands
from xds.settings.sections import Settings, flat

CX = "anna^^^&1.2.3.4.5&ISO"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "xds.toml"
    path.write_text(
        f'[server]\ndata = "{tmp_path / "data"}"\n\n[domain]\nassigning_authorities = ["1.2.3.4.5"]\n'
        '\n[repositories]\n"1.2.3" = "http://127.0.0.1:1/repository"\n'
    )
    return path


def test_every_command_says_what_it_does_and_gives_an_example() -> None:
    context = commands.make_context("xds", ["config"], resilient_parsing=True)
    for name in commands.list_commands(context):
        said = xds(name, "--help")
        assert said.code == 0
        assert "Usage: xds" in said.out or name in said.out
    assert xds("--version").out == f"xds, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["unheard-of"], ["config", "show", "--unheard-of"], ["patient", "add"], ["find"]]
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    done = xds(*arguments)
    assert done.code == 2
    assert "Usage" in done.err


def test_every_setting_is_shown_with_where_it_came_from(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_THREADS", "3")
    done = xds("config", "show", "--config", config)
    assert done.code == 0
    for name, _ in flat(Settings()):
        assert f"{name} = " in done.out
    for line in (
        "server.threads = 3    (environment)",
        "server.workers = 2    (default)",
        "domain.assigning_authorities = 1.2.3.4.5    (file)",
        "repositories.1.2.3 = http://127.0.0.1:1/repository    (file)",
    ):
        assert line in done.out.splitlines()
    (made,) = (line for line in done.out.splitlines() if line.startswith("repository.unique_id"))
    assert made.endswith("(made at first start)")


def test_settings_as_json_are_the_same_every_time(config: Path) -> None:
    first = xds("config", "show", "--json", "--config", config).json
    assert first["repository.unique_id"]
    assert xds("config", "show", "--json", "--config", config).json == first


def test_the_data_folder_may_be_named_by_itself(tmp_path: Path) -> None:
    shown = xds("config", "show", "--json", "--data", tmp_path / "other").json
    assert shown["server.data"] == str(tmp_path / "other")


def test_good_settings_are_said_to_be(config: Path) -> None:
    assert xds("config", "check", "--config", config).out == "the settings are good\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nunheard_of = 1\n", "server.unheard_of: there is no such setting"),
        ("[unheard_of]\nx = 1\n", "there is no section unheard_of"),
        ("server = 1\n", "server is no section"),
        ("[server]\nthreads = 'many'\n", "server.threads cannot be 'many'"),
        ("[server]\nthreads = true\n", "server.threads cannot be True"),
        ("[domain]\npatients = 'maybe'\n", "domain.patients cannot be 'maybe'"),
        ("[server\n", "xds.toml"),
        ("[server]\nlisten = '0.0.0.0:80'\n", "server.allow_open_listen"),
        ("[mllp]\nlisten = '0.0.0.0:2575'\n", "mllp.listen is 0.0.0.0:2575: without mutual TLS"),
        ("[mllp]\nlisten = '127.0.0.1'\n", "HOST:PORT"),
        ("[domain]\ncodes = '/nowhere/codes.toml'\n", "domain.codes: /nowhere/codes.toml"),
        ("[syslog]\ntls = '127.0.0.1:6514'\n", "syslog.tls needs tls.certificate"),
        ("[repositories]\n'1.2' = {address = 'x'}\n", "repositories.1.2"),
        ("[repositories]\n'1.2' = 5\n", "repositories.1.2"),
        ("[server]\ndata = '/proc/none'\n", "/proc/none"),
    ],
)
def test_bad_settings_are_named_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "xds.toml"
    path.write_text(text if "data" in text else text + "\n[audit]\nsource_id = 'x'\n")
    done = xds("config", "check", "--config", path, *([] if "data" in text else ["--data", tmp_path / "data"]))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("xds: ")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_variable_that_is_no_setting_is_named(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("XDS_SERVER_UNHEARD_OF", "1")
    done = xds("config", "show", "--config", config)
    assert (done.code, done.err) == (1, "xds: environment: XDS_SERVER_UNHEARD_OF is no setting\n")


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = xds("config", "show", "--config", tmp_path / "none.toml")
    assert done.code == 1
    assert "none.toml" in done.err


def test_a_patient_is_added_once_and_listed(config: Path) -> None:
    assert xds("patient", "list", "--json", "--config", config).json == []
    assert xds("patient", "add", CX, "--config", config).out == "added\n"
    assert xds("patient", "add", CX, "--config", config).out == "known already\n"
    assert xds("patient", "list", "--config", config).out == f"{CX}\n"
    assert xds("patient", "list", "--json", "--config", config).json == [CX]


def test_patients_are_merged_shown_and_parted_again_each_step_audited(config: Path) -> None:
    other = CX.replace("anna", "ann")
    for cx in (CX, other):
        xds("patient", "add", cx, "--config", config)
    assert xds("patient", "merge", other, CX, "--config", config).out == "merged\n"
    assert xds("patient", "list", "--json", "--config", config).json == [CX]
    merged = xds("patient", "list", "--merged", "--json", "--config", config)
    assert merged.json == [{"subsumed": other, "surviving": CX}]
    assert xds("patient", "list", "--merged", "--config", config).out == f"{other} -> {CX}\n"
    again = xds("patient", "merge", other, CX, "--config", config)
    assert (again.code, "merged away already" in again.err) == (1, True)
    assert xds("patient", "unmerge", other, "--config", config).out == f"was merged into {CX}\n"
    assert sorted(xds("patient", "list", "--json", "--config", config).json) == sorted([CX, other])
    assert xds("patient", "unmerge", other, "--config", config).code == 1
    records = xds("audit", "list", "--json", "--config", config).json
    events = [row["event"] for row in records]
    assert (events.count("Patient Record"), events.count("Security Alert"), len(events)) == (6, 1, 7)
    assert {row["patient"] for row in records} == {CX, other}


@pytest.mark.parametrize("cx", ["anna", "anna^^^&x&ISO", "anna^^^1.2", "", "anna^^^&1.2&ISO^PI"])
def test_a_patient_id_that_is_none_is_not_repeated(config: Path, cx: str) -> None:
    done = xds("patient", "add", cx, "--config", config)
    assert (done.code, done.err) == (1, "xds: the patient id is not of the form id^^^&oid&ISO\n")


def test_a_patient_of_another_authority_is_refused(config: Path) -> None:
    done = xds("patient", "add", "anna^^^&1.9.9&ISO", "--config", config)
    assert done.code == 1
    assert "1.9.9 is none of domain.assigning_authorities" in done.err


def test_the_database_is_brought_up_to_date_again_and_again(config: Path) -> None:
    for _ in range(2):
        assert xds("db", "upgrade", "--config", config).out == "the database is up to date\n"


def test_a_database_that_cannot_be_reached_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_DATABASE", "postgresql://nobody:secret@127.0.0.1:1/none")
    done = xds("patient", "list", "--data", tmp_path / "data")
    assert done.code == 1
    assert "the database cannot be used" in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_anothers_database_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_DATABASE", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    assert xds("db", "upgrade", "--data", tmp_path / "one").code == 0
    done = xds("db", "upgrade", "--data", tmp_path / "two")
    assert done.code == 1
    assert "belongs to another deployment" in done.err
