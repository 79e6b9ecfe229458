"""Two nodes: one shows its checkpoints to the other, which takes what extends them and raises an alert at the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from tests.audit.log.test_witness import checkpoints, offer, rewritten
from tests.audit.logs import LOG_ID, a_log, other_key, our_key
from tests.server.test_application import Site, serving
from xds.audit.log import checkpoint as signing
from xds.audit.log.witness import NotWitnessed, Offer
from xds.audit.messages.message import AuditSource
from xds.audit.messages.message_xml import read
from xds.errors import Unusable
from xds.initiating.witnesses import HttpWitness, Witnessing, witness_at
from xds.settings.sections import Tls
from xds.store.audit import records as store
from xds.store.engine import make_engine
from xds.store.tables import audit_record, audit_witnessed, metadata

NODE = AuditSource("north", "")


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A node that is a witness of our test log."""
    pem = our_key().certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "north.crt").write_bytes(pem)
    with serving(database_url, tmp_path, f'[audit]\nwitness_of = ["{tmp_path}/north.crt"]\n') as site:
        yield site


def alerts(site: Site) -> list[str]:
    columns = sa.select(audit_record.c.message).where(audit_record.c.event == "110113")
    with site.application.engine.connect() as connection:
        return [read(one).objects[0].details[0].text for one in connection.scalars(columns)]


def a_node(folder: Path, log: Path) -> sa.Engine:
    """The database of the node whose log it is, with its last checkpoint."""
    engine = make_engine(f"sqlite:///{folder}/node.sqlite")
    metadata.create_all(engine)
    with engine.begin() as connection:
        store.keep_checkpoint(connection, 40, checkpoints(log)[-1])
    return engine


def test_a_node_takes_what_goes_on_and_gives_it_back(site: Site, tmp_path: Path) -> None:
    log, witness = a_log(tmp_path / "log"), HttpWitness(f"{site.url}/audit/witness", Tls())
    assert witness.last(LOG_ID) is None
    witness.add(offer(log, 0, 2))
    witness.add(offer(log, 15))
    assert witness.last(LOG_ID) == checkpoints(log)[-1]
    assert site.count(audit_witnessed) == 1  # the newest of the day
    assert alerts(site) == []


def test_another_history_is_an_alert_at_the_witness_and_at_the_node_itself(site: Site, tmp_path: Path) -> None:
    witness = HttpWitness(f"{site.url}/audit/witness", Tls())
    witness.add(offer(a_log(tmp_path / "log"), 0, 5))
    other = rewritten(tmp_path / "other")
    engine = a_node(tmp_path, other)
    showing = Witnessing(engine, other, "north", witness, NODE)
    stops = iter([True, True, True, True, False])
    showing.run(0, lambda _: next(stops))
    (alert,) = set(alerts(site))
    assert "does not extend the history that was seen" in alert
    with engine.connect() as connection:
        (own,) = connection.scalars(sa.select(audit_record.c.message)).all()
    assert b"110129" in own
    engine.dispose()


def test_a_node_shows_what_is_new_and_no_more(site: Site, tmp_path: Path) -> None:
    log = a_log(tmp_path / "log")
    engine, path = a_node(tmp_path, log), tmp_path / "witness"
    for where in (f"{site.url}/audit/witness", f"file:{path}"):
        witness = witness_at(where, Tls(), lambda: [our_key().certificate])
        showing = Witnessing(engine, log, where, witness, NODE)
        assert [showing.step(), showing.step()] == [True, False]
        assert witness.last(LOG_ID) == checkpoints(log)[-1]
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM audit_checkpoint"))
        store.keep_checkpoint(connection, 20, checkpoints(log)[3])
    with pytest.raises(NotWitnessed, match="it has seen 40 records, and there are 20"):
        showing.step()
    engine.dispose()


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}", b'{"checkpoint": 1}', b'{"checkpoint": "<x/>", "from": 0, "proof": []}',
    b'{"checkpoint": "x", "from": "0", "proof": []}', b'{"checkpoint": "x", "from": 0, "proof": ["zz"]}',
    b" " * 500_000, b"[" * 50_000,
])  # fmt: skip
def test_what_is_no_offer_is_refused(site: Site, body: bytes) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{site.url}/audit/witness", body))  # noqa: S310
    assert refused.value.code == 400


def test_a_log_that_the_settings_do_not_name_is_refused(site: Site, tmp_path: Path) -> None:
    stranger = a_log(tmp_path / "stranger", other_key())
    with pytest.raises(NotWitnessed, match="not trusted") as refused:
        HttpWitness(f"{site.url}/audit/witness", Tls()).add(offer(stranger, 0))
    assert not refused.value.is_evidence


def test_one_logs_key_does_not_sign_anothers_history(database_url: str, tmp_path: Path) -> None:
    names = {"north": our_key(), "south": other_key()}
    for name, key in names.items():
        (tmp_path / f"{name}.crt").write_bytes(key.certificate.public_bytes(serialization.Encoding.PEM))
    listed = ", ".join(f'"{tmp_path}/{name}.crt"' for name in names)
    log = a_log(tmp_path / "log")
    with serving(database_url, tmp_path, f"[audit]\nwitness_of = [{listed}]\n") as site:
        witness = HttpWitness(f"{site.url}/audit/witness", Tls())
        witness.add(offer(log, 0, 3))
        last = signing.read(checkpoints(log)[-1])
        with pytest.raises(NotWitnessed, match="not trusted"):
            witness.add(Offer(signing.sign(last, other_key()), 20, offer(log, 20).proof))
        witness.add(offer(log, 20))


def test_an_alert_that_anybody_can_bring_about_is_told_once_an_hour(site: Site, tmp_path: Path) -> None:
    log, witness = a_log(tmp_path / "log"), HttpWitness(f"{site.url}/audit/witness", Tls())
    witness.add(offer(log, 0, 5))
    for _ in range(5):
        with pytest.raises(NotWitnessed):
            witness.add(Offer(checkpoints(log)[-1], 30, (bytes(32),)))
    assert len(alerts(site)) == 1


@pytest.mark.parametrize("path", ["%00", "x", "1.2.3"])
def test_a_log_that_is_none_was_not_seen(site: Site, path: str) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{site.url}/audit/witness/{path}")  # noqa: S310
    assert refused.value.code == 404


def test_a_witness_that_does_not_answer_or_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotWitnessed):
        HttpWitness("http://127.0.0.1:9/audit/witness", Tls()).last(LOG_ID)
    with pytest.raises(Unusable):
        witness_at("ftp://x", Tls(), list)


def test_without_certificates_a_node_is_no_witness(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site:
        with pytest.raises(NotWitnessed):
            HttpWitness(f"{site.url}/audit/witness", Tls()).add(Offer(b"<x/>", 0, ()))
        assert json.dumps(alerts(site)) == "[]"
