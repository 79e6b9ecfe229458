"""What is shown of settings holds no password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import xds
from xds.errors import Unusable
from xds.settings.configuration import load
from xds.settings.secrets import shown

SECRET = "s3cret"


@pytest.mark.parametrize(("name", "value", "rest"), [
    ("server.database", f"postgresql+psycopg://xds:{SECRET}@db.north/xds", "postgresql+psycopg://xds:***@db.north/xds"),
    ("server.database", f"postgresql://xds:{SECRET}/@x@db.north/xds", "postgresql://xds:***@db.north/xds"),
    ("server.database", f"postgresql://db/xds?user=x&password={SECRET}&sslmode=require",
     "postgresql://db/xds?user=x&password=***&sslmode=require"),
    ("console.registry_url", f"https://me:{SECRET}@north.example/registry", "https://me:***@north.example/registry"),
    ("repositories.1.2.3", f"https://me:{SECRET}@north.example/x@y", "https://me:***@north.example/x@y"),
    ("repositories.1.2.3", f"https://north.example/x?access_token={SECRET}", "https://north.example/x?access_token=***"),
    ("audit.key", f"pkcs11:token=log;object=key?module-path=/x.so&pin-value={SECRET}",
     "pkcs11:token=log;object=key?module-path=/x.so&pin-value=***"),
    ("oidc.client_secret", SECRET, "(set)"),
    ("oidc.client_secret", "", ""),
    ("audit.forward_to", (f"tls://me:{SECRET}@arr:6514", "udp://arr:514"), ("tls://me:***@arr:6514", "udp://arr:514")),
    ("server.listen", "127.0.0.1:8080", "127.0.0.1:8080"),
    ("server.public_url", "https://north.example:8443/x", "https://north.example:8443/x"),
    ("server.workers", 1, 1),
])  # fmt: skip
def test_a_secret_is_masked_and_the_rest_stays(name: str, value: object, rest: object) -> None:
    assert shown(name, value) == rest


def test_config_show_prints_no_password(tmp_path: Path) -> None:
    file = tmp_path / "xds.toml"
    file.write_text(
        f'[server]\ndata = "{tmp_path}/data"\ndatabase = "postgresql://xds:{SECRET}@db/xds"\n'
        f'[oidc]\nclient_secret = "{SECRET}"\n[console]\nregistry_url = "https://me:{SECRET}@north.example"\n'
        f'[repositories]\n"1.2.3" = "https://me:{SECRET}@north.example"\n'
    )
    for more in ((), ("--json",)):
        done = xds("config", "show", "--config", file, *more)
        assert done.code == 0
        assert SECRET not in done.out
    assert json.loads(xds("config", "show", "--config", file, "--json").out)["oidc.client_secret"] == "(set)"


def test_a_secret_of_the_wrong_kind_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "xds.toml"
    file.write_text("[oidc]\nclient_secret = 123456789\n")
    with pytest.raises(Unusable) as refused:
        load(file, {})
    assert "123456789" not in str(refused.value)
