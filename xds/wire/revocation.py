"""Certificates that hold no more: CRLs (RFC 5280: 5) and a deny list, read again when they change.

Looked at after each handshake and before each next request of a connection that is kept, in every process, so that a
stolen key is worth nothing a few seconds after the file is there.  What cannot be read, or has expired, changes
nothing: the last good one stays in force, and ``/readyz``, the log and ``xds doctor`` say so.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.wire.certificates import spki_sha256
from xds.wire.followed import Followed, NotTaken

log = logging.getLogger("xds.wire.revocation")

LOOK_SECONDS = 1.0
"""Between two looks at the files."""

REMEMBERED = 10_000
"""Certificates whose answer is kept until something changes."""

_AHEAD = timedelta(days=1)  # a CRL of later than this is a mistake: it would keep every other one out
_PEM = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_KEY = re.compile(r"[0-9a-f]{64}")
_SERIAL = re.compile(r"([0-9a-f:]{1,60})@(.+)")

UNCHECKED = "whether it is revoked cannot be said: a file of tls.crl or tls.denied was never good"


class RevokedPeer(ssl.SSLError):
    """The peer's certificate holds no more; ``reason`` as OpenSSL's errors have one."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)
        self.reason = f"CERTIFICATE_REVOKED ({why})"


@dataclass(frozen=True, slots=True)
class Crl:
    """What one authority revokes, and until when it says so."""

    issued: datetime
    until: datetime | None
    serials: frozenset[int]

    @property
    def expired(self) -> bool:
        return self.until is not None and self.until < datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Denied:
    """Keys, and certificates by serial number and issuer, that the operator does not let in."""

    keys: frozenset[str] = frozenset()
    serials: frozenset[tuple[int, x509.Name]] = frozenset()


Crls = Mapping[x509.Name, Crl]


@dataclass(slots=True)
class Revoked:
    """Safe with threads.  ``trusted`` are the files of authorities that CRLs may come from; ``kept`` is a folder where
    the last good files outlive the process."""

    crls: Sequence[str] = ()
    denied: Sequence[str] = ()
    trusted: Sequence[str] = ()
    kept: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked: float = float("-inf")
    _answers: dict[bytes, str] = field(default_factory=dict)
    _authorities: list[Followed[tuple[x509.Certificate, ...]]] = field(default_factory=list)
    _crls: list[Followed[Crls]] = field(default_factory=list)
    _files: list[Followed[Denied]] = field(default_factory=list)
    _named: Denied = field(default_factory=Denied)
    _fallen: frozenset[x509.Name] = frozenset()

    def __post_init__(self) -> None:
        inline = [one for one in self.denied if _entry(one) is not None]
        self._named = _denials("\n".join(inline).encode(), None)
        self._authorities = [Followed(Path(one), _certificates) for one in dict.fromkeys(self.trusted) if one]
        self._crls = [Followed(Path(one), self._read_crls, self._copy(one)) for one in self.crls]
        files = [one for one in self.denied if one not in inline]
        self._files = [Followed(Path(one), _denials, self._copy(one)) for one in files]

    @property
    def _every(self) -> list[Followed[Any]]:
        return [*self._crls, *self._files]

    def check(self) -> None:
        """See that every file is good; a start is when somebody looks.

        Raises:
            Unusable: one is not.
        """
        if self.crls and not any(self.trusted):
            raise Unusable("tls.crl needs tls.trusted: the authorities whose CRLs they are")
        self._look(now=True)
        for one in self._every:
            if one.trouble:
                raise Unusable(f"{one.path}: {one.trouble}")

    def reason(self, der: bytes) -> str:
        """Why a certificate does not hold any more; empty when it does."""
        if not (self.crls or self.denied):
            return ""
        self._look()
        key, answers = hashlib.sha256(der).digest(), self._answers  # of now: a change meanwhile begins another
        answer = answers.get(key)
        if answer is None:
            answer = self._reason(der)
            if len(answers) >= REMEMBERED:
                answers.clear()
            answers[key] = answer
        return answer

    def of(self, sock: Any) -> str:
        """The same of the peer at the other end of a TLS connection, and of the authorities between; empty without."""
        if not (self.crls or self.denied):
            return ""
        return next(filter(None, map(self.reason, presented(sock))), "")

    def troubles(self) -> list[str]:
        """What is wrong with the files now, by their names alone."""
        if not (self.crls or self.denied):
            return []
        self._look()
        wrong = [f"{one.path.name}: {one.trouble}" for one in self._every if one.trouble]
        expired = [
            f"{one.path.name}: has expired, and is in force still"
            for one in self._crls
            if not one.trouble and any(crl.expired for crl in (one.value or {}).values())
        ]
        return wrong + expired

    def ends(self) -> Iterator[tuple[str, datetime]]:
        """When each CRL in force ends, by its file's name."""
        self._look()
        for one in self._crls:
            ends = [crl.until for crl in (one.value or {}).values() if crl.until]
            if ends:
                yield one.path.name, min(ends)

    def _copy(self, path: str) -> Path | None:
        """Where the last good copy of a file is."""
        return self.kept and self.kept / hashlib.sha256(str(Path(path).absolute()).encode()).hexdigest()[:32]

    def _look(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        with self._lock:
            if not now and time.monotonic() - self._looked < LOOK_SECONDS:
                return
            if self.kept is not None and self.kept.parent.is_dir():
                with contextlib.suppress(OSError):
                    self.kept.mkdir(mode=0o700, exist_ok=True)
            changed = [one.look() for one in self._authorities]
            changed += [one.look(anew=any(changed)) for one in self._crls] + [one.look() for one in self._files]
            if any(changed):
                self._fallen = self._revoked_authorities()
                self._answers = {}
            self._looked = time.monotonic()

    def _reason(self, der: bytes) -> str:
        if any(one.value is None for one in self._every):
            return UNCHECKED
        try:
            certificate = x509.load_der_x509_certificate(der)
            return self._of(certificate) or ("its authority is revoked" if certificate.issuer in self._fallen else "")
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            return "it cannot be read"

    def _of(self, certificate: x509.Certificate) -> str:
        serial, issuer = certificate.serial_number, certificate.issuer
        for one in self._crls:
            crl = (one.value or {}).get(issuer)
            if crl and serial in crl.serials:
                return "on its authority's CRL"
        for denied in (self._named, *(one.value for one in self._files if one.value)):
            if (serial, issuer) in denied.serials or (
                denied.keys and spki_sha256(certificate.public_key()) in denied.keys
            ):
                return "on this node's deny list"
        return ""

    def _revoked_authorities(self) -> frozenset[x509.Name]:
        """Names of authorities in the bundle that hold no more, and have no other certificate there that does."""
        every = [one for file in self._authorities for one in file.value or ()]
        fallen = {one.subject for one in every if self._of(one)}
        return frozenset(fallen - {one.subject for one in every if not self._of(one)})

    def _read_crls(self, data: bytes, held: Crls | None) -> Crls:
        """The CRLs of a file, PEM or DER.

        Raises:
            NotTaken: they are not good, or those held are better.
        """
        try:
            blocks = _PEM.findall(data)
            found = [x509.load_pem_x509_crl(one) for one in blocks] or [x509.load_der_x509_crl(data)]
            return {one.issuer: self._crl(one, (held or {}).get(one.issuer)) for one in found}
        except (ValueError, UnsupportedAlgorithm):
            raise NotTaken("is no CRL") from None

    def _crl(self, found: x509.CertificateRevocationList, held: Crl | None) -> Crl:
        for extension in found.extensions:
            scope = extension.value
            whole = isinstance(scope, x509.IssuingDistributionPoint) and not scope.indirect_crl
            if extension.critical and not whole:  # RFC 5280: 5.2; a delta CRL is one of these
                raise NotTaken("has a critical extension that is not known here")
        signers = [one for file in self._authorities for one in file.value or () if one.subject == found.issuer]
        if not any(_signs(one, found) for one in signers):
            raise NotTaken("is signed by no authority of tls.trusted")
        crl = Crl(found.last_update_utc, found.next_update_utc, frozenset(one.serial_number for one in found))
        if crl.issued > datetime.now(UTC) + _AHEAD:
            raise NotTaken("is of the future")
        if held and crl.issued < held.issued:
            raise NotTaken("is older than the one in force")
        if held and crl.expired and not held.expired:
            raise NotTaken("has expired, and the one in force has not")
        return crl


def presented(sock: Any) -> list[bytes]:
    """The certificates of the peer of a TLS connection, its own first, as DER; none where there are none."""
    if not hasattr(sock, "getpeercert"):
        return []
    own = sock.getpeercert(True)
    if not own:
        return []
    try:
        chain = getattr(sock, "get_verified_chain", None) or sock._sslobj.get_verified_chain
        # Python 3.13 made it public, and gives bytes; before, certificates of its own kind.
        rest = [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain()]
    except (AttributeError, ValueError, ssl.SSLError):
        rest = []
    return [own, *(one for one in rest[1:] if one != own)]


def refuse(sock: Any) -> None:
    """Go no further with a peer whose certificate holds no more.

    Raises:
        RevokedPeer: that is so.
    """
    why = current().of(sock)
    if why:
        raise RevokedPeer(why)


def current() -> Revoked:
    """What holds in this process and its children: there is one ``[tls]``."""
    return _current


def watch(settings: Settings) -> Revoked:
    """What the settings say, from now on in this process; CRLs may come from whoever any peer is trusted by."""
    tls = settings.tls
    peers = [*settings.repositories.values(), *settings.imaging_sources.values()]
    trusted = [one for one in (tls.trusted, *(peer.trusted for peer in peers)) if one]
    revoked = Revoked(tls.crl, tls.denied, trusted, settings.data / "revoked" if tls.crl or tls.denied else None)
    use(revoked)
    return revoked


def use(revoked: Revoked) -> None:
    """Let that hold from now on."""
    global _current
    _current = revoked


def _certificates(data: bytes, _held: object) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise NotTaken("holds no certificates") from None


def _signs(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    try:
        return (usage is None or usage.crl_sign) and crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _entry(line: str) -> str | tuple[int, x509.Name] | None:
    """A key's digest, or a serial number and its issuer (RFC 4514); None where it is neither."""
    small = line.strip().lower().replace(":", "")
    if _KEY.fullmatch(small):
        return small
    number = _SERIAL.fullmatch(line.strip().lower())
    digits = number[1].replace(":", "") if number else ""
    if not digits:
        return None
    try:
        return int(digits, 16), x509.Name.from_rfc4514_string(line.strip().partition("@")[2])
    except ValueError:
        return None


def _denials(data: bytes, _held: Denied | None) -> Denied:
    """The deny list of a text: an entry a line; what follows a # is a comment.

    Raises:
        NotTaken: a line is none; which.
    """
    keys, serials = set[str](), set[tuple[int, x509.Name]]()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        entry = _entry(text) if text else ""
        if entry is None:
            raise NotTaken(f"line {number} is neither a key's SHA-256 nor SERIAL@ISSUER, both in hex")
        if isinstance(entry, tuple):
            serials.add(entry)
        elif entry:
            keys.add(entry)
    return Denied(frozenset(keys), frozenset(serials))


_current = Revoked()
