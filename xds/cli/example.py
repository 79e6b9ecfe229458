"""The example settings file, written from the settings themselves, so that it cannot fall behind them."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from xds.settings.access import ConsentPolicy, Sender
from xds.settings.federation import Community
from xds.settings.merging import Merge
from xds.settings.sections import SECTIONS, Domain, NamedDomain, Settings

HEAD = """\
# Every setting with its default; a line that is commented out says what holds without it.
# Each can also be given as a variable: server.listen is XDS_SERVER_LISTEN.
"""
TAIL = """
# Where other actors are, by their OIDs: a URL, where [tls] is used, or a table with what to present there instead.
[repositories]
# "1.2.3.4" = "https://north.example/repository"

[imaging_sources]
# "1.2.3.5" = { url = "https://north.example/images", certificate = "me.crt", key = "me.key", trusted = "north.crt" }
"""


def example() -> str:
    """The text of ``deploy/settings.example.toml``."""
    sections = "".join(_section(getattr(Settings(), section), f"[{section}]") for section in SECTIONS)
    north, pacs = _section(NamedDomain(), "# [domains.north]", Domain), _section(Sender(), "# [senders.pacs]")
    agreed = _section(ConsentPolicy(), "# [consent_policies.withdrawn]")
    south = _section(Community(), "# [communities.south]")
    east = _section(Merge(), "# [merges.east]")
    return HEAD + sections + TAIL + north + pacs + agreed + south + east


def _section(part: Any, head: str, *bases: type) -> str:
    """A section, or an entry of a table that is no setting until somebody names one."""
    lines = [f"\n# {line}".replace("\n# \n", "\n#\n") for line in (inspect.getdoc(type(part)) or "").splitlines()]
    text = "".join(line.rstrip() for line in lines) + f"\n{head}\n"
    for key, comment in _comments(*bases, type(part)).items():
        line = f"# {key} = {_toml(getattr(part, key))}"
        text += f"{line}  # {comment}\n" if comment else f"{line}\n"
    return text


def _comments(*kinds: type) -> dict[str, str]:
    """Each field of settings classes with the comment beside it."""
    source = "".join(map(inspect.getsource, kinds))
    found = re.findall(r"^    (\w+): .*? = [^#\n]*(?:  # (.*))?$", source, re.MULTILINE)
    return {key: comment.strip() for key, comment in found}


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
