"""What processes that were killed have left of instances on their way: images of patients, which nobody waits for.

Each process writes under a mark of its own; of one that lives nothing is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from xds.system.whose import is_gone, mark

_LEFT = re.compile(r"(?:part|dimse)-([^-/]*).*")


def private_folder(incoming: Path) -> Path:
    """A folder of this process' own for what libraries write; it is where temporary files go from now on."""
    incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix=f"dimse-{mark()}-", dir=incoming))
    tempfile.tempdir = str(folder)
    return folder


def swept(incoming: Path) -> int:
    """Remove what dead processes have left there; how many files and folders that was."""
    removed = 0
    for entry in os.scandir(incoming) if incoming.is_dir() else ():
        found = _LEFT.fullmatch(entry.name)
        if found is None or not is_gone(found[1], time.time() - entry.stat(follow_symlinks=False).st_mtime):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)
        removed += 1
    return removed
