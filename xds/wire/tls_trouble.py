"""Why TLS failed, in words: which side did not trust whom, or what else the two did not agree on."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

# OpenSSL's X509_V_ERR numbers: what we have against the other side's certificate.
_THEIRS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    23: "its certificate is revoked",
    62: "its certificate is for another host",
    64: "its certificate is for another address",
    **dict.fromkeys((2, 18, 19, 20, 21), "its certificate comes from an authority that this side does not trust "
                    "(tls.trusted, or the peer's own trusted)"),
}  # fmt: skip

# OpenSSL's names of TLS alerts (RFC 8446: 6.2) and errors: what the other side has against us, or we two share.
_WANTS_ONE = "the other side wants a certificate that it trusts, and none was presented (tls.certificate)"
_REASONS = {
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not trust the authority of our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _WANTS_ONE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side finds our certificate expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the other side finds our certificate revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other side does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not accept our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the other side does not accept our kind of certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the other side does not let the holder of our certificate in",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side refuses the handshake: it wants a certificate, or another cipher",
    "TLSV1_UNRECOGNIZED_NAME": "the other side does not go by this host name",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the two have no version of TLS in common (1.2 at least)",
    "UNSUPPORTED_PROTOCOL": "the two have no version of TLS in common (1.2 at least)",
    "NO_PROTOCOLS_AVAILABLE": "the two have no version of TLS in common (1.2 at least)",
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS there",
    "RECORD_LAYER_FAILURE": "the other side does not speak TLS there",
    "HTTP_REQUEST": "the other side does not speak TLS there",
}


def why(problem: BaseException, *, presented: bool = True, secured: bool = False) -> str:
    """Why TLS failed; empty where something else did.

    ``presented``: whether we showed a certificate.  ``secured``: whether TLS was spoken at all, so that a connection
    that is broken off at once has most likely failed for it: TLS 1.3 tells a client late, often too late to be read.
    """
    chain = list(_chain(problem))
    found = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLEOFError) or (found is None and secured and any(isinstance(o, _BROKEN) for o in chain)):
        may = "not trust ours" if presented else "want a certificate, and none was presented (tls.certificate)"
        return f"TLS: the other side broke off; it may {may}"
    if found is None:
        return ""
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"TLS: {_THEIRS.get(found.verify_code, found.verify_message)}"
    reason = found.reason or ""
    if not presented and ("HANDSHAKE_FAILURE" in reason or "CERTIFICATE" in reason):
        return f"TLS: {_WANTS_ONE}"
    return f"TLS: {_REASONS.get(reason, reason or type(found).__name__)}"


_BROKEN = (ConnectionResetError, BrokenPipeError)


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """A problem and what it was made of: libraries pack it in their own, as argument, reason or cause."""
    waiting, seen = [problem], set[int]()
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
