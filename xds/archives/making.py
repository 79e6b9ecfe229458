"""An instance in another transfer syntax, made in a helper process and kept in the spool while it is sent."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from xds.archives.helpers import Helpers
from xds.archives.interface import Gone, Held, NotEncodable, Ready, SpoolFull
from xds.archives.ready import ReadyFile
from xds.archives.spool import Spool
from xds.archives.transcode import Source, expected_bytes, targets_of
from xds.archives.unable import Unable, Unfit


class _NotInto(NotEncodable):
    """Not in this transfer syntax: the next of those listed may do."""


def transcoded(
    held: Held, path: Path, listed: Sequence[str], spool: Spool, helpers: Helpers, is_same: Callable[[], bool]
) -> Ready:
    """A file's instance in a transfer syntax of those listed; ``is_same`` says that the file did not change meanwhile.

    Raises:
        NotEncodable: there is no way from the stored syntax to any of them, or the file is damaged.
        Gone: the file cannot be read any more, or has changed.
        SpoolFull: there is no room for it now.
    """
    targets = targets_of(held.transfer_syntax_uid, listed)
    if not targets:
        raise NotEncodable(f"stored in {held.transfer_syntax_uid}, from which there is no way to what is listed")
    source = Source(path, held.dataset_begin, held.transfer_syntax_uid, held.sop_class_uid, held.sop_instance_uid)
    reasons = []
    for target in targets:
        try:
            return _made(source, target, spool, helpers, is_same)
        except _NotInto as problem:
            reasons.append(str(problem))
    raise NotEncodable("; ".join(dict.fromkeys(reasons)))


def _made(source: Source, target: str, spool: Spool, helpers: Helpers, is_same: Callable[[], bool]) -> Ready:
    try:
        room = expected_bytes(source, target)
    except Unable as problem:
        raise NotEncodable(str(problem)) from None
    except OSError:
        raise Gone("the file cannot be read any more") from None
    spooled = spool.take(room)
    try:
        made = helpers.transcode(source, target, spooled, room)
        spool.settle(spooled, made.size_bytes)
        if not is_same():
            raise Gone("the file changed while it was read")
    except Unable as problem:
        spool.free(spooled)
        raise (_NotInto if isinstance(problem, Unfit) else NotEncodable)(str(problem)) from None
    except OSError as problem:
        spool.free(spooled)
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpoolFull from None
        raise Gone("the file cannot be read any more") from None
    except BaseException:
        spool.free(spooled)
        raise
    return ReadyFile(
        spooled,
        transfer_syntax_uid=target,
        file_bytes=made.size_bytes,
        file_sha256=made.sha256,
        freed=lambda: spool.free(spooled),
    )
