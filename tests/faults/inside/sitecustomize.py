"""Is imported by every process of a node under test: does what a file tells, from then on.

``FAULTS`` names the file, JSON: ``die`` has names of calls, and at which of them from now on the process kills itself,
before or after it; ``fail`` has libfiu's failure points with how likely each is; ``clock``: by how many seconds the
time of day is off, as ``time.time`` says it.  The file is looked at by a thread.
"""

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_FILE = os.environ.get("FAULTS", "")
_dying: dict[str, int] = {}
_failing: dict[str, float] = {}
_EVERY_SECONDS = 0.02
_off = [0.0]
_time, _time_ns = time.time, time.time_ns


def _counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **more: Any) -> Any:
        before, after = f"before {name}", f"after {name}"
        _die_at(before)
        result = call(*arguments, **more)
        _die_at(after)
        return result

    return counted


def _die_at(name: str) -> None:
    left = _dying.get(name)
    if left is None:
        return
    if left <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _dying[name] = left - 1


def _follow() -> None:
    libfiu = ctypes.CDLL("libfiu.so.0") if "fiu" in os.environ.get("LD_PRELOAD", "") else None
    seen = None
    while True:
        try:
            state = Path(_FILE).stat().st_mtime_ns
            if state != seen:
                told = json.loads(Path(_FILE).read_text())
                seen = state
                _dying.clear()
                _dying.update(told.get("die", {}))
                _off[0] = told.get("clock", 0.0)
                if libfiu is not None:
                    _fail(libfiu, told.get("fail", {}))
        except (OSError, ValueError):
            pass
        time.sleep(_EVERY_SECONDS)


def _fail(libfiu: ctypes.CDLL, wanted: Mapping[str, float]) -> None:
    for name in [name for name in _failing if name not in wanted]:
        libfiu.fiu_disable(name.encode())
        del _failing[name]
    for name, likely in wanted.items():
        if name not in _failing:
            libfiu.fiu_enable_random(name.encode(), 1, None, 0, ctypes.c_float(likely))
            _failing[name] = likely


def _begin() -> None:
    threading.Thread(target=_follow, daemon=True).start()


if _FILE:
    for _name in ("fsync", "rename", "replace", "link", "unlink"):
        setattr(os, _name, _counted(_name, getattr(os, _name)))
    time.time = lambda: _time() + _off[0]
    time.time_ns = lambda: _time_ns() + round(_off[0] * 1e9)
    os.register_at_fork(after_in_child=_begin)
    _begin()
