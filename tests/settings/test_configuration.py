"""Settings: defaults, then the file, then the environment; what is not a setting is an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from xds.errors import Unusable
from xds.settings.access import Sender
from xds.settings.configuration import load
from xds.settings.sections import SECTIONS, TABLES, Location, NamedDomain, Settings, flat


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "xds.toml"


def of(file: Path, text: str, **environment: str) -> Settings:
    file.write_text(text, "utf-8")
    return load(file, environment).settings


def test_without_a_file_and_variables_everything_is_the_default() -> None:
    loaded = load(None, {"PATH": "/bin", "XDSX": "1", "xds_server_listen": "x"})
    assert loaded.settings == Settings()
    assert loaded.sources == {}


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(file: Path) -> None:
    file.write_text('[server]\nlisten = "a:1"\nworkers = 2\n')
    loaded = load(file, {"XDS_SERVER_LISTEN": "b:2"})
    server = loaded.settings.server
    assert (server.listen, server.workers, server.threads) == ("b:2", 2, 8)
    assert loaded.sources == {"server.listen": "environment", "server.workers": "file"}


def test_the_command_line_goes_before_all(file: Path) -> None:
    file.write_text('[server]\nlisten = "a:1"\n')
    loaded = load(file, {}).changed({"server.listen": "c:3", "audit.source_id": "x"}, "command line")
    assert loaded.settings.server.listen == "c:3"
    assert loaded.settings.audit.source_id == "x"
    assert loaded.sources == {"server.listen": "command line", "audit.source_id": "command line"}


@pytest.mark.parametrize(
    ("text", "dotted", "value"),
    [
        ('[server]\nlisten = "0.0.0.0:80"', "server.listen", "0.0.0.0:80"),
        ("[server]\nallow_open_listen = true", "server.allow_open_listen", True),
        ("[server]\nworkers = 3", "server.workers", 3),
        ("[server]\nheader_seconds = 2.5", "server.header_seconds", 2.5),
        ("[server]\nheader_seconds = 2", "server.header_seconds", 2.0),
        ('[server]\nactors = ["registry"]', "server.actors", ("registry",)),
        ("[server]\nactors = []", "server.actors", ()),
        ('[domain]\npatients = "open"', "domain.patients", "open"),
    ],
)
def test_a_file_sets_values_of_every_kind(file: Path, text: str, dotted: str, value: Any) -> None:
    found = dict(flat(of(file, text)))[dotted]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("variable", "text", "dotted", "value"),
    [
        ("XDS_SERVER_LISTEN", "0.0.0.0:80", "server.listen", "0.0.0.0:80"),
        ("XDS_SERVER_LISTEN", "", "server.listen", ""),
        ("XDS_SERVER_ALLOW_OPEN_LISTEN", "true", "server.allow_open_listen", True),
        ("XDS_SERVER_ALLOW_OPEN_LISTEN", "TRUE", "server.allow_open_listen", True),
        ("XDS_SERVER_ALLOW_OPEN_LISTEN", "0", "server.allow_open_listen", False),
        ("XDS_SERVER_WORKERS", "3", "server.workers", 3),
        ("XDS_SERVER_HEADER_SECONDS", "2", "server.header_seconds", 2.0),
        ("XDS_SERVER_ACTORS", "registry, repository,", "server.actors", ("registry", "repository")),
        ("XDS_SERVER_ACTORS", "", "server.actors", ()),
        ("XDS_DOMAIN_PATIENTS", "open", "domain.patients", "open"),
        ("XDS_IMAGING_SOURCE_RETRIEVE_LOCATION_UID", "1.2", "imaging_source.retrieve_location_uid", "1.2"),
    ],
)
def test_a_variable_sets_values_of_every_kind(variable: str, text: str, dotted: str, value: Any) -> None:
    found = dict(flat(load(None, {variable: text}).settings))[dotted]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[server]\nlistn = "x"', "server.listn"),
        ('[servers]\nlisten = "x"', "servers"),
        ("[servers]", "servers"),
        ('listen = "x"', "listen"),
        ('server = "x"', "server"),
        ("[server]\nlisten = 80", "server.listen"),
        ('[server]\nworkers = "2"', "server.workers"),
        ("[server]\nworkers = 2.0", "server.workers"),
        ("[server]\nworkers = true", "server.workers"),
        ("[server]\nheader_seconds = true", "server.header_seconds"),
        ('[server]\nheader_seconds = "1"', "server.header_seconds"),
        ("[server]\nallow_open_listen = 1", "server.allow_open_listen"),
        ('[server]\nactors = "registry"', "server.actors"),
        ("[server]\nactors = [1]", "server.actors"),
        ('[domain]\npatients = "closed"', "domain.patients"),
        ('[domain]\npatients = ["open"]', "domain.patients"),
        ("[server.listen]\nx = 1", "server.listen"),
        ("[server\n", "xds.toml"),
        ("[server]\nlisten = 1\nlisten = 2", "xds.toml"),
    ],
)
def test_what_is_no_setting_or_of_another_kind_is_named(file: Path, text: str, names: str) -> None:
    with pytest.raises(Unusable, match=names):
        of(file, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(Unusable, match=path.name):
            load(path, {})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Unusable, match=r"xds\.toml"):
        load(file, {})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("XDS_SERVER", "x"),
        ("XDS_SERVER_LISTN", "x"),
        ("XDS_REPOSITORIES_1_2", "http://x"),
        ("XDS_SERVER_WORKERS", "two"),
        ("XDS_SERVER_WORKERS", "2.0"),
        ("XDS_SERVER_HEADER_SECONDS", "soon"),
        ("XDS_SERVER_ALLOW_OPEN_LISTEN", "perhaps"),
        ("XDS_DOMAIN_PATIENTS", "closed"),
    ],
)
def test_a_variable_that_is_no_setting_or_of_another_kind_is_named(variable: str, text: str) -> None:
    with pytest.raises(Unusable, match=variable):
        load(None, {variable: text})


# Peers.


def test_peers_are_urls_or_tables_by_oid(file: Path) -> None:
    file.write_text(
        '[repositories]\n"1.2.3" = "https://a/repository"\n'
        '[imaging_sources."1.2.4"]\nurl = "https://b/source"\ntrusted = "ca.pem"\n'
    )
    loaded = load(file, {})
    assert loaded.settings.repositories == {"1.2.3": Location("https://a/repository")}
    assert loaded.settings.imaging_sources == {"1.2.4": Location("https://b/source", trusted="ca.pem")}
    assert loaded.sources == {"repositories.1.2.3": "file", "imaging_sources.1.2.4": "file"}
    assert dict(flat(loaded.settings))["repositories.1.2.3"] == "https://a/repository"


@pytest.mark.parametrize(
    "entry",
    ["5", "true", "[]", '["https://a"]', "{}", '{certificate = "c"}', '{url = "https://a", secret = "x"}',
     "{url = 5}", '{url = "https://a", key = 5}'],
)  # fmt: skip
@pytest.mark.parametrize("section", ["repositories", "imaging_sources"])
def test_a_peer_of_another_form_is_named(file: Path, section: str, entry: str) -> None:
    with pytest.raises(
        Unusable, match=rf"{section}.1\.2\.3: a URL, or a table of url, certificate, key, trusted, name"
    ):
        of(file, f'[{section}]\n"1.2.3" = {entry}')


def test_peers_are_no_list(file: Path) -> None:
    with pytest.raises(Unusable, match="repositories"):
        of(file, 'repositories = ["https://a"]')


# Affinity domains and senders, by the names that the operator gives them.


def test_an_affinity_domain_of_its_own_has_a_name_and_the_settings_of_one(file: Path) -> None:
    file.write_text('[domain]\npatients = "open"\n[domains.north]\nassigning_authorities = ["1.2"]\n')
    loaded = load(file, {})
    assert loaded.settings.domains == {"north": NamedDomain(assigning_authorities=("1.2",))}
    assert loaded.sources["domains.north.assigning_authorities"] == "file"
    assert dict(flat(loaded.settings))["domains.north.patients"] == "feed"
    assert list(loaded.settings.affinity_domains) == ["default", "north"]
    assert loaded.settings.affinity_domains["default"].patients == "open"
    changed = loaded.changed({"domains.north.codes": "x"}, "made at first start").settings
    assert changed.domains["north"] == NamedDomain(assigning_authorities=("1.2",), codes="x")


def test_a_sender_has_a_name_and_what_is_tolerated_of_it(file: Path) -> None:
    settings = of(file, '[senders.pacs]\naddresses = ["10.0.0.0/8"]\nschema = "tolerant"\n')
    assert settings.senders == {"pacs": Sender(addresses=("10.0.0.0/8",), schema="tolerant")}
    assert dict(flat(settings))["senders.pacs.schema"] == "tolerant"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[domains]\nnorth = 5", r"domains\.north: a table of"),
        ("[domains.north]\nname = 5", r"domains\.north\.name: there is no such setting"),
        ('[domains.north]\npatients = "closed"', r"domains\.north\.patients cannot be"),
        ("[domains.North]", r"domains\.North: a name has small letters"),
        ("[domains.registry]", r"domains\.registry: .* none of console"),
        ("[domains.default]", r"domains\.default: .* none of console"),
        ('[senders."a b"]', r"senders\.a b: a name has small letters"),
        ('[senders.a]\naddresses = "10.0.0.1"', r"senders\.a\.addresses cannot be"),
        ('[senders.a]\nschema = "off"', r"senders\.a\.schema cannot be"),
    ],
)
def test_an_entry_of_another_form_is_named(file: Path, text: str, names: str) -> None:
    with pytest.raises(Unusable, match=names):
        of(file, text)


# What follows from the settings, and that none is forgotten.


def test_what_is_not_set_lies_in_the_data_folder() -> None:
    settings = load(None, {"XDS_SERVER_DATA": "/srv/xds"}).settings
    assert settings.data == Path("/srv/xds")
    assert settings.database_url == "sqlite:////srv/xds/xds.sqlite"
    assert settings.documents_folder == Path("/srv/xds/documents")


def test_a_relative_data_folder_has_an_absolute_database() -> None:
    assert Settings().database_url == f"sqlite:///{Path('xds-data').absolute()}/xds.sqlite"


@pytest.mark.parametrize("url", ["file:/srv/documents", "file:///srv/documents"])
def test_documents_lie_where_a_file_url_says(url: str) -> None:
    settings = load(None, {"XDS_SERVER_DOCUMENTS": url, "XDS_SERVER_DATABASE": "postgresql://x/y"}).settings
    assert settings.documents_folder == Path("/srv/documents")
    assert settings.database_url == "postgresql://x/y"


@pytest.mark.parametrize("url", ["https://bucket", "/srv/documents"])
def test_another_store_of_documents_is_refused(url: str) -> None:
    with pytest.raises(Unusable, match=r"server\.documents"):
        _ = load(None, {"XDS_SERVER_DOCUMENTS": url}).settings.documents_folder


def test_every_setting_has_a_dotted_name_and_a_variable_of_its_own() -> None:
    sections = [f.name for f in dataclasses.fields(Settings)]
    assert sections == [*SECTIONS, *TABLES]
    expected = {f"{s}.{f.name}" for s in SECTIONS for f in dataclasses.fields(getattr(Settings(), s))}
    names = [name for name, _ in flat(Settings())]
    assert set(names) == expected
    variables = {f"XDS_{name.replace('.', '_').upper()}" for name in names}
    assert len(variables) == len(names)


@pytest.mark.parametrize("dotted", [name for name, _ in flat(Settings())])
def test_every_default_can_be_said_in_the_environment(dotted: str) -> None:
    default = dict(flat(Settings()))[dotted]
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    loaded = load(None, {f"XDS_{dotted.replace('.', '_').upper()}": text})
    assert dict(flat(loaded.settings)) == dict(flat(Settings()))
    assert loaded.sources == {dotted: "environment"}


def test_every_setting_is_of_a_kind_that_can_be_read() -> None:
    for section in SECTIONS:
        part = getattr(Settings(), section)
        for name, kind in get_type_hints(type(part)).items():
            assert kind in (str, bool, int, float, tuple[str, ...]) or "Literal" in str(kind), (section, name)
