"""``xds demo``: a whole affinity domain on this machine, with real images."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from xds.errors import Unusable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from xds.demo.steps import Demo

MARKER = ".xds-demo"


class _Board:
    """The steps as a live table."""

    def __init__(self, steps: list[tuple[str, str, Any]]) -> None:
        self._steps = steps
        self.rows: list[dict[str, Any]] = []
        self._lacking = ""
        self._live: Live | None = None

    def told(self, lacking: str) -> None:
        """Show what the step under way waits for."""
        self._lacking = lacking
        if self._live is not None:
            self._live.update(self.table())

    def table(self) -> Table:
        from rich.table import Table

        table = Table(title="Hospitals and a clinic share images", title_style="bold", expand=False)
        for heading in ("", "Step", "Transaction", "Seconds", "Seen"):
            table.add_column(heading, justify="right" if heading == "Seconds" else "left", overflow="fold")
        for number, (name, transaction, _) in enumerate(self._steps):
            if number < len(self.rows):
                row = self.rows[number]
                mark = "[green]✓[/]" if row["ok"] else "[red]✗[/]"
                table.add_row(mark, name, transaction, f"{row['seconds']:.2f}", row["detail"])
            else:
                mark = "[yellow]…[/]" if number == len(self.rows) else ""
                table.add_row(mark, name, transaction, "", self._lacking if mark else "")
        return table

    def run(self, live: Live) -> bool:
        """Do the steps until one does not hold; whether all did."""
        from xds.audit.log.verify import Tampered
        from xds.demo.steps import DoesNotHold

        self._live = live
        for name, transaction, do in self._steps:
            self._lacking = ""
            started, ok = time.monotonic(), True
            try:
                detail = do()
            except (DoesNotHold, Unusable, Tampered) as problem:
                ok, detail = False, str(problem)
            seconds = round(time.monotonic() - started, 3)
            self.rows.append({"name": name, "transaction": transaction, "ok": ok, "seconds": seconds, "detail": detail})
            live.update(self.table())
            if not ok:
                return False
        return True


@click.command(epilog="Example: xds demo --once --json out.json")
@click.option("--once", is_flag=True, help="Stop after the last step; exit code 0 only if every one held.")
@click.option("--json", "json_", metavar="FILE", type=click.Path(path_type=Path), help="Write the steps to FILE.")
@click.option("--data", metavar="DIR", default="xds-demo-data", show_default=True, help="The folder it leaves.")
def demo(once: bool, json_: Path | None, data: str) -> None:
    """Share real images between two hospitals and a clinic, and audit it; then serve until stopped."""
    from rich.console import Console
    from rich.live import Live

    from xds.demo import images

    images.need()
    from xds.demo.steps import Demo

    logging.getLogger("spyne").setLevel(logging.ERROR)
    folder = _fresh(Path(data).absolute())
    running = Demo(folder)
    board, console = _Board(running.steps()), Console()
    running.tell = board.told
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with Live(board.table(), console=console, refresh_per_second=4) as live:
            held = board.run(live)
        if not console.is_terminal:
            console.print()  # a table that is not redrawn ends without a line end
        if json_ is not None:
            json_.write_text(json.dumps(_result(running, board, folder), indent=2) + "\n", "utf-8")
        if held and not once:
            _tell(console, running)
            _serve(running)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what was started is being stopped
        running.stop()
    console.print("every step held" if held else "[red]a step did not hold[/]; the sites' logs are in " + str(folder))
    sys.exit(0 if held else 1)


def _fresh(folder: Path) -> Path:
    """An empty folder; one that an earlier demo left is cleared, any other is left alone."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise Unusable(f"{folder} is not empty and was not left by a demo; name another with --data")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def _result(running: Demo, board: _Board, folder: Path) -> dict[str, Any]:
    return {
        "steps": board.rows,
        "studies": len(running.all_studies()),
        "images_retrieved": running.images_retrieved,
        "audit_records": running.audit_records,
        "data": str(folder),
    }


def _tell(console: Console, running: Demo) -> None:
    north, clinic = running.north, running.clinic
    console.print("\nAddresses to try:")
    console.print(f"  registry        {north.url}/registry?wsdl")
    for site in running.hospitals:
        console.print(f"  {site.name:15} {site.url}/repository?wsdl  {site.url}/imaging-source?wsdl")
    asked = urlencode({"patient": str(running.patient("dora"))})
    for words, site, name, role, path in (
        ("in a browser ", clinic, "doctor", "viewer", f"/console/patients?{asked}"),
        ("as an auditor", north, "auditor", "auditor", "/console/audit"),
    ):  # fmt: skip
        signs_in = f"(name {name}, password {running.make_account(site, name, role)})"
        console.print(f"  {words}   {site.url}{path}  {signs_in}", soft_wrap=True, highlight=False)
    console.print("\nAs the clinic, or as an auditor at north:")
    for line in (
        f"xds find --patient '{running.patient('anna')}' --registry {north.url}/registry --config {clinic.config}",
        f"xds audit list --config {north.config}",
        f"xds audit report patient '{running.patient('anna')}' --config {north.config}",
        f"xds audit verify --config {north.config} --database",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    console.print("\nOr with curl alone:")
    request = running.folder / "find-anna.xml"
    request.write_bytes(running.curl_request())
    line = f"curl -s -H 'Content-Type: application/soap+xml' --data-binary @{request} {north.url}/registry"
    console.print(f"  {line}", soft_wrap=True, highlight=False)
    console.print("\nCtrl-C stops it.")


def _serve(running: Demo) -> None:
    try:
        while all(site.process is not None and site.process.poll() is None for site in running.sites):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
