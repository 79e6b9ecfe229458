"""What a named sender sends is captured while somebody has asked for it, sealed, bounded, erased, and audited."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from tests.builders import AUTHORITY, SOURCE, a_submission, an_entry
from tests.cli.command import Done, xds
from tests.server.test_application import Site, of_bytes, serving
from xds.endpoints.captures import Captures
from xds.errors import Unusable
from xds.settings.sections import Capture
from xds.store.captures import erase
from xds.store.tables import audit_record, capture, captured_message
from xds.wire.sealing import certificate, opened, seal


def a_reader(
    folder: Path, name: str = "reader", key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None
) -> Path:
    """The certificate of somebody who may read; its key is beside it."""
    key = key or rsa.generate_private_key(65537, 2048)
    called, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(key.private_bytes(*form))
    path = folder / f"{name}.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture
def site(database_url: str, tmp_path: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """With the sender ``pacs``, told by its sourceId, and ``near``, by its address."""
    monkeypatch.setattr("xds.endpoints.captures.LOOK_SECONDS", 0.0)
    text = (
        f'[server]\ndatabase = "{database_url}"\ndata = "{tmp_path}/data"\n'
        f'[domain]\npatients = "open"\nassigning_authorities = ["{AUTHORITY}"]\n'
        f'[capture]\ncertificate = "{reader}"\nmessages = 3\nmessage_bytes = 20000\n'
        f'[senders.pacs]\nsource_ids = ["{SOURCE}"]\n[senders.near]\naddresses = ["127.0.0.1"]\n'
    )
    with serving(database_url, tmp_path, text) as site:
        yield site


@pytest.fixture
def config(site: Site, tmp_path: Path) -> Path:
    return tmp_path / "xds.toml"


def started(config: Path, sender: str = "pacs") -> Done:
    return xds("capture", "start", "--sender", sender, "--for", "30m", "--reason", "ticket 7", "--config", config)


def provided(site: Site, content: bytes = b"x", source_id: str = SOURCE) -> None:
    site.provide(a_submission(entries=[an_entry(**of_bytes(content))], source_id=source_id), [content])


def shown(config: Path, folder: Path, reader: Path, id_: int = 1) -> Done:
    key = reader.with_suffix(".key")
    return xds("capture", "show", id_, "--key", key, "--to", folder, "--config", config)


def test_what_a_sender_sends_is_captured_with_its_answer_and_without_documents(
    site: Site, config: Path, tmp_path: Path, reader: Path
) -> None:
    provided(site)
    assert started(config).code == 0
    provided(site, b"secret content")
    provided(site, source_id="1.9.9")
    done = shown(config, tmp_path / "out", reader)
    assert (done.code, done.out.count("/repository")) == (0, 1)
    request, reply = (next((tmp_path / "out").glob(f"*-{kind}.xml")) for kind in ("request", "reply"))
    assert b"ProvideAndRegisterDocumentSetRequest" in request.read_bytes()
    assert b"secret content" not in request.read_bytes()
    assert b"ResponseStatusType:Success" in reply.read_bytes()
    assert request.stat().st_mode & 0o077 == 0
    with site.application.engine.connect() as connection:
        sealed = connection.execute(sa.select(captured_message)).one().request
    assert b"anna" not in sealed
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary", "-inkey", str(reader.with_suffix(".key"))]
    assert subprocess.run(command, input=sealed, capture_output=True, check=True).stdout == request.read_bytes()


def test_a_message_that_nobody_can_read_is_captured_too(site: Site, config: Path, tmp_path: Path, reader: Path) -> None:
    started(config, "near")
    post = Request(f"{site.url}/registry", b"<not xml", {"Content-Type": "application/soap+xml"})  # noqa: S310
    with pytest.raises(HTTPError, match="400"):
        urlopen(post)  # noqa: S310
    shown(config, tmp_path, reader)
    assert next(tmp_path.glob("*-request.xml")).read_bytes() == b"<not xml"
    assert b"not well-formed" in next(tmp_path.glob("*-reply.xml")).read_bytes()


def test_a_capture_holds_so_many_messages_of_such_a_size_and_no_more(
    site: Site, config: Path, tmp_path: Path, reader: Path
) -> None:
    started(config)
    for _ in range(5):
        submission = a_submission(entries=[an_entry() for _ in range(20)])
        site.provide(submission, [])
    shown(config, tmp_path, reader)
    sizes = [path.stat().st_size for path in tmp_path.glob("*-request.xml")]
    assert sizes == [20000] * 3


def test_one_that_is_stopped_or_over_takes_no_more(site: Site, config: Path, tmp_path: Path, reader: Path) -> None:
    started(config)
    provided(site)
    assert xds("capture", "stop", 1, "--config", config).code == 0
    provided(site, b"y")
    assert xds("capture", "stop", 1, "--config", config).code == 1
    started(config)
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(capture).values(until=1))
    provided(site, b"z")
    assert [row["messages"] for row in xds("capture", "list", "--json", "--config", config).json] == [0, 1]
    assert "1 messages" in xds("capture", "list", "--config", config).out
    assert shown(config, tmp_path, reader, 2).code == 1


def test_what_is_past_its_time_is_erased(site: Site, config: Path) -> None:
    started(config)
    provided(site)
    with site.application.engine.begin() as connection:
        assert erase(connection, 1) == 0
        connection.execute(sa.update(capture).values(kept_until=1))
    assert xds("capture", "list", "--json", "--config", config).json == []
    assert site.count(captured_message) == 0


def test_the_server_erases_it_too(site: Site, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.endpoints.captures.ERASE_SECONDS", 0.0)
    started(config)
    provided(site)
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(capture).values(kept_until=1, until=1))
    provided(site, b"y")
    assert (site.count(captured_message), site.count(capture)) == (0, 0)


def test_start_stop_and_reading_are_on_record_with_who_and_why(
    site: Site, config: Path, tmp_path: Path, reader: Path
) -> None:
    started(config)
    provided(site)
    shown(config, tmp_path, reader)
    xds("capture", "stop", 1, "--config", config)
    with site.application.engine.connect() as connection:
        rows = connection.execute(
            sa.select(audit_record.c.message).where(audit_record.c.event == "110113").order_by(audit_record.c.id)
        )
        messages = [etree.fromstring(row.message) for row in rows]
    kinds = [m.find("EventIdentification/EventTypeCode").get("csd-code") for m in messages]  # type: ignore[union-attr]
    assert kinds == ["110129", "110132", "110129"]
    assert all(m.find("ActiveParticipant").get("UserID") for m in messages)  # type: ignore[union-attr]
    said = xds("audit", "list", "--json", "--config", config)
    assert said.code == 0


def test_who_has_not_the_key_reads_nothing_and_leaves_no_file(
    site: Site, config: Path, tmp_path: Path, reader: Path
) -> None:
    started(config)
    provided(site)
    other = a_reader(tmp_path, "other")
    done = shown(config, tmp_path / "out", other)
    assert (done.code, "does not open" in done.err) == (1, True)
    assert not (tmp_path / "out").exists()
    public = xds("capture", "show", 1, "--key", reader, "--to", tmp_path / "out", "--config", config)
    assert (public.code, "private key" in public.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--sender", "nobody", "--for", "30m"), "no sender nobody"),
        (("--sender", "pacs", "--for", "25h"), "24 hours at the most"),
        (("--sender", "pacs", "--for", "soon"), "such as 30m or 2h"),
        (("--sender", "pacs", "--for", "0m"), "such as 30m or 2h"),
    ],
)
def test_a_capture_that_may_not_be_is_refused(config: Path, options: tuple[str, ...], told: str) -> None:
    done = xds("capture", "start", *options, "--reason", "x", "--config", config)
    assert (done.code, told in done.err) == (1, True)


def test_without_somebody_who_may_read_nothing_is_captured(tmp_path: Path) -> None:
    done = xds("capture", "start", "--sender", "x", "--for", "1h", "--reason", "x", "--data", tmp_path)
    assert (done.code, "capture.certificate is not set" in done.err) == (1, True)


def test_a_certificate_that_nothing_can_be_sealed_to_is_said_so(site: Site, tmp_path: Path) -> None:
    domain = site.application.domains["default"]
    for path in (tmp_path / "absent.crt", a_reader(tmp_path, "curve", ec.generate_private_key(ec.SECP256R1()))):
        with pytest.raises(Unusable, match=path.name):
            Captures(Capture(certificate=str(path)), domain.database, None)  # type: ignore[arg-type]


def test_what_cannot_be_captured_is_answered_all_the_same(
    site: Site, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(config)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xds.endpoints.captures.store.add", full)
    entry = an_entry(**of_bytes(b"x"))
    assert b"Success" in etree.tostring(site.provide(a_submission(entries=[entry]), [b"x"]).body)


def test_what_is_sealed_is_opened_byte_for_byte(tmp_path: Path, reader: Path) -> None:
    data = bytes(range(256)) + b"\r\n\n\r"
    assert opened(seal(data, certificate(reader)), certificate(reader), reader.with_suffix(".key")) == data
