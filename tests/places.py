"""Folders that tests read from, whatever room they are in."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/audit/golden"
"""Audit messages typed from the standards, one a side of a transaction."""
