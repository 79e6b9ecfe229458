"""Guides are run: their fenced blocks in order, in an empty folder, against the servers that they start themselves.

A block says after its language what is done with it:

- ``sh run``: bash runs it, and it succeeds;
- ``sh serve``: bash starts it, and it is waited for until the ports of its settings take connections;
- ``LANGUAGE save NAME``: it is the file NAME from then on;
- ``text shown``: each line of it stands in what the block before has printed; ``…`` is anything;
- ``LANGUAGE not-run``: it is only read, and the paragraph before it says why, after «Not run here».

Every ``127.0.0.1:PORT`` becomes a free port of this machine, or the place of a server that the test has started.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import wait_for
from tests.deploy import warm
from tests.sockets import listens
from xds.demo.site import free_port
from xds.system.parent import ends_with_us

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "guides"
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r'(127\.0\.0\.1(?::|", ))(\d+)')
_LOOKS = re.compile(r"xds audit (list|report)\b")
_LISTENS = re.compile(r'^\w*listen = "127\.0\.0\.1:(\d+)"', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: language, what is done with it, the file it becomes, and the paragraph before."""

    language: str
    use: str
    name: str
    text: str
    before: str
    line: int


def blocks(markdown: str) -> Iterator[Block]:
    """A guide's blocks in order."""
    for found in _FENCE.finditer(markdown):
        language, use, name, *_ = [*found["info"].split(), "", "", ""]
        before = markdown[: found.start()].strip().rpartition("\n\n")[2]
        yield Block(language, use, name, found["text"], before, markdown.count("\n", 0, found.start()) + 1)


@dataclass
class Reader:
    """Somebody who does what a guide says.

    ``places``: where servers are that the test has started, by the guide's port; ``words`` stand in for the guide's.
    """

    folder: Path
    places: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    printed: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        self._ports = {guide: str(port) for guide, port in self.places.items()}
        programs = self.folder / ".programs"
        programs.mkdir(parents=True)
        for name, text in (("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'), ("xds", warm.program())):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self._environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(self.folder),
            "no_proxy": "*", "COLUMNS": "160",
        }  # fmt: skip

    def text(self, block: Block) -> str:
        """With this machine's ports, and the test's words."""
        text = _PLACE.sub(lambda place: place[1] + self._port(place[2]), block.text)
        for old, new in self.words.items():
            text = text.replace(old, new)
        return text

    def _port(self, guide: str) -> str:
        return self._ports.setdefault(guide, str(free_port()))

    def do(self, block: Block) -> None:
        """What a block says.

        Raises:
            AssertionError: it does not do what it says.
        """
        text = self.text(block)
        lines = list(filter(None, map(str.strip, text.splitlines())))
        if block.use == "save":
            (self.folder / block.name).write_text(text, "utf-8")
        elif block.use == "run":
            self.last = text
            assert self._run() == 0, f"line {block.line}: {text}\n{self.printed}\n{self._logs()}"
        elif block.use == "serve":
            self._serve(text)
        elif block.use == "shown":
            if _LOOKS.match(self.last):  # what was done a moment ago is found as soon as it is indexed
                wait_for(lambda: all(self._shows(line) for line in lines) or self._run() != 0)
            for line in lines:
                assert self._shows(line), f"line {block.line}: {line!r} is not in\n{self.printed}"
        else:
            assert block.use == "not-run", f"line {block.line}: nothing is said of what to do with it"
            assert "Not run here" in block.before, f"line {block.line}: it is not said why it is not run"

    def _run(self) -> int:
        """Do the last command; its exit code."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.last], cwd=self.folder, env=self._environment, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.printed = done.stdout.decode("utf-8", "replace")
        return done.returncode

    def _shows(self, line: str) -> bool:
        """Whether the last command has printed a line; «…» stands for anything."""
        wanted = ".*".join(re.escape(part).replace(r"\ ", r"\s+") for part in line.split("…"))
        return re.search(wanted, self.printed) is not None

    def _serve(self, text: str) -> None:
        config = re.search(r"--config (\S+)", text)
        assert config, "a guide's server has settings"
        ports = _LISTENS.findall((self.folder / config[1]).read_text("utf-8"))
        with (self.folder / f"serve-{ports[0]}.log").open("wb") as log:
            self.servers.append(subprocess.Popen(
                ["bash", "-c", f"exec {text.strip()}"], cwd=self.folder, env=self._environment, stdout=log, stderr=log,
                preexec_fn=ends_with_us,
            ))  # fmt: skip

        def answers() -> bool:
            assert self.servers[-1].poll() is None, self._logs()
            return all(listens(int(port)) for port in ports)

        wait_for(answers)

    def _logs(self) -> str:
        return "\n".join(path.read_text("utf-8", "replace")[-4000:] for path in self.folder.glob("serve-*.log"))

    def leave(self) -> None:
        """Stop what was started."""
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait(60)
