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

from xds.actors.communities import Turn
from xds.actors.fetching import Taking
from xds.archives.interface import NotAnswering
from xds.archives.patients import Patients
from xds.audit.messages.events import AuditEvent
from xds.hl7 import discovery, discovery_answers, v3
from xds.hl7.discovery import Discovery
from xds.hl7.discovery_answers import Answer, NotAnAnswer
from xds.imaging.manifest import Patient
from xds.metadata.demographics import Demographics
from xds.metadata.identifiers import Oid, PatientId
from xds.rules.patient_matching import DAY, Attribute, contradicts, is_alike
from xds.store import discovered_patients as store
from xds.store.audit.records import now_microseconds
from xds.store.discovered_patients import Discovered
from xds.store.engine import reading
from xds.store.registry.demographics import known
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


class DiscoveredThere:
    """``Patients``: a community's id for one of ours; of whom the settings say nothing, the community is asked."""

    def __init__(self, said: Patients, here: Here, there: There) -> None:
        self._said, self._here, self._there = said, here, there

    def own(self, patient: Patient) -> PatientId | None:
        """See ``Patients``."""
        return self._said.own(patient)

    def mapped(self, own: PatientId) -> PatientId | None:
        """See ``Patients``."""
        found = self._said.mapped(own)
        if found is not None:
            return found
        here, home = self._here, self._there.home
        with reading(here.engine) as connection:
            who = known(connection, here.domain, own)
            before = store.of(connection, here.domain, home, str(own))
        if who is None:
            return None  # whom nobody knows here, nobody is asked about
        said = store.fingerprint(who)
        if before is None or before.said != said or before.until <= now_microseconds():
            theirs = self._discovered(who)
            seconds = UNKNOWN_SECONDS if theirs is None else self._there.known_seconds
            before = Discovered(str(theirs or ""), said, now_microseconds() + int(seconds * 1e6))
            with here.engine.begin() as connection:
                store.keep(connection, here.domain, home, str(own), before)
        return PatientId.parse(before.theirs) if before.theirs else None

    def _discovered(self, who: Demographics) -> PatientId | None:
        """
        Raises:
            NotAnswering: it does not answer, or nobody can be told from its answer.
        """
        if not who.names or len(who.born) != DAY:
            raise NotAnswering("name and birth date of the patient, by which it is asked, are not known here")
        least = Demographics(who.names[:1], who.born, who.sex)
        answer = self._asked(least)
        if not answer.matches and answer.wanted:
            more = _with(least, who, answer.wanted)
            answer = self._asked(more) if more != least else answer
            if not answer.matches and answer.wanted:
                raise NotAnswering("it wants to know more of the patient than is known here (ITI TF-2: 3.55.4.2.2)")
        return self._meant(answer, who)

    def _meant(self, answer: Answer, who: Demographics) -> PatientId | None:
        """The one patient of the community's own who is meant; None: it knows nobody."""
        mine = [one for one in answer.matches if one.home in self._there.homes]
        if not mine:
            return None
        agreed = [one for one in mine if is_alike(who, one.demographics) and not contradicts(who, one.demographics)]
        if not agreed:
            raise NotAnswering("it names a patient of another name or birth date than it was asked for")
        wanted = self._there.authority
        ids = {id_ for one in agreed for id_ in one.ids if not wanted or id_.authority == wanted}
        if len(ids) != 1:
            rule = "several of its ids are the patient's" if ids else "it gives no id of the authority that is wanted"
            raise NotAnswering(rule)
        return ids.pop()

    def _asked(self, said: Demographics) -> Answer:
        """What the first of its gateways says that answers.

        Raises:
            NotAnswering: none does, or what it says is no answer.
        """
        gateways, until = self._there.gateways, time.monotonic() + self._there.seconds
        silent = "no answer in time"
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
            body = there.taking.asked(turn, ITI_55.action, etree.tostring(message), there.blocks(url, None))
            answer = discovery_answers.read(body, id_)
            event.end(failed=False)
        except Exception:
            event.end(failed=True)
            raise
        finally:
            here.recorded(event)
        return answer


class DiscoveredHere:
    """``Patients`` the other way round: whose an id of a community's is here, as far as it was asked for them."""

    def __init__(self, said: Patients, here: Here, home: str) -> None:
        self._said, self._here, self._home = said, here, home

    def own(self, patient: Patient) -> PatientId | None:
        """See ``Patients``."""
        return self._said.own(patient)

    def mapped(self, own: PatientId) -> PatientId | None:
        """See ``Patients``."""
        found = self._said.mapped(own)
        if found is not None:
            return found
        with reading(self._here.engine) as connection:
            ours = store.ours(connection, self._here.domain, self._home, str(own))
        return PatientId.parse(ours) if ours else None


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
