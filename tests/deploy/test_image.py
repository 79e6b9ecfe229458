"""The image is built on a bare machine, is small, has no shell, and serves on a root that cannot be written."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.images import Image, get
from tests.extent import LONG
from tests.hostile.server import chunked, connected, head, reply_of, send

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not LONG, reason="the image is built by make test-long only"),
    pytest.mark.timeout(1800),
]
MOST_BYTES = 300 * 1000 * 1000
ITS_OWN = {"/var/lib/xds", "/tmp", "/var/tmp", "/run/lock", "/var/lock"}  # noqa: S108


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image.built(tmp_path_factory.getbasetemp().parent / "image-is-built")  # of all processes of these tests
    yield image
    image.gone()


def test_the_image_is_under_300_megabytes(image: Image) -> None:
    files = {(one.st_dev, one.st_ino): one.st_size for one in (path.lstat() for path in image.root.rglob("*"))}
    assert sum(files.values()) < MOST_BYTES


def test_there_is_no_shell_and_no_package_manager_in_it(image: Image) -> None:
    names = {path.name for folder in ("usr/bin", "usr/sbin", "opt/xds/bin") for path in (image.root / folder).iterdir()}
    assert not names & {"sh", "bash", "dash", "busybox", "perl", "apt", "apt-get", "dpkg", "pip", "pip3", "tar"}
    assert image.run("sh", "-c", "true").returncode != 0
    assert image.run("xds", "--version").stdout.startswith("xds, version")


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore", "pg_basebackup"])
def test_postgresql_can_be_backed_up_and_restored_from_within(image: Image, program: str) -> None:
    assert image.run(program, "--version").stdout.startswith(f"{program} (PostgreSQL)")


def test_nothing_in_it_can_be_written_by_its_user_but_its_data_and_temporary_files(image: Image) -> None:
    user = int(image.said["User"].partition(":")[0])
    assert user != 0
    found = [path for path in image.root.rglob("*") if not path.is_symlink() and (path.is_file() or path.is_dir())]
    theirs = [path for path in found if path.stat().st_uid == user or path.stat().st_mode & 0o002]
    assert {f"/{path.relative_to(image.root)}" for path in theirs} <= ITS_OWN


def test_it_serves_on_a_root_that_cannot_be_written_and_its_health_check_says_so(image: Image, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with image.serving(data) as (port, process):
        assert get(port, "/readyz") == 200
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{image.said['User'].partition(':')[0]}\t" in status
        mounts = [line.split() for line in Path(f"/proc/{process.pid}/mounts").read_text().splitlines()]
        assert next(options for _, place, _, options, *_ in mounts if place == "/").startswith("ro,")
        kind, *check = image.said["Healthcheck"]["Test"]
        assert kind == "CMD"  # CMD-SHELL would need one
        here = [part.replace("8080", str(port)) for part in check]
        assert image.run(*here).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert image.run(*here).returncode != 0


def test_it_stops_as_kubernetes_stops_it_and_what_is_under_way_is_answered(image: Image, tmp_path: Path) -> None:
    """The pod is taken from its service while the preStop hook sleeps, and others still come; then SIGTERM."""
    data = tmp_path / "data"
    data.mkdir()
    with image.serving(data) as (port, process):
        ends = time.monotonic() + 1
        while time.monotonic() < ends:  # the hook
            assert get(port, "/readyz") == 200
        with connected(port) as under_way:
            first, *rest = chunked([b"<half/>", b"<an envelope/>"])
            send(under_way, [head("/registry"), first])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            send(under_way, rest)
            got = reply_of(under_way)
        assert got is not None
        assert got.status in (200, 400, 500)  # no envelope: a fault, but an answer
        assert process.wait(60) == 0
        assert get(port, "/readyz") == 0
