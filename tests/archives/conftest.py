from __future__ import annotations

import pytest

from tests.archives.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
