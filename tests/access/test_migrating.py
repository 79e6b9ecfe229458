"""Old settings become peers, and what cannot be told from them stays; nothing else of the file changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.cli.command import xds
from tests.hostile.certificates import Authority
from xds.access.peers import Peers
from xds.settings.configuration import load

OLD = """# Ours.
[server]
data = "data"  # here
{tls}
[audit]
readers = [
  "CN=desk,O=Region",  # the auditor's
]
source_id = "node"
[senders.pacs]
certificates = ["CN=pacs, O=North"]
source_ids = ["1.2.3"]
tolerate = []
schema = "tolerant"
[imaging_source]
cstore_from = ["CT1"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    trusted = Authority(tmp_path / "region", "region").trusted
    path = tmp_path / "xds.toml"
    path.write_text(OLD.format(tls=f'[tls]\ntrusted = "{trusted}"'))
    return path


def test_senders_and_readers_become_peers_of_the_only_authority(file: Path) -> None:
    done = xds("config", "migrate", "--config", file)
    assert done.code == 0
    found = tomllib.loads(done.out)
    assert found["peers"] == {
        "pacs": {
            "issuer": "CN=region", "subject": "CN=pacs, O=North", "source_ids": ["1.2.3"], "schema": "tolerant",
            "roles": ["document-source"],
        },
        "audit-reader-1": {"issuer": "CN=region", "subject": "CN=desk,O=Region", "roles": ["audit-reader"]},
    }  # fmt: skip
    assert "senders" not in found
    assert found["audit"] == {"source_id": "node"}
    assert 'data = "data"  # here' in done.out
    assert "cstore_from stays" in done.err
    assert found["imaging_source"] == {"cstore_from": ["CT1"]}
    assert file.read_text().startswith("# Ours.")  # nothing was written


def test_what_is_written_is_read_and_the_old_file_is_kept(file: Path) -> None:
    before = file.read_text()
    assert xds("config", "migrate", "--config", file, "--write").code == 0
    loaded = load(file, {}).settings
    Peers(loaded.peers)
    assert not loaded.senders
    assert file.with_name("xds.toml.before-peers").read_text() == before
    again = xds("config", "migrate", "--config", file, "--write")
    assert "is there already" in again.err
    assert again.code != 0


def test_without_one_authority_an_entry_stays_and_it_is_said_what_to_decide(tmp_path: Path) -> None:
    path = tmp_path / "xds.toml"
    path.write_text(OLD.format(tls=""))
    done = xds("config", "migrate", "--config", path)
    assert tomllib.loads(done.out) == tomllib.loads(path.read_text())
    assert "# Decide: senders.pacs stays" in done.out
    assert "audit.readers: CN=desk,O=Region stays" in done.err


def test_one_certificate_that_is_both_becomes_one_peer(file: Path) -> None:
    file.write_text(file.read_text().replace("CN=desk,O=Region", "O=North,CN=pacs"))
    found = tomllib.loads(xds("config", "migrate", "--config", file).out)
    assert list(found["peers"]) == ["pacs"]
    assert found["peers"]["pacs"]["roles"] == ["document-source", "audit-reader"]


def test_a_file_that_cannot_be_rewritten_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "xds.toml"
    path.write_text('senders = { pacs = { addresses = ["10.0.0.1"] } }\n')
    done = xds("config", "migrate", "--config", path, "--write")
    assert done.code != 0
    assert "cannot be rewritten" in done.err
    assert not list(tmp_path.glob("*before*"))


def test_the_doctor_names_old_settings_and_the_command(file: Path) -> None:
    done = xds("doctor", "settings", "--config", file)
    assert done.code == 1
    assert "senders.pacs: peers have taken its place; xds config migrate rewrites it" in done.out
    (file.parent / "new.toml").write_text('[server]\ndata = "data"\n')
    assert xds("doctor", "settings", "--config", file.parent / "new.toml").code == 0


def test_the_log_says_at_the_start_which_settings_are_old(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    from xds.server.listening import check_listen

    check_listen(load(file, {}))
    (one,) = (record for record in caplog.records if record.message == "settings.old")
    assert one.command == "xds config migrate"  # type: ignore[attr-defined]
    assert one.settings == "senders.pacs, audit.readers, imaging_source.cstore_from"  # type: ignore[attr-defined]
