"""The head of a request, taken apart once, as far as its way through threads and processes hangs on it."""

from __future__ import annotations

from dataclasses import dataclass

from gunicorn.util import split_request_uri, unquote_to_wsgi_str

HEAD_BYTES = SMALL_BODY_BYTES = 64 * 1024
"""With both at their limit a thousand connections gather 128 MiB at most."""
HEAD_LINES = 100
"""Header fields of a request; real ones have a dozen."""


class TooLong(Exception):
    """The head is over a limit."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is asked for, and how long its body is."""

    method: str
    path: str  # as the application sees it, percent-decoded
    length: int | None  # of the body in bytes; None: it is to be streamed
    end: int  # where the body begins

    def is_under(self, paths: tuple[str, ...]) -> bool:
        return any(self.path == path or self.path.startswith(f"{path}/") for path in paths)


class Reader:
    """Looks for the end of a head while it comes; no byte is looked at twice."""

    def __init__(self) -> None:
        self._seen = self._lines = 0

    def read(self, data: bytearray) -> Head | None:
        """The head, when the whole of it has come.

        Raises:
            TooLong: it is over ``HEAD_BYTES`` or ``HEAD_LINES``.
        """
        end = data.find(b"\r\n\r\n", max(0, self._seen - 3))
        until = end if end >= 0 else len(data)
        self._lines += data.count(b"\n", self._seen, until)
        self._seen = until
        if self._lines > HEAD_LINES + (end < 0) or until > HEAD_BYTES:
            raise TooLong
        return None if end < 0 else _asked(bytes(data[:end]), end + 4)


def _asked(head: bytes, end: int) -> Head:
    lines = head.split(b"\r\n")
    parts = lines[0].decode("latin-1").split(" ")
    method, path = (parts[0], path_of(parts[1])) if len(parts) == 3 else ("", "")
    length: int | None = 0
    for line in lines[1:]:
        key, _, value = line.partition(b":")
        key = key.strip().lower()
        if key in (b"transfer-encoding", b"expect"):
            return Head(method, path, None, end)
        if key == b"content-length" and value.strip().isdigit():
            length = int(value)
    return Head(method, path, length, end)


def path_of(target: str) -> str:
    """The path of a request target, as ``PATH_INFO`` has it; empty where gunicorn will find it malformed."""
    try:
        return str(unquote_to_wsgi_str(split_request_uri(target).path or ""))
    except ValueError:
        return ""
