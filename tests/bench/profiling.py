"""``python -m tests.bench.profiling``: where the time of a request goes, library by library, in one process.

``--json FILE`` keeps what was found, ``--page FILE`` draws it; ``--before FILE`` beside what was found of other code.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

from tests.bench import in_process, load, loading, rows
from tests.bench.documents import asked_for
from tests.bench.run import POSTGRESQL, SQLITE, Run, Size
from xds.server.application import Application
from xds.settings.configuration import load as load_settings
from xds.store.deployment import prepare, with_identity
from xds.store.engine import make_engine

PATIENTS, DOCUMENTS, WARM, REQUESTS = 100, 100, 60, 300
LEAST_MS = 0.02
"""Of a part's share of a request: what is less is told together."""

_DRIVERS = {"sqlite3": "SQLite", "psycopg": "psycopg and PostgreSQL", "zstandard": "Zstandard", "lxml": "lxml"}

Found = dict[str, dict[str, float]]
"""Milliseconds of one request by part, by the name of what was asked."""


def part(file: str, function: str) -> str:
    """Whose a function is: a package of ours, a library, or Python."""
    if file == "~":
        return next((name for mark, name in _DRIVERS.items() if mark in function), "Python")
    if match := re.search(r"/site-packages/(\w+)", file):
        return _DRIVERS.get(match[1].removesuffix("_binary"), match[1])
    if match := re.search(r"/xds/(\w+)(?:\.py|/(\w+))", file):
        return f"xds.{match[1]}"
    return "Python"


def profiled(ask: Callable[[], None]) -> dict[str, float]:
    """Milliseconds of one request by part: of the time without a profile, each part's share with one."""
    for _ in range(WARM):
        ask()
    started = time.perf_counter()
    for _ in range(REQUESTS):
        ask()
    whole = (time.perf_counter() - started) * 1000 / REQUESTS
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(REQUESTS):
        ask()
    profile.disable()
    shares = Counter[str]()
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        shares[part(file, function)] += own
    total = shares.total()
    found = {name: own / total * whole for name, own in shares.most_common()}
    small = [name for name, milliseconds in found.items() if milliseconds < LEAST_MS]
    rest = sum(found.pop(name) for name in small)
    return found | ({"others": rest} if rest else {})


def measured(kind: str, what: str) -> dict[str, float]:
    """A profile of one transaction on one database."""
    folder = Path(tempfile.mkdtemp(prefix="xds-profile-"))
    folder.chmod(0o711)  # PostgreSQL has another user
    with ExitStack() as stack:
        site = Run(folder, Size.QUICK, 0, stack).new_server(kind)
        loaded = with_identity(load_settings(site.config, {}))
        url = loaded.settings.database_url
        engine = make_engine(url)
        prepare(engine, loaded)
        engine.dispose()
        if what == "ITI-42":
            rows.add_patients(url, PATIENTS)
            body = load.register_body("http://localhost/registry")
        else:
            loading.load(url, list(asked_for(PATIENTS, DOCUMENTS)))
            body = load.find_body("http://localhost/registry")
        application = Application(loaded)
        stack.callback(application.close)
        return profiled(asking(application, body))


def asking(application: Application, template: str) -> Callable[[], None]:
    """What sends the next of many like messages to an application, and sees that it is answered."""
    count = 0

    def ask() -> None:
        nonlocal count
        count += 1
        marks = {"@MESSAGE@": f"{count:08x}-0000-4000-8000-000000000000", "@DOCUMENT@": f"2.25.1.{count}",
                 "@SET@": f"2.25.2.{count}", "@PATIENT@": f"p{1_000_000 + count % PATIENTS}"}  # fmt: skip
        body = re.sub("@[A-Z]+@", lambda mark: marks[mark[0]], template).encode()
        answer = in_process.asked(application, "/registry", body)
        assert b"ResponseStatusType:Success" in answer[:4000], answer[:1000]

    return ask


def page(found: Found, before: Found) -> str:
    """Bars, a table for each transaction."""
    tables = []
    for name, parts in found.items():
        old = before.get(name, {})
        most = max([*parts.values(), *old.values()])
        lines = "".join(
            f"<tr><th scope=row>{escape(one)}</th>{_bar(old.get(one), most, 'old') if old else ''}"
            f"{_bar(parts.get(one), most, 'new')}</tr>"
            for one in sorted({*parts, *old}, key=lambda one: -max(parts.get(one, 0), old.get(one, 0)))
        )
        sums = " → ".join(f"{sum(one.values()):.2f} ms" for one in (old, parts) if one)
        heads = "".join(f"<th scope=col>{head}</th>" for head in (["before"] if old else []) + ["now"])
        tables.append(
            f"<table><caption>{escape(name)}: {sums} a request</caption><thead><tr><th scope=col>part</th>{heads}</tr>"
            f"</thead><tbody>{lines}</tbody></table>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Where a request\'s time goes</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        "<h1>Where a request's time goes</h1><p>In one process, one request after the other, without HTTP; waiting for"
        f" the database is the driver's.</p>{''.join(tables)}</body></html>\n"
    )


def _bar(milliseconds: float | None, most: float, kind: str) -> str:
    if milliseconds is None:
        return "<td>–</td>"
    return f'<td><span class="{kind}" style="width:{milliseconds / most * 16:.2f}rem"></span> {milliseconds:.2f}</td>'


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; margin-top: 1.5rem; } caption { text-align: left; font-weight: 600; }
th, td { padding: .15rem .8rem .15rem 0; text-align: left; font-weight: 400; white-space: nowrap; }
td { min-width: 20rem; font-variant-numeric: tabular-nums; } td span { display: inline-block; height: .8rem; }
.old { background: #b3541e; } .new { background: #0b5fa5; }
"""


def main(given: list[str] | None = None) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE")
    parser.add_argument("--before", type=Path, metavar="FILE")
    options = parser.parse_args(given)
    found: Found = {f"{what}, {kind}": measured(kind, what)
                    for what in ("ITI-42", "ITI-18") for kind in (SQLITE, POSTGRESQL)}  # fmt: skip
    before: Mapping[str, Any] = json.loads(options.before.read_text("utf-8")) if options.before else {}
    for name, parts in found.items():
        print(f"{name}: {sum(parts.values()):.2f} ms: " + ", ".join(f"{key} {ms:.2f}" for key, ms in parts.items()))
    for path, text in ((options.json, json.dumps(found, indent=1)), (options.page, page(found, dict(before)))):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
