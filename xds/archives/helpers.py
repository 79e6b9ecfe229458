"""Processes that transcode, so that a decoder which crashes, hangs or eats memory takes only itself along.

One line of JSON in, one out.  A helper ends when its standard input does, hence with the process that
started it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import resource
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from xds.archives.transcode import Source, transcode
from xds.archives.unable import Unable, Unfit

MEMORY_BYTES = 8 * 1024 * 1024 * 1024
"""Address space of one helper, mapped files included."""

SECONDS = 120.0
"""The longest that one instance may take."""

JOBS = 1_000
"""Instances that one helper transcodes before another takes its place: C++ leaks."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file that a helper wrote."""

    size_bytes: int
    sha256: str


class Helpers:
    """At most ``count`` processes, started when they are needed.  Safe with threads; after a fork the child
    starts its own.
    """

    def __init__(self, count: int = 2, *, seconds: float = SECONDS) -> None:
        self._seconds, self._count = seconds, count
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._places = threading.BoundedSemaphore(self._count)
        self._idle: list[_Helper] = []
        self._lock = threading.Lock()

    def transcode(self, source: Source, target: str, path: Path, limit_bytes: int) -> Made:
        """Transcode into a new file; waits for a free helper.

        Raises:
            Unable: the instance is damaged, is not decodable here, takes too long, would be larger than
                ``limit_bytes`` or makes the decoder crash.
            OSError: the source cannot be read or the file cannot be written.
        """
        if self._process != os.getpid():
            self._forget()
        with self._places:
            with self._lock:
                helper = self._idle.pop() if self._idle else None
            if helper is None or not helper.is_running:
                helper = _Helper()
            try:
                answer = helper.ask(
                    {**_plain(source), "target": target, "out": str(path), "limit": limit_bytes}, self._seconds
                )
            except BaseException:
                helper.end()
                raise
            if helper.is_fresh:
                with self._lock:
                    self._idle.append(helper)
            else:
                helper.end()
        if "unable" in answer:
            raise (Unfit if answer.get("unfit") else Unable)(answer["unable"])
        if "failed" in answer:
            raise OSError(answer["errno"], answer["failed"])
        return Made(answer["size_bytes"], answer["sha256"])

    def close(self) -> None:
        """End every idle helper."""
        if self._process != os.getpid():
            return
        with self._lock:
            helpers, self._idle = self._idle, []
        for helper in helpers:
            helper.end()


def _plain(source: Source) -> dict[str, Any]:
    return {**asdict(source), "path": str(source.path)}


class _Helper:
    """One process and the line that is spoken with it."""

    def __init__(self) -> None:
        # BLAS reserves address space for every core and is not used.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(  # our own program  # nosec B603
            [sys.executable, "-m", "xds.archives.helpers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._jobs, self._is_working = 0, False

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def is_fresh(self) -> bool:
        return self._jobs < JOBS

    def ask(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._jobs, self._is_working = self._jobs + 1, True
        inlet, outlet = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            inlet.write(json.dumps(job).encode() + b"\n")
            inlet.flush()
        except BrokenPipeError:
            raise Unable("the decoder's process ended") from None
        if not _is_readable(outlet, seconds):
            raise Unable(f"decoding took longer than {seconds:g} seconds")
        line = outlet.readline()
        if not line.endswith(b"\n"):
            raise Unable("the decoder crashed")
        self._is_working = False
        return cast(dict[str, Any], json.loads(line))

    def end(self) -> None:
        """End it: at once when it is at work, else by what it reads coming to its end."""
        if self._is_working:
            self._process.kill()
        elif self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def _is_readable(file: IO[bytes], seconds: float) -> bool:
    """Whether there is something to read, or the end, within this time."""
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        return bool(selector.select(seconds))


class _TooLarge(Exception):
    pass


class _Counted:
    """A file that hashes what is written and stops at a limit."""

    def __init__(self, file: IO[bytes], limit_bytes: int) -> None:
        self._file, self._limit = file, limit_bytes
        self.size_bytes, self.digest = 0, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self.size_bytes += len(data)
        if self.size_bytes > self._limit:
            raise _TooLarge
        self.digest.update(data)
        return self._file.write(data)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    source = Source(
        Path(job["path"]),
        job["dataset_begin"],
        job["transfer_syntax_uid"],
        job["sop_class_uid"],
        job["sop_instance_uid"],
    )
    try:
        with Path(job["out"]).open("wb") as file:
            out = _Counted(file, job["limit"])
            transcode(source, job["target"], cast(Any, out), Path(job["out"]).parent)
        return {"size_bytes": out.size_bytes, "sha256": out.digest.hexdigest()}
    except Unable as problem:
        return {"unable": str(problem), "unfit": isinstance(problem, Unfit)}
    except _TooLarge:
        return {"unable": "decoded it is larger than there is room for"}
    except MemoryError:
        return {"unable": "decoding takes more memory than it is given"}
    except OSError as problem:
        if problem.errno == errno.ENOMEM:
            return {"unable": "decoding takes more memory than it is given"}
        return {"failed": problem.strerror or "failed", "errno": problem.errno or 0}
    except Exception as problem:  # whatever a damaged file makes the parts do
        return {"unable": f"damaged ({type(problem).__name__})"}


def _jobs() -> Iterator[dict[str, Any]]:
    for line in sys.stdin.buffer:
        yield json.loads(line)


def main() -> None:
    """Serve jobs until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold patients' images
    # Decoders in C print to standard output; the answers keep a copy of it for themselves.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for job in _jobs():
        answers.write(json.dumps(_answer(job)).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
