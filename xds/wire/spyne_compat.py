"""Lets spyne 2.14 import on Python 3.11 to 3.13.

spyne carries a copy of six whose import hook Python 3.12 no longer calls; PyPI's six stands in for it, with
the one function that spyne's copy adds.
"""

from __future__ import annotations

import importlib
import operator
import sys
import types
import warnings

import six

_MOVES = ("collections_abc", "http_cookies", "urllib", "urllib.parse", "urllib.request", "urllib.error")


def prepare() -> None:
    """Put six where spyne looks for its copy."""
    if "spyne.util.six" in sys.modules:
        return
    own = types.ModuleType("spyne.util.six")
    own.__dict__.update({key: value for key, value in vars(six).items() if not key.startswith("__")})
    own.__dict__["get_function_name"] = operator.attrgetter("__name__")
    sys.modules["spyne.util.six"] = own
    sys.modules["spyne.util.six.moves"] = six.moves
    for move in _MOVES:
        sys.modules[f"spyne.util.six.moves.{move}"] = importlib.import_module(f"six.moves.{move}")


def imported(module: str) -> types.ModuleType:
    """A module of spyne; its own deprecation warnings are not ours to see."""
    prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)
