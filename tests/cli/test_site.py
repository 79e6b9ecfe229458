"""``xds publish``, ``find``, ``fetch`` and ``audit`` against a site that serves: shared, found, fetched, on record."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.filesize import decimal

from tests.builders import ANNA, BERT
from tests.cli.command import Done, xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.demo.site import free_port

ACCESSION = "A1"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hospital whose study is published."""
    folder = tmp_path_factory.mktemp("hospital")
    for number in (1, 2, 3):
        put(folder / "images", f"{number}.dcm", an_instance(number))
    served = Served(folder, {"imaging_source": {"folder": str(folder / "images"), "refresh_seconds": 0.5}}).start()
    done = xds("publish", folder / "images", "--patient", ANNA, "--repository", f"{served.url}/repository",
               "--config", served.config)  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"published {STUDY}: 3 instances")
    yield served
    assert served.stop() == 0


@pytest.fixture
def clinic(site: Served, tmp_path: Path) -> Path:
    """The settings of one who consumes: its own data, and where the hospital is."""
    settings = site.settings
    path = tmp_path / "clinic.toml"
    path.write_text(
        f'[server]\ndata = "{tmp_path / "clinic"}"\n'
        f'[repositories]\n"{settings.repository.unique_id}" = "{site.url}/repository"\n'
        f'[imaging_sources]\n"{settings.imaging_source.retrieve_location_uid}" = "{site.url}/imaging-source"\n'
    )
    return path


def find(site: Served, *more: object) -> Done:
    return xds("find", "--patient", ANNA, "--registry", f"{site.url}/registry", *more)


def fetch(site: Served, to: Path, *more: object) -> Done:
    return xds("fetch", "--patient", ANNA, "--registry", f"{site.url}/registry", "--to", to, *more)


def trail(config: Path) -> list[tuple[str, str]]:
    """Transaction and outcome of what is on record, oldest first."""
    rows = xds("audit", "list", "--json", "--config", config).json
    return [(row["transaction"], row["outcome"]) for row in reversed(rows) if row.get("transaction")]


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ([], 1),
        (["--study", STUDY], 1),
        (["--study", "1.2.3.999"], 0),
        (["--accession", "none"], 0),
        (["--modality", "CT"], 1),
        (["--modality", "MR"], 0),
        (["--since", "2026"], 1),
        (["--since", "2027"], 0),
        (["--until", "2026"], 0),
        (["--study", STUDY, "--modality", "CT", "--since", "2026", "--until", "2027"], 1),
    ],
)
def test_a_study_is_found_by_what_it_is(site: Served, clinic: Path, search: list[str], count: int) -> None:
    rows = find(site, "--config", clinic, "--json", *search).json
    assert len(rows) == count
    assert all((row["study"], row["modalities"], row["mimeType"]) == (STUDY, "CT", "application/dicom") for row in rows)


def test_a_study_is_found_by_its_accession_number_and_authority(site: Served, clinic: Path) -> None:
    (row,) = find(site, "--config", clinic, "--json").json
    authority = site.settings.domain.assigning_authorities[0]
    got = find(site, "--config", clinic, "--json", "--accession", f"{ACCESSION}^^^&{authority}&ISO").json
    assert [each["uniqueId"] for each in got] == [row["uniqueId"]]


def test_what_is_found_is_printed_for_people_too(site: Served, clinic: Path) -> None:
    lines = find(site, "--config", clinic).out.splitlines()
    assert lines[0].startswith("2026")
    assert lines[-1] == "1 document"


def test_images_are_fetched_as_they_are_stored_and_not_twice(site: Served, clinic: Path, tmp_path: Path) -> None:
    to = tmp_path / "got"
    wait_for(lambda: fetch(site, tmp_path / "first", "--config", clinic).code == 0)  # the index is made
    done = fetch(site, to, "--config", clinic, "--json")
    assert (done.code, done.json["arrived"], done.json["promised"], done.json["problems"]) == (0, 3, 3, [])
    for number in (1, 2, 3):
        fetched = to / STUDY / SERIES / f"{SERIES}.{number}.dcm"
        assert fetched.read_bytes() == (site.folder / "images" / f"{number}.dcm").read_bytes()
    assert (to / STUDY / "manifest.dcm").exists()
    assert not list(to.glob(".incoming/*"))
    (to / STUDY / SERIES / f"{SERIES}.2.dcm").unlink()
    again = fetch(site, to, "--config", clinic)
    size = (site.folder / "images" / "2.dcm").stat().st_size
    assert again.out == f"1 study: 3 of 3 images arrived, 2 of them were here before, {decimal(size)}\n"
    assert trail(clinic)[-3:] == [("ITI-18", "0"), ("ITI-43", "0"), ("RAD-69", "0")]


def test_an_image_that_was_promised_and_is_gone_is_named_and_exits_1(
    site: Served, clinic: Path, tmp_path: Path
) -> None:
    wait_for(lambda: fetch(site, tmp_path / "first", "--config", clinic).code == 0)
    image = site.folder / "images" / "2.dcm"
    kept = image.read_bytes()
    image.unlink()
    try:
        done = fetch(site, tmp_path / "got", "--config", clinic)
    finally:
        image.write_bytes(kept)
    assert done.code == 1
    assert "2 of 3 images arrived" in done.out
    assert f"{SERIES}.2" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("section", "said"), [("repositories", "repositoryUniqueId"),
                                               ("imaging_sources", "Retrieve Location UID")])  # fmt: skip
def test_a_peer_that_is_not_in_the_settings_is_named(
    site: Served, clinic: Path, tmp_path: Path, section: str, said: str
) -> None:
    clinic.write_text(clinic.read_text().replace(f"[{section}]", f'[{section}]\n"1.2.99" = "http://x"\n#'))
    lines = [line for line in clinic.read_text().splitlines() if not _names(site, section, line)]
    clinic.write_text("\n".join(lines))
    done = fetch(site, tmp_path / "got", "--config", clinic)
    assert done.code == 1
    assert said in done.err
    assert f"[{section}]" in done.err


def _names(site: Served, section: str, line: str) -> bool:
    settings = site.settings
    oid = settings.repository.unique_id if section == "repositories" else settings.imaging_source.retrieve_location_uid
    return line.startswith(f'"{oid}"')


def test_a_file_is_published_as_a_document_and_fetched(site: Served, clinic: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.pdf"
    report.write_bytes(b"%PDF-1.7 report")
    done = xds("publish", report, "--patient", BERT, "--repository", f"{site.url}/repository", "--config", clinic)
    assert done.code == 0, done.err
    unique_id = done.out.rsplit(maxsplit=1)[-1]
    fetched = xds("fetch", "--patient", BERT, "--registry", f"{site.url}/registry", "--to", tmp_path / "got",
                  "--config", clinic)  # fmt: skip
    assert fetched.code == 0
    assert (tmp_path / "got" / unique_id).read_bytes() == report.read_bytes()
    assert trail(clinic)[0] == ("ITI-41", "0")


def test_a_file_whose_name_says_nothing_is_refused(site: Served, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "mystery").write_bytes(b"x")
    done = xds("publish", tmp_path / "mystery", "--patient", BERT, "--repository", f"{site.url}/repository",
               "--config", clinic)  # fmt: skip
    assert done.code == 1
    assert "does not say what kind of document it is" in done.err


def test_what_the_registry_refuses_is_said_by_its_code_and_is_on_record(
    site: Served, clinic: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.pdf"
    report.write_bytes(b"%PDF-1.7")
    stranger = "carl^^^&1.2.3.999&ISO"
    done = xds("publish", report, "--patient", stranger, "--repository", f"{site.url}/repository", "--config", clinic)
    assert done.code == 1
    assert done.err.startswith("xds: refused:\n  XDS")
    ((transaction, outcome),) = trail(clinic)
    assert transaction == "ITI-41"
    assert outcome in ("4", "8")


@pytest.mark.parametrize("what", ["nobody", "not soap", "wrong address"])
def test_a_peer_that_does_not_answer_is_said_in_a_line_and_is_on_record(site: Served, clinic: Path, what: str) -> None:
    url = {"nobody": f"http://127.0.0.1:{free_port()}/registry", "not soap": f"{site.url}/nothing-here",
           "wrong address": f"{site.url}/repository"}[what]  # fmt: skip
    done = xds("find", "--patient", ANNA, "--registry", url, "--config", clinic)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    ((transaction, outcome),) = trail(clinic)
    assert transaction == "ITI-18"
    assert outcome in ("4", "8")


# A patient id that is none can match nobody (exit code 3); the other is wrong on its own.
@pytest.mark.parametrize(("option", "code"), [(["--patient", "anna"], 3), (["--accession", "A1^^^1.2.3"], 1)])
def test_a_search_that_is_malformed_is_refused_before_anything_is_asked(
    clinic: Path, option: list[str], code: int
) -> None:
    done = xds("find", "--registry", "http://127.0.0.1:1/", "--config", clinic, "--patient", ANNA, *option)
    assert done.code == code
    assert "is not of the form" in done.err


def test_without_a_place_for_the_audit_record_nothing_is_done(site: Served, tmp_path: Path) -> None:
    for done in (find(site), fetch(site, tmp_path / "got"),
                 xds("publish", tmp_path, "--patient", ANNA, "--repository", f"{site.url}/repository")):  # fmt: skip
        assert (done.code, done.out) == (1, "")
        assert "every access is audited" in done.err
    assert not (tmp_path / "got").exists()


# Records to an audit repository.


@contextlib.contextmanager
def an_audit_repository() -> Iterator[tuple[str, list[bytes]]]:
    """One that takes octet-counted messages; its address, and what has come whole."""
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    data = b""
                    while chunk := connection.recv(65536):
                        data += chunk
                if data == b"stop":
                    return
                while data:
                    length, _, data = data.partition(b" ")
                    taken.append(data[: int(length)])
                    assert len(taken[-1]) == int(length)
                    data = data[int(length) :]

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = listener.getsockname()
        yield f"tcp://127.0.0.1:{address[1]}", taken
        with socket.create_connection(address) as stop:
            stop.sendall(b"stop")
        thread.join(10)


def test_records_are_sent_to_an_audit_repository(site: Served) -> None:
    with an_audit_repository() as (url, taken):
        done = find(site, "--audit-to", url, "--json")
        assert done.code == 0
        wait_for(lambda: taken)
    (record,) = taken
    assert record.startswith(b"<85>1 ")
    assert b" IHE+RFC-3881 - " in record
    assert b"<AuditMessage" in record
    assert b"ITI-18" in record


def test_records_may_be_both_kept_and_sent(site: Served, clinic: Path) -> None:
    with an_audit_repository() as (url, taken):
        assert find(site, "--audit-to", url, "--config", clinic).code == 0
        wait_for(lambda: taken)
    assert trail(clinic) == [("ITI-18", "0")]


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:{}", "http://127.0.0.1:{}", "tcp://127.0.0.1:x", "nonsense"])
def test_without_its_record_a_result_is_not_shown(site: Served, url: str) -> None:
    done = find(site, "--audit-to", url.format(free_port()))
    assert (done.code, done.out) == (1, "")
    assert "audit" in done.err
    assert "Traceback" not in done.err


# The audit log of the site.


def test_the_sites_log_lists_shows_and_verifies(site: Served) -> None:
    wait_for(lambda: {"RAD-68", "ITI-42"} <= {transaction for transaction, _ in trail(site.config)})
    rows = xds("audit", "list", "--config", site.config, "--json", "--transaction", "RAD-68").json
    assert rows
    listed = xds("audit", "list", "--config", site.config, "--most", "5").out.splitlines()
    assert len(listed) == 5
    wait_for(lambda: "holds: record" in xds("audit", "show", rows[-1]["id"], "--config", site.config).out)
    shown = xds("audit", "show", rows[-1]["id"], "--config", site.config, "--json").json
    assert shown["words"]
    assert shown["proof"].startswith("holds: record")
    verified = xds("audit", "verify", "--config", site.config, "--database", "--json").json
    assert verified["holds"] is True
    assert verified["records"] > 0
    assert "the log holds" in xds("audit", "verify", "--config", site.config, "--every-signature").out


def test_a_record_or_a_log_that_is_not_there_is_said(site: Served, tmp_path: Path) -> None:
    done = xds("audit", "show", "999999", "--config", site.config)
    assert (done.code, done.err) == (1, "xds: there is no record 999999\n")
    done = xds("audit", "verify", "--data", tmp_path / "none")
    assert done.code == 1
    assert "holds no audit log" in done.err


def test_a_log_that_was_tampered_with_is_found_out(site: Served, tmp_path: Path) -> None:
    def sealed() -> bool:
        """Before its first record is sealed there is no log to verify."""
        done = xds("audit", "verify", "--config", site.config, "--json")
        return done.code == 0 and done.json["records"] > 0

    wait_for(sealed)
    copy = tmp_path / "log"
    shutil.copytree(site.data / "audit", copy)
    (segment, *_) = sorted(path for path in copy.rglob("*") if path.is_file() and b"AuditMessage" in path.read_bytes())
    data = segment.read_bytes()
    at = data.index(b"AuditMessage") + 40
    segment.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    done = xds("audit", "verify", "--config", site.config, "--log", copy)
    assert done.code == 1
    assert "TAMPERED: step 2" in done.err
    found = xds("audit", "verify", "--config", site.config, "--log", copy, "--json")
    assert found.code == 1
    assert json.loads(found.out)["holds"] is False
