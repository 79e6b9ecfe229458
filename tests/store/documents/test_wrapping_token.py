"""Keys of documents that stay in a PKCS#11 token (SoftHSM), which wraps those of a store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import missing
from tests.store.documents.test_blobs import settings, with_tables
from xds.store.documents.wrapping_token import PIN

MODULE = "/usr/lib/softhsm/libsofthsm2.so"

_MADE = """
import sys
import pkcs11
token = pkcs11.lib(sys.argv[1]).get_token(token_label="xds")
with token.open(rw=True, user_pin="4321") as session:
    session.generate_key(pkcs11.KeyType.AES, 256, label=sys.argv[2], store=True, capabilities=(
        pkcs11.MechanismFlag.WRAP | pkcs11.MechanismFlag.UNWRAP))
"""


def uri(**changes: str) -> str:
    parts = {"token": "xds", "object": "documents", "module": MODULE} | changes
    return f"pkcs11:token={parts['token']};object={parts['object']}?module-path={parts['module']}"


def a_key(label: str) -> None:
    """In a process of its own, as the token's tool is."""
    subprocess.run([sys.executable, "-c", _MADE, MODULE, label], check=True)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a token of one key."""
    if shutil.which("softhsm2-util") is None:
        missing("SoftHSM", "softhsm2")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "xds", "--so-pin", "12345678", "--pin", "4321"],
        check=True, capture_output=True,
    )  # fmt: skip
    a_key("documents-2026")
    return folder


def by_itself(code: str, *arguments: object) -> str:
    """What a process says that has the token for itself: a library of PKCS#11 is loaded once in each."""
    known = {**os.environ, PIN: "4321"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


_WRAPS = """
import sys
from xds.store.documents.wrapping import NotWrapped, wrapping_keys
secret, keys = bytes(range(32)), wrapping_keys(sys.argv[1])
wrapped = keys.newest.wrap(secret)
assert len(wrapped) == 40 and secret not in wrapped
assert keys.newest.unwrap(wrapped) == secret
try:
    keys.newest.unwrap(bytes([wrapped[0] ^ 1]) + wrapped[1:])
except NotWrapped:
    print(keys.newest.id, keys.newest.made, len(keys.keys))
"""

_KEEPS = """
import sys
from pathlib import Path
from tests.store.documents.test_blobs import kept, read, settings
from xds.store.documents.stores import open_blobs, places
from xds.store.documents.folder import BlobStore
from xds.store.engine import make_engine
given = settings(Path(sys.argv[1]), documents_key=sys.argv[2])
engine = make_engine(given.database_url, connections=2)
if sys.argv[3] == "rotate":
    print(places(given)[0].store_keys(engine).rotate())
blobs = open_blobs(given, engine)
one = kept(blobs, b"Anna Schmidt")
assert read(blobs, one) == b"Anna Schmidt"
print(*places(given)[0].store_keys(engine).uses().values())
"""


def test_a_key_of_a_token_wraps_and_what_was_changed_is_not_unwrapped(token: Path) -> None:
    id_, label, count = by_itself(_WRAPS, uri()).split()
    assert (len(id_), label, count) == (16, "documents-2026", "1")
    assert token


def test_documents_are_encrypted_by_a_token_whose_next_key_takes_over(token: Path, tmp_path: Path) -> None:
    with_tables(settings(tmp_path))
    assert by_itself(_KEEPS, tmp_path, uri(), "").split() == ["1"]
    a_key("documents-2027")
    assert by_itself(_KEEPS, tmp_path, uri(), "rotate").split() == ["1", "2"]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "documents").rglob("*") if path.is_file())
    assert b"Schmidt" not in everything
    assert token


@pytest.mark.parametrize(
    ("wrong", "pin", "said"),
    [
        (uri(token="none"), "4321", "NoSuchToken"),
        (uri(object="other"), "4321", "no AES key whose label begins so"),
        (uri(), "0000", "PinIncorrect"),
        (uri(), "", "the PIN is neither in pin-source nor in XDS_DOCUMENTS_PIN"),
        ("pkcs11:token=xds", "4321", "needs object and module-path"),
        (uri(module="/none.so"), "4321", "server.documents_key: "),
    ],
)
def test_what_is_wrong_with_a_token_is_said(token: Path, wrong: str, pin: str, said: str) -> None:
    assert token
    code = "import sys\nfrom xds.errors import Unusable\nfrom xds.store.documents.wrapping import wrapping_keys\n"
    code += "try:\n    wrapping_keys(sys.argv[1])\nexcept Unusable as problem:\n    print(problem)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, wrong], env={**os.environ, PIN: pin}, capture_output=True, text=True, check=True
    )
    assert said in done.stdout
    assert done.stdout.startswith("server.documents_key")
