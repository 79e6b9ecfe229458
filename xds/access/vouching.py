"""This node vouches for who has signed in at its console: an assertion that it signs, for each node that it asks.

ITI-40; its key is made at first start, beside the audit log's.  Others trust it by what ``xds user issuer`` prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from lxml import etree

from xds.audit.log.keys import SigningKey, load_or_make
from xds.audit.messages.people import Person, asking
from xds.settings.sections import Settings
from xds.wire.assertion import Assertion, Code
from xds.wire.bearer import encoded
from xds.wire.saml_signature import signed
from xds.wire.saml_writing import UNSPECIFIED, written
from xds.wire.xml import Element
from xds.wire.xua import header_block

LIFE = timedelta(minutes=5)
"""Of an assertion: one is made for each message."""

EARLIER = timedelta(seconds=5)
"""How long before now it begins: the other's clock may be behind."""

KEY = "vouching"
"""What the key's files are called."""


def visitor(settings: Settings, name: str, role: str) -> Person:
    """Who has signed in at the console, as records, decisions and other nodes have them."""
    console, home = settings.console, settings.domain.home_community_id
    return Person(
        name,
        # Roles are this node's own, and so is the system that they are codes of.
        roles=(Code(role, settings.repository.unique_id, "xds", role),),
        organisations=tuple(filter(None, (settings.audit.enterprise_site_id,))),
        organisation_ids=tuple(filter(None, (console.organisation_id,))),
        purposes=(Code(console.purpose, console.purpose_system),) if console.purpose else (),
        home_community=f"urn:oid:{home}" if home else "",
    )  # fmt: skip


def issuer(settings: Settings) -> str:
    """What this node is called as one that vouches for people."""
    return f"urn:oid:{settings.repository.unique_id}"


def own_key(settings: Settings) -> SigningKey:
    """The key that it signs with, made if there is none.

    Raises:
        Unusable: it cannot be read or made.
    """
    return load_or_make(settings.data / "keys", name=KEY, subject="xds console")


def certificate_file(settings: Settings) -> Path:
    """The certificates that others trust it by, as PEM."""
    return settings.data / "keys" / f"{KEY}.crt"


class Voucher:
    """Vouches for whoever the request is for that a thread answers.  Safe with threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _key(self) -> SigningKey:
        return own_key(self._settings)

    def header_blocks(self, url: str, *, for_others: bool = False) -> Sequence[Element]:
        """What goes with a message to another node: nothing, where nobody has signed in here.

        ``for_others``: it vouches also for whom another has vouched here, where its own word is what is believed there.
        """
        assertion = self._assertion(url, for_others=for_others)
        return (header_block(assertion),) if assertion else ()

    def authorization(self, url: str) -> str:
        """The same for a request without SOAP (ITI-72); empty where nobody has signed in."""
        assertion = self._assertion(url)
        return encoded(assertion) if assertion else ""

    def _assertion(self, url: str, *, for_others: bool = False) -> bytes:
        person = asking()
        # For whom another vouches, that other does: nothing that we could sign would be worth more.
        if person is None or (person.issuer and not for_others) or not self._settings.console.vouches:
            return b""
        now = datetime.now(UTC)
        said = Assertion(
            issuer(self._settings), person.user or person.id, "", person.known_as or person.id, person.organisations,
            person.organisation_ids, person.roles, person.purposes, person.home_community, person.patient,
            reason=person.reason,
        )  # fmt: skip
        parts = urlsplit(url)
        audiences = (url, f"{parts.scheme}://{parts.netloc}")
        element = written(said, now - EARLIER, now - EARLIER + LIFE, audiences, UNSPECIFIED)
        return bytes(etree.tostring(signed(element, self._key.key, self._key.certificate)))
