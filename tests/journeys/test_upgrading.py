"""A deployment is brought to this version while it works, and back: nobody who submits notices."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.region import SETTINGS, Region
from tests.conftest import wait_for
from xds.demo.site import Site, free_port
from xds.store import deployment
from xds.store.deployment import GOES_BACK_TO, VERSION
from xds.store.engine import make_engine
from xds.system.parent import ends_with_us

ROOT = Path(__file__).parents[2]
BEFORE = "8176b01fe87e2a893bf518d3704d897c3789d739"
"""The commit before the first that this is about; its tables are of version 0007."""

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""SQLite has one node."""


@dataclass(slots=True)
class Node(Site):
    """A node whose program is in a folder."""

    program: Path = field(default=ROOT)

    def start(self) -> None:
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "xds", "serve", "--config", str(self.config)], stdout=log, stderr=log,
                cwd=self.program, preexec_fn=ends_with_us,
            )  # fmt: skip

    def run(self, *command: str) -> str:
        """A command of its program, and what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "xds", *command, "--config", str(self.config)], cwd=self.program,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program of the version before."""
    packed = subprocess.run(["git", "archive", BEFORE, "xds", "schemas", "wsdl"], cwd=ROOT, capture_output=True)
    if packed.returncode:
        pytest.skip("the version before is in the history of the repository, which is not here")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def node(name: str, folder: Path, database_url: str, program: Path) -> Iterator[Node]:
    made = Node(name, folder / name, free_port(), program=program)
    made.sections = {"server": {"database": database_url, "actors": ["registry"]}, **SETTINGS}
    made.write_config()
    with ExitStack() as stack:
        made.start()
        stack.callback(made.stop)
        made.wait()
        yield made


def tables_of(database_url: str) -> str:
    engine = make_engine(database_url, connections=1)
    with engine.connect() as connection:
        found = deployment.version(connection)
    engine.dispose()
    return found


def test_two_versions_serve_side_by_side_and_the_first_goes_on_alone(
    before: Path, database_url: str, tmp_path: Path
) -> None:
    engine = make_engine(database_url, connections=1)
    with engine.begin() as connection:
        deployment.go_back(connection, GOES_BACK_TO)
    engine.dispose()
    with node("old", tmp_path, database_url, before) as old:
        region = Region(lambda: database_url, [old])
        with region.under_load(2):
            wait_for(lambda: region.replies["acknowledged"] > 20)
            assert tables_of(database_url) == GOES_BACK_TO
            with node("new", tmp_path, database_url, ROOT) as new:
                assert tables_of(database_url) == VERSION
                with pytest.raises(AssertionError, match="nodes of this version run"):
                    new.run("db", "back", GOES_BACK_TO)
                beside = Region(lambda: database_url, [new, old])
                with beside.under_load(2):
                    wait_for(lambda: beside.replies["acknowledged"] > 40)
            assert "of version 0007" in new.run("db", "back", GOES_BACK_TO)
            sofar = region.replies["acknowledged"]
            wait_for(lambda: region.replies["acknowledged"] > sofar + 20)
        old.stop()
        old.start()
        old.wait()
        with region.under_load(2):
            sofar = region.replies["acknowledged"]
            wait_for(lambda: region.replies["acknowledged"] > sofar + 20)
    kept = region.kept()
    for one in (region, beside):
        assert {*one.replies} == {"acknowledged"}
        assert all(kept[unique_id] == 1 for unique_id in one.acknowledged)
        assert not one.unseen
