"""The example settings file, written from the settings themselves, so that it cannot fall behind them."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from xds.settings import SECTIONS, Settings

HEAD = """\
# Every setting with its default; a line that is commented out says what holds without it.
# Each can also be given as a variable: server.listen is XDS_SERVER_LISTEN.
"""
TAIL = """
# Where other actors are, by their OIDs: a URL, or a table with what to present there.
[repositories]
# "1.2.3.4" = "https://north.example/repository"

[imaging_sources]
# "1.2.3.5" = { url = "https://north.example/images", certificate = "me.crt", key = "me.key", trusted = "north.crt" }
"""


def example() -> str:
    """The text of ``deploy/settings.example.toml``."""
    return HEAD + "".join(_section(section) for section in SECTIONS) + TAIL


def _section(section: str) -> str:
    part = getattr(Settings(), section)
    lines = [f"\n# {(type(part).__doc__ or '').strip()}", f"[{section}]"]
    for key, comment in _comments(type(part)).items():
        line = f"# {key} = {_toml(getattr(part, key))}"
        lines.append(f"{line}  # {comment}" if comment else line)
    return "\n".join(lines) + "\n"


def _comments(kind: type) -> dict[str, str]:
    """Each field of a settings class with the comment beside it."""
    found = re.findall(r"^    (\w+): .*? = [^#\n]*(?:  # (.*))?$", inspect.getsource(kind), re.MULTILINE)
    return {key: comment.strip() for key, comment in found}


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
