"""A deployment's identity is made once; its database is its own."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from xds.errors import Unusable
from xds.metadata.identifiers import is_oid
from xds.settings.configuration import load
from xds.settings.sections import Loaded, flat
from xds.store.deployment import MADE, VERSION, changed_settings, log_id, migrate, prepare, with_identity
from xds.store.engine import make_engine, reading
from xds.store.statements import insert_ignoring
from xds.store.tables import deployment


def loaded(data: Path, **more: Any) -> Loaded:
    return load(environment={}).changed({"server.data": str(data)} | more, "command line")


def identity(of: Loaded) -> dict[str, Any]:
    values = dict(flat(of.settings))
    return {name: values[name] for name in MADE}


def test_what_is_not_set_is_made_once_and_kept(tmp_path: Path) -> None:
    first = with_identity(loaded(tmp_path / "data"))
    assert identity(with_identity(loaded(tmp_path / "data"))) == identity(first)
    made = [value[0] if isinstance(value, tuple) else value for value in identity(first).values()]
    assert all(map(is_oid, made))
    assert len({*made, log_id(tmp_path / "data")}) == len(MADE) + 1
    assert {first.sources[name] for name in MADE} == {"made at first start"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["identity.json"]


def test_another_data_folder_is_another_deployment(tmp_path: Path) -> None:
    one, other = (identity(with_identity(loaded(tmp_path / name))) for name in "ab")
    assert not set(one.values()) & set(other.values())


def test_what_is_set_is_left_alone(tmp_path: Path) -> None:
    changes = {"repository.unique_id": "1.2.3", "domain.assigning_authorities": ("1.2.4",)}
    found = with_identity(loaded(tmp_path, **changes))
    assert found.settings.repository.unique_id == "1.2.3"
    assert found.settings.domain.assigning_authorities == ("1.2.4",)
    assert found.settings.domain.home_community_id
    assert found.sources["repository.unique_id"] == "command line"


def test_nothing_is_made_where_all_is_set(tmp_path: Path) -> None:
    whole = {name: ("1.2.3",) if name.endswith("authorities") else "1.2.3" for name in MADE}
    given = loaded(tmp_path / "data", **whole)
    assert with_identity(given) is given
    assert not (tmp_path / "data").exists()


def _together(barrier: Any) -> None:
    """What a process of a pool does first: wait for the others."""
    barrier.wait(30)


def _identity_in_a_process(data: Path) -> dict[str, Any]:
    return identity(with_identity(loaded(data)))


def test_processes_that_start_at_once_have_one_identity(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, spawn, _together, (spawn.Barrier(3),)) as pool:
        found = list(pool.map(_identity_in_a_process, [tmp_path / "data"] * 3))
    assert all(one == found[0] for one in found)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["identity.json"]


def test_one_that_comes_second_takes_the_identity_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def beaten(source: str, target: Path) -> None:
        target.write_text(json.dumps(dict.fromkeys((*MADE, "audit.log_id"), "1.2.3")))
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    assert with_identity(loaded(tmp_path)).settings.repository.unique_id == "1.2.3"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"repository.unique_id": "1.2.3"}', b"\xff"])
def test_a_file_that_is_no_identity_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(Unusable, match=r"identity\.json"):
        with_identity(loaded(tmp_path))
    with pytest.raises(Unusable, match=r"identity\.json"):
        log_id(tmp_path)


def test_an_identity_without_a_log_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text(json.dumps(dict.fromkeys(MADE, "1.2.3")))
    with pytest.raises(Unusable, match=r"identity\.json"):
        log_id(tmp_path)


def test_a_data_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(Unusable, match=r"identity\.json"):
        with_identity(loaded(tmp_path / "data"))


# The database.


def test_a_database_is_prepared_once_and_again(empty_database_url: str, tmp_path: Path) -> None:
    engine = make_engine(empty_database_url)
    for _ in range(2):
        prepare(engine, loaded(tmp_path, **{"repository.unique_id": "1.2.3"}))
    with reading(engine) as connection:
        assert connection.scalar(sa.select(deployment.c.value)) == "1.2.3"
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == VERSION
    with pytest.raises(Unusable, match=r"another deployment: its repository.unique_id is 1\.2\.3, not 1\.2\.4"):
        prepare(engine, loaded(tmp_path, **{"repository.unique_id": "1.2.4"}))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unusable, match="later version"):
        prepare(engine, loaded(tmp_path, **{"repository.unique_id": "1.2.3"}))
    engine.dispose()


def _prepare_in_a_process(arguments: tuple[str, str]) -> str:
    url, oid = arguments
    engine = make_engine(url)
    try:
        prepare(engine, loaded(Path("/nowhere"), **{"repository.unique_id": oid}))
    except Unusable as problem:
        return "another" if "another deployment" in str(problem) else str(problem)
    finally:
        engine.dispose()
    return "prepared"


def test_of_two_deployments_that_take_a_database_at_once_one_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/xds.sqlite"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, _together, (spawn.Barrier(2),)) as pool:
        found = list(pool.map(_prepare_in_a_process, [(url, "1.2.3"), (url, "1.2.4")]))
    assert sorted(found) == ["another", "prepared"]


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "", "postgresqlite:///x"])
def test_a_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(Unusable, match="sqlite:/// or postgresql://"):
        make_engine(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_postgresql_that_does_not_answer_is_said_so(scheme: str, tmp_path: Path) -> None:
    engine = make_engine(f"{scheme}://nobody:secret@127.0.0.1:1/none")
    assert engine.dialect.driver == "psycopg"
    with pytest.raises(Unusable, match="cannot be used") as problem:
        prepare(engine, loaded(tmp_path, **{"repository.unique_id": "1.2.3"}))
    assert "secret" not in str(problem.value)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "xds.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(Unusable, match="cannot be used"):
        prepare(make_engine(f"sqlite:///{tmp_path}/xds.sqlite"), loaded(tmp_path, **{"repository.unique_id": "1.2"}))


def test_a_reader_sees_one_state_and_holds_no_writer_up(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as connection:
        migrate(connection)
    count = sa.select(sa.func.count()).select_from(deployment)
    with reading(engine) as reader:
        assert reader.scalar(count) == 0
        with engine.begin() as writer:
            assert insert_ignoring(writer, deployment, name="a", value="1") is True
            assert insert_ignoring(writer, deployment, name="a", value="2") is False
        assert reader.scalar(count) == 0
    with reading(engine) as reader:
        assert reader.scalar(sa.select(deployment.c.value)) == "1"
    engine.dispose()


def test_settings_that_are_others_than_at_the_last_start_are_named_by_kind_and_their_values_are_not_kept(
    tmp_path: Path,
) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/xds.sqlite")
    first = loaded(tmp_path)
    later = loaded(tmp_path, **{
        "server.listen": "127.0.0.1:9999", "audit.source_id": "north", "registry.most_results": 7,
    })  # fmt: skip
    with engine.begin() as connection:
        migrate(connection)
        seen = [changed_settings(connection, one.settings) for one in (first, first, later, later, first)]
        kept = connection.scalar(sa.select(deployment.c.value).where(deployment.c.name == "settings"))
    changed = {"110128": ["server.listen"], "110129": ["audit.source_id"], "110131": ["registry.most_results"]}
    assert seen == [{}, {}, changed, {}, changed]
    assert "127.0.0.1" not in str(kept)
    engine.dispose()
