"""A node vouches for who has signed in at its console: the nodes that it asks know who it is, by its word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from lxml import etree

from tests.access.test_users import messages
from tests.builders import AUTHORITY, REPOSITORY
from tests.cli.command import xds
from tests.endpoints.console.test_region import link, patient_page
from tests.endpoints.console.visiting import got, opened
from tests.imaging.images import an_instance, put
from tests.initiating.test_publisher import ANNA, Follower
from tests.server.test_application import Site, serving
from xds.access import vouching
from xds.access.vouching import Voucher, visitor
from xds.audit.messages.people import Person, asked_by, is_person
from xds.settings.sections import Audit, Console, Repository, Server, Settings
from xds.wire.assertion import BEARER, SAML, Code
from xds.wire.saml_conditions import Demands
from xds.wire.xml import name
from xds.wire.xua import Trust

CLINIC = "1.2.3.77"


def of_clinic(folder: Path) -> Settings:
    return Settings(
        server=Server(data=str(folder / "data")), repository=Repository(unique_id=CLINIC),
        audit=Audit(enterprise_site_id="Clinic"), console=Console(organisation_id="urn:oid:1.2.3.78"),
    )  # fmt: skip


def asserted(settings: Settings, url: str = "https://north.example/registry") -> etree._Element:
    with asked_by(visitor(settings, "vera", "viewer")):
        (block,) = Voucher(settings).header_blocks(url)
    header = etree.Element(name("soap:Header"))
    header.append(block)
    return header


def trust(settings: Settings, *audiences: str) -> Trust:
    own = {vouching.issuer(settings): [vouching.own_key(settings).certificate]}
    return Trust([], Demands(frozenset(audiences)), required=True, issuers=own)


def test_what_it_says_is_believed_by_who_trusts_its_key_and_has_role_organisation_and_purpose(tmp_path: Path) -> None:
    settings = of_clinic(tmp_path)
    for audiences in ((), ("https://north.example/registry",), ("https://north.example",)):
        found = trust(settings, *audiences).asserted(asserted(settings))
        assert found is not None
        assert (found.issuer, found.name_id, found.method) == (f"urn:oid:{CLINIC}", "vera", BEARER)
        assert found.roles == (Code("viewer", CLINIC, "xds", "viewer"),)
        assert found.purposes == (Code("TREAT", "2.16.840.1.113883.5.8"),)
        assert (found.organisations, found.organisation_ids) == (("Clinic",), ("urn:oid:1.2.3.78",))


def test_it_lasts_fifteen_minutes_at_most_and_each_is_another(tmp_path: Path) -> None:
    settings = of_clinic(tmp_path)
    one, other = (trust(settings).asserted(asserted(settings)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.until is not None
    assert one.until - datetime.now(UTC) <= timedelta(minutes=15)
    assert one.id != other.id
    conditions = next(asserted(settings).iter(f"{SAML}Conditions"))
    assert conditions.find(f"{SAML}AudienceRestriction") is not None


def test_nobody_is_vouched_for_who_has_not_signed_in_here(tmp_path: Path) -> None:
    settings = of_clinic(tmp_path)
    voucher = Voucher(settings)
    assert voucher.header_blocks("https://north.example") == ()
    assert voucher.authorization("https://north.example") == ""
    with asked_by(Person("anna", issuer="https://idp.example")):  # for whom another vouches
        assert voucher.header_blocks("https://north.example") == ()
    silent = Settings(server=settings.server, console=Console(vouches=False))
    with asked_by(visitor(silent, "vera", "viewer")):
        assert Voucher(silent).header_blocks("https://north.example") == ()


def test_the_key_is_its_own_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    settings = of_clinic(tmp_path)
    key = vouching.own_key(settings)
    assert key.certificate == vouching.own_key(settings).certificate
    assert (tmp_path / "data/keys/vouching.pem").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "data/keys/audit-signing.pem").exists()


@contextmanager
def north(folder: Path, xua: str) -> Iterator[Site]:
    """A hospital with the registry and a study of Anna's."""
    images = folder / "images"
    dataset = an_instance(1)
    dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = ANNA.id, []
    put(images, "1.dcm", dataset)
    text = (
        f'[repository]\nunique_id = "{REPOSITORY}"\n'
        f'[imaging_source]\nfolder = "{images}"\nissuer = "{AUTHORITY}"\npublish_quiet_seconds = 0.0\n'
    )
    with serving(f"sqlite:///{folder / 'xds.sqlite'}", folder, text) as site:
        Follower(site, images, folder / "none").step()
        uid = site.application.settings.imaging_source.retrieve_location_uid
    text += f'retrieve_location_uid = "{uid}"\n[xua]\n{xua}'
    with serving(f"sqlite:///{folder / 'xds.sqlite'}", folder, text) as site:
        source = site.application.domains["default"].actors.imaging_source
        assert source._archive is not None
        source._archive.refresh()
        yield site


@contextmanager
def clinic(north: Site, folder: Path, more: str = "") -> Iterator[Site]:
    uid = north.application.settings.imaging_source.retrieve_location_uid
    text = (
        f'[server]\nactors = []\n[repository]\nunique_id = "{CLINIC}"\n[audit]\nenterprise_site_id = "Clinic"\n'
        f'[console]\nregistry_url = "{north.url}/registry"\n{more}'
        f'[repositories]\n"{REPOSITORY}" = "{north.url}/repository"\n'
        f'[imaging_sources]\n"{uid}" = "{north.url}/imaging-source"\n'
    )
    with serving(f"sqlite:///{folder / 'xds.sqlite'}", folder, text) as site:
        yield site


@pytest.fixture
def folders(tmp_path: Path, sqlite_template: Path) -> tuple[Path, Path]:
    (tmp_path / "north").mkdir()
    (tmp_path / "clinic").mkdir()
    return tmp_path / "north", tmp_path / "clinic"


def trusting(folder: Path) -> str:
    settings = of_clinic(folder)
    vouching.own_key(settings)
    issuer, file = vouching.issuer(settings), vouching.certificate_file(settings)
    return f'issuers = ["{issuer}={file}"]\nrequired = true\n'


def test_every_record_of_the_node_that_is_asked_names_who_looks_at_the_console_of_the_other(
    folders: tuple[Path, Path],
) -> None:
    here, there = folders
    with north(here, trusting(there)) as hospital, clinic(hospital, there) as asking:
        before = len(messages(hospital))
        tree = got(asking, link(patient_page(asking), "/tree"))[1]
        opened(asking, link(tree, "thumbnail")).close()
        found = messages(hospital)[before:]
    assert [one.event.type_codes[0].code for one in found] == ["ITI-18", "ITI-43", "RAD-69"]
    for one in found:
        (person,) = [participant for participant in one.participants if is_person(participant)]
        assert (person.user_id, person.user_name) == ("vera", f"<vera@urn:oid:{CLINIC}>")
        assert [code.code for code in person.role_ids] == ["viewer"]
        assert [code.code for code in one.event.purposes_of_use] == ["TREAT"]
        assert "Clinic" in [participant.user_name for participant in one.participants]


def test_without_its_word_who_looks_is_refused_where_a_person_is_required(folders: tuple[Path, Path]) -> None:
    here, there = folders
    page = f"/console/patients?patient={quote(str(ANNA))}"
    with north(here, trusting(there)) as hospital:
        with clinic(hospital, there, "vouches = false\n") as asking:
            assert got(asking, page)[0] == 502
        with clinic(hospital, there) as asking:
            assert got(asking, page)[0] == 200


def test_its_word_does_as_a_bearer_for_wado_rs(folders: tuple[Path, Path]) -> None:
    here, there = folders
    with north(here, trusting(there)) as hospital:
        settings, url = of_clinic(there), f"{hospital.url}/dicomweb/studies"
        with asked_by(visitor(settings, "vera", "viewer")):
            authorization = Voucher(settings).authorization(url)
        with urlopen(Request(url, headers={"Authorization": authorization})) as reply:  # noqa: S310
            assert reply.status == 200
        with pytest.raises(HTTPError, match="401"):
            urlopen(url)  # noqa: S310


def test_a_command_prints_by_what_others_trust_it(tmp_path: Path) -> None:
    told = xds("user", "issuer", "--json", "--data", tmp_path).json
    assert told["issuer"].startswith("urn:oid:")
    assert "BEGIN CERTIFICATE" in told["certificate"]
    assert Path(told["file"]).read_text() == told["certificate"]
    assert told["issuer"] in xds("user", "issuer", "--data", tmp_path).out
