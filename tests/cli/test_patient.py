"""Patients by hand, and by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import ANNA, AUTHORITY, BERT
from tests.cli.command import xds
from xds.metadata.demographics import Address, Demographics, PersonName
from xds.settings.configuration import load
from xds.store.engine import make_engine
from xds.store.registry.sql_registry import SqlRegistry


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A deployment that knows who Anna and Bert are."""
    path = tmp_path / "xds.toml"
    path.write_text(f'[server]\ndata = "{tmp_path / "data"}"\n[domain]\nassigning_authorities = ["{AUTHORITY}"]\n')
    for one in (ANNA, BERT):
        assert xds("patient", "add", one, "--config", path).code == 0
    engine = make_engine(load(path, {}).settings.database_url)
    with engine.begin() as connection:
        store = SqlRegistry(connection, "default")
        address = Address(city="Köln")
        store.keep_demographics(Demographics((PersonName("Müller", "Anna"),), "19561127", "F", address=address), ANNA)
        store.keep_demographics(Demographics((PersonName("Müller", "Bert"),), "1980", "M"), BERT)
    engine.dispose()
    return path


def test_all_who_may_be_meant_are_printed(config: Path) -> None:
    done = xds("patient", "find", "mueller", "--config", config)
    assert done.out.splitlines() == [f"{ANNA}\tMüller, Anna\t19561127\tF\tKöln", f"{BERT}\tMüller, Bert\t1980\tM\t"]
    assert done.err == ""


def test_with_the_birth_date_one_is(config: Path) -> None:
    found = xds("patient", "find", "müller", "--born", "1956-11", "--json", "--config", config).json
    assert found["more"] is False
    assert [one["patient_id"] for one in found["patients"]] == [str(ANNA)]
    assert found["patients"][0]["names"] == [{"family": "Müller", "given": "Anna"}]


@pytest.mark.parametrize(("arguments", "said"), [(["m"], "letters"), (["müller", "--born", "56"], "YYYY")])
def test_what_is_too_little_or_no_date_is_told(config: Path, arguments: list[str], said: str) -> None:
    done = xds("patient", "find", *arguments, "--config", config)
    assert done.code == 1
    assert said in done.err


def test_whoever_is_printed_is_on_record_as_looked_at(config: Path) -> None:
    xds("patient", "find", "anna", "--config", config)
    listed = xds("audit", "list", "--json", "--config", config).json
    looked = [one for one in listed if one.get("patient") == str(ANNA)]
    assert looked, listed
