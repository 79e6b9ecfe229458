"""An S3 server for tests, started when one is first asked for; a bucket a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest

from tests.conftest import wait_for
from xds.demo.site import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class Server:
    """A server of S3's protocol, in memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = self._started()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._answers)
        return process

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def bucket(self) -> str:
        """A new, empty one."""
        name = f"documents-{uuid.uuid4().hex[:12]}"
        with urlopen(Request(f"{self.url}/{name}", method="PUT")):  # noqa: S310
            return name

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def keys_in_the_environment() -> Iterator[None]:
    """What we ask it with."""
    before = {key: os.environ.get(key) for key in KEYS}
    os.environ.update(KEYS)
    yield
    for key, value in before.items():
        if value is None:
            del os.environ[key]
        else:
            os.environ[key] = value


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """Of the session; its package comes with the tests."""
    server = Server()
    with keys_in_the_environment():
        yield server
    server.stop()
