"""Who may send images by C-STORE and audit records by syslog, and under which names: by peers and policy, on record."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pynetdicom import AE

from tests.conftest import wait_for
from tests.endpoints.test_syslog import QUERY, framed, sent
from tests.hostile.certificates import Authority
from tests.imaging.images import CT, an_instance
from tests.server.test_application import Site, serving
from xds.archives.dimse import SYNTAXES
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message_xml import read
from xds.audit.messages.parties import Party
from xds.endpoints.audit_received import ANOTHERS
from xds.endpoints.audit_sources import AuditSources
from xds.endpoints.cstore import StorageScp
from xds.endpoints.cstore_senders import NO_REASON, TITLE_NOT_RECOGNISED
from xds.endpoints.syslog import AuditReceiver
from xds.server.archives import intake
from xds.store.tables import audit_record
from xds.wire.associations import calling_title
from xds.wire.syslog import message

# Peers without a certificate, told by their addresses on the loopback; all others of it are strangers.
SETTINGS = """
[tls]
trusted = "region.crt"
[imaging_source]
folder = "{folder}/images"
stow_rs = true
[peers.modality]
addresses = "127.0.0.1"
roles = ["imaging-document-source", "audit-source"]
ae_titles = "CT1"
audit_source_ids = "modality"
[peers.archivist]
addresses = "127.0.0.3"
roles = ["document-administrator"]
[peers.other]
issuer = "CN=region"
subject = "CN=other"
roles = ["audit-source"]
audit_source_ids = "other"
"""


@contextmanager
def node(database_url: str, folder: Path, policy: str = "") -> Iterator[Site]:
    (folder / "images").mkdir(exist_ok=True)
    with serving(database_url, folder, SETTINGS.format(folder=folder) + policy) as site:
        yield site


@contextmanager
def taking_images(site: Site) -> Iterator[StorageScp]:
    domain = site.application.domains["default"]
    senders = domain.storage_senders
    scp = StorageScp(
        intake(site.application.settings), "XDS", ("127.0.0.1", 0), domain.storage_recording,
        sender=senders.sender, rejects=senders.reason,
    )  # fmt: skip
    try:
        yield scp
    finally:
        scp.close()


def associated(scp: StorageScp, title: str = "CT1", source: str = "127.0.0.1") -> Any:
    entity = AE(ae_title=title)
    entity.add_requested_context(CT, SYNTAXES[0])
    for _ in range(3):
        association = entity.associate("127.0.0.1", scp.port, ae_title="XDS", bind_address=(source, 0))
        if not association.is_aborted:  # as it is where a busy machine lets no connection come about
            break
    return association


def stored(association: Any, **changed: Any) -> int:
    one = an_instance(1, **changed)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = CT, one.SOPInstanceUID
    status = int(association.send_c_store(one).Status)
    association.release()
    return status


def alerts(site: Site) -> list[str]:
    with site.application.engine.connect() as connection:
        found = [
            read(one)
            for one in connection.scalars(sa.select(audit_record.c.message).where(audit_record.c.event == "110113"))
        ]
    return [one.objects[0].details[0].text for one in found]


def test_images_are_taken_from_a_peer_that_is_a_source(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_images(site) as scp:
        assert stored(associated(scp)) == 0
        assert not alerts(site)


def test_an_association_of_a_stranger_is_rejected_and_on_record(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_images(site) as scp:
        association = associated(scp, source="127.0.0.2")
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == NO_REASON
        assert alerts(site) == ["C-STORE: not permitted: deny-the-rest"]


def test_a_peer_that_calls_itself_another_application_entity_is_rejected(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_images(site) as scp:
        association = associated(scp, "CT2")
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == TITLE_NOT_RECOGNISED
        assert alerts(site) == ["C-STORE: the calling AE title is not the peer's"]


def test_a_title_that_is_not_the_peers_is_marked_where_the_policy_says_so(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path, '[policy]\nmismatch = "mark"\n') as site, taking_images(site) as scp:
        assert stored(associated(scp, "CT2")) == 0
        assert not alerts(site)

        def said() -> list[str]:
            transfers = sa.select(audit_record.c.message).where(audit_record.c.event == "110104")
            with site.application.engine.connect() as connection:
                found = [read(one) for one in connection.scalars(transfers)]
            return [detail.text for one in found for thing in one.objects for detail in thing.details]

        wait_for(lambda: "the calling AE title is not the peer's" in " ".join(said()))


def test_a_stranger_is_let_in_and_told_of_while_the_policy_watches(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path, '[policy]\nmode = "watch"\n') as site, taking_images(site) as scp:
        assert stored(associated(scp, source="127.0.0.2")) == 0


def test_an_administrator_of_documents_may_add_to_anothers_study_and_nobody_else(
    database_url: str, tmp_path: Path
) -> None:
    with node(database_url, tmp_path) as site:
        domain = site.application.domains["default"]
        senders = domain.storage_senders
        assert senders.sender("X", "127.0.0.3", b"").is_administrator
        assert not senders.sender("CT1", "127.0.0.1", b"").is_administrator
        assert not senders.sender("X", "127.0.0.2", b"").is_administrator


def test_who_runs_a_node_that_stands_alone_is_no_administrator_of_studies(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        sender = site.application.domains["default"].storage_senders.sender("X", "127.0.0.1", b"")
        assert not sender.is_administrator


def test_the_calling_title_is_read_where_the_standard_has_it() -> None:
    request = b"\x01\0" + (68).to_bytes(4, "big") + b"\0\x01\0\0" + b"XDS".ljust(16) + b"CT1".ljust(16) + bytes(32)
    assert calling_title(request) == "CT1"
    assert calling_title(b"\x01\0\0\0\0\0") == ""


# Audit records.


@contextmanager
def taking_records(site: Site, **where: Any) -> Iterator[AuditReceiver]:
    def alert(peer: str, reason: str) -> AuditEvent:
        here = Party("xds", "127.0.0.1", ours=True)
        return AuditEvent.not_authenticated(
            site.application.domains["default"].events.node, here, Party(peer, peer), reason
        )

    sources, engine = AuditSources(site.application.gate), site.application.engine
    receiver = AuditReceiver(
        engine, site.application.metrics, alert, speaks_for=sources, admits=sources.refusal, **where
    )
    try:
        yield receiver
    finally:
        receiver.close()


def named(source_id: str) -> bytes:
    ours = read(QUERY).source.source_id.encode()
    return message(QUERY.replace(b'AuditSourceID="%b"' % ours, b'AuditSourceID="%b"' % source_id.encode()))


def received(site: Site) -> list[tuple[str, bool]]:
    """The event of each record, and whether it is marked as another's."""
    columns = sa.select(audit_record.c.event, audit_record.c.origin)
    with site.application.engine.connect() as connection:
        return [(event, origin.endswith(ANOTHERS)) for event, origin in connection.execute(columns)]


HERE = ("127.0.0.1", 0)


def test_records_are_taken_from_who_is_a_source_of_them(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_records(site, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(named("modality")))
        wait_for(lambda: received(site))
        assert received(site) == [("110112", False)]


def test_a_connection_of_a_stranger_is_refused_and_on_record(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_records(site, tcp=HERE, udp=HERE) as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port("tcp")), source_address=("127.0.0.2", 0)) as stream:
            assert stream.recv(1) == b""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.4", 0))
            datagrams.sendto(named("modality"), ("127.0.0.1", receiver.port("udp")))
        wait_for(lambda: len(alerts(site)) == 2)
        assert alerts(site) == ["ITI-20: not permitted: deny-the-rest"] * 2
        assert {event for event, _ in received(site)} == {"110113"}


def test_a_record_of_another_peers_source_is_kept_marked_and_told_of(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site, taking_records(site, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(named("other"), named("modality")))
        wait_for(lambda: len(received(site)) == 3)
        assert sorted(received(site)) == [("110112", False), ("110112", True), ("110113", False)]


def test_a_peer_is_told_by_its_certificate_and_not_by_where_it_calls_from(database_url: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "region", "region")
    der = {
        who: ssl.PEM_cert_to_DER_cert(Path(authority.signed(who).certificate).read_text())
        for who in ("other", "unlisted")
    }
    with node(database_url, tmp_path) as site:
        sources = AuditSources(site.application.gate)
        assert sources.refusal(der["other"], "10.0.0.1") == ("", True)
        assert sources.refusal(der["unlisted"], "127.0.0.1")[1] is False
        spki = next(iter(sources._known))
        assert [sources(spki, "10.0.0.1", source) for source in ("other", "modality")] == [True, False]


def test_a_name_that_is_a_peers_is_no_strangers_even_before_it_was_used(database_url: str, tmp_path: Path) -> None:
    with node(database_url, tmp_path) as site:
        assert AuditSources(site.application.gate)("", "127.0.0.3", "other") is False


@pytest.mark.parametrize("source", ["anything", "modality"])
def test_on_a_node_that_stands_alone_the_first_who_names_a_source_has_it(
    database_url: str, tmp_path: Path, source: str
) -> None:
    with serving(database_url, tmp_path) as site:
        sources = AuditSources(site.application.gate)
        assert sources.refusal(b"", "127.0.0.1") == ("", True)
        assert sources("", "127.0.0.1", source) is None
