"""Who the demo's people are: an issuer of assertions, and the doctor at the clinic that it vouches for (ITI-40)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

from xds.wire.assertion import Assertion, Code
from xds.wire.saml_signature import signed
from xds.wire.saml_writing import written

DOCTOR = "Dr. Mira Horvat"
ISSUER = "urn:xds:demo:identity"
EMERGENCY, REASON = "doctor-emergency.xml", "found unconscious, no next of kin"
HOURS = 12
"""That the doctor's assertion lasts."""

X509 = "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"


def vouch(folder: Path) -> tuple[Path, Path]:
    """Make an issuer, and its assertion of the doctor; the issuer's certificate and the assertion, as files.

    Beside it another, by which the doctor breaks the glass.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo identity provider")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    said = Assertion(
        ISSUER, "mira.horvat", "", DOCTOR, ("Clinic",), roles=(Code("158965000", "", "demo", "Doctor"),),
        purposes=(Code("TREAT", "", "demo", "treatment"),),
    )  # fmt: skip
    emergency = replace(said, purposes=(Code("BTG", "", "demo", "break the glass"),), reason=REASON)
    paths = folder / "identity-provider.pem", folder / "doctor.xml"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for file, one in ((paths[1], said), (folder / EMERGENCY, emergency)):
        assertion = signed(written(one, now, now + timedelta(hours=HOURS), (), X509), key, certificate)
        file.write_bytes(etree.tostring(assertion))
    return paths
