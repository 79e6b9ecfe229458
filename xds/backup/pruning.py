"""Which backups of a folder are kept, and the removal of the others: each names all that is its, so that none needs one
that goes; of the pools goes what none that stays names.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xds.backup import layout
from xds.backup.layout import LIST, LOG_POOL, Manifest
from xds.backup.taking import Tell, alone
from xds.errors import Unusable
from xds.system.durable import sync_folder

_GOING = ".going-"
"""Begins the name of a backup that is being removed: it is none any more."""

_PREFIX, _OURS = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{64}(\.age)?|\.[0-9a-f]{64}(\.age)?\.part")

_PERIODS: dict[str, Callable[[datetime], object]] = {
    "last": lambda made: made,
    "daily": lambda made: made.date(),
    "weekly": lambda made: made.isocalendar()[:2],
    "monthly": lambda made: (made.year, made.month),
    "yearly": lambda made: made.year,
}


@dataclass(frozen=True, slots=True)
class Keep:
    """Of how many of the last days, weeks (from Monday), months and years that have a backup the newest one is kept.

    ``last``: so many are, whenever they were made.  All in UTC.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def of(self, made: Sequence[datetime]) -> set[datetime]:
        """Which of some times are kept; the newest always is."""
        newest_first = sorted(set(made), reverse=True)
        kept = set(newest_first[:1])
        for name, period in _PERIODS.items():
            seen = dict[object, datetime]()
            for one in newest_first:
                seen.setdefault(period(one), one)
            kept.update([*seen.values()][: getattr(self, name)])
        return kept


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be: backups, and of the pools files and bytes."""

    kept: tuple[Path, ...]
    removed: tuple[Path, ...]
    files: int
    file_bytes: int


def prune(target: Path, keep: Keep, tell: Tell, *, dry_run: bool = False) -> Pruned:
    """Remove the backups of a folder that are not kept, and what is in its pools for them alone.

    Raises:
        Unusable: a backup is being made into it; or something in it that may be a backup cannot be read, or was
            changed: what that needs is not known.
    """
    if keep == Keep():
        raise Unusable("which backups are kept? --keep-daily 7 --keep-weekly 5 --keep-monthly 12")
    if not target.is_dir():
        raise Unusable(f"{target} is no folder of backups")
    with alone(target):
        found = _all(target)
        kept = _kept(found, keep)
        going = [folder for folder in found if folder not in kept]
        try:
            if not dry_run:
                _remove(target, going)
            files, size = _sweep(target, kept, tell, dry_run=dry_run)
        except OSError as problem:
            raise Unusable(f"{target}: {problem.strerror or problem}") from None
    return Pruned(tuple(kept), tuple(going), files, size)


def _all(target: Path) -> dict[Path, Manifest]:
    """Every backup of a folder, the oldest first."""
    found = dict[Path, Manifest]()
    for folder in layout.folders(target):
        rule = "nothing is removed: take it out of the folder, or bring it back from where it is whole"
        try:
            manifest = found[folder] = layout.read(folder)
            said = next(one for one in manifest.files if one.name == LIST)
            if not layout.agrees(folder) or layout.hashed(folder / LIST).sha256 != said.sha256:
                raise Unusable(f"{folder} was changed, or is damaged")
        except (Unusable, OSError, StopIteration) as problem:
            raise Unusable(f"{problem or folder}; {rule}") from None
    if not found:
        raise Unusable(f"{target} holds no backup")
    return found


def _kept(found: dict[Path, Manifest], keep: Keep) -> dict[Path, Manifest]:
    """Which of some backups are kept: of each deployment's, however many share the folder."""
    times = {
        log_id: keep.of([one.made for one in found.values() if one.log_id == log_id])
        for log_id in {one.log_id for one in found.values()}
    }
    return {folder: one for folder, one in found.items() if one.made in times[one.log_id]}


def _remove(target: Path, going: Sequence[Path]) -> None:
    """What was begun before is ended, too."""
    for folder in going:
        folder.rename(target / f"{_GOING}{folder.name}")
    sync_folder(target)
    for half in target.glob(f"{_GOING}*"):
        shutil.rmtree(half)


def _sweep(target: Path, kept: dict[Path, Manifest], tell: Tell, *, dry_run: bool) -> tuple[int, int]:
    """Remove from each pool what no backup that is kept names; how many files, and their bytes."""
    count = size = 0
    for pool in sorted(one for one in target.iterdir() if one.is_dir() and layout.is_pool(one.name)):
        lists = [layout.listed(folder / LIST) for folder, one in kept.items() if one.pool == pool.name]
        blocks = {
            sha256
            for manifest in kept.values()
            if manifest.log_pool == pool.name
            for file in manifest.log
            for sha256 in file.blocks
        }
        documents = (sha256 for sha256, _ in layout.each_once(lists))
        needed = iter(sorted(blocks)) if pool.name.startswith(LOG_POOL) else documents
        for path in _unnamed(pool, needed):
            count, size = count + 1, size + path.stat().st_size
            tell("removed", count, 0)
            if not dry_run:
                path.unlink()
    return count, size


def _unnamed(pool: Path, needed: Iterator[str]) -> Iterator[Path]:
    """Files of a pool that are not needed; both come in the order of their names."""
    next_needed = next(needed, None)
    for path in _in_order(pool):
        name = path.name[:64]
        while next_needed is not None and next_needed < name:
            next_needed = next(needed, None)
        if name != next_needed:
            yield path


def _in_order(pool: Path) -> Iterator[Path]:
    """What is where it belongs, and the parts of what a backup that was killed has begun."""
    for first in sorted(one for one in pool.iterdir() if _PREFIX.fullmatch(one.name)):
        for second in sorted(one for one in first.iterdir() if _PREFIX.fullmatch(one.name)):
            begins = f"{first.name}{second.name}"
            yield from (one for one in sorted(second.iterdir()) if _is_ours(one.name, begins))


def _is_ours(name: str, begins: str) -> bool:
    return _OURS.fullmatch(name) is not None and name.lstrip(".").startswith(begins)
