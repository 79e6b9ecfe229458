"""A node under test: its processes, and how each thing that it stands on is made to fail."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.processes import tree
from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.cutting import Cuttable
from xds.demo.site import Site, free_port
from xds.system.parent import ends_with_us

INSIDE = Path(__file__).with_name("inside")
ROOT = Path(__file__).parents[2]
_FIU = [Path("/usr/lib/fiu/fiu_run_preload.so"), Path("/usr/lib/fiu/fiu_posix_preload.so")]

POINTS = tuple(
    f"{when} {call}" for call in ("fsync", "rename", "replace", "link", "unlink") for when in ("before", "after")
)
"""Where a process is made to kill itself."""

FAILING = ("posix/io/sync/fsync", "posix/io/sync/fdatasync", "posix/io/rw/write", "posix/io/rw/pwrite")
"""What is made to fail now and then."""

DISK_BYTES = 64 * 1024 * 1024


def lacking() -> list[str]:
    """Debian's packages that some faults need, and that are not here."""
    return [] if _FIU[0].exists() else ["fiu-utils"]


@dataclass(slots=True)
class Deployment(Site):
    """An ``xds serve`` of registry and repository, with everything below it at hand."""

    cuttable: Cuttable | None = None
    disk: Path | None = None  # a disk of its own, which can be filled
    postgres: int = 0  # the process id of the database's server
    _offset: int = field(default=0)

    @property
    def control(self) -> Path:
        return self.folder / "faults.json"

    def start(self) -> None:
        """Start it, with nothing failing."""
        self.nothing_fails()
        preload = [str(one) for one in _FIU if one.exists()]
        environment = {
            **os.environ, "PYTHONPATH": f"{INSIDE}:{ROOT}", "FAULTS": str(self.control),
            "LD_PRELOAD": ":".join(preload),
        }  # fmt: skip
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "xds", "serve", "--config", str(self.config)], stdout=log, stderr=log,
                cwd=ROOT, env=environment, preexec_fn=ends_with_us,
            )  # fmt: skip

    def nothing_fails(self) -> None:
        self._tell({})

    def _tell(self, told: dict[str, Any]) -> None:
        told["clock"] = self._offset
        beside = self.control.with_suffix(".part")
        beside.write_text(json.dumps(told))
        beside.replace(self.control)

    # Faults.  Each says what it did.

    def kill_one(self, chance: random.Random) -> str:
        """One of its processes, by kill -9."""
        assert self.process is not None
        below = tree(self.process.pid)[1:]
        if below:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(below), signal.SIGKILL)
        return "kill -9 of a process"

    def kill_all(self) -> str:
        """The supervisor, by kill -9: its children end with it."""
        assert self.process is not None
        below = tree(self.process.pid)[1:]
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
        return "kill -9 of all"

    def die_at(self, chance: random.Random) -> str:
        """Each process kills itself at a call that writes."""
        point, nth = chance.choice(POINTS), chance.randint(1, 4)
        self._tell({"die": {point: nth}})
        return f"dies {point}, the {nth}. of a process"

    def fail_disk(self, chance: random.Random) -> str:
        name, likely = chance.choice(FAILING), chance.choice((0.02, 0.2))
        self._tell({"fail": {name: likely}})
        return f"{name} fails {likely:.0%}"

    def fill_disk(self) -> str:
        """Nothing is free on its disk any more."""
        assert self.disk is not None
        with suppress(OSError), (self.disk / "filler").open("wb") as file:  # it may be full already
            while True:
                file.write(bytes(1024 * 1024))
        return "the disk is full"

    def free_disk(self) -> None:
        if self.disk is not None:
            (self.disk / "filler").unlink(missing_ok=True)

    def step_clock(self, chance: random.Random) -> str:
        """By minutes or hours, forward or back; of its processes alone."""
        self._offset += chance.choice((-7200, -90, 45, 3600))
        self._tell({})
        return f"the clock is {self._offset:+d} s off"

    @contextmanager
    def without_database(self) -> Iterator[str]:
        assert self.cuttable is not None
        self.cuttable.go_away()
        try:
            yield "the database is away"
        finally:
            self.cuttable.away = False

    @contextmanager
    def with_a_paused_database(self) -> Iterator[str]:
        """It neither answers nor is gone."""
        stopped = [self.postgres, *tree(self.postgres)[1:]]
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield "the database hangs"
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def deployment(folder: Path, database_url: str = "", postgres: int = 0) -> Iterator[Deployment]:
    """On SQLite, or on a database of PostgreSQL that can be cut off; on a small disk of its own where that may be."""
    with ExitStack() as stack:
        made = Deployment("node", folder, free_port(), postgres=postgres)
        made.folder.mkdir(parents=True, exist_ok=True)
        made.disk = stack.enter_context(_disk(folder / "disk"))
        made.sections = {
            "domain": {"assigning_authorities": [AUTHORITY], "patients": "open"},
            "server": {
                "data": str((made.disk or folder) / "data"), "actors": ["registry", "repository"],
                "least_free_bytes": 4 * 1024 * 1024,
            },
            "audit": {"checkpoint_seconds": 0.2},
        }  # fmt: skip
        if database_url:
            made.cuttable = Cuttable(int(database_url.partition("127.0.0.1:")[2].partition("/")[0]))
            name = database_url.rpartition("/")[2]
            made.sections["server"]["database"] = f"postgresql://xds@127.0.0.1:{made.cuttable.port}/{name}"
        made.write_config()
        made.start()
        stack.callback(made.stop)
        made.wait()
        yield made


@contextmanager
def _disk(folder: Path) -> Iterator[Path | None]:
    """A small disk; none where this process may not mount."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True)
    if done.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True)
