"""The image, built by ``deploy/image.sh`` and run as the container file says, with nothing but Debian's programs.

buildah's chroot isolation can show neither a root that is read-only, nor a limit of memory, nor a network of its own:
it makes no cgroup, and mounts what is to be written.  The first is shown here by a mount namespace (util-linux'
``unshare``) and chroot; for the other two nothing can be made on every machine, and they are left to who runs it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_for
from tests.hostile.server import ask
from tests.needs import missing
from tests.places import ROOT
from xds.demo.site import free_port
from xds.system.parent import ends_with_us

FOLDER = ROOT / ".image"
READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$1/var/lib/xds"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -o remount,ro,bind "$1"
root="$1" user="$3"
shift 3
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


@dataclass(frozen=True)
class Image:
    """A container made of the image: its root, and what the container file says of how it is run."""

    name: str
    root: Path
    said: dict[str, Any]

    @classmethod
    def built(cls, once: Path) -> Image:
        """Build it, at most once for everybody who names the same file."""
        for program in ("mmdebstrap", "buildah"):
            if shutil.which(program) is None:
                missing(program, program)
        if os.geteuid() != 0:
            pytest.skip("an image is built by root")
        with (ROOT / ".image.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not once.exists():
                done = subprocess.run([ROOT / "deploy/image.sh", FOLDER], capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr[-4000:]
                once.touch()
        name = buildah("from", "localhost/xds")
        said = json.loads(buildah("inspect", "--type", "image", "localhost/xds"))["Docker"]["config"]
        return cls(name, Path(buildah("mount", name)), said)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in it, to its end."""
        return subprocess.run(
            [*_buildah(), "run", "--isolation", "chroot", "--network", "host", self.name, "--", *command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @contextmanager
    def serving(self, data: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """What it runs if nothing else is said, on a root that cannot be written; its port, and its first process."""
        user, port = self.said["User"], free_port()
        os.chown(data, *map(int, user.split(":")))
        command = [*self.said["Entrypoint"], *self.said["Cmd"], "--listen", f"127.0.0.1:{port}", *arguments]
        with (data.parent / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", self.root, data, user, *command],
                env=self.environment | {"PATH": f"{self.environment['PATH']}:/usr/sbin:/bin:/sbin"},
                stdout=log, stderr=log, preexec_fn=ends_with_us,
            )  # fmt: skip
        try:
            wait_for(lambda: process.poll() is not None or get(port, "/readyz") == 200)
            assert process.poll() is None, (data.parent / "log").read_text("utf-8", "replace")
            yield port, process
        finally:
            process.kill()
            process.wait(60)

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.said["Env"])

    def gone(self) -> None:
        buildah("rm", self.name)


def get(port: int, path: str) -> int:
    """The status of an answer; 0 where nobody listens."""
    try:
        got = ask(port, [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()])
    except ConnectionError:
        return 0
    return got.status if got is not None else 0


def _buildah() -> Sequence[str]:
    return ("buildah", "--root", f"{FOLDER}/storage", "--runroot", f"{FOLDER}/run", "--storage-driver", "vfs")


def buildah(*arguments: str) -> str:
    """What it prints."""
    done = subprocess.run([*_buildah(), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
