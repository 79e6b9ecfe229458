"""C-STORE into a real ``xds serve``."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pydicom
import pytest
from pynetdicom import AE

from tests.archives.trees import TEST_FILES
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.certificates import Authority, known
from tests.hostile.server import Served
from tests.imaging.images import CT, SERIES, STUDY, an_instance
from tests.server.test_processes import alerts
from xds.archives.dimse import SYNTAXES
from xds.demo.site import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    (folder / "images").mkdir()
    imaging = {
        "folder": str(folder / "images"),
        "cstore_listen": f"127.0.0.1:{port}",
        "cstore_from": ["CT1"],
        "stow_rs": True,
    }
    served = Served(folder, {"imaging_source": imaging}).start()
    wait_for(lambda: associated(served) is not None)
    yield served
    assert served.stop() == 0


def associated(site: Served, title: str = "CT1", called: str = "XDS", context: ssl.SSLContext | None = None) -> Any:
    entity = AE(ae_title=title)
    for syntax in SYNTAXES:
        entity.add_requested_context(CT, syntax)
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.4", SYNTAXES[8])
    tls = (context, "localhost") if context else None
    association = entity.associate("127.0.0.1", port_of(site), ae_title=called, tls_args=tls)
    return association if association.is_established else None


def port_of(site: Served) -> int:
    return int(site.settings.imaging_source.cstore_listen.rpartition(":")[2])


def sent(site: Served, *datasets: Any) -> list[int]:
    """The status of each."""
    association = associated(site)
    for dataset in datasets:
        if not isinstance(dataset, Path):
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    found = [int(association.send_c_store(dataset).Status) for dataset in datasets]
    association.release()
    return found


def rows(site: Served) -> list[dict[str, Any]]:
    listed = xds("audit", "list", "--json", "--config", site.config).json
    return [row for row in listed if row["event"] == "DICOM Instances Transferred" and not row["transaction"]]


def test_what_a_modality_sends_is_there_when_it_is_acknowledged(site: Served) -> None:
    image = TEST_FILES / "MR_small_jpeg_ls_lossless.dcm"
    known = pydicom.dcmread(image)
    assert sent(site, known, an_instance(1), an_instance(2)) == [0, 0, 0]
    with urlopen(f"{site.url}/dicomweb/studies/{STUDY}/series/{SERIES}/instances") as reply:  # noqa: S310
        assert reply.read().count(b'"00080018"') == 2
    kept = site.folder / "images" / known.StudyInstanceUID / known.SeriesInstanceUID / f"{known.SOPInstanceUID}.dcm"
    again = pydicom.dcmread(kept)
    assert (again.file_meta.TransferSyntaxUID, again.PixelData) == (known.file_meta.TransferSyntaxUID, known.PixelData)
    wait_for(lambda: len(rows(site)) == 2)  # one for each patient
    assert {(row["outcome"], row["patient"]) for row in rows(site)} == {("0", known.PatientID), ("0", "4711")}


def test_a_different_instance_of_the_same_uid_is_refused_and_recorded(site: Served) -> None:
    assert sent(site, an_instance(7)) == [0]
    before = len(rows(site))
    # Of Cxxx, since PS3.4: Table B.2-1 has nothing nearer; 0111H is none of C-STORE's statuses (PS3.2: N.7.3.2.5).
    assert sent(site, an_instance(7, StudyID="other"), an_instance(8)) == [0xC001, 0]
    wait_for(lambda: len(rows(site)) >= before + 2)
    assert {row["outcome"] for row in rows(site)[:2]} == {"0", "4"}


def test_who_is_refused_is_told_why(site: Served) -> None:
    assert sent(site, an_instance(9)) == [0]
    association = associated(site)
    other = an_instance(9, StudyID="other")
    other.file_meta.MediaStorageSOPClassUID, other.file_meta.MediaStorageSOPInstanceUID = CT, other.SOPInstanceUID
    answer = association.send_c_store(other)
    association.release()
    assert answer.ErrorComment == "another instance of that SOP Instance UID is there"


def test_an_instance_of_another_patient_than_its_study_is_set_apart_and_an_alert(site: Served) -> None:
    study = "1.2.3.200"
    of_study = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
    assert sent(site, an_instance(50, SOPInstanceUID=f"{study}.1.1", **of_study)) == [0]
    others = [an_instance(n, SOPInstanceUID=f"{study}.1.{n}", PatientID="P2", **of_study) for n in (2, 3)]
    # Data Set does not match SOP Class, the nearest of PS3.4: Table B.2-1.
    assert sent(site, *others) == [0xA900, 0xA900]
    with urlopen(f"{site.url}/dicomweb/studies/{study}/instances") as reply:  # noqa: S310
        assert reply.read().count(b'"00080018"') == 1
    listed = xds("audit", "list", "--json", "--config", site.config).json
    alerted = [row["patient"] for row in listed if row["event"] == "Security Alert" and row["outcome"] == "4"]
    assert alerted == ["P2"]  # one, of two instances
    # They wait for a person, who throws them away; the sender was told that they are not stored.
    (case,) = xds("apart", "list", "--state", "undecided", "--json", "--config", site.config).json
    assert (case["protocol"], case["ae_title"], case["instances"]) == ("C-STORE", "CT1", 2)
    assert sorted(path.name[:6] for path in (site.folder / "images/.apart").iterdir()) == ["apart-"] * 2
    done = xds("apart", "discard", case["case"], "--reason", "wrong patient at the modality", "--config", site.config)
    assert (done.code, list((site.folder / "images/.apart").iterdir())) == (0, [])


def test_who_sends_what_is_set_apart_is_told_so_and_that_it_is_not_stored(site: Served) -> None:
    study = "1.2.3.201"
    of_study = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
    assert sent(site, an_instance(51, SOPInstanceUID=f"{study}.1.1", **of_study)) == [0]
    other = an_instance(52, SOPInstanceUID=f"{study}.1.2", PatientID="P2", **of_study)
    other.file_meta.MediaStorageSOPClassUID, other.file_meta.MediaStorageSOPInstanceUID = CT, other.SOPInstanceUID
    association = associated(site)
    answer = association.send_c_store(other)
    association.release()
    comment = "set apart: of another patient than the study shows"
    assert (answer.Status, answer.ErrorComment) == (0xA900, comment)


@pytest.mark.parametrize("sop_class", ["1.3.46.670589.11.0.0.12.1", "1.2.840.10008.5.1.4.1.1.999.1"])
def test_a_sop_class_that_nobody_knows_is_taken_as_stow_rs_takes_it(site: Served, sop_class: str) -> None:
    entity = AE(ae_title="CT1")
    entity.add_requested_context(sop_class, [SYNTAXES[0]])
    association = entity.associate("127.0.0.1", port_of(site), ae_title="XDS")
    assert association.is_established
    one = an_instance(20 + len(sop_class), SOPClassUID=sop_class)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = sop_class, one.SOPInstanceUID
    assert association.send_c_store(one).Status == 0
    association.release()


def test_uids_with_leading_zeros_are_taken_as_the_folder_takes_them(site: Served) -> None:
    """PS3.5: 9.1 forbids them; archives hold them."""
    study = "1.2.840.0113.8"
    one = an_instance(40, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.01", SOPInstanceUID=f"{study}.01.001")
    assert sent(site, one) == [0]
    with urlopen(f"{site.url}/dicomweb/studies/{study}/metadata") as reply:  # noqa: S310
        assert f"{study}.01.001".encode() in reply.read()


def test_the_same_instance_in_another_encoding_is_success(site: Served) -> None:
    one = an_instance(30)
    assert sent(site, one) == [0]
    again = an_instance(30)
    again.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    assert sent(site, again, one) == [0, 0]


@pytest.mark.parametrize(("title", "called"), [("STRANGER", "XDS"), ("CT1", "OTHER")])
def test_who_is_not_named_is_not_let_in(site: Served, title: str, called: str) -> None:
    assert associated(site, title, called) is None


def test_a_process_that_is_killed_leaves_what_it_acknowledged_and_a_record(site: Served) -> None:
    association = associated(site)
    one = an_instance(20)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = CT, one.SOPInstanceUID
    assert association.send_c_store(one).Status == 0
    before = len(rows(site))
    os.kill(listener(site), signal.SIGKILL)
    wait_for(lambda: len(rows(site)) > before, 30)
    assert rows(site)[0]["outcome"] == "8"
    assert (site.folder / "images" / STUDY / SERIES / f"{SERIES}.20.dcm").exists()
    wait_for(lambda: associated(site) is not None, 30)  # started again


def listener(site: Served) -> int:
    """The process that listens for C-STORE."""
    port = port_of(site)
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                links = {os.readlink(link) for link in (entry / "fd").iterdir()}  # noqa: PTH115
            except OSError:
                continue
            if any(f"socket:[{inode}]" in links for inode in wanted):
                return int(entry.name)
    raise AssertionError("nobody listens")


# Over TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def modality(authority: Authority) -> ssl.SSLContext:
    """What a modality with a trusted certificate speaks with."""
    return speaking(authority, authority)


def speaking(trusted: Authority, own: Authority | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted.trusted)
    if own is not None:
        signed = own.signed("modality")
        context.load_cert_chain(signed.certificate, signed.key)
    return context


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, modality: ssl.SSLContext
) -> Iterator[Served]:
    folder, node = tmp_path_factory.mktemp("secure"), authority.signed("node")
    (folder / "images").mkdir()
    tls = {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted}
    imaging = {"folder": str(folder / "images"), "cstore_listen": f"127.0.0.1:{free_port()}"}
    served = Served(folder, {"tls": tls, "imaging_source": imaging, "peers": known("modality")}, scheme="https").start()
    wait_for(lambda: associated(served, context=modality) is not None)
    yield served
    assert served.stop() == 0


def test_a_modality_with_a_trusted_certificate_is_let_in(secure: Served, modality: ssl.SSLContext) -> None:
    association = associated(secure, context=modality)
    one = an_instance(1)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = CT, one.SOPInstanceUID
    assert association.send_c_store(one).Status == 0
    association.release()


def test_who_has_no_trusted_certificate_is_not_let_in_and_on_record(
    secure: Served, authority: Authority, tmp_path: Path
) -> None:
    before = len(alerts(secure, "110126"))
    for context in (None, speaking(authority, None), speaking(authority, Authority(tmp_path, "foreign"))):
        assert associated(secure, context=context) is None
    wait_for(lambda: len(alerts(secure, "110126")) >= before + 3)
    assert all("TLS: " in alert for alert in alerts(secure, "110126"))


def test_who_connects_and_says_nothing_holds_nobody_up(secure: Served, modality: ssl.SSLContext) -> None:
    before = len(alerts(secure, "110126"))
    with (
        socket.create_connection(("127.0.0.1", port_of(secure))),
        socket.create_connection(("127.0.0.1", port_of(secure))),
    ):
        association = associated(secure, context=modality)
        assert association is not None
        association.release()
    assert len(alerts(secure, "110126")) == before  # a port that is looked at is no failure
