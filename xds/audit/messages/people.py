"""The person for whom something is done, as the records of it name them.

ITI TF-2: 3.40.4.2 (XUA); DICOM PS3.15: A.5.2 (ActiveParticipant, PurposeOfUse).  Who asks is known where a request
comes in, and stands in every record that is begun before it is answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from xds.audit.messages.codes import ORGANISATION, Coded
from xds.audit.messages.message import ActiveParticipant, AuditMessage
from xds.system.values import value
from xds.wire.assertion import PURPOSE_OF_USE, ROLE, Assertion, Code


@value(frozen=True, slots=True)
class Person:
    """``id`` is what the node knows them by, ``known_as`` their name among people; empty where it is not known."""

    id: str
    name: str = ""
    known_as: str = ""
    roles: tuple[Code, ...] = ()
    organisations: tuple[str, ...] = ()
    organisation_ids: tuple[str, ...] = ()
    purposes: tuple[Code, ...] = ()
    overrides: bool = False  # what is done is done in an emergency, whatever was consented to
    issuer: str = ""  # who says all this; empty: this node itself
    home_community: str = ""
    method: str = ""  # by which they were confirmed: of SAML, ``urn:ietf:params:oauth:token-type:jwt``, or empty
    token_id: str = ""  # of the assertion or token
    until: datetime | None = None  # when it ends
    patient: str = ""  # whom they say that they treat, as CX
    consents: tuple[str, ...] = ()  # documents of the patient's consent (BPPC) that are referred to
    policies: tuple[str, ...] = ()
    reason: str = ""  # why what is withheld is to be opened

    @classmethod
    def of(cls, said: Assertion, override_purposes: Collection[str] = ()) -> Person:
        """The person that an assertion or token is about."""
        return cls(
            said.name_id, said.user_name, said.subject_id, said.roles, said.organisations, said.organisation_ids,
            said.purposes, any(one.code in override_purposes for one in said.purposes), said.issuer,
            said.home_community, said.method, said.id, said.until, said.patient, said.consents, said.policies,
            said.reason,
        )  # fmt: skip

    @property
    def user(self) -> str:
        """Who they are at their issuer: what stands between the signs of ``alias<user@issuer>`` (ITI TF-2: 3.20)."""
        return self.name.rpartition("<")[2].removesuffix(">")

    @property
    def organisation(self) -> str:
        return next(iter(self.organisations), "")

    @property
    def organisation_id(self) -> str:
        return next(iter(self.organisation_ids), "")

    def purposes_of_use(self) -> tuple[Coded, ...]:
        """As records have them."""
        return tuple(_coded(one, PURPOSE_OF_USE) for one in self.purposes)

    def participants(self) -> Iterator[ActiveParticipant]:
        """The person, who is the requestor, and the organisation that they act for."""
        roles = tuple(_coded(one, ROLE) for one in self.roles)
        yield ActiveParticipant(self.id, True, self.known_as, self.name, role_ids=roles)
        if self.organisation or self.organisation_id:
            id_ = self.organisation_id or self.organisation
            yield ActiveParticipant(id_, False, user_name=self.organisation, role_ids=(ORGANISATION,))


def _coded(code: Code, unnamed: str) -> Coded:
    """``codeSystemName`` is required of an audit message: where a code has none, what it is the value of is named."""
    return Coded(code.code, code.system_name or code.system or unnamed, code.display or code.code)


def is_person(participant: ActiveParticipant) -> bool:
    """Whether it is somebody who asked, and no machine."""
    if not participant.user_is_requestor or any(code.code.startswith("11015") for code in participant.role_ids):
        return False
    return bool(participant.user_name or participant.role_ids)


def identity(participant: ActiveParticipant) -> str:
    """Who somebody is among the users of all issuers: user@issuer where an assertion said so (ITI TF-2: 3.40.4.2)."""
    _, begins, rest = participant.user_name.partition("<")
    name, at, issuer = rest.removesuffix(">").rpartition("@")
    return f"{name}@{issuer}" if begins and rest.endswith(">") and name and at and issuer else participant.user_id


def called(participant: ActiveParticipant) -> str:
    """What people call somebody who asked."""
    return participant.alternative_user_id or participant.user_name or participant.user_id


def organisation_of(message: AuditMessage) -> str:
    """For which organisation the people of a message act; where it does not say, whose node recorded it."""
    named = (one.user_name or one.user_id for one in message.participants if ORGANISATION in one.role_ids)
    return next(named, message.source.enterprise_site_id)


_ASKING: ContextVar[Person | None] = ContextVar("asking", default=None)


def asking() -> Person | None:
    """For whom the request is that this thread answers."""
    return _ASKING.get()


@contextmanager
def asked_by(person: Person | None) -> Iterator[None]:
    """While a request for a person, or for nobody who is known, is answered."""
    token = _ASKING.set(person)
    try:
        yield
    finally:
        _ASKING.reset(token)
