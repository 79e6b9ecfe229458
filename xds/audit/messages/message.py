"""The audit message as values.  DICOM PS3.15: A.5; written and read by ``message_xml``."""

from __future__ import annotations

from datetime import datetime

from xds.audit.messages.codes import Action, Coded, LifeCycle, NetworkAccessPointType, ObjectRole, ObjectType, Outcome
from xds.system.values import value


class NotAuditMessage(ValueError):
    """Not XML, another root, or without an event that has a time."""


@value(frozen=True, slots=True)
class Event:
    """EventIdentification.  ``date_time`` is aware.

    Raises:
        ValueError: a time without its zone.
    """

    event_id: Coded
    date_time: datetime
    outcome: Outcome
    action: Action | None = None
    type_codes: tuple[Coded, ...] = ()
    outcome_description: str = ""
    purposes_of_use: tuple[Coded, ...] = ()

    def __post_init__(self) -> None:
        if self.date_time.tzinfo is None:
            raise ValueError("EventDateTime needs its zone")


@value(frozen=True, slots=True)
class ActiveParticipant:
    """Who took part; empty where it is not said."""

    user_id: str
    user_is_requestor: bool
    alternative_user_id: str = ""
    user_name: str = ""
    network_access_point_id: str = ""
    network_access_point_type: NetworkAccessPointType | None = None
    role_ids: tuple[Coded, ...] = ()
    media_type: Coded | None = None


@value(frozen=True, slots=True)
class AuditSource:
    """AuditSourceIdentification: the node that wrote the record."""

    source_id: str
    enterprise_site_id: str = ""
    type_codes: tuple[Coded, ...] = ()


@value(frozen=True, slots=True)
class Detail:
    """ParticipantObjectDetail; its value is base64 in the message, bytes here."""

    type: str
    value: bytes

    @property
    def text(self) -> str:
        """The value as UTF-8, as every detail that IHE defines is."""
        return self.value.decode("utf-8", "replace")


@value(frozen=True, slots=True)
class SopClass:
    """Instances of one SOP class: how many and, if so wished, which."""

    uid: str
    number_of_instances: int
    instances: tuple[str, ...] = ()


@value(frozen=True, slots=True)
class Description:
    """ParticipantObjectDescription."""

    mpps: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    sop_classes: tuple[SopClass, ...] = ()
    study_ids: tuple[str, ...] = ()
    encrypted: bool | None = None
    anonymized: bool | None = None


@value(frozen=True, slots=True)
class ParticipantObject:
    """ParticipantObjectIdentification.

    Raises:
        ValueError: both a name and a query, of which the schema has one.
    """

    id: str
    id_type: Coded
    type_code: ObjectType | None = None
    role: ObjectRole | None = None
    life_cycle: LifeCycle | None = None
    sensitivity: str = ""
    name: str = ""
    query: bytes | None = None
    details: tuple[Detail, ...] = ()
    description: Description | None = None

    def __post_init__(self) -> None:
        if self.name and self.query is not None:
            raise ValueError("an object has a name or a query, not both")


@value(frozen=True, slots=True)
class AuditMessage:
    """One record: what happened, who took part, which node says so, and what it was about."""

    event: Event
    participants: tuple[ActiveParticipant, ...]
    source: AuditSource
    objects: tuple[ParticipantObject, ...] = ()

    @property
    def patients(self) -> list[str]:
        """The ids of the patients that it names."""
        return [one.id for one in self.objects if one.role is ObjectRole.PATIENT]
