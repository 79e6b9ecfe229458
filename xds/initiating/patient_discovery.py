"""Asks another community under which id it knows a patient of ours (ITI-55); each question is on record.

ITI TF-1: 27; ITI TF-2: 3.55.  It is told name, birth date and sex; what else it wants to know, where it is known, in a
second question.  Nobody is guessed: whom it names must be whom it was asked for, by the rules of
``rules/patient_matching.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from lxml import etree

from xds.actors.communities import Turn, header_of_request
from xds.actors.fetching import Taking
from xds.archives.interface import NotAnswering
from xds.archives.patients import Patients
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.people import asking
from xds.hl7 import discovery, discovery_answers, v3
from xds.hl7.discovery import Discovery
from xds.hl7.discovery_answers import Answer, NotAnAnswer
from xds.imaging.manifest import Patient
from xds.metadata.demographics import Demographics
from xds.metadata.identifiers import Oid, PatientId
from xds.rules.patient_matching import DAY, Attribute, contradicts, is_alike, shares
from xds.store import discovered_patients as store
from xds.store.audit.records import now_microseconds
from xds.store.discovered_patients import Discovered
from xds.store.engine import reading
from xds.store.registry import patients
from xds.store.registry.demographics import alike, known
from xds.transactions.iti55_cross_gateway_patient_discovery import TRANSACTION as ITI_55
from xds.transactions.transaction import Transaction
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.xml import Element

UNKNOWN_SECONDS = 300.0
"""How long it is taken for true that a community knows nobody; of whom it knows, the settings say."""

_BY_PARAMETER = "hl7:controlActProcess/hl7:queryByParameter"


@dataclass(frozen=True, slots=True)
class There:
    """The community that is asked: its homeCommunityIds (OIDs), and the gateways of it, in their order."""

    homes: tuple[Oid, ...]
    authority: str  # the OID of its patient ids; empty: it gives one of whichever
    gateways: Sequence[Client]
    seconds: float  # for an answer of any of them
    known_seconds: float  # how long an answer is taken for true
    taking: Taking
    blocks: Callable[[str, Element | None], Sequence[Element]]

    @property
    def home(self) -> str:
        return f"urn:oid:{self.homes[0]}"


@dataclass(frozen=True, slots=True)
class Here:
    """The affinity domain that asks: its name, its homeCommunityId, its database, and how its records are made."""

    domain: str
    home: Oid
    engine: sa.Engine
    started: Callable[[Transaction, str], AuditEvent]
    recorded: Callable[[AuditEvent], None]


class DiscoveredHere:
    """``Patients`` the other way round: whose an id of a community's is here, as far as it was asked for them."""

    def __init__(self, said: Patients, here: Here, home: str) -> None:
        self._said, self._here, self._home = said, here, home

    def own(self, patient: Patient) -> PatientId | None:
        """See ``Patients``."""
        return self._said.own(patient)

    def mapped(self, own: PatientId) -> PatientId | None:
        """See ``Patients``.

        Raises:
            NotAnswering: it is of nobody who was found so, or of several: what they want cannot be told.
        """
        found = self.all_of(own)
        if len(found) != 1:
            raise NotAnswering("whose id of that community it is, is not known here")
        return found.pop()

    def all_of(self, theirs: PatientId) -> set[PatientId]:
        """Whose it is: the patient of the settings, and those whom it was found for who are active still."""
        said = self._said.mapped(theirs)
        with reading(self._here.engine) as connection:
            ours = map(PatientId.parse, store.ours(connection, self._here.domain, self._home, str(theirs)))
            active = {one for one in ours if patients.key_of(connection, self._here.domain, one) is not None}
        return active | ({said} if said is not None else set())


class DiscoveredThere:
    """``Patients``: a community's id for one of ours; of whom the settings say nothing, the community is asked."""

    def __init__(self, said: Patients, known: DiscoveredHere, here: Here, there: There) -> None:
        """``known``: whose ids of that community are here."""
        self._said, self._known, self._here, self._there = said, known, here, there

    def own(self, patient: Patient) -> PatientId | None:
        """See ``Patients``."""
        return self._said.own(patient)

    def mapped(self, own: PatientId) -> PatientId | None:
        """See ``Patients``."""
        found = self._said.mapped(own)
        if found is not None:
            return found
        here, there = self._here, self._there
        with reading(here.engine) as connection:
            who = known(connection, here.domain, own)
            before = store.of(connection, here.domain, there.home, str(own))
        if who is None:
            return None  # whom nobody knows here, nobody is asked about
        said = store.fingerprint(who, there.authority)
        if before is not None and before.said == said and before.until > now_microseconds():
            return PatientId.parse(before.theirs) if before.theirs else None
        theirs = self._discovered(own, who)
        if theirs is not None or asking() is None:  # that it knows nobody may be so for who asks alone
            seconds = UNKNOWN_SECONDS if theirs is None else there.known_seconds
            until = now_microseconds() + int(seconds * 1e6)
            with here.engine.begin() as connection:
                store.keep(connection, here.domain, there.home, str(own), Discovered(str(theirs or ""), said, until))
        return theirs

    def _discovered(self, own: PatientId, who: Demographics) -> PatientId | None:
        """
        Raises:
            NotAnswering: it does not answer, or nobody can be told from its answer.
        """
        if not who.names or len(who.born) != DAY:
            raise NotAnswering("name and birth date of the patient, by which it is asked, are not known here")
        several = self._others_here(own, who)
        until = time.monotonic() + self._there.seconds
        least = Demographics(who.names[:1], who.born, who.sex)
        answer = self._asked(least, until)
        if not answer.matches and answer.wanted:
            more = _with(least, who, answer.wanted)
            answer = self._asked(more, until) if more != least else answer
            if not answer.matches and answer.wanted:
                raise NotAnswering("it wants to know more of the patient than is known here (ITI TF-2: 3.55.4.2.2)")
        theirs = self._meant(answer, who, several=several)
        if theirs is not None and self._known.all_of(theirs) - {own}:
            raise NotAnswering("its id for the patient is another patient's here")
        return theirs

    def _others_here(self, own: PatientId, who: Demographics) -> bool:
        """Whether others here have the name and the birth date.

        Raises:
            NotAnswering: one of them may be meant as well.
        """
        with reading(self._here.engine) as connection:
            found, more = alike(connection, self._here.domain, who.names, who.born)
        others = [one.demographics for one in found if one.patient_id != own and is_alike(who, one.demographics)]
        if more or not all(contradicts(who, one) for one in others):
            raise NotAnswering("several patients here may be meant by name and birth date")
        return bool(others)

    def _meant(self, answer: Answer, who: Demographics, *, several: bool) -> PatientId | None:
        """The one patient of the community's own who is meant; None: it knows nobody.

        As ``rules/patient_matching.py`` has it: where ``several`` of either side have the name and the birth date,
        something more must speak for the one.
        """
        mine = [one for one in answer.matches if one.home in self._there.homes]
        if not mine:
            return None
        agreed = [one for one in mine if not contradicts(who, one.demographics)]
        if not agreed or not is_alike(who, agreed[0].demographics):
            raise NotAnswering("it names a patient of another name or birth date than it was asked for")
        if len(agreed) > 1 or ((several or len(mine) > 1) and not shares(who, agreed[0].demographics)):
            raise NotAnswering("several patients may be meant by name and birth date")
        wanted = self._there.authority
        ids = {id_ for id_ in agreed[0].ids if not wanted or id_.authority == wanted}
        if len(ids) != 1:
            rule = "it gives several ids of the patient" if ids else "it gives no id of the authority that is wanted"
            raise NotAnswering(rule)
        return ids.pop()

    def _asked(self, said: Demographics, until: float) -> Answer:
        """What the first of its gateways says that answers, until then (monotonic).

        Raises:
            NotAnswering: none does, or what it says is no answer.
        """
        gateways, silent = self._there.gateways, "no answer in time"
        for place, client in enumerate(gateways):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                return self._asked_of(Turn(client, until, left / (len(gateways) - place)), said)
            except (NoReply, Faulted) as problem:
                silent = str(problem).removeprefix(f"{client.url}: ") or silent
            except NotAnAnswer as problem:
                raise NotAnswering(str(problem)) from None
        raise NotAnswering(silent)

    def _asked_of(self, turn: Turn, said: Demographics) -> Answer:
        here, there, url = self._here, self._there, turn.client.url
        message = discovery.message(Discovery(said, ()), here.home, there.homes[0], here.home)
        (query,) = v3.found(message, _BY_PARAMETER)
        (id_,) = (one.get("root", "") for one in v3.found(query, "hl7:queryId"))
        event = here.started(ITI_55, url)
        event.about_question(id_, etree.tostring(query))
        try:
            body = there.taking.asked(
                turn, ITI_55.action, etree.tostring(message), there.blocks(url, header_of_request())
            )
            answer = discovery_answers.read(body, id_)
            event.end(failed=False)
        except Exception:  # whatever it is, it is on record as having failed, and goes on
            event.end(failed=True)
            raise
        finally:
            here.recorded(event)
        return answer


def _with(least: Demographics, who: Demographics, wanted: Iterable[str]) -> Demographics:
    """What was said, and of what is wanted all that is known."""
    said = least
    for code in set(wanted):
        if code == Attribute.ADDRESS.value:
            said = replace(said, address=who.address)
        elif code == Attribute.TELECOM.value:
            said = replace(said, telecoms=who.telecoms)
        elif code == Attribute.MAIDEN_NAME.value:
            said = replace(said, mothers_maiden_name=who.mothers_maiden_name)
    return said
