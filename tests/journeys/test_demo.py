"""The demo as a stranger runs it: a command, real images, real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from xds.demo.orthanc import program


def test_every_step_of_the_demo_holds_and_its_sites_are_gone_afterwards(tmp_path: Path) -> None:
    result = tmp_path / "out.json"
    command = [sys.executable, "-m", "xds", "demo", "--once", "--json", str(result), "--data", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(result.read_text())
    assert all(step["ok"] for step in said["steps"])
    assert {t for step in said["steps"] for t in step["transaction"].split(", ")} >= {
        *("RAD-68", "ITI-42", "ITI-18", "ITI-43", "RAD-69"),
    }
    assert said["studies"] >= 5
    assert said["images_retrieved"] >= 540  # a CT of 500 among them
    assert any("Orthanc" in step["name"] for step in said["steps"]) == (program() is not None)
    # What it leaves can be verified by itself, and nothing serves any more.
    verify = [
        sys.executable,
        "-m",
        "xds",
        "audit",
        "verify",
        "--config",
        f"{said['data']}/north/xds.toml",
        "--database",
    ]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    running = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert running.stdout == b""


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    command = [sys.executable, "-m", "xds", "demo", "--once", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "not left by a demo" in done.stderr
    assert (tmp_path / "precious").exists()
