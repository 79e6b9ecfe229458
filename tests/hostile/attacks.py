"""What a review tried on xds, group by group of each of its scripts: what happens now, and the tests of that."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.hostile.attacks_of_parsers import PARSERS
from tests.hostile.attacks_of_people import PEOPLE
from tests.hostile.attacks_of_studies import STUDIES
from tests.hostile.attacks_of_the_node import NODE

FILE = Path(__file__).with_name("attacks.md")


class Attack(NamedTuple):
    """One group of a script's attacks."""

    script: str
    attack: str
    size: str  # of a flood, in make test-long and in make test; «one» where a single message shows it
    now: str
    tests: str  # one or more, as FILE::NAME, the folder's own without «hostile/»

    def held_by(self) -> list[str]:
        """The tests; in brackets a parameter, whose spaces are written as _."""
        split = (test.partition("[") for test in self.tests.split())
        return [path + bracket + parameter.replace("_", " ") for path, bracket, parameter in split]


ATTACKS = tuple(sorted((Attack(*row) for row in (*PEOPLE, *NODE, *STUDIES, *PARSERS)), key=lambda row: row.script))

SCRIPTS = {
    "01": "every transaction, by every kind of peer",
    "02": "whom the audit record names, and subjects that look alike",
    "03": "assertions about people (XUA)",
    "04": "HTTP and XML",
    "05": "idle, slow, brisk and dribbling peers",
    "06": "DICOM: instances, PDUs, associations, a kill",
    "07": "another's study made to vanish",
    "08": "hostile audit records and floods of them",
    "09": "the console: sign-in, sessions, forms",
    "10": "addresses in manifests and messages",
    "11": "feeds by MLLP",
    "12": "queries without measure, growth, TLS",
    "13": "slow images, paths written otherwise, large messages at once",
    "14": "MIME, headers, affinity domains, places",
    "15": "circles, a huge submission, AE titles",
    "16": "listeners over TLS, without a certificate",
    "17": "a published manifest withdrawn by another",
    "18": "wrappings that a library of signatures takes",
}
"""What each script was about."""


def written() -> str:
    """The table as Markdown."""
    lines = [
        "# What was tried, and what happens now",
        "",
        "Each group of attacks of the review's eighteen scripts, with the tests that took its place.",
        "Written by `python -m tests.hostile`, held by `test_attacks.py`.",
        "Size: what `make test-long` runs, in brackets what `make test` does where that is less.",
    ]
    for script, about in SCRIPTS.items():
        lines += ["", f"## {script}: {about}", "", "| attack | size | now | test |", "|---|---|---|---|"]
        for row in ATTACKS:
            if row.script == script:
                tests = ", ".join(f"`{test}`" for test in row.held_by())
                lines.append(f"| {row.attack} | {row.size} | {row.now} | {tests} |")
    return "\n".join(lines) + "\n"
