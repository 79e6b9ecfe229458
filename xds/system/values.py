"""Values that never change, quickly made.

A frozen dataclass takes five times as long to make as another, for a guard that mypy makes needless here: a request has
hundreds of them.  To mypy these are frozen; at run time nothing stops who goes around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool) -> Callable[[type[Any]], type[Any]]:
        """A dataclass that is compared and hashed by its values."""
        assert frozen  # noqa: S101  a fault of ours
        return dataclass(slots=slots, unsafe_hash=True)


__all__ = ["value"]
