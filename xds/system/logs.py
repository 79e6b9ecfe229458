"""Log lines: an event's name and identifiers, one line each.

An exception is told by its type and the places of ours that it came through, never by its message: a database's
names the values of the row, and patient data belongs into the audit log only.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest are the identifiers that ``extra`` gave."""


class EventFormatter(logging.Formatter):
    """``time LEVEL logger event key=value …``, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        time_, level, logger, event, fields = self.told(record)
        said = "".join(f" {key}={_quoted(str(value))}" for key, value in fields.items())
        return _line(f"{time_} {level} {logger} {event}{said}")

    def told(self, record: logging.LogRecord) -> tuple[str, str, str, str, dict[str, Any]]:
        """Time, level, logger, event and identifiers of a record."""
        failed = record.exc_info is not None and record.exc_info[1] is not None
        # A library's message about an exception may hold what a peer has sent; its template does not.
        event = str(record.msg) if failed else record.getMessage()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        fields = {key: value for key, value in vars(record).items() if key not in _USUAL}
        if failed and record.exc_info is not None and record.exc_info[1] is not None:
            fields |= dict(_told(record.exc_info[1]))
        return stamp, record.levelname, record.name, event, fields


class JsonFormatter(EventFormatter):
    """One object a line: ``time``, ``level``, ``logger``, ``event``, and the identifiers by their names."""

    def format(self, record: logging.LogRecord) -> str:
        time_, level, logger, event, fields = self.told(record)
        own = {"time": time_, "level": level, "logger": logger, "event": _line(event)}
        plain = {key: value if isinstance(value, int | float) else _line(str(value)) for key, value in fields.items()}
        return json.dumps({**plain, **own}, ensure_ascii=False)


def _told(problem: BaseException) -> Iterator[tuple[str, str]]:
    """Types from the last raised to the first cause, the system's word for it, and where it passed through xds."""
    chain: list[BaseException] = []
    each: BaseException | None = problem
    while each is not None and len(chain) < 8:
        chain.append(each)
        each = each.__cause__ or each.__context__
    yield "error", "<".join(type(item).__name__ for item in chain)
    reason = next((item.strerror for item in chain if isinstance(item, OSError) and item.strerror), "")
    if reason:
        yield "reason", reason
    frames = [f for item in reversed(chain) for f in traceback.extract_tb(item.__traceback__)]
    places = [
        f"{Path(f.filename).relative_to(_PACKAGE)}:{f.lineno}" for f in frames if f.filename.startswith(str(_PACKAGE))
    ]
    yield "at", ">".join(places[-8:])


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _line(text: str) -> str:
    """A line stays one: what a peer has sent cannot begin another."""
    return "".join(c if c.isprintable() else "?" for c in text)


def to_stderr(form: str = "text") -> None:
    """Send this process' log to standard error, as the server does: as ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else EventFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("alembic", "spyne"):
        logging.getLogger(name).setLevel(logging.ERROR)
