"""A process ends with the one that has started it, however that ends.  Linux: prctl(2), PR_SET_PDEATHSIG."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


def ends_with_us(number: signal.Signals = signal.SIGTERM) -> None:
    """To be called by the child, or for it as Popen's ``preexec_fn``: it gets this signal when its parent dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
