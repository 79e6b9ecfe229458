"""``xds backup`` and ``xds restore``: what runs is copied, what was copied comes back, what was changed does not."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
import sqlalchemy as sa

from tests.cli.command import Done, xds
from tests.conftest import copied
from tests.hostile.server import Served
from xds.backup import databases, layout
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Unusable
from xds.store.audit import records
from xds.store.engine import make_engine

CONTENTS = [b"the first", b"the second", bytes(range(256)) * 8000]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of a deployment."""
    return copied(request, tmp_path)


@pytest.fixture
def served(url: str, tmp_path: Path) -> Iterator[Served]:
    """A deployment that runs."""
    served = Served(tmp_path / "here", {"server": {"database": url}}).start()
    yield served
    _ended(served)


@pytest.fixture
def there(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Served]:
    """Where a backup is brought back to: nothing is there yet."""
    database = f"sqlite:///{tmp_path / 'there.sqlite'}"
    if not url.startswith("sqlite"):
        database = request.getfixturevalue("postgres_databases").new()
    there = Served(tmp_path / "there", {"server": {"database": database}})
    there.write_config()
    yield there
    _ended(there)


def _ended(served: Served) -> None:
    if served.process is not None and served.process.poll() is None:
        served.kill()


def made(served: Served, to: Path, *more: object) -> Path:
    done = xds("backup", "make", to, "--config", served.config, "--json", *more)
    assert (done.code, done.err) == (0, ""), done.out
    return Path(done.json["folder"])


def brought_back(folder: Path, there: Served, *more: object) -> Done:
    return xds("restore", folder, "--config", there.config, *more)


def kept(served: Served, tmp_path: Path) -> dict[str, DocumentRequest]:
    """Documents that are acknowledged, by their uniqueIds."""
    found = [served.provide(content, tmp_path / "spool") for content in CONTENTS]
    return {one.document_unique_id: one for one in found}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_deployment_that_runs_comes_back_elsewhere_as_it_was(
    served: Served, there: Served, tmp_path: Path, *, encrypted: bool
) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"# kept in the safe\n{identity}\n", "utf-8")
    sealed = ("--recipient", identity.to_public()) if encrypted else ()
    opened = ("--identity", tmp_path / "identity") if encrypted else ()
    there_before = kept(served, tmp_path)
    folder = made(served, tmp_path / "backups", *sealed)
    served.provide(b"afterwards", tmp_path / "spool")
    certificate = served.data / "keys" / "audit-signing.crt"
    looked = xds("backup", "verify", folder, "--certificate", certificate, "--json", *opened)
    assert (looked.code, looked.json) == (0, {"documents": 3, "not_read": 0, "wrong": []})
    shutil.copyfile(certificate, tmp_path / "kept.crt")
    served.stop()
    shutil.rmtree(served.data)  # the machine is lost

    done = brought_back(folder, there, "--certificate", tmp_path / "kept.crt", *opened)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("3 documents and ")
    there.start()
    assert there.found() == there_before.keys()
    assert [there.retrieved(one) for one in there_before.values()] == CONTENTS
    assert there.stop() == 0
    checked = xds("audit", "verify", "--config", there.config, "--database", "--certificate", tmp_path / "kept.crt")
    assert checked.code == 0, checked.out + checked.err
    told = xds("audit", "list", "--config", there.config, "--json")
    assert "restored from the backup of" in xds("audit", "show", str(_restored(there)), "--config", there.config).out
    assert told.code == 0
    if encrypted:
        assert all(b"the second" not in one.read_bytes() for one in folder.parent.rglob("*") if one.is_file())


def _restored(there: Served) -> int:
    """The id of the record of the restore."""
    engine = make_engine(there.settings.database_url, connections=1)
    with engine.connect() as connection:
        found = [one.id for one in records.all_numbered(connection) if b"110141" in one.message]
    engine.dispose()
    (id_,) = found
    return id_


def test_the_next_backup_copies_what_is_new(served: Served, tmp_path: Path) -> None:
    kept(served, tmp_path)
    first = made(served, tmp_path / "backups")
    served.provide(b"one more", tmp_path / "spool")
    shutil.move(first, first.with_name("2020-01-01T000000Z"))
    done = xds("backup", "make", tmp_path / "backups", "--config", served.config, "--json")
    assert (done.json["documents"], done.json["copied"]) == (4, 1)
    listed = xds("backup", "list", tmp_path / "backups", "--json").json
    assert [one["documents"] for one in listed] == [3, 4]
    assert all(xds("backup", "verify", one["folder"]).code == 0 for one in listed)


def test_a_backup_that_is_made_while_documents_come_has_what_was_acknowledged_before(
    served: Served, there: Served, tmp_path: Path
) -> None:
    before, stop, later = kept(served, tmp_path), threading.Event(), list[DocumentRequest]()

    def come() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            later.append(served.provide(f"meanwhile {number}".encode(), tmp_path / "spool"))

    coming = threading.Thread(target=come)
    coming.start()
    try:
        folder = made(served, tmp_path / "backups")
    finally:
        stop.set()
        coming.join()
    served.stop()
    assert brought_back(folder, there).code == 0
    there.start()
    found = there.found()
    assert before.keys() <= found <= before.keys() | {one.document_unique_id for one in later}
    for one in [*before.values(), *later]:  # each is there with its bytes, or not at all
        assert (there.retrieved(one) is not None) == (one.document_unique_id in found)
    assert there.stop() == 0
    assert xds("audit", "verify", "--config", there.config, "--database").code == 0


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _one(folder: Path, pattern: str) -> Path:
    return next(one for one in sorted(folder.glob(pattern)) if one.is_file() and one.stat().st_size)


SPOILT: dict[str, Callable[[Path], None]] = {
    "the database": lambda folder: _flip(_one(folder, "database.*")),
    "a document": lambda folder: _flip(_one(folder.parent, "documents/*/*/*")),
    "a document that is gone": lambda folder: _one(folder.parent, "documents/*/*/*").unlink(),
    "a block of the log": lambda folder: _flip(_one(folder.parent, "audit/*/*/*")),
    "the list": lambda folder: (folder / layout.LIST).write_text(""),
    "a file too many": lambda folder: (folder / "keys" / "another").write_text("x"),
    "a manifest that nobody has signed": lambda folder: (folder / layout.STATEMENT).unlink(),
    "a manifest that was signed for another": lambda folder: _said(folder, records=1),
    "a file of another place": lambda folder: _named(folder, "../../outside"),
}


def _named(folder: Path, name: str) -> None:
    said = json.loads((folder / layout.MANIFEST).read_text())
    said["files"][0]["name"] = name
    (folder / layout.MANIFEST).write_text(json.dumps(said))


def _said(folder: Path, **more: object) -> None:
    said = json.loads((folder / layout.MANIFEST).read_text())
    (folder / layout.MANIFEST).write_text(json.dumps(said | more))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_backup_that_was_changed_is_told_and_not_brought_back(served: Served, there: Served, tmp_path: Path) -> None:
    kept(served, tmp_path)
    whole = made(served, tmp_path / "backups")
    for number, (what, spoil) in enumerate(SPOILT.items()):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(whole.parent, copy)
        folder = copy / whole.name
        spoil(folder)
        assert xds("backup", "verify", folder).code == 1, what
        done = brought_back(folder, there)
        assert done.code == 1, what
        assert not there.data.exists() or list(there.data.iterdir()) == [], what
        assert not (tmp_path / "there.sqlite").exists(), what
    assert brought_back(whole, there).code == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_manifest_of_somebody_else_is_not_believed(served: Served, there: Served, tmp_path: Path) -> None:
    folder, certificate = made(served, tmp_path / "backups"), served.data / "keys" / "audit-signing.crt"
    said = json.loads((folder / layout.MANIFEST).read_text())
    (folder / layout.MANIFEST).write_text(json.dumps(said | {"records": 1}))
    for done in (
        xds("backup", "verify", folder, "--certificate", certificate),
        brought_back(folder, there, "--certificate", certificate),
    ):
        assert done.code == 1
        assert "the manifest is another one than was signed" in done.err
    assert not there.data.exists()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_cannot_be_is_refused_before_anything_is_touched(served: Served, there: Served, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    folder = made(served, tmp_path / "backups", "--recipient", identity.to_public())
    (tmp_path / "wrong").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    (tmp_path / "none").write_text("AGE-SECRET-KEY-1NONSENSE\n")
    refused = [
        (
            xds("backup", "make", served.data / "backups", "--config", served.config),
            "within the deployment's own folder",
        ),
        (
            xds("backup", "make", tmp_path / "b", "--config", served.config, "--recipient", "age1"),
            "not an age recipient",
        ),
        (xds("backup", "make", "/proc/backups", "--config", served.config), "/proc/backups"),
        (xds("backup", "verify", tmp_path), "holds no backup"),
        (brought_back(folder, there), "--identity FILE"),
        (brought_back(folder, there, "--identity", tmp_path / "wrong"), "cannot be read with this identity"),
        (brought_back(folder, there, "--identity", tmp_path / "none"), "no age identities"),
        (xds("restore", folder, "--data", tmp_path / "no" / "where"), "is no folder"),
    ]
    for done, why in refused:
        assert done.code == 1
        assert why in done.err
    (tmp_path / "right").write_text(f"{identity}\n")
    there.data.mkdir()
    (there.data / "something").touch()
    done = brought_back(folder, there, "--identity", tmp_path / "right")
    assert "has something in it already" in done.err
    assert {one.name for one in there.data.iterdir()} == {"something", "serve.lock"}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_one_backup_at_a_time_and_what_one_that_was_killed_has_left_is_cleared(served: Served, tmp_path: Path) -> None:
    to = tmp_path / "backups"
    made(served, to)
    (to / layout.INCOMPLETE / "audit").mkdir(parents=True)
    with (to / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a backup is being made into" in xds("backup", "make", to, "--config", served.config).err
    shutil.move(layout.backups(to)[0], to / "2020-01-01T000000Z")
    made(served, to)
    assert not (to / layout.INCOMPLETE).exists()
    assert not list((served.data / "run").glob("backup-*"))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_damaged_document_is_told_and_the_rest_is_copied(served: Served, tmp_path: Path) -> None:
    kept(served, tmp_path)
    blob = next(one for one in (served.data / "documents").glob("??/??/*") if one.stat().st_size == len(b"the first"))
    blob.write_bytes(b"something")
    done = xds("backup", "make", tmp_path / "backups", "--config", served.config, "--json")
    assert (done.code, done.json["damaged"], done.json["copied"]) == (1, [blob.name], 2)


def test_a_database_that_has_tables_is_left_alone(served: Served, there: Served, url: str, tmp_path: Path) -> None:
    folder = made(served, tmp_path / "backups")
    there.sections = {"server": {"database": url}}
    there.write_config()
    done = brought_back(folder, there)
    assert done.code == 1
    assert "already" in done.err
    engine = make_engine(url, connections=1)
    assert sa.inspect(engine).get_table_names()
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_who_is_a_recipient_reads_all_of_a_backup_whoever_was_one_before(
    served: Served, there: Served, tmp_path: Path
) -> None:
    kept(served, tmp_path)
    identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
    for number, identity in enumerate(identities):
        folder = made(served, tmp_path / "backups", "--recipient", identity.to_public())
        folder = folder.rename(folder.with_name(f"2020-01-0{number + 1}T000000Z"))
    (tmp_path / "second").write_text(f"{identities[1]}\n")
    assert xds("backup", "verify", folder, "--identity", tmp_path / "second").code == 0
    assert brought_back(folder, there, "--identity", tmp_path / "second").code == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_another_database_has_left_behind_is_not_read_into_the_one_that_comes_back(
    served: Served, there: Served, tmp_path: Path
) -> None:
    folder = made(served, tmp_path / "backups")
    (tmp_path / "there.sqlite-wal").write_bytes(b"written ahead of another")
    done = brought_back(folder, there)
    assert (done.code, "there.sqlite-wal is there already" in done.err) == (1, True)
    assert not there.data.exists()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_folder_that_a_server_has_is_left_to_it(served: Served, tmp_path: Path) -> None:
    folder = made(served, tmp_path / "backups")
    done = xds("restore", folder, "--config", served.config)
    assert (done.code, "in use" in done.err or "in it already" in done.err) == (1, True)
    served.provide(b"it goes on", tmp_path / "spool")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_document_that_is_cut_off_in_the_pool_is_copied_anew(served: Served, tmp_path: Path) -> None:
    kept(served, tmp_path)
    first = made(served, tmp_path / "backups")
    spoilt = next(one for one in (tmp_path / "backups" / "documents").glob("*/*/*") if one.stat().st_size > 100)
    spoilt.write_bytes(b"cut off")
    shutil.move(first, first.with_name("2020-01-01T000000Z"))
    assert xds("backup", "verify", made(served, tmp_path / "backups")).code == 0


def test_streams_that_were_under_way_are_on_record_as_broken_off_where_they_are_no_more(
    served: Served, there: Served, tmp_path: Path, url: str
) -> None:
    engine = make_engine(url, connections=1)
    broken = records.Recorded(b"<AuditMessage/>", "110106", "ITI-43", 8)
    with engine.begin() as connection:
        records.open_stream(connection, "stream", "another-host 1 1", [broken])
    engine.dispose()
    folder = made(served, tmp_path / "backups")
    assert brought_back(folder, there).code == 0
    engine = make_engine(there.settings.database_url, connections=1)
    with engine.connect() as connection:
        assert records.streams(connection) == []
        assert sum(one.message == broken.message for one in records.all_numbered(connection)) == 1
    engine.dispose()


def test_a_program_that_says_much_on_the_side_is_heard_to_its_end() -> None:
    said = databases._said(
        ["sh", "-c", "head -c 300000 /dev/zero >&2; echo out; exit 0"], sa.make_url("postgresql:///d")
    )
    assert b"".join(said) == b"out\n"
    with pytest.raises(Unusable, match="sh: the reason"):
        list(databases._said(["sh", "-c", "echo the reason >&2; exit 1"], sa.make_url("postgresql:///d")))


def test_where_a_database_is_stands_in_no_command_line() -> None:
    told = databases._told(sa.make_url("postgresql://h1/d?user=u&password=secret&sslmode=verify-full"))
    assert told == {"PGHOST": "h1", "PGUSER": "u", "PGPASSWORD": "secret", "PGSSLMODE": "verify-full"}
    told = databases._told(sa.make_url("postgresql://u:secret@/d?host=h1:5432&host=h2:5433"))
    assert told == {"PGHOST": "h1,h2", "PGPORT": "5432,5433", "PGUSER": "u", "PGPASSWORD": "secret"}
