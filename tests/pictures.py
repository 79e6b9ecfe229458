"""The README's pictures, made anew: ``python -m tests.pictures`` runs the demonstration, and looks at a desk of it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page
from rich.console import Console

from tests.conftest import wait_for
from tests.endpoints.console.browsing import a_browser
from tests.sockets import listens
from xds.demo.command import _Board
from xds.settings.configuration import load
from xds.system.parent import ends_with_us

FOLDER = Path(__file__).parents[1] / "deploy" / "pictures"
COLUMNS = 104
COLOURS = 256
NAME, PASSWORD = "maria", "a long passphrase 27"
XDS = [sys.executable, "-m", "xds"]


def main() -> None:
    """Make both."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xds-pictures-") as folder:
        data, told = Path(folder) / "demo", Path(folder) / "demo.json"
        subprocess.run([*XDS, "demo", "--once", "--data", data, "--json", told], check=True, stdout=subprocess.DEVNULL)
        demonstration(json.loads(told.read_text("utf-8"))["steps"])
        desk(data / "north" / "xds.toml")


def demonstration(steps: list[dict[str, Any]]) -> None:
    """The table that the demonstration has left in the terminal."""
    board = _Board([(step["name"], step["transaction"], None) for step in steps])
    board.rows = steps
    terminal = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    terminal.print(board.table())
    with a_browser() as page:
        svg = re.sub(r"@font-face \{.*?\}", "", terminal.export_svg(title="make demo"), flags=re.DOTALL)  # of the web
        page.set_content(svg)
        page.add_style_tag(content="body { margin: 0 } svg { display: block; width: 1000px; height: auto }")
        taken(page.locator("svg").first.screenshot(), "demonstration")


def desk(config: Path) -> None:
    """Who saw Anna, at the desk of a hospital of the demonstration."""
    subprocess.run(
        [*XDS, "user", "add", NAME, "--role", "auditor", "--config", config], check=True, input=f"{PASSWORD}\n".encode()
    )
    settings = load(config, {}).settings
    listen, authority = settings.server.listen, settings.domain.assigning_authorities[0]
    server = subprocess.Popen([*XDS, "serve", "--config", config], preexec_fn=ends_with_us)
    try:
        wait_for(lambda: listens(int(listen.rpartition(":")[2])))
        with a_browser() as page:
            page.set_viewport_size({"width": 1280, "height": 780})
            signed_in(page, f"http://{listen}/console/audit")
            page.get_by_role("link", name="Who saw a patient").click()
            page.get_by_role("textbox", name="Patient").fill(f"anna^^^&{authority}&ISO")
            page.get_by_role("button", name="Report").click()
            page.locator("tbody tr").first.wait_for()
            taken(page.screenshot(), "desk")
    finally:
        server.terminate()
        server.wait()


def signed_in(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Audit log").wait_for()


def taken(png: bytes, name: str) -> None:
    """Keep a picture, with few colours: it stays small."""
    small = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    small.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
