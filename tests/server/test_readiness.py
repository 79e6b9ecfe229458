"""``/readyz`` names each thing that a node depends on, and what is wrong with it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.endpoints.console.test_looking import got
from tests.server.test_application import serving
from xds.demo.site import free_port
from xds.server import readiness

CLINIC = "[server]\nactors = []\n"


def ready(tmp_path: Path, text: str) -> tuple[int, list[str]]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        status, said = got(site, "/readyz")
        return status, said.splitlines()


def test_a_node_alone_names_what_it_has(tmp_path: Path) -> None:
    assert ready(tmp_path, "") == (200, ["ready", "database: ok", "audit: ok", "documents: ok"])


def test_peers_that_answer_are_named_and_not_their_paths_or_passwords(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as peer:
        port = peer.getsockname()[1]
        text = (
            f'{CLINIC}[console]\nregistry_url = "http://me:secret@127.0.0.1:{port}/registry"\n'
            f'[repositories]\n"1.2.3" = {{url = "http://127.0.0.1:{port}/x", name = "North"}}\n'
            f'[imaging_sources]\n"1.2.4" = "http://127.0.0.1:{port}/y"\n'
        )
        status, lines = ready(tmp_path, text)
    assert (status, lines[0]) == (200, "ready")
    assert lines[4:] == [
        f"registry 127.0.0.1:{port}: ok",
        "repository North: ok",
        f"imaging source 127.0.0.1:{port}: ok",
    ]


def test_a_clinic_without_its_registry_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    status, lines = ready(tmp_path, f'{CLINIC}[console]\nregistry_url = "http://127.0.0.1:{port}/registry"\n')
    assert status == 503
    assert lines[0] == f"registry 127.0.0.1:{port}: does not answer: Connection refused"
    assert lines[1:] == ["database: ok", "audit: ok", "documents: ok"]


@pytest.mark.parametrize(
    "text",
    [
        '[server]\nactors = ["repository"]\n[repository]\nregistry_url = "{url}"\n',
        '[repositories]\n"1.2.3" = "{url}"\n',
        '[imaging_sources]\n"1.2.3" = "{url}"\n',
        '[imaging_sources]\n"1.2.3" = "https://127.0.0.1:{port}/x"\n',
    ],
)
def test_a_node_that_serves_on_without_a_peer_is_partly_ready(tmp_path: Path, text: str) -> None:
    port = free_port()
    text = text.replace("{port}", str(port)).replace("{url}", f"http://127.0.0.1:{port}/registry")
    status, lines = ready(tmp_path, text)
    assert (status, lines[0]) == (200, "partly ready")
    assert f"127.0.0.1:{port}: does not answer" in lines[1]


@pytest.mark.parametrize(
    "url", ["", "no url", "http://", "http://127.0.0.1:99999/x", "https://[::1", "ftp://x.invalid"]
)
def test_an_address_that_is_none_is_said_not_to_answer(tmp_path: Path, url: str) -> None:
    status, lines = ready(tmp_path, f'[repositories]\n"1.2.3" = {{url = "{url}", name = "North"}}\n')
    assert (status, lines[0]) == (200, "partly ready")
    assert lines[1].startswith("repository North: does not answer: ")


def test_a_peer_is_not_tried_for_everybody_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    monkeypatch.setattr(readiness, "reached", lambda _: tried.append(time.monotonic()) or "")
    with serving(
        f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, '[repositories]\n"1.2.3" = "http://x.invalid/"\n'
    ) as site:
        for _ in range(5):
            assert got(site, "/readyz")[0] == 200
    assert len(tried) == 1


AWAY = '[s3]\nendpoint = "http://127.0.0.1:1"\nseconds = 1.0\n'


def test_a_node_serves_on_without_the_store_that_documents_move_out_of(tmp_path: Path) -> None:
    status, lines = ready(tmp_path, f'[server]\ndocuments_also = "s3://old"\n{AWAY}')
    assert (status, lines) == (
        200,
        [
            "partly ready",
            "documents_also: the object store does not answer",
            "database: ok",
            "audit: ok",
            "documents: ok",
        ],
    )


def test_a_node_is_not_ready_without_the_store_that_documents_move_into(tmp_path: Path) -> None:
    text = f'[server]\ndocuments = "s3://new"\ndocuments_also = "file:{tmp_path}/old"\n{AWAY}'
    status, lines = ready(tmp_path, text)
    assert (status, lines[0]) == (503, "documents: the object store does not answer")
    assert "documents_also: ok" in lines
