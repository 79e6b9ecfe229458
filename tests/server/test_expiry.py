"""What ends soon is told where operators look: metrics, readyz, the front page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.endpoints.console.test_looking import got
from tests.server.test_application import serving
from xds.server import expiry
from xds.server.expiry import Ending
from xds.settings.sections import Settings, Tls
from xds.wire import revocation
from xds.wire.authority import Authority
from xds.wire.revocation import Revoked


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(revocation, "LOOK_SECONDS", 0.0)
    yield
    revocation.use(Revoked())


@pytest.mark.parametrize(("kind", "days", "said"), [
    ("own", 400, ""), ("own", 31, ""), ("own", 29.5, "n.crt expires in 29 days"), ("own", 1.5, "within two days"),
    ("own", -1, "n.crt has expired"), ("trusted", 10.5, "in 10 days"), ("crl", 10, ""), ("crl", 1.5, "within two days"),
])  # fmt: skip
def test_it_is_said_in_time_and_not_before(kind: str, days: float, said: str) -> None:
    text = Ending(kind, "n.crt", datetime.now(UTC) + timedelta(days=days)).said
    assert said in text
    assert bool(said) == bool(text)


def test_own_certificates_authorities_and_crls_are_measured(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "pki", "pilot", 5)
    node = authority.issue("node", years=2)
    files = [str(authority.folder / name) for name in ("ca.crt", "ca.crl")]
    settings = Settings(tls=Tls(str(node.certificate_file), str(node.key_file), files[0], (files[1],)))
    revocation.watch(settings)
    text = expiry.metrics(settings)
    found = {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    day = 86400
    for name, days in (('kind="own",file="node.crt"', 730), ('kind="trusted",file="ca.crt"', 5 * 365),
                       ('kind="crl",file="ca.crl"', 30)):  # fmt: skip
        assert (days - 1) * day < found[f"xds_expires_seconds{{{name}}}"] <= days * day
    assert found["xds_revocation_files_not_in_force"] == 0
    assert expiry.warnings(settings) == []
    (authority.folder / "ca.crl").write_bytes(b"half a CRL")
    assert "xds_revocation_files_not_in_force 1" in expiry.metrics(settings)


def test_a_crl_that_is_spoilt_is_told_on_the_front_page_and_by_readyz(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "pki", "pilot", 5)
    crl = authority.folder / "ca.crl"
    text = f'[tls]\ntrusted = "{authority.folder / "ca.crt"}"\ncrl = ["{crl}"]\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        revocation.watch(site.application.settings)
        revocation.current().check()
        assert got(site, "/readyz")[1].startswith("ready\n")
        crl.write_bytes(b"half a CRL")
        status, said = got(site, "/readyz")
        assert (status, said.splitlines()[:2]) == (200, ["partly ready", "certificates: ca.crl: is no CRL"])
        assert "ca.crl: is no CRL" in got(site, "/")[1]
        assert str(tmp_path) not in got(site, "/")[1]
