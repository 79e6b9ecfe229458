"""What is done before a fork by libraries that have threads, and that a child could not use after it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from xds.errors import Unusable


def aside(what: Callable[[], object]) -> None:
    """Do it in a child process, and wait for it.

    Raises:
        Unusable: what the child raises; or it was killed.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        said, code = "", 1
        try:
            what()
            code = 0
        except Unusable as problem:
            said = str(problem)
        except BaseException:
            traceback.print_exc()
            said = "it failed: its log says why"
        finally:
            os.write(writes, said.encode())
            os._exit(code)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if said or code:
        raise Unusable(said or (f"it was killed by signal {-code}" if code < 0 else f"it ended with {code}"))
