"""A disk that fails: the n-th write, sync or rename raises, and all after it, as when a process or its machine dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Crash(OSError):
    """What the n-th call raises."""


class Disk:
    """Counts what changes files; keeps each file as it was last synced."""

    def __init__(self, fails_at: int) -> None:
        self.left, self.crashed = fails_at, False
        self.synced: dict[Path, bytes] = {}

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        real = Path.open

        def open_(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
            file = real(path, mode, *arguments, **more)
            return _File(file, self) if set(mode) & set("wa+") else file

        patch.setattr(Path, "open", open_)
        patch.setattr(os, "fsync", self.sync)
        for name in ("unlink", "rename", "mkdir"):
            patch.setattr(Path, name, self.counted(getattr(Path, name)))

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            self.count()
            return call(*arguments, **more)

        return counted

    def count(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.crashed = True
            raise Crash(5, "Input/output error")

    def sync(self, descriptor: int) -> None:
        self.count()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file():
            self.synced[path] = path.read_bytes()

    def lose(self, folder: Path, how: str) -> None:
        """What is on disk after the crash: all that was written, only what was synced, or half of the rest."""
        if how == "written":
            return
        for path in [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]:
            kept, now = self.synced.get(path, b""), path.read_bytes()
            half = (len(kept) + len(now)) // 2
            path.write_bytes(kept if how == "synced" else now[:half] + b"\0" * (len(now) - half))


class _File:
    """An open file whose writes count; the one that fails is done by half."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        try:
            self._disk.count()
        except Crash:
            if not self._disk.left:
                self._file.write(data[: len(data) // 2])
                self._file.flush()
            raise
        self._file.write(data)
        self._file.flush()
        return len(data)

    def truncate(self, *size: int) -> int:
        self._disk.count()
        return int(self._file.truncate(*size))
