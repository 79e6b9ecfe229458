"""``xds user``: accounts by hand, each change on record, and no password kept as it was."""

from __future__ import annotations

import io
from pathlib import Path
from unittest import mock

import pytest

from tests.cli.command import Done, xds

PASSWORD = "correct horse battery"


def add(folder: Path, name: str = "anna", password: str = PASSWORD) -> Done:
    with mock.patch("sys.stdin", io.StringIO(password + "\n")):
        return xds("user", "add", name, "--role", "auditor", "--data", folder)


def test_an_account_is_made_once_listed_and_removed(tmp_path: Path) -> None:
    assert add(tmp_path).code == 0
    assert "there is an account of this name" in add(tmp_path).err
    listed = xds("user", "list", "--json", "--data", tmp_path)
    assert listed.json == [{"name": "anna", "role": "auditor", "second_factor": False, "locked_until": ""}]
    assert "it is the last account" in xds("user", "remove", "anna", "--data", tmp_path).err
    assert xds("user", "remove", "anna", "--last", "--data", tmp_path).code == 0
    assert "there is no account of this name" in xds("user", "remove", "anna", "--data", tmp_path).err


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    done = add(tmp_path, password="short")
    assert done.code == 1
    assert "12 characters" in done.err


@pytest.mark.parametrize("password", ["aaaaaaaaaaaaaa", "ababababababab", "Anna's password"])
def test_a_password_that_is_soon_guessed_is_refused(tmp_path: Path, password: str) -> None:
    assert "again and again" in add(tmp_path, password=password).err


def test_an_account_gets_another_password_and_is_unlocked(tmp_path: Path) -> None:
    add(tmp_path)
    with mock.patch("sys.stdin", io.StringIO("another battery staple\n")):
        assert xds("user", "password", "anna", "--data", tmp_path).code == 0
    assert xds("user", "unlock", "anna", "--data", tmp_path).code == 0
    records = xds("audit", "list", "--json", "--data", tmp_path).json
    assert [one["event"] for one in records] == ["Security Alert"] * 3
    for command in ("password", "unlock"):
        with mock.patch("sys.stdin", io.StringIO("another battery staple\n")):
            assert "there is no account of this name" in xds("user", command, "bert", "--data", tmp_path).err


def test_the_password_stands_nowhere_and_the_change_is_on_record(tmp_path: Path) -> None:
    add(tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
    (record,) = xds("audit", "list", "--json", "--data", tmp_path).json
    assert record["event"] == "Security Alert"
