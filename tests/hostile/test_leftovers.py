"""Of a process that was killed no patient's image is left lying about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pynetdicom import AE

from tests.conftest import wait_for
from tests.endpoints.test_cstore import associated, listener, port_of
from tests.hostile.server import Served
from tests.imaging.images import CT
from xds.archives.folder import FolderArchive
from xds.archives.leftovers import private_folder, swept
from xds.demo.site import free_port
from xds.imaging.study import INCOMING
from xds.system.whose import mark
from xds.wire.spool import Spool


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "images" / INCOMING
    folder.mkdir(parents=True)
    return folder


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_what_dead_processes_have_left_is_removed_and_nothing_else(incoming: Path) -> None:
    gone = f"{dead()}.{mark().partition('.')[2]}"
    for name in (f"part-{gone}-abc", "part-old", f"dimse-{gone}-x/tmp1.dcm"):
        (incoming / name).parent.mkdir(exist_ok=True)
        (incoming / name).write_bytes(b"SECRET")
    (incoming / "by hand.dcm").write_bytes(b"kept")
    with Spool(incoming) as spool:
        writing = spool.new()
        writing.write(b"under way")
        assert swept(incoming) == 3
        assert {entry.name.split("-")[0] for entry in incoming.iterdir()} == {"part", "by hand.dcm"}
        assert writing.finish().path.read_bytes() == b"under way"
    assert swept(incoming.parent / "nowhere") == 0


def test_of_another_machine_what_was_written_lately_is_left(incoming: Path) -> None:
    theirs = incoming / f"part-{dead()}.00000000-abc"
    theirs.write_bytes(b"perhaps under way")
    assert swept(incoming) == 0
    os.utime(theirs, (0, 0))
    assert swept(incoming) == 1


def test_temporary_files_are_in_a_folder_of_the_process_alone(
    incoming: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = private_folder(incoming)
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent == folder
        file.write(b"x")
        assert folder.stat().st_mode & 0o777 == 0o700
        archive = FolderArchive(incoming.parent, tmp_path / "index.sqlite", tmp_path / "spool")
        assert archive.refresh().added == 0  # it is none of the archive's
        archive.close()


def test_a_listener_killed_in_the_midst_of_an_instance_leaves_none_when_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    imaging = {"folder": str(tmp_path / "images"), "cstore_listen": f"127.0.0.1:{free_port()}"}
    site = Served(tmp_path, {"imaging_source": imaging}).start()
    wait_for(lambda: associated(site) is not None)
    incoming = tmp_path / "images" / INCOMING
    half_sent(port_of(site))
    wait_for(lambda: any(path.stat().st_size > 1000 for path in incoming.rglob("*.dcm")))
    os.kill(listener(site), signal.SIGKILL)
    wait_for(lambda: associated(site) is not None, 30)
    wait_for(lambda: not [path for path in incoming.rglob("*") if path.is_file()])
    assert site.stop() == 0
    assert list(incoming.iterdir()) == []


def half_sent(port: int) -> None:
    """An association, a C-STORE-RQ and the beginning of its dataset."""
    entity = AE("CT1")
    entity.add_requested_context(CT, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port, ae_title="XDS")
    sock = association.dul.socket.socket
    command = (
        b"\0\0\2\0" + (26).to_bytes(4, "little") + CT.encode().ljust(26, b"\0")
        + b"\0\0\0\1\2\0\0\0\1\0" + b"\0\0\x10\1\2\0\0\0\1\0" + b"\0\0\0\7\2\0\0\0\0\0" + b"\0\0\0\x08\2\0\0\0\1\0"
        + b"\0\0\0\x10" + (14).to_bytes(4, "little") + b"1.2.3.100.1.1\0"
    )  # fmt: skip
    command = b"\0\0\0\0\4\0\0\0" + len(command).to_bytes(4, "little") + command
    for control, data in ((3, command), (0, bytes(8000))):
        value = (len(data) + 2).to_bytes(4, "big") + bytes((1, control)) + data
        sock.sendall(b"\4\0" + len(value).to_bytes(4, "big") + value)
