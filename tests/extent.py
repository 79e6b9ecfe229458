"""How much is tried: a small part of it in minutes, and in ``make test-long`` all that an hour allows."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("TESTS_LONG"))


def examples(few: int) -> int:
    """Examples of a property test, of which so few show a careless mistake."""
    return few * 10 if LONG else few


SEEDS = range(1, 31) if LONG else range(1, 4)
"""Of histories of submissions; others by ``HISTORY_SEEDS``."""


def size(small: int, whole: int) -> int:
    """Of a flood: whether others are served beside it shows in a small one; that it has no end, in the whole of it.

    What is sized so is marked ``large``: ``make test-long`` runs it, too.
    """
    return whole if LONG else small
