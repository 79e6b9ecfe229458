"""``xds serve``: what it says when it starts."""

from __future__ import annotations

import io
from pathlib import Path
from unittest import mock

from tests.cli.command import xds
from tests.hostile.server import Served


def test_until_there_is_an_account_the_start_says_by_which_command_one_is_made(tmp_path: Path) -> None:
    site = Served(tmp_path).start()
    assert site.stop() == 0
    said = "its console is closed until there is an account: xds user add NAME --role administrator --config"
    assert site.log.count(f"{said} {site.config}\n") == 1
    with mock.patch("sys.stdin", io.StringIO("a long passphrase 27\n")):
        assert xds("user", "add", "ada", "--role", "administrator", "--config", site.config).code == 0
    site.start()
    assert site.stop() == 0
    assert site.log.count(said) == 1
