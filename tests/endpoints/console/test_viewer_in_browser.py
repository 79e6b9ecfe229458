"""The viewer as somebody sees it: frames that are counted, the window that is stored, and why there is no picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pydicom
import pytest
from playwright.sync_api import Page

from tests.builders import AUTHORITY, REPOSITORY
from tests.endpoints.console.browsing import a_browser, shot
from tests.endpoints.console.test_region import link, patient_page, picture, transactions
from tests.endpoints.console.visiting import got, opened, sign_in
from tests.imaging.images import ECG as ECG_CLASS
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.initiating.test_publisher import ANNA, Follower
from tests.server.test_application import Site, serving
from xds.imaging.manifest import Manifest

pytestmark = pytest.mark.large

US_CINE, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.4.1"
CINE, ENHANCED, ECG, BROKEN = (f"{STUDY}.{number}" for number in (2, 3, 4, 5))
CT_SIZE = 64


def a_ct(number: int) -> pydicom.Dataset:
    """A slice that is bright at the right, with the window of a CT's soft tissue."""
    row = b"".join((1024 - 160 + 10 * column).to_bytes(2, "little") for column in range(CT_SIZE))
    return an_instance(
        number, Rows=CT_SIZE, Columns=CT_SIZE, PixelData=row * CT_SIZE, RescaleSlope="1", RescaleIntercept="-1024",
        WindowCenter="40", WindowWidth="400",
    )  # fmt: skip


def frames(count: int, series: str, sop_class: str, **changes: object) -> pydicom.Dataset:
    return an_instance(
        SOPClassUID=sop_class, SOPInstanceUID=f"{series}.1", SeriesInstanceUID=series, NumberOfFrames=str(count),
        PixelData=b"".join(bytes([number % 256, 0]) * 16 for number in range(count)), **changes,
    )  # fmt: skip


@pytest.fixture
def north(tmp_path: Path) -> Iterator[Site]:
    """A hospital with a published study: CT, a cine of 30 frames, an enhanced MR of 10, an ECG, and damaged pixels."""
    images = tmp_path / "images"
    no_pixels = dict.fromkeys(("Rows", "Columns", "PixelData", "BitsAllocated", "BitsStored", "HighBit"))
    ecg = an_instance(
        SOPClassUID=ECG_CLASS, SOPInstanceUID=f"{ECG}.1", SeriesInstanceUID=ECG, Modality="ECG", **no_pixels
    )
    for number, dataset in enumerate((
        *map(a_ct, (1, 2, 3)), frames(30, CINE, US_CINE, Modality="US"), frames(10, ENHANCED, ENHANCED_MR),
        ecg, frames(1, BROKEN, ENHANCED_MR, Rows=400),
    )):  # fmt: skip
        dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = ANNA.id, []
        put(images, f"{number}.dcm", dataset)
    text = (
        f'[repository]\nunique_id = "{REPOSITORY}"\n[audit]\nenterprise_site_id = "North Hospital"\n'
        f'[imaging_source]\nfolder = "{images}"\nissuer = "{AUTHORITY}"\npublish_quiet_seconds = 0.0\n'
    )
    with serving(f"sqlite:///{tmp_path / 'north.sqlite'}", tmp_path, text) as site:
        Follower(site, images, tmp_path / "none").step()
        yield site


@contextmanager
def a_clinic(north: Site, folder: Path, source: str) -> Iterator[Site]:
    """Another site without images, that finds North's there."""
    uid = north.application.settings.imaging_source.retrieve_location_uid
    text = (
        f'[server]\nactors = []\n[console]\nregistry_url = "{north.url}/registry"\n'
        f'[repositories]\n"{REPOSITORY}" = {{url = "{north.url}/repository", name = "North Hospital"}}\n'
        f'[imaging_sources]\n"{uid}" = {{url = "{source}", name = "North Hospital"}}\n'
    )
    folder.mkdir()
    with serving(f"sqlite:///{folder / 'xds.sqlite'}", folder, text) as site:
        yield site


@pytest.fixture
def clinic(north: Site, tmp_path: Path) -> Iterator[Site]:
    with a_clinic(north, tmp_path / "clinic", f"{north.url}/imaging-source") as site:
        yield site


@pytest.fixture
def cut_off(north: Site, tmp_path: Path) -> Iterator[Site]:
    """The same, and North's images do not answer."""
    with a_clinic(north, tmp_path / "cut-off", "http://127.0.0.1:1/imaging-source") as site:
        yield site


def address(site: Site, series: str) -> str:
    """Of the viewer of a series, from wherever it comes."""
    tree = got(site, link(patient_page(site), "/tree"))[1]
    return site.url + link(tree, re.escape(f"/series/{series}") + r"(?=[?\"])")


def status(page: Page, contains: str) -> str:
    page.locator("#status", has_text=contains).wait_for()
    return page.locator("#status").inner_text()


def grey(page: Page) -> list[float]:
    """The first row of the picture's middle, as it is drawn."""
    found: list[float] = page.evaluate("""async () => {
        const picture = document.getElementById("picture"); await picture.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
        const context = canvas.getContext("2d"); context.drawImage(picture, 0, 0);
        return [...context.getImageData(0, canvas.height >> 1, canvas.width, 1).data].filter((_, at) => at % 4 === 0);
    }""")
    return found


@pytest.mark.parametrize(("series", "count"), [(CINE, 30), (ENHANCED, 10)])
@pytest.mark.parametrize("where", ["north", "clinic"])
def test_every_frame_of_a_multi_frame_image_is_shown_whichever_hospital_has_it(
    where: str, series: str, count: int, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(where)
    with a_browser() as page:
        sign_in(page, site)
        page.goto(address(site, series))
        status(page, f"Image 1 of 1 (1), frame 1 of {count}, window")
        page.locator("#view").focus()
        for number in range(2, count + 1):
            page.keyboard.press("ArrowDown")
            status(page, f"frame {number} of {count}, window")
        page.keyboard.press("ArrowDown")
        status(page, f"frame {count} of {count}, window")
        page.get_by_label("Frame").fill("2")
        status(page, "frame 2 of")
        shot(page, f"viewer-{count}-frames-{where}")


def test_frames_that_are_not_counted_yet_are_said_to_be_unknown(clinic: Site) -> None:
    with a_browser(scripts=False) as page:
        sign_in(page, clinic)
        page.goto(address(clinic, CINE))
        assert "frame 1 of ?" in page.locator("noscript p").inner_text()
        sign_in(page, clinic)
        page.goto(address(clinic, SERIES))  # a CT is one frame
        assert "frame" not in page.locator("noscript p").inner_text()
        assert page.locator("noscript img").evaluate("picture => picture.naturalWidth") == CT_SIZE


def test_each_picture_is_one_retrieval_that_tells_the_frames_too(clinic: Site) -> None:
    with a_browser() as page:
        sign_in(page, clinic)
        page.goto(address(clinic, CINE))
        status(page, "frame 1 of 30")
    assert [one[0] for one in transactions(clinic)].count("RAD-69") == 1


def test_the_window_begins_as_stored_and_a_short_drag_changes_little(clinic: Site) -> None:
    with a_browser() as page:
        sign_in(page, clinic)
        page.goto(address(clinic, SERIES))
        assert "window 40 / 400 as stored" in status(page, "as stored")
        assert (page.get_by_label("Window centre").input_value(), page.get_by_label("Window width").input_value()) == (
            "40", "400",
        )  # fmt: skip
        before = grey(page)
        box = page.locator("#view").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 202, box["y"] + 202)
        page.mouse.up()
        page.wait_for_function("!document.getElementById('status').textContent.includes('stored')")
        centre, width = map(float, re.findall(r"window ([\d.]+) / ([\d.]+)", status(page, "window"))[0])
        assert (abs(centre - 40) < 5, abs(width - 400) < 5) == (True, True)
        with page.expect_response(lambda reply: "window=" in reply.url):
            page.keyboard.press("Tab")
            page.get_by_label("Window width").press("ArrowRight")
        page.wait_for_load_state("networkidle")
        after = grey(page)
        assert max(abs(one - other) for one, other in zip(before, after, strict=True)) < 8
        shot(page, "viewer-window")
        page.locator("#view").dblclick()
        status(page, "window 40 / 400 as stored")


def test_a_picture_whose_source_does_not_answer_says_which_and_can_be_asked_for_again(cut_off: Site) -> None:
    with a_browser(failing=True) as page:
        sign_in(page, cut_off)
        page.goto(address(cut_off, SERIES))
        said = status(page, "North Hospital does not answer: no connection (tried ")
        assert said.startswith("Image 1 of 3 (1): ")
        assert "127.0.0.1" not in said
        assert page.locator("#reason").is_visible()
        shot(page, "viewer-no-answer")
        with page.expect_response("**/rendered"):
            page.get_by_role("button", name="Try again").press("Enter")
        page.get_by_label("Image", exact=True).fill("2")
        status(page, "Image 2 of 3 (2): North Hospital does not answer")
        page.goto(cut_off.url + link(patient_page(cut_off), "/tree"))
        page.wait_for_load_state("networkidle")
        shot(page, "tree-no-answer")


def reason(site: Site, path: str, accept: str) -> tuple[str, str]:
    from urllib.error import HTTPError

    with pytest.raises(HTTPError) as refused:
        opened(site, path.removeprefix(site.url), {"Accept": accept})
    return refused.value.headers["Content-Type"], refused.value.read().decode()


@pytest.mark.parametrize("where", ["north", "clinic"])
@pytest.mark.parametrize(
    ("series", "text"),
    [
        (ECG, "No picture: 12-lead ECG Waveform, it has no image."),
        (BROKEN, "No picture: Enhanced MR Image, the pixels cannot be shown (ValueError)."),
    ],
)
def test_what_is_no_picture_says_what_it_is_instead(
    where: str, series: str, text: str, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(where)
    with a_browser(failing=True) as page:
        sign_in(page, site)
        page.goto(address(site, series))
        status(page, text)
        shot(page, f"viewer-{series[-1]}-{where}")
    base = re.findall(r'"address": "([^"]+)"', got(site, address(site, series)[len(site.url) :])[1])[0]
    kind, drawn = reason(site, f"{site.url}{base}/frames/1/rendered", "image/avif,image/*")
    assert kind.startswith("image/svg+xml")
    assert f'aria-label="{text}"' in drawn
    assert reason(site, f"{site.url}{base}/frames/1/rendered", "image/jpeg, application/json")[0] == "application/json"


def test_a_thumbnail_that_cannot_be_shown_is_drawn_with_its_reason(cut_off: Site, north: Site) -> None:
    tree = got(cut_off, link(patient_page(cut_off), "/tree"))[1]
    kind, drawn = reason(cut_off, cut_off.url + link(tree, f"{SERIES}/thumbnail"), "image/*")
    assert (kind.startswith("image/svg+xml"), "North Hospital does not answer" in drawn) == (True, True)
    assert (
        "No picture: 12-lead ECG"
        in reason(north, f"{north.url}/console/studies/{STUDY}/series/{ECG}/thumbnail", "*/*")[1]
    )


@pytest.mark.parametrize("said", ["<script>alert(1)</script>", "a‮b", "}{", "&amp;" * 200])
def test_a_reason_in_a_strangers_words_is_text_and_nothing_else(
    clinic: Site, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xds.initiating.imaging_document_consumer import Consuming, Unavailable

    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]

    def refuses(*_: object) -> Manifest:
        raise Unavailable(f"does not do it: {said}", "1.2.3")

    monkeypatch.setattr(Consuming, "instance", refuses)
    _, drawn = reason(clinic, clinic.url + link(tree, "thumbnail"), "image/*")
    assert "<script" not in drawn
    assert "‮" not in drawn
    assert len(drawn) < 5000


def test_a_caption_on_a_phone_is_read_in_lines_and_not_in_letters(clinic: Site) -> None:
    with a_browser() as page:
        page.set_viewport_size({"width": 390, "height": 844})
        sign_in(page, clinic)
        page.goto(f"{clinic.url}/console/patients?patient={quote(str(ANNA))}")
        shot(page, "phone-patient")
        caption = page.locator("caption").bounding_box()
        assert caption is not None
        assert (caption["width"] > 300, caption["height"] < 80) == (True, True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_are_as_before_for_who_asks_for_them_alone(clinic: Site) -> None:
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    assert picture(clinic, link(tree, f"{SERIES}/thumbnail")).startswith(b"\xff\xd8")
    assert got(clinic, f"/console/patients?patient={quote(str(ANNA))}")[0] == 200
