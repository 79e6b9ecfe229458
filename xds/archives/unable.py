"""What transcoding says when it cannot be done."""

from __future__ import annotations


class Unable(Exception):
    """The instance cannot be transcoded; the message says why and holds nothing of it."""


class Unfit(Unable):
    """Not into this transfer syntax; into another it may be."""
