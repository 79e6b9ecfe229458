"""``xds serve`` as its operator sees it: it starts, stops, comes back, and speaks TLS."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.conftest import wait_for
from tests.hostile.certificates import Authority, Signed, known
from tests.hostile.server import Served, chunked, connected, group_is_gone, head, reply_of
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.places import ROOT
from tests.sockets import listens, unread
from tests.wire.conftest import A_QUERY
from tests.wire.messages import AMessage, APart, an_envelope
from xds.actors.document_consumer import Retrieved, retrieve_images
from xds.audit.log.keys import log_certificates
from xds.audit.log.verify import verify
from xds.audit.log.witness import newest
from xds.audit.messages.message_xml import read
from xds.demo.site import free_port
from xds.ebxml import xdsb
from xds.errors import Unusable
from xds.server.listening import check_listen
from xds.settings.configuration import load
from xds.store.engine import make_engine
from xds.store.tables import audit_record
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire.client import Client, NoReply
from xds.wire.spool import Spool

EXPLICIT = "1.2.840.10008.1.2.1"
SIZE = 8 * 1024 * 1024


def images(folder: Path) -> dict[str, object]:
    """A source of four instances of 8 MiB."""
    for number in (1, 2, 3, 4):
        put(folder, f"{number}.dcm", an_instance(number, Rows=2048, Columns=2048, PixelData=bytes(SIZE)))
    return {"folder": str(folder)}


def image_request(served: Served) -> xdsb.ImagingRequest:
    source = served.settings.imaging_source.retrieve_location_uid
    instances = tuple(
        xdsb.InstanceRequest(STUDY, SERIES, xdsb.DocumentRequest(source, f"{SERIES}.{number}"))
        for number in range(1, 5)
    )
    return xdsb.ImagingRequest(instances, (EXPLICIT,))


def image_message(served: Served) -> bytes:
    body = etree.tostring(xdsb.write_imaging_request(image_request(served))).decode()
    envelope = an_envelope(body=body, action=RAD_69.action)
    return head("/imaging-source", length=len(envelope)) + envelope


def test_without_any_file_it_keeps_its_data_beside_itself_and_serves(tmp_path: Path) -> None:
    served = Served(tmp_path)
    command = [sys.executable, "-m", "xds", "serve", "--listen", f"127.0.0.1:{served.port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "serve.log").open("wb") as log:
        served.process = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    try:
        wait_for(served.ready, 30)
        assert (tmp_path / "xds-data" / "xds.sqlite").exists()
    finally:
        assert served.stop() == 0
    assert group_is_gone(served.process.pid)
    assert "Traceback" not in served.log


def test_told_to_stop_it_finishes_what_is_in_flight_and_leaves_no_process(tmp_path: Path) -> None:
    served = Served(tmp_path, {"imaging_source": images(tmp_path / "images")}).start()
    assert served.process is not None
    wait_for(lambda: len(got_images(served, tmp_path).documents) == 4)
    envelope = an_envelope(body=A_QUERY)
    message = AMessage(parts=(APart(envelope), APart(b"x" * 600_000, "<doc@x>")))
    begun, *rest = chunked([message.packed()[:400_000], message.packed()[400_000:]])
    with connected(served.port) as sender, connected(served.port, buffer_bytes=65536) as reader, connected(
        served.port
    ) as idle:  # fmt: skip
        sender.sendall(head("/registry", message.content_type) + begun)
        reader.sendall(image_message(served))
        assert reader.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: unread(sender) == 0)  # both are under way
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not listens(served.port))
        assert served.process.poll() is None
        for piece in rest:
            sender.sendall(piece)
        answered = reply_of(sender)
        taken = 0
        while chunk := reader.recv(1024 * 1024):
            taken += len(chunk)
        assert idle.recv(1) == b""
    assert answered is not None
    assert answered.status == 200
    assert taken > 4 * SIZE
    assert served.process.wait(30) == 0
    assert group_is_gone(served.process.pid)


def got_images(served: Served, folder: Path, client: Client | None = None) -> Retrieved:
    with Spool(folder / "got") as spool:
        return retrieve_images(
            client or Client(f"{served.url}/imaging-source"), RAD_69.action, image_request(served), spool
        )


def test_whichever_process_dies_it_serves_again(tmp_path: Path) -> None:
    served = Served(tmp_path, {"imaging_source": images(tmp_path / "images")}).start()
    assert served.process is not None
    wait_for(lambda: len(got_images(served, tmp_path).documents) == 4)
    count = len(served.processes())

    def whole() -> bool:
        with contextlib.suppress(NoReply, OSError):
            served.provide(b"x", tmp_path / "spool")
            return len(got_images(served, tmp_path).documents) == 4 and len(served.processes()) == count
        return False

    try:
        for pid in served.processes()[1:]:
            with contextlib.suppress(ProcessLookupError):  # the child of one that was killed before
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: pid not in served.processes() and whole(), 30)  # type: ignore[misc]
    finally:
        assert served.stop() == 0


def test_when_its_supervisor_is_killed_no_process_stays(tmp_path: Path) -> None:
    served = Served(tmp_path).start()
    assert served.process is not None
    assert len(served.processes()) >= 5
    served.process.kill()
    served.process.wait()
    wait_for(lambda: group_is_gone(served.process.pid), 20)  # type: ignore[union-attr]


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "example.org:8080", "192.0.2.1:8080"])
def test_beyond_loopback_it_listens_only_by_the_operators_choice(tmp_path: Path, listen: str) -> None:
    open_ = load(environment={}).changed({"server.listen": listen}, "command line")
    with pytest.raises(Unusable, match=r"server\.allow_open_listen"):
        check_listen(open_)
    check_listen(open_.changed({"server.allow_open_listen": True}, "command line"))
    check_listen(open_.changed({"tls.trusted": "peers.pem"}, "command line"))


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "127.1.2.3:8080", "[::1]:8080", "localhost:8080"])
def test_on_loopback_it_listens_without_being_told(listen: str) -> None:
    check_listen(load(environment={}).changed({"server.listen": listen}, "command line"))


def test_a_server_that_may_not_listen_says_so_in_a_line_and_does_not_start(tmp_path: Path) -> None:
    served = Served(tmp_path, {"server": {"listen": f"0.0.0.0:{free_port()}"}})
    served.launch()
    assert served.process is not None
    assert served.process.wait(30) == 1
    assert "server.allow_open_listen" in served.log
    assert "Traceback" not in served.log
    assert group_is_gone(served.process.pid)


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Signed:
    return authority.signed("consumer")


def a_secure_site(folder: Path, authority: Authority) -> Served:
    """A site with mutual TLS, images and places for two streams of them."""
    node = authority.signed("node")
    tls = {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted}
    imaging = {**images(folder / "images"), "streams": 2}
    sections = {"tls": tls, "imaging_source": imaging, "peers": known("consumer")}
    return Served(folder, sections, scheme="https").start()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    served = a_secure_site(tmp_path_factory.mktemp("secure"), authority)
    yield served
    assert served.stop() == 0


def a_client(served: Served, path: str, authority: Authority, ours: Signed) -> Client:
    return Client(
        f"{served.url}/{path}", certificate=ours.certificate, key=ours.key, trusted=authority.trusted, seconds=30
    )


def test_a_client_with_a_certificate_is_served(
    secure: Served, authority: Authority, ours: Signed, tmp_path: Path
) -> None:
    request = secure.provide(b"x" * 500_000, tmp_path, client=a_client(secure, "repository", authority, ours))
    registry = a_client(secure, "registry", authority, ours)
    for _ in range(3):
        assert request.document_unique_id in secure.found(client=registry)
    wait_for(lambda: len(got_images(secure, tmp_path, a_client(secure, "imaging-source", authority, ours)).documents))
    got = got_images(secure, tmp_path, a_client(secure, "imaging-source", authority, ours))
    assert (len(got.documents), list(got.findings)) == (4, [])


def test_a_client_without_a_certificate_or_with_anothers_is_refused(
    secure: Served, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(NoReply):
        secure.found(client=Client(f"{secure.url}/registry", trusted=authority.trusted))
    foreign = Authority(tmp_path, "foreign").signed("foreigner")
    with pytest.raises(NoReply):
        secure.found(client=a_client(secure, "registry", authority, foreign))
    wait_for(lambda: len(alerts(secure, "110126")) >= 2)
    assert all("TLS: " in alert for alert in alerts(secure, "110126"))


def alerts(served: Served, kind: str) -> list[str]:
    """What the security alerts of a kind say."""
    engine = make_engine(served.settings.database_url, connections=1)
    with engine.connect() as connection:
        messages = list(connection.scalars(sa.select(audit_record.c.message).where(audit_record.c.event == "110113")))
    engine.dispose()
    found = [read(message) for message in messages]
    return [one.objects[0].details[0].text for one in found if one.event.type_codes[0].code == kind]


def test_a_changed_setting_is_on_record_at_the_next_start_and_checkpoints_reach_a_witness(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    served = Served(tmp_path / "site", {"audit": {"witnesses": [f"file:{witness}"], "witness_seconds": 0.2}})
    served.start()
    served.found()
    wait_for(lambda: witness.exists() and witness.read_bytes().count(b"\n") >= 1)
    assert served.stop() == 0
    assert alerts(served, "110129") == alerts(served, "110131") == []
    served.sections = {**served.sections, "registry": {"most_results": 77}}
    served.start()
    assert alerts(served, "110131") == ["changed: registry.most_results"]
    assert served.stop() == 0
    seen = newest(witness)
    assert seen is not None
    folder = served.data / "audit"
    assert verify(folder, log_certificates(served.settings), witnessed=[seen]).records >= 3


def test_a_server_of_another_authority_is_not_spoken_to(secure: Served, ours: Signed, tmp_path: Path) -> None:
    with pytest.raises(NoReply):
        secure.found(client=a_client(secure, "registry", Authority(tmp_path, "foreign"), ours))


def test_half_a_handshake_keeps_nobody_waiting(secure: Served, authority: Authority, ours: Signed) -> None:
    registry = a_client(secure, "registry", authority, ours)
    with contextlib.ExitStack() as stack:
        for number in range(60):
            sock = stack.enter_context(connected(secure.port))
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
        for _ in range(5):
            started = time.monotonic()
            secure.found(client=registry)
            assert time.monotonic() - started < 30


def test_connections_reset_before_their_handshake_do_no_harm(
    secure: Served, authority: Authority, ours: Signed
) -> None:
    worker = secure.web_worker()
    for number in range(100):
        with connected(secure.port) as sock:
            if number % 2:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    secure.found(client=a_client(secure, "registry", authority, ours))
    assert secure.web_worker() == worker


def test_slow_readers_of_images_over_tls_starve_nobody(
    secure: Served, authority: Authority, ours: Signed, tmp_path: Path
) -> None:
    wait_for(lambda: len(got_images(secure, tmp_path, a_client(secure, "imaging-source", authority, ours)).documents))
    stop = threading.Event()
    threads = [threading.Thread(target=_reads_slowly, args=(secure, authority, ours, stop)) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        registry = a_client(secure, "registry", authority, ours)
        for _ in range(5):
            started = time.monotonic()
            secure.found(client=registry)
            assert time.monotonic() - started < 30  # the readers take longer
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    client = a_client(secure, "imaging-source", authority, ours)
    wait_for(lambda: len(got_images(secure, tmp_path, client).documents) == 4)


@contextlib.contextmanager
def asked_for_images(
    served: Served, authority: Authority, ours: Signed, *, buffer_bytes: int
) -> Iterator[ssl.SSLSocket]:
    """A TLS connection on which all images have been asked for."""
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(ours.certificate, ours.key)
    plain = connected(served.port, buffer_bytes=buffer_bytes)
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(image_message(served))
        yield sock


def test_told_to_stop_it_finishes_images_over_tls_too(tmp_path: Path, authority: Authority, ours: Signed) -> None:
    served = a_secure_site(tmp_path, authority)
    assert served.process is not None
    client = a_client(served, "imaging-source", authority, ours)
    wait_for(lambda: len(got_images(served, tmp_path, client).documents) == 4)
    taken = 0
    with asked_for_images(served, authority, ours, buffer_bytes=65536) as sock:
        assert sock.recv(12) == b"HTTP/1.1 200"
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not listens(served.port))
        with contextlib.suppress(ssl.SSLEOFError):  # the connection is closed without TLS's own goodbye
            while chunk := sock.recv(1024 * 1024):
                taken += len(chunk)
    assert taken > 4 * SIZE
    assert served.process.wait(30) == 0
    assert group_is_gone(served.process.pid)


def _reads_slowly(served: Served, authority: Authority, ours: Signed, stop: threading.Event) -> None:
    with contextlib.suppress(OSError), asked_for_images(served, authority, ours, buffer_bytes=4096) as sock:
        while not stop.wait(0.3) and sock.recv(4096):
            pass


def second(served: Served, folder: Path, *, port: int, data: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xds", "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=environment
    )  # fmt: skip


def test_a_second_server_on_the_same_data_or_port_ends_at_once_and_says_who_has_it(tmp_path: Path) -> None:
    served = Served(tmp_path).start()
    assert served.process is not None
    pid = served.process.pid
    by_data = second(served, tmp_path, port=free_port(), data=served.data)
    by_port = second(served, tmp_path, port=served.port, data=tmp_path / "other")
    for done in (by_data, by_port):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert f"{served.data} is in use: process {pid} serves it" in by_data.stderr
    said = re.fullmatch(
        rf"xds: server.listen cannot be 127.0.0.1:{served.port}: process (\d+) listens there\n", by_port.stderr
    )
    assert said is not None
    assert os.getpgid(int(said[1])) == os.getpgid(pid)
    assert served.ready()
    assert served.stop() == 0


def test_after_a_kill_it_comes_back_at_once_and_waits_for_what_the_other_one_left(tmp_path: Path) -> None:
    served = Served(tmp_path).start()
    assert served.process is not None
    served.process.kill()  # its children are told to stop, and finish what they do first
    served.process.wait()
    served.start()
    again = served.process
    assert again is not None
    refused = second(served, tmp_path, port=free_port(), data=served.data)
    assert (refused.returncode, f"process {again.pid} serves it" in refused.stderr) == (1, True)
    assert served.stop() == 0
    assert (served.data / "serve.lock").read_bytes() == b""
    served.start()
    assert served.stop() == 0


@pytest.mark.parametrize("actors", [["imaging_source"], ["Registry"], ["registry", ""], ["repository", "gateways"]])
def test_an_actor_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path, actors: list[str]) -> None:
    (tmp_path / "xds.toml").write_text(f"[server]\nactors = {actors}\n")
    with pytest.raises(Unusable, match=r"there is no actor .*; there are registry, repository, imaging-source"):
        check_listen(load(tmp_path / "xds.toml", {}))


def test_a_container_s_first_process_ends_when_it_is_told_to_before_it_serves(tmp_path: Path) -> None:
    """The kernel gives process 1 nothing of which it has not said what it does with it; as if it were ignored."""
    listen = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "xds", "serve", "--data", str(tmp_path / "data"), "--listen", listen]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    )  # fmt: skip

    try:
        wait_for(lambda: (tmp_path / "data" / "identity.json").exists(), 20)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_a_child_that_is_told_to_stop_as_it_is_forked_hears_it(tmp_path: Path) -> None:
    """Its copy of its supervisor's ears would hear it for nobody, and it would stay until it is killed."""
    told_at_once = "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))"
    program = f"import os, signal; {told_at_once}; from xds.cli import main; main()"
    listen = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", program, "serve", "--data", str(tmp_path / "data"), "--listen", listen]
    said = tmp_path / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, cwd=ROOT)
    try:
        wait_for(lambda: all(f"child={child}" in said.read_text() for child in ("sequencer", "sweeper", "web")), 60)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
