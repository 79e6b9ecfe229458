"""Peers of all kinds: those that ask for documents and images, those that break off, and those that talk nonsense."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
from lxml import etree
from pydicom.uid import ExplicitVRLittleEndian

from tests.faults.peers import Peers
from tests.imaging.images import an_instance, saved
from tests.server.test_application import Site
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest, write_imaging_request
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69

STUDIES, INSTANCES, SIDE_PIXELS = 10, 20, 128
SECONDS = 60.0
"""The longest that an answer is waited for."""

_NONSENSE = (
    b"POST /registry HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nnonsense!",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /repository HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n<half",
    b"\x16\x03\x01\x02\x00\x01",
)


def _uid(study: int, number: int = 0) -> str:
    return f"1.2.3.{100_000 + study}.1" + (f".{number}" if number else "")


def archive(folder: Path) -> None:
    """A folder of studies, each of one series."""
    for study in range(STUDIES):
        for number in range(1, INSTANCES + 1):
            (folder / f"{study}-{number}.dcm").write_bytes(_instance(study, number))


def _instance(study: int, number: int) -> bytes:
    chance = random.Random(number)  # noqa: S311
    uid = _uid(study, number)
    return saved(
        an_instance(
            StudyInstanceUID=f"1.2.3.{100_000 + study}", SeriesInstanceUID=_uid(study), SOPInstanceUID=uid,
            Rows=SIDE_PIXELS, Columns=SIDE_PIXELS, PixelData=chance.randbytes(SIDE_PIXELS * SIDE_PIXELS * 2),
        )
    )  # fmt: skip


class SoakPeers(Peers):
    """Those of the histories, and these."""

    def __init__(self, *given: Any, source: str, **more: Any) -> None:
        super().__init__(*given, **more)
        self._source = source
        self._sent_studies = 0

    @property
    def kinds(self) -> Sequence[Callable[[Site, random.Random], object]]:
        return (*super().kinds, self._images, self._images, self._over_the_web, self._store, self._break_off,
                self._talk_nonsense, self._look)  # fmt: skip

    def _images(self, site: Site, chance: random.Random) -> None:
        """A whole study by RAD-69."""
        study = chance.randrange(STUDIES)
        answer = self.asked("RAD-69", lambda: self._study(site, study), lambda got: len(got.contents) == INSTANCES)
        for spooled in answer.contents.values():
            spooled.path.unlink(missing_ok=True)

    def _study(self, site: Site, study: int) -> Any:
        listed = tuple(
            InstanceRequest(f"1.2.3.{100_000 + study}", _uid(study), DocumentRequest(self._source, _uid(study, number)))
            for number in range(1, INSTANCES + 1)
        )
        body = etree.tostring(write_imaging_request(ImagingRequest(listed, (ExplicitVRLittleEndian,))))
        return site.send("/imaging-source", RAD_69.action, [body], mtom=True)

    def _over_the_web(self, site: Site, chance: random.Random) -> None:
        """A search, a series, a picture."""
        study = chance.randrange(STUDIES)
        at = f"/dicomweb/studies/1.2.3.{100_000 + study}"
        one = f"{at}/series/{_uid(study)}/instances/{_uid(study, chance.randint(1, INSTANCES))}"
        path, accept = chance.choice((
            (f"{at}/series", "application/dicom+json"), (f"{at}/metadata", "application/dicom+json"),
            (at, 'multipart/related; type="application/dicom"'), (f"{one}/rendered", "image/jpeg"),
            (f"{one}/frames/1", 'multipart/related; type="application/octet-stream"'),
        ))  # fmt: skip
        self._got(site, "GET", path, Accept=accept)

    def _store(self, site: Site, chance: random.Random) -> None:
        """A new instance by STOW-RS: few, so that the archive stays what it is."""
        if chance.random() < 0.9:
            return
        with self._lock:
            self._sent_studies += 1
            number = self._sent_studies
        body = b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + _instance(STUDIES + number, 1) + b"\r\n--cut--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=cut'
        accept = "application/dicom+json"
        self._got(site, "POST", "/dicomweb/studies", body, **{"Content-Type": kind, "Accept": accept})

    def _got(self, site: Site, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        reply = requests.request(method, site.url + path, data=body, headers=headers, timeout=SECONDS)
        with self._lock:
            (self.told.counted if reply.ok else self.told.perhaps)["DICOMweb"] += 1
        if not reply.ok and reply.status_code != 503:
            self.told.wrong.append(f"{method} {path}: {reply.status_code}")

    def _break_off(self, site: Site, chance: random.Random) -> None:
        """Ask for a series, read a little, and go."""
        path = f"/dicomweb/studies/1.2.3.{100_000 + chance.randrange(STUDIES)}"
        accept = 'multipart/related; type="application/dicom"'
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n"
        with self._connected(site) as connection:
            connection.sendall(head.encode())
            connection.recv(1000)

    def _talk_nonsense(self, site: Site, chance: random.Random) -> None:
        with self._connected(site) as connection:
            connection.sendall(chance.choice(_NONSENSE))
            if chance.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(10_000):
                    pass

    def _look(self, site: Site, chance: random.Random) -> None:
        """As an operator does."""
        requests.get(site.url + chance.choice(("/metrics", "/readyz", "/console/", "/healthz")), timeout=SECONDS)

    @staticmethod
    def _connected(site: Site) -> socket.socket:
        return socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=SECONDS)
