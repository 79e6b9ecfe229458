"""Java programs beside this file, built by Maven and run on a class path of its making."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent

# The first time, all that the poms name is downloaded.
BUILD_SECONDS, RUN_SECONDS = 1200, 900

# What IPF and HAPI say of themselves is of no use unless it warns.
QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


class NotBuilt(Exception):
    """Maven did not build it; the message is what Maven said."""


def is_there() -> bool:
    return all(shutil.which(program) for program in ("java", "javac", "mvn"))


def build(project: str) -> Path:
    """Build a project into its ``target/``, without the network if everything is at hand; return its folder.

    Raises:
        NotBuilt: neither way.
    """
    folder = HERE / project
    (folder / "target").mkdir(exist_ok=True)
    with (folder / "target/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        return _built(folder)


def _built(folder: Path) -> Path:
    said = ""
    for network in (["-o"], []):
        command = ["mvn", "-q", "-B", *network, "compile"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
        if done.returncode == 0:
            return folder
        said = done.stdout + done.stderr
    raise NotBuilt(said)


def command(folder: Path, main: str, *arguments: str, properties: Mapping[str, str] | None = None) -> list[str]:
    """How to run a class of a built project."""
    class_path = os.pathsep.join([str(folder / "target/classes"), str(folder / "target/lib/*")])
    defined = [f"-D{key}={value}" for key, value in (properties or {}).items()]
    return ["java", QUIET, "-Dfile.encoding=UTF-8", *defined, "-cp", class_path, main, *arguments]
