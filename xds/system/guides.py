"""The guides that come with xds, as Markdown: in the package, or beside it in its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

# In the order in which they are listed: who most readers are first.
NAMES = ("ehr", "imaging-consumer", "pacs", "auditor", "privacy-officer", "operator", "merging")


@dataclass(frozen=True, slots=True)
class Guide:
    """``title`` says who it is for and what they do, ``text`` is all of it."""

    name: str
    title: str
    text: str


def guide(name: str) -> Guide | None:
    """A guide by its name; None when there is none."""
    if name not in NAMES:
        return None
    packaged = _PACKAGE / "guides"
    folder = packaged if packaged.is_dir() else _PACKAGE.parent / "deploy" / "guides"
    text = (folder / f"{name}.md").read_text("utf-8")
    return Guide(name, text.partition("\n")[0].removeprefix("# "), text)


def guides() -> list[Guide]:
    """All of them."""
    return [found for found in map(guide, NAMES) if found is not None]
