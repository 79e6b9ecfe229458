"""Writes the wheel's SBOM (CycloneDX, JSON) beside it, from ``deploy/requirements.txt``.  make sbom.

The same from the same source, byte for byte: without times and random numbers.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> Path:
    """The file's path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    target = folder / f"{project['name']}-{project['version']}.cdx.json"
    command = [
        str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", "--output-reproducible", "--short-PURLs",
        "--mc-type", "application", "--pyproject", str(ROOT / "pyproject.toml"), "--output-format", "JSON",
        "--output-file", str(target), str(ROOT / "deploy" / "requirements.txt"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return target


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
