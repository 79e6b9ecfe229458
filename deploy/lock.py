"""Writes ``deploy/requirements.txt`` from ``constraints.txt``: each version with the hashes of its files.  make lock.

For ``pip install --require-hashes`` on Linux, for each Python and each kind of machine that xds is installed on.
Versions and hashes only: which index files come from is the business of who installs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = [f"2_{minor}" for minor in range(17, 37)]
"""Of Debian 12 and before: wheels are tagged by the oldest that they run on (PEP 600)."""

HEAD = """\
# Made by deploy/lock.py (make lock) from constraints.txt: do not edit.
#   pip install --require-hashes -r deploy/requirements.txt && pip install --no-deps .
"""


def main() -> None:
    pins = dict(pinned((ROOT / "constraints.txt").read_text("utf-8")))
    markers, hashes = marked(), {name: set[str]() for name in pins}
    # Without a platform, for who has no wheel at all; their source is what every machine is given.
    sources = {}
    for name, link, digest in reported(pins, markers):
        if link.endswith((".tar.gz", ".zip")):
            sources[name] = digest
    wheels = {name: version for name, version in pins.items() if name not in sources}
    for name, digest in sources.items():
        hashes[name].add(digest)
    for python in PYTHONS:
        for machine in MACHINES:
            for name, _, digest in reported(wheels, markers, python=python, machine=machine):
                hashes[name].add(digest)
    (ROOT / "deploy" / "requirements.txt").write_text(HEAD + "".join(lines(pins, markers, hashes)), "utf-8")


def pinned(text: str) -> Iterator[tuple[str, str]]:
    """Names, as indexes normalise them (PEP 503), and versions."""
    for line in text.splitlines():
        name, equals, version = line.partition("#")[0].strip().partition("==")
        if equals:
            yield re.sub(r"[-_.]+", "-", name).lower(), version


def marked() -> dict[str, str]:
    """The markers of pyproject's own dependencies: who is wanted on some Pythons only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = (one.partition(";") for one in project["dependencies"])
    return {re.split(r"[\[<>=!~ ]", name)[0].lower(): marker.strip() for name, _, marker in found if marker}


def lines(pins: Mapping[str, str], markers: Mapping[str, str], hashes: Mapping[str, set[str]]) -> Iterator[str]:
    for name, version in sorted(pins.items()):
        if not hashes[name]:
            sys.exit(f"{name}=={version}: no file was found")
        marker = f" ; {markers[name]}" if name in markers else ""
        digests = " \\\n".join(f"    --hash=sha256:{one}" for one in sorted(hashes[name]))
        yield f"{name}=={version}{marker} \\\n{digests}\n"


def reported(
    pins: Mapping[str, str], markers: Mapping[str, str], *, python: str = "", machine: str = ""
) -> Iterable[tuple[str, str, str]]:
    """What pip would install: name, link and SHA-256 of each file."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        # A marker is of the Python that runs pip, whichever one it is asked about.
        skipped = [name for name, marker in markers.items() if "3.13" in marker and python != "3.13"]
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pins.items() if name not in skipped))
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
            "--ignore-installed", "--no-deps", "--report", f"{folder}/report.json", "--requirement", str(wanted),
        ]  # fmt: skip
        if python:
            tags = [f"--platform=manylinux_{glibc}_{machine}" for glibc in GLIBC]
            tags.append(f"--platform=manylinux2014_{machine}")
            command += ["--target", f"{folder}/target", "--only-binary=:all:", f"--python-version={python}", *tags]
        subprocess.run(command, check=True)
        report: Any = json.loads((Path(folder) / "report.json").read_text("utf-8"))
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        info = item["download_info"]
        yield name, info["url"].partition("#")[0], info["archive_info"]["hashes"]["sha256"]


if __name__ == "__main__":
    main()
