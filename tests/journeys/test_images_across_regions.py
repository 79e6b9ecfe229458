"""Two regions of ours: images of the South are seen from the North by way of both imaging gateways (XCA-I, RAD-75)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from lxml import etree

from tests.actors.test_responding_gateway import only
from tests.builders import ANNA
from tests.cli.command import xds
from tests.endpoints.console.test_region import link
from tests.endpoints.console.visiting import got, opened
from tests.imaging.images import CT, SERIES, STUDY, a_manifest, a_series, an_instance, put, saved
from tests.journeys.test_two_image_nodes import refreshed
from tests.regions import (
    ANNA_IN_SOUTH,
    NORTH,
    SOUTH,
    a_gateway,
    community,
    contents,
    documents,
    fetch,
    kept,
    outcome,
    region,
)
from tests.server.test_application import Site, serving
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.access.gate import Granted
from xds.access.peers import STRANGER
from xds.audit.messages.message_xml import read
from xds.demo.site import as_toml
from xds.ebxml import xdsb
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest
from xds.errors import ErrorCode, Finding, Status
from xds.imaging import kos
from xds.imaging.entry import FORMAT_CODE
from xds.imaging.manifest import InstanceReference
from xds.imaging.part10 import EXPLICIT_LITTLE
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid, PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit.search import Wanted, found
from xds.store.registry import patients
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.transactions.rad75_cross_gateway_retrieve_imaging_document_set import TRANSACTION as RAD_75
from xds.wire.addressing import reply_headers
from xds.wire.client import Client, NoReply
from xds.wire.soap import around

N, S = home_of(NORTH), home_of(SOUTH)
LOCATION, ELSEWHERE = "1.2.3.77", "1.2.3.78"
TRANSFERRED, ACCESSED = "110104", "110103"


def images(folder: Path, location: str = LOCATION, count: int = 3) -> str:
    """The settings of a source that has a study of so many instances."""
    for number in range(1, count + 1):
        put(folder / "images", f"{number}.dcm", an_instance(number))
    return f'[imaging_source]\nretrieve_location_uid = "{location}"\nfolder = "{folder / "images"}"\n'


def manifest_of(site: Site, patient: PatientId, location: str = LOCATION, count: int = 3) -> DocumentEntry:
    """The study's manifest, as a site has it registered."""
    listed = tuple(InstanceReference(CT, f"{SERIES}.{number}") for number in range(1, count + 1))
    content = kos.write(a_manifest(series=(a_series(1, *listed, retrieve_location_uid=location),)))
    return kept(site, content, patient, mime_type="application/dicom", format_code=FORMAT_CODE)


def wanted(
    home: Oid | None, *numbers: int, location: str = LOCATION, study: str = STUDY, series: str = SERIES
) -> list[InstanceRequest]:
    return [
        InstanceRequest(study, series, DocumentRequest(location, f"{series}.{number}", home and home_of(home)))
        for number in numbers
    ]


def retrieved(
    site: Site, instances: Sequence[InstanceRequest], path: str = "/gateway", action: str = RAD_69.action
) -> Any:
    body = xdsb.write_imaging_request(ImagingRequest(tuple(instances), (EXPLICIT_LITTLE,)))
    return site.send(path, action, [etree.tostring(body)], mtom=True)


class Regions:
    """North asks South, which has a study of Anna's."""

    def __init__(self, north: Site, south: Site, *, location: str = LOCATION) -> None:
        self.north, self.south = north, south
        self.manifest = manifest_of(south, ANNA_IN_SOUTH, location)

    def manifest_fetched(self) -> None:
        got = fetch(self.north, (SOUTH, self.south.repository_unique_id, self.manifest.unique_id))
        assert outcome(got) == (Status.SUCCESS, [])


@pytest.fixture
def regions(sqlite_template: Path, tmp_path: Path) -> Iterator[Regions]:
    with ExitStack() as stack:
        there = stack.enter_context(region(tmp_path / "south", sqlite_template, SOUTH, images(tmp_path / "south")))
        refreshed(there)
        known = community("south", SOUTH, f"{there.url}/responding-gateway", tmp_path)
        here = stack.enter_context(region(tmp_path / "north", sqlite_template, NORTH, known))
        yield Regions(here, there)


def filtered(regions: Regions, monkeypatch: pytest.MonkeyPatch, kind: str = "") -> None:
    """Whoever asks the North may see documents of one class, by default those of the manifest's."""
    code = regions.manifest.class_code
    granted = Granted(STRANGER, "a test", only(kind or f"{code.code}^^{code.scheme}"))
    monkeypatch.setattr(regions.north.application.gate, "ask", lambda *_, **__: granted)


def test_images_of_another_community_come_to_the_byte(regions: Regions) -> None:
    got = retrieved(regions.north, wanted(SOUTH, 3, 1, 2))
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got) == {f"{SERIES}.{number}": saved(an_instance(number)) for number in (1, 2, 3)}
    assert {one.text for one in got.body.iter("{*}HomeCommunityId")} == {S}
    assert {one.text for one in got.body.iter("{*}RepositoryUniqueId")} == {LOCATION}


def test_each_step_is_on_record_with_the_study_and_its_patient(regions: Regions) -> None:
    regions.manifest_fetched()
    before = [len(site.outcomes()) for site in (regions.north, regions.south)]
    retrieved(regions.north, wanted(SOUTH, 1, 2))
    assert sorted(regions.north.outcomes()[before[0] :]) == [("RAD-69", TRANSFERRED, 0), ("RAD-75", ACCESSED, 0)]
    assert sorted(regions.south.outcomes()[before[1] :]) == [
        ("RAD-69", ACCESSED, 0), ("RAD-69", TRANSFERRED, 0), ("RAD-75", TRANSFERRED, 0),
    ]  # fmt: skip
    for site, count in ((regions.north, 2), (regions.south, 3)):
        with site.application.engine.connect() as connection:
            records = [read(one.message) for one in found(connection, Wanted(), count)]
        for record in records:
            assert {one.id for one in record.objects} >= {STUDY}
            assert any("4711" in one.id or "P1" in one.id for one in record.objects), record


def test_what_is_not_there_is_named_with_its_community_and_the_rest_comes(regions: Regions) -> None:
    got = retrieved(regions.north, [*wanted(SOUTH, 1, 9), *wanted(SOUTH, 2, location="1.2.3.404")])
    status, errors = outcome(got)
    assert status is Status.PARTIAL_SUCCESS
    assert contents(got).keys() == {f"{SERIES}.1"}
    assert sorted(errors) == [
        (ErrorCode.DOCUMENT_UNIQUE_ID, f"{S} {SERIES}.9"), (ErrorCode.XDSI_UNKNOWN_IDS, f"{S} {SERIES}.2"),
    ]  # fmt: skip


@pytest.mark.parametrize(("home", "code"), [
    (None, ErrorCode.MISSING_HOME_COMMUNITY_ID), (Oid("1.2.3.4.199"), ErrorCode.UNKNOWN_COMMUNITY),
])  # fmt: skip
def test_who_names_no_community_or_one_that_nobody_knows_is_told(
    regions: Regions, home: Oid | None, code: ErrorCode
) -> None:
    got = retrieved(regions.north, wanted(home, 1))
    status, errors = outcome(got)
    assert (status, [one for one, _ in errors], contents(got)) == (Status.FAILURE, [code], {})
    got = retrieved(regions.south, wanted(home, 1), "/responding-gateway", RAD_75.action)
    assert outcome(got) == (Status.FAILURE, [(code, f"{S} {SERIES}.1")])


def test_of_two_communities_each_gives_its_own_in_one_answer(sqlite_template: Path, tmp_path: Path) -> None:
    """The North's own are read beside: what comes waits in files then, and nobody is kept from sending."""
    with ExitStack() as stack:
        there = stack.enter_context(region(tmp_path / "south", sqlite_template, SOUTH, images(tmp_path / "south")))
        known = community("south", SOUTH, f"{there.url}/responding-gateway", tmp_path)
        own = images(tmp_path / "north", ELSEWHERE)
        here = stack.enter_context(region(tmp_path / "north", sqlite_template, NORTH, own + known))
        refreshed(there)
        refreshed(here)
        asked_ = [*wanted(SOUTH, 1), *wanted(NORTH, 2, location=ELSEWHERE)]
        got = retrieved(here, asked_)
        assert outcome(got) == (Status.SUCCESS, [])
        assert contents(got) == {f"{SERIES}.{number}": saved(an_instance(number)) for number in (1, 2)}
        homes_ = {one.text for one in got.body.iter("{*}HomeCommunityId")}
        assert homes_ == {N, S}


def test_a_source_elsewhere_in_the_community_is_asked_by_its_location(sqlite_template: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        (tmp_path / "clinic").mkdir()
        url = f"sqlite:///{tmp_path}/clinic/xds.sqlite"
        clinic = stack.enter_context(serving(url, tmp_path / "clinic", images(tmp_path / "clinic", ELSEWHERE)))
        refreshed(clinic)
        text = f'[imaging_sources]\n"{ELSEWHERE}" = "{clinic.url}/imaging-source"\n'
        there = stack.enter_context(region(tmp_path / "south", sqlite_template, SOUTH, text))
        known = community("south", SOUTH, f"{there.url}/responding-gateway", tmp_path)
        here = stack.enter_context(region(tmp_path / "north", sqlite_template, NORTH, known))
        got = retrieved(here, wanted(SOUTH, 1, 2, location=ELSEWHERE))
        assert outcome(got) == (Status.SUCCESS, [])
        assert contents(got) == {f"{SERIES}.{number}": saved(an_instance(number)) for number in (1, 2)}
        assert clinic.outcomes() == [("RAD-69", TRANSFERRED, 0)]


def test_who_may_see_a_manifest_may_see_its_images_once_it_was_fetched(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtered(regions, monkeypatch)
    absent = [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{SERIES}.1")]
    assert outcome(retrieved(regions.north, wanted(SOUTH, 1))) == (Status.FAILURE, absent)
    regions.manifest_fetched()
    got = retrieved(regions.north, wanted(SOUTH, 1))
    assert (outcome(got), len(contents(got))) == ((Status.SUCCESS, []), 1)
    filtered(regions, monkeypatch, "none")
    assert outcome(retrieved(regions.north, wanted(SOUTH, 1))) == (Status.FAILURE, absent)


def test_images_of_a_patient_who_withholds_everything_in_the_north_are_absent(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions.manifest_fetched()
    application = regions.north.application
    kept(regions.north, b"so that she is known", ANNA)
    with application.engine.begin() as connection:
        key = patients.key_of(connection, DEFAULT_DOMAIN, ANNA)
        assert key is not None
        set_directive(connection, key, Directive(permit=False), "her")
    application.gate._looked = 0.0
    got = retrieved(regions.north, wanted(SOUTH, 1))
    assert outcome(got) == (Status.FAILURE, [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{SERIES}.1")])


def test_images_of_another_study_do_not_come_by_a_manifest_of_one(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study that is named decides; an instance of another one is not in it."""
    regions.manifest_fetched()
    filtered(regions, monkeypatch)
    other = an_instance(1, StudyInstanceUID="1.2.88", SeriesInstanceUID="1.2.88.1", SOPInstanceUID="1.2.88.1.1")
    other.file_meta.MediaStorageSOPInstanceUID = "1.2.88.1.1"
    put(regions.south.application.domains[DEFAULT_DOMAIN].actors.imaging_source._archive.root, "o.dcm", other)  # type: ignore[union-attr]
    refreshed(regions.south)
    for study in ("1.2.88", STUDY):
        got = retrieved(regions.north, wanted(SOUTH, 1, study=study, series="1.2.88.1"))
        status, errors = outcome(got)
        assert (status, [one for one, _ in errors], contents(got)) == (
            Status.FAILURE, [ErrorCode.DOCUMENT_UNIQUE_ID], {},
        )  # fmt: skip


def test_a_gateway_of_another_affinity_domain_gives_no_images_of_the_deployment(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """It knows nothing of whose they are, nor what the patient wants."""
    training = Oid("1.2.3.4.109")
    text = images(tmp_path / "north") + (
        f'[domains.training]\nassigning_authorities = ["1.2.3.9"]\nhome_community_id = "{training}"\n'
        'repository_unique_id = "1.2.3.4.110"\npatients = "open"\n'
    )
    with region(tmp_path / "north", sqlite_template, NORTH, text) as here:
        refreshed(here)
        assert len(contents(retrieved(here, wanted(NORTH, 1)))) == 1
        for path, action in (("/training/gateway", RAD_69.action), ("/training/responding-gateway", RAD_75.action)):
            status, errors = outcome(retrieved(here, wanted(training, 1), path, action))
            assert (status, [one for one, _ in errors]) == (Status.FAILURE, [ErrorCode.XDSI_UNKNOWN_IDS])


def test_an_instance_that_is_asked_for_twice_comes_once(regions: Regions) -> None:
    got = retrieved(regions.north, wanted(SOUTH, 1, 1))
    assert (outcome(got), len(contents(got))) == ((Status.SUCCESS, []), 1)


def test_a_request_of_very_many_studies_is_refused(regions: Regions) -> None:
    many = [one for number in range(101) for one in wanted(SOUTH, 1, study=f"1.2.9.{number}")]
    assert [one for one, _ in outcome(retrieved(regions.north, many))[1]] == [ErrorCode.TOO_MANY_RESULTS]


def test_what_fails_beside_is_not_said_of_what_another_has_given(regions: Regions) -> None:
    before = len(regions.north.outcomes())
    got = retrieved(regions.north, [*wanted(SOUTH, 1), *wanted(Oid("1.2.3.4.199"), 2)])
    assert outcome(got)[0] is Status.PARTIAL_SUCCESS
    assert sorted(regions.north.outcomes()[before:]) == [
        ("RAD-69", TRANSFERRED, 0), ("RAD-69", TRANSFERRED, 4), ("RAD-75", ACCESSED, 0),
    ]  # fmt: skip


# What people see of it.


def a_desk(folder: Path, south: str = "http://127.0.0.1:1") -> Path:
    """The settings of somebody who knows the South by its name alone."""
    file = folder / "desk.toml"
    file.write_text(as_toml({
        "server": {"data": str(folder / "desk")},
        "communities": {"south": {"home_community_ids": [str(SOUTH)], "query": [south]}},
    }), "utf-8")  # fmt: skip
    return file


def test_xds_find_and_fetch_bring_what_is_of_another_community_by_the_gateway(regions: Regions, tmp_path: Path) -> None:
    where = ("--patient", str(ANNA), "--registry", f"{regions.north.url}/gateway", "--config", a_desk(tmp_path))
    found_ = xds("find", *where, "--json")
    assert (found_.code, [one["homeCommunityId"] for one in found_.json]) == (0, [S])
    assert "(south)" in xds("find", *where).out
    done = xds("fetch", *where, "--to", tmp_path / "fetched", "--json")
    assert (done.code, done.json["arrived"], done.json["promised"]) == (0, 3, 3), done
    files = {path.name: path.read_bytes() for path in (tmp_path / "fetched").rglob(f"{SERIES}.*.dcm")}
    assert files == {f"{SERIES}.{number}.dcm": saved(an_instance(number)) for number in (1, 2, 3)}


def test_xds_find_says_when_a_community_does_not_answer_and_gives_the_rest(
    spoilt: tuple[Site, Any], tmp_path: Path
) -> None:
    north, stub = spoilt
    kept(north, b"of the north")
    stub.status, stub.answer = 500, lambda _: b""
    where = ("--patient", str(ANNA), "--registry", f"{north.url}/gateway", "--config", a_desk(tmp_path))
    done = xds("find", *where, "--json")
    assert (done.code, len(done.json)) == (1, 1)
    assert "not complete: XDSUnavailableCommunity" in done.err
    assert xds("priors", *where, "--modality", "CT").code == 1
    assert xds("fetch", *where, "--to", tmp_path / "fetched").code == 1


def test_the_console_shows_a_study_of_another_community_and_its_images(regions: Regions) -> None:
    status, page = got(regions.north, f"/console/patients?patient={quote(str(ANNA))}")
    assert (status, page.count("<tr id=")) == (200, 1)
    assert "<td>south</td>" in page
    assert "Not complete" not in page
    status, tree = got(regions.north, link(page, "/tree"))
    assert status == 200
    assert "3 images" in tree or "3 instances" in tree or f"{SERIES}.3" in tree
    with opened(regions.north, link(tree, "/thumbnail")) as reply:
        assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")


def test_the_console_says_which_community_does_not_answer(spoilt: tuple[Site, Any]) -> None:
    north, stub = spoilt
    stub.status, stub.answer = 500, lambda _: b""
    for path in ("/console/patients?", "/console/priors?modality=CT&"):
        status, page = got(north, f"{path}patient={quote(str(ANNA))}")
        assert status == 200
        assert "<strong>Not complete</strong>: south does not answer. There may be more." in page


# A gateway of another's, which is spoilt.


@pytest.fixture
def spoilt(sqlite_template: Path, tmp_path: Path) -> Iterator[tuple[Site, Any]]:
    with ExitStack() as stack:
        stub = stack.enter_context(a_gateway(tmp_path))
        known = community("south", SOUTH, stub.url, tmp_path, retrieve_seconds=20.0)
        yield stack.enter_context(region(tmp_path / "north", sqlite_template, NORTH, known)), stub


UIDS = tuple(f"{SERIES}.{number}" for number in (1, 2, 3))
CONTENTS = {uid: str(place).encode() * 1000 for place, uid in enumerate(UIDS)}


def root() -> bytes:
    """The root part of an answer that names three parts in the order of their instances."""
    pieces = documents(*((LOCATION, uid, b"") for uid in UIDS))
    places = iter(UIDS)
    include = b'<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:%b"/>'
    body = b"".join(one if isinstance(one, bytes) else include % next(places).encode() for one in pieces)
    head, tail = around(reply_headers("urn:x", "urn:uuid:1"))
    return part("r", head + body + tail)


def part(id_: str, content: bytes) -> bytes:
    return b"\r\n--b\r\nContent-ID: <%b>\r\n\r\n%b" % (id_.encode(), content)


END = b"\r\n--b--\r\n"


def answering(*pieces: bytes | threading.Event) -> Any:
    """A gateway that sends these one after the other, each event waited for."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; boundary="b"; start="<r>"')
        handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in pieces:
            if isinstance(piece, bytes):
                handler.wfile.write(piece)
                handler.wfile.flush()
            else:
                assert piece.wait(30)
        handler.close_connection = True

    return answer


ORDERS = {
    "as named": (root, *UIDS), "reversed": (root, *reversed(UIDS)), "root last": (*UIDS, root),
    "root between": (UIDS[1], root, UIDS[2], UIDS[0]),
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_parts_are_understood_in_whatever_order_they_come(spoilt: tuple[Site, Any], order: Sequence[Any]) -> None:
    north, stub = spoilt
    stub.raw = answering(*(one() if callable(one) else part(one, CONTENTS.get(one, b"?")) for one in order), END)
    got = retrieved(north, wanted(SOUTH, 1, 2, 3))
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got) == CONTENTS


def test_images_are_passed_on_as_they_come(spoilt: tuple[Site, Any]) -> None:
    """The first is here while the last has not left: nothing is held between the communities."""
    north, stub = spoilt
    go_on = threading.Event()
    first, *others = (part(uid, CONTENTS[uid]) for uid in UIDS)
    # What is not yet a delimiter's length behind it may still be one.
    stub.raw = answering(root(), first, others[0][:60], go_on, others[0][60:], *others[1:], END)
    came = bytearray()
    with begun(north, wanted(SOUTH, 1, 2, 3)) as response:
        while CONTENTS[UIDS[0]] not in came:
            came += response.read1(65_536)
        assert not go_on.is_set()
        go_on.set()
        while chunk := response.read1(65_536):
            came += chunk
    assert all(content in came for content in CONTENTS.values())
    assert came.rstrip().endswith(b"--")
    assert north.outcomes()[-2:] == [("RAD-69", TRANSFERRED, 0), ("RAD-75", ACCESSED, 0)]


@contextmanager
def begun(site: Site, instances: Sequence[InstanceRequest]) -> Iterator[Any]:
    """The response to a RAD-69 while it comes."""
    body = xdsb.write_imaging_request(ImagingRequest(tuple(instances), (EXPLICIT_LITTLE,)))
    asked_ = Client(f"{site.url}/gateway").asked(RAD_69.action, [etree.tostring(body)], as_mtom=True)
    try:
        yield asked_.response
    finally:
        asked_.response.close()


SPOILT = {
    "cut off in a part": (root, part(UIDS[0], bytes(100_000))),
    "a part is missing": (root, part(UIDS[0], b"x"), part(UIDS[1], b"x"), END),
    "a part twice": (root, part(UIDS[2], b"x"), part(UIDS[2], b"x"), part(UIDS[0], b"x"), part(UIDS[1], b"x"), END),
    "encoded": (root, part(UIDS[0], b"x"), b"\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA", END),
    "more than were asked for": (root, part("another", b""), *(part(uid, b"x") for uid in UIDS), END),
}  # fmt: skip


@pytest.mark.parametrize("pieces", SPOILT.values(), ids=SPOILT)
def test_what_does_not_come_whole_is_broken_off_and_on_record_as_that(
    spoilt: tuple[Site, Any], pieces: Sequence[Any]
) -> None:
    north, stub = spoilt
    stub.raw = answering(*(one() if callable(one) else one for one in pieces))
    with pytest.raises(NoReply):
        retrieved(north, wanted(SOUTH, 1, 2, 3))
    assert {(number, failed) for number, _, failed in north.outcomes()} >= {("RAD-69", 8), ("RAD-75", 8)}


def test_a_gateway_that_does_not_answer_is_named(spoilt: tuple[Site, Any]) -> None:
    north, stub = spoilt
    stub.status, stub.answer = 500, lambda _: b""
    status, errors = outcome(retrieved(north, wanted(SOUTH, 1)))
    assert (status, [one for one, _ in errors]) == (Status.FAILURE, [ErrorCode.UNAVAILABLE_COMMUNITY])


def test_what_it_says_is_wrong_is_passed_on(spoilt: tuple[Site, Any]) -> None:
    north, stub = spoilt
    finding = Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "gone", f"{S} {SERIES}.1")
    stub.answer = lambda _: documents(status=Status.FAILURE, findings=[finding])
    assert outcome(retrieved(north, wanted(SOUTH, 1))) == (
        Status.FAILURE, [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{S} {SERIES}.1")],
    )  # fmt: skip
