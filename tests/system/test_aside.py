"""What is done aside leaves nothing behind, and its refusal is told here."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from xds.errors import Unusable
from xds.system.aside import aside


def test_what_is_done_aside_leaves_no_thread_here() -> None:
    threads = threading.active_count()
    aside(lambda: threading.Thread(target=threading.Event().wait, daemon=True).start())
    assert threading.active_count() == threads


def test_a_refusal_is_told_here() -> None:
    def refuses() -> None:
        raise Unusable(f"not in {os.getppid()}")

    with pytest.raises(Unusable, match=f"^not in {os.getpid()}$"):
        aside(refuses)


def test_what_fails_is_told_here(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unusable, match="its log says why"):
        aside(lambda: 1 / 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_is_killed_has_not_passed() -> None:
    with pytest.raises(Unusable, match="it was killed by signal 9"):
        aside(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_what_ends_in_silence_and_not_well_has_not_passed() -> None:
    with pytest.raises(Unusable, match="it ended with 3"):
        aside(lambda: os._exit(3))
