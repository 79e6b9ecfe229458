"""``xds pki``: certificates for a pilot, and their revocation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import as_json, print_json

if TYPE_CHECKING:
    from cryptography import x509

_FOLDER = click.option(
    "--dir", "folder", metavar="DIR", default="pki", show_default=True, help="Folder of the authority.",
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip


@click.group()
def pki() -> None:
    """A certificate authority for a pilot; who has one already uses that."""


@pki.command(epilog='Example: xds pki init --dir ./pki --title "Pilot North"')
@_FOLDER
@click.option("--title", default="xds pilot authority", show_default=True, help="What it is called.")
@click.option("--years", type=int, default=10, show_default=True, help="How long it holds, 20 at most.")
@as_json
def init(folder: Path, title: str, years: int, json_: bool) -> None:
    """Make an authority: ca.crt is what nodes trust (tls.trusted), ca.crl what they revoke by (tls.crl)."""
    from xds.wire.authority import Authority

    authority = Authority.made(folder, title, years)
    said = {"trusted": str(folder / "ca.crt"), "key": str(folder / "ca.key"), "crl": str(folder / "ca.crl")}
    _say({**said, **_of(authority.certificate)}, json_=json_)


@pki.command(epilog="Example: xds pki issue north --dir ./pki --name xds.north.example --ip 10.1.0.5")
@click.argument("title", metavar="NAME")
@_FOLDER
@click.option("--name", "hosts", multiple=True, metavar="HOST", help="A host name that it is reached by; or several.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="An IP address, likewise.")
@click.option("--organisation", default="", help="Whose it is.")
@click.option("--years", type=int, default=2, show_default=True, help="How long it holds, 2 at most.")
@as_json
def issue(
    title: str, folder: Path, hosts: tuple[str, ...], addresses: tuple[str, ...], organisation: str, years: int,
    json_: bool,
) -> None:  # fmt: skip
    """Make NAME.crt and NAME.key, of a node or of a client: both sides of mutual TLS (ITI-19)."""
    from xds.wire.authority import Authority

    issued = Authority(folder).issue(title, hosts, addresses, organisation=organisation, years=years)
    said = {"certificate": str(issued.certificate_file), "key": str(issued.key_file), "trusted": str(folder / "ca.crt")}
    _say({**said, **_of(issued.certificate)}, json_=json_)


@pki.command(epilog="Example: xds pki revoke north --dir ./pki")
@click.argument("which", metavar="NAME")
@_FOLDER
@as_json
def revoke(which: str, folder: Path, json_: bool) -> None:
    """Put a certificate on the authority's CRL, by its NAME or its serial number in hex.

    Nodes whose tls.crl names the file refuse it within seconds; copy the file to the others.
    """
    from xds.wire.authority import Authority

    serial = Authority(folder).revoke(which)
    _say({"revoked": f"{serial:x}", "crl": str(folder / "ca.crl")}, json_=json_)


@pki.command(epilog="Example: xds pki crl --dir ./pki --days 30")
@_FOLDER
@click.option("--days", type=int, default=30, show_default=True, help="Until the next one, 366 at most.")
@as_json
def crl(folder: Path, days: int, json_: bool) -> None:
    """Sign the CRL anew before it expires."""
    from xds.wire.authority import Authority

    signed = Authority(folder).sign_crl(days=days)
    until = signed.next_update_utc
    said = {"crl": str(folder / "ca.crl"), "revoked": str(len(signed)), "until": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    _say(said, json_=json_)


def _of(certificate: x509.Certificate) -> dict[str, str]:
    """What is worth knowing of a certificate: deny lists and tables of peers name keys."""
    from xds.wire.certificates import spki_sha256

    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "spki_sha256": spki_sha256(certificate.public_key()),
        "until": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def _say(said: dict[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(said)
        return
    for key, value in said.items():
        click.echo(f"{key}: {value}")
