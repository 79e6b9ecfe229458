"""What a server that was killed has left: parts of messages and images, which hold patient data.

Swept at a start, by who holds the data folder's lock: nobody else has anything under way there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xds.imaging.study import INCOMING
from xds.server.archives import tidy_cache
from xds.settings.sections import Settings
from xds.system import private
from xds.wire.spool import PREFIX

log = logging.getLogger("xds.server.leftovers")


def swept(settings: Settings) -> int:
    """Remove it, and keep libraries' temporary files where the next start finds them; return how many there were."""
    temporary = settings.data / "run" / "tmp"
    removed = sum(1 for one in temporary.rglob("*") if one.is_file())
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, mode=0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary.absolute())  # of our children and theirs, too
    for path in _parts(settings):
        with contextlib.suppress(OSError):
            path.unlink()
            removed += 1
    tidy_cache(settings)
    if removed:
        log.info("leftovers.swept", extra={"removed": removed})
    return removed


def _parts(settings: Settings) -> Iterator[Path]:
    folders = [settings.data / "spool"]
    if not settings.server.documents.startswith("file:"):  # that one may be other nodes' as well: age decides there
        folders.append(settings.documents_folder / "staging")
    if settings.imaging_source.folder:
        folders.append(Path(settings.imaging_source.folder) / INCOMING)
    for folder in folders:
        yield from folder.glob(f"{PREFIX}*")


def wider(settings: Settings) -> list[Path]:
    """Files and folders of the deployment that others on this machine may read or list."""
    keys = (settings.tls.key, settings.audit.key, settings.server.documents_key,
            *(peer.key for peer in settings.repositories.values()),
            *(peer.key for peer in settings.imaging_sources.values()))  # fmt: skip
    kept = [settings.data, settings.documents_folder, *(Path(key) for key in keys if key and ":" not in key)]
    return list(private.wider(list(dict.fromkeys(kept))))


def warn_of_wider(settings: Settings) -> None:
    """Say so in the log."""
    for path in wider(settings)[:20]:
        log.warning("file.readable_by_others", extra={"file": str(path), "right": "chmod go= FILE"})
