"""``xds`` called as from a shell, without the cost of a new process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from xds.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def xds(*arguments: object) -> Done:
    """Run a command; an exception that reaches the shell is an error of the test."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    called = mock.patch.object(sys, "argv", ["xds", *map(str, arguments)])
    with called, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Done(code, out.getvalue(), err.getvalue())
