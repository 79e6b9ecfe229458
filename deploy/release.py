"""Makes a release into a folder: wheel, source, SBOM, and what each Python that is here made of them.  make release.

The wheel is installed from nothing with the pinned versions, and a node of it is started, by every Python that
``requires-python`` allows.  What was not tried is said: a release is made where all of them are.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MARK = "Programming Language :: Python :: 3."
READY_SECONDS = 60


def pythons() -> dict[str, str | None]:
    """Every version that the project says it is for, with its interpreter where one is here."""
    wanted = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if one.startswith(MARK)]
    return {version: _interpreter(version) for version in wanted}


def _interpreter(version: str) -> str | None:
    beside = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for found in (shutil.which(f"python{version}"), *map(str, reversed(beside))):
        if found and _answer([found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]) == version:
            return found
    return None


def _answer(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def tried(python: str, wheel: Path, folder: Path) -> str:
    """What is wrong with the wheel under this Python; empty: it installs, and a node of it is ready and answers."""
    for command in (
        [python, "-m", "venv", str(folder / "venv")],
        [str(folder / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check",
         "-c", str(ROOT / "constraints.txt"), str(wheel)],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip() or "it cannot be installed").splitlines()[-1]
    xds = str(folder / "venv/bin/xds")
    if _answer([xds, "--version"]) != f"xds, version {PROJECT['version']}":
        return f"xds --version says {_answer([xds, '--version'])!r}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        node = subprocess.Popen(
            [xds, "serve", "--data", str(folder / "data"), "--listen", f"127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        return _not_ready(f"http://127.0.0.1:{port}", node)
    finally:
        node.terminate()
        node.wait()


def _not_ready(url: str, node: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while node.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310  our own node
                pass
            with urllib.request.urlopen(f"{url}/registry?wsdl", timeout=5) as answer:  # noqa: S310
                return "" if b"RegistryStoredQuery" in answer.read() else "its WSDL has no stored query"
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return "a node of it does not become ready"


def main(folder: Path) -> int:
    """Exit code 0: everything that could be tried holds, and something was."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{PROJECT['name']}-{PROJECT['version']}*"):
        old.unlink()
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    subprocess.run([sys.executable, str(ROOT / "deploy/sbom.py"), str(folder)], check=True)
    (wheel,) = folder.glob(f"{PROJECT['name']}-{PROJECT['version']}-*.whl")
    said: dict[str, str] = {}
    for version, python in pythons().items():
        if python is None:
            said[version] = "not tried: it is not here"
        else:
            with tempfile.TemporaryDirectory(prefix="xds-release-") as own:
                said[version] = tried(python, wheel, Path(own)) or "installs, starts, answers"
        print(f"Python {version}: {said[version]}", flush=True)
    told = {"version": PROJECT["version"], "wheel": wheel.name, "pythons": said}
    (folder / f"{PROJECT['name']}-{PROJECT['version']}.release.json").write_text(json.dumps(told, indent=1) + "\n")
    fine = [one for one in said.values() if one.startswith("installs")]
    wrong = [one for one in said.values() if not one.startswith(("installs", "not tried"))]
    print(", ".join(sorted(one.name for one in folder.glob(f"{PROJECT['name']}-{PROJECT['version']}*"))))
    return 0 if fine and not wrong else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
