"""How a folder lies on its disk is what the kernel says of it; shown with a file system that encrypts, and on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from xds.system import at_rest as module
from xds.system.at_rest import Rest, at_rest

RUNBOOK = (ROOT / "deploy" / "OPERATIONS.md").read_text("utf-8").partition("## Encrypt at rest")[2]

STAGE = """
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/etc" "$1/work" "$1/disk"
mount -t overlay overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/work" /etc
truncate --size 64M "$1/image"
mkfs.ext4 -q "$1/image"
mount -o loop "$1/image" "$1/disk"
mkdir "$1/disk/xds" /etc/xds
echo staged
"""
"""A disk of its own, and an /etc that is written over nobody's: both are gone with the process that mounts them."""

LOOK = """
"$2" -c 'import sys; from pathlib import Path; from xds.system.at_rest import at_rest
for one in sys.argv[1:]: print(at_rest(Path(one)).name)' {}
"""


def test_the_runbook_s_commands_encrypt_a_folder_and_it_is_seen(tmp_path: Path) -> None:
    if shutil.which("fscrypt") is None:
        pytest.skip("fscrypt is not installed: .ci/run brings it")
    block = re.search(r"^```sh\n(.*?)^```$", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert block is not None
    disk = tmp_path / "stage" / "disk"
    commands = block[1].replace("/var/lib/xds", str(disk / "xds"))
    look = LOOK.format(f"{disk} {disk / 'xds'} {disk / 'xds' / 'spool' / 'not-yet-there'} {disk.parent}")
    before = LOOK.format(str(disk / "xds"))
    (tmp_path / "stage").mkdir()
    had = Path("/.fscrypt").exists()
    try:
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", STAGE + before + commands + look, "bash", str(tmp_path / "stage"),
             sys.executable],
            capture_output=True, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip
    finally:
        if not had:
            shutil.rmtree("/.fscrypt", ignore_errors=True)
    if "staged" not in done.stdout:
        pytest.skip(f"no disk of its own can be mounted here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.split() if line in Rest.__members__]
    assert said[0] in ("CLEAR", "UNKNOWN")
    assert said[1:] == [said[0], "FOLDER", "FOLDER", "MEMORY"]


class Kernel:
    """What /sys and mountinfo say, made up: ``folder`` is on the device 8:1."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sys, self.mounts, self.folder = root / "sys", root / "mountinfo", root / "data"
        self.folder.mkdir()
        for name in ("block", "dev/block", "class/block"):
            (self.sys / name).mkdir(parents=True)
        self.mounted("8:1", "ext4", "/dev/sda1")
        monkeypatch.setattr(module, "_has_policy", lambda _: False)
        monkeypatch.setattr(module.os, "major", lambda _: 8)
        monkeypatch.setattr(module.os, "minor", lambda _: 1)

    def mounted(self, number: str, kind: str, source: str) -> None:
        self.mounts.write_text(f"22 1 {number} / / rw,relatime shared:1 - {kind} {source} rw\n")

    def device(self, name: str, number: str = "", uuid: str = "", on: tuple[str, ...] = ()) -> None:
        block = self.sys / "block" / name
        (block / "slaves").mkdir(parents=True)
        for one in on:
            (block / "slaves" / one).symlink_to(self.sys / "block" / one)
        if uuid:
            (block / "dm").mkdir()
            (block / "dm" / "uuid").write_text(f"{uuid}\n")
        (self.sys / "class" / "block" / name).symlink_to(block)
        if number:
            (self.sys / "dev" / "block" / number).symlink_to(block)

    def said(self) -> Rest:
        return at_rest(self.folder, sys=self.sys, mounts=self.mounts)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def test_a_disk_without_more_is_in_clear(kernel: Kernel) -> None:
    kernel.device("sda", "8:1")
    assert kernel.said() is Rest.CLEAR


def test_a_partition_is_what_its_disk_is(kernel: Kernel) -> None:
    kernel.device("dm-3", uuid="CRYPT-LUKS2-0123456789abcdef-home")
    part = kernel.sys / "block" / "dm-3" / "dm-3p1"
    part.mkdir()
    (part / "partition").write_text("1\n")
    (kernel.sys / "dev" / "block" / "8:1").symlink_to(part)
    assert kernel.said() is Rest.DISK


def test_a_volume_is_encrypted_when_all_that_it_is_made_of_is(kernel: Kernel) -> None:
    kernel.device("dm-0", uuid="CRYPT-LUKS2-0123456789abcdef-a")
    kernel.device("dm-1", uuid="CRYPT-LUKS2-0123456789abcdef-b")
    kernel.device("dm-2", "8:1", "LVM-volume", on=("dm-0", "dm-1"))
    assert kernel.said() is Rest.DISK


def test_a_volume_of_which_a_part_is_in_clear_is_in_clear(kernel: Kernel) -> None:
    kernel.device("dm-0", uuid="CRYPT-LUKS2-0123456789abcdef-a")
    kernel.device("sdb")
    kernel.device("dm-2", "8:1", "LVM-volume", on=("dm-0", "sdb"))
    assert kernel.said() is Rest.CLEAR


def test_a_file_system_that_numbers_itself_is_found_by_its_device(kernel: Kernel) -> None:
    kernel.device("dm-0", uuid="CRYPT-LUKS2-0123456789abcdef-a")
    kernel.mounted("8:1", "btrfs", "/dev/dm-0")
    assert kernel.said() is Rest.DISK


@pytest.mark.parametrize(("kind", "source"), [("zfs", "pool/xds"), ("nfs4", "store:/xds"), ("overlay", "overlay")])
def test_of_others_nobody_can_tell(kernel: Kernel, kind: str, source: str) -> None:
    kernel.mounted("8:1", kind, source)
    assert kernel.said() is Rest.UNKNOWN
