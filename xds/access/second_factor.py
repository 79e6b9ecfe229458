"""One-time passwords by time, the second factor of the console's accounts.  RFC 6238, as phones' applications do it."""

from __future__ import annotations

import time

import pyotp

STEPS_EARLIER, STEPS_LATER = 1, 1
"""By how many steps of 30 seconds a phone's clock may differ."""


def new_secret() -> str:
    """160 random bits, in base32 (RFC 4226: 4, R6)."""
    return pyotp.random_base32()


def address(secret: str, account: str, node: str) -> str:
    """The ``otpauth:`` URI that such an application is told a secret by."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=node))


def step_of(secret: str, code: str, used: int) -> int | None:
    """The time step of a code that is right now, and later than the last that was used; None where it is not.

    Each code is so used once (RFC 6238: 5.2).
    """
    typed = "".join(code.split())
    totp = pyotp.TOTP(secret)
    if len(typed) != totp.digits or not typed.isascii() or not typed.isdigit():
        return None
    now = int(time.time()) // totp.interval
    found = None
    for step in range(now - STEPS_EARLIER, now + STEPS_LATER + 1):
        if pyotp.utils.strings_equal(typed, totp.generate_otp(step)) and step > used:
            found = step
    return found
