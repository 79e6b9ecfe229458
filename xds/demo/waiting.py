"""Waiting for what comes by itself: as long as it may still come, saying what is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""Until it is said what is waited for, and said again."""

HOPE_SECONDS = 600.0
"""What has not come by then on any machine will not."""


def waited(for_: Callable[[], T], what: str, tell: Callable[[str], None], alive: Callable[[], bool]) -> T:
    """The first answer that is true; the last one, which is not, when it is too late.

    ``tell`` hears now and then that ``what`` is waited for; it is too late when what would bring it is not ``alive``.
    """
    began = told = time.monotonic()
    while not (found := for_()) and alive() and time.monotonic() < began + HOPE_SECONDS:
        if time.monotonic() > told + PATIENCE_SECONDS:
            told = time.monotonic()
            tell(f"waiting for {what}, for {told - began:.0f} s")
        time.sleep(0.1)
    return found
