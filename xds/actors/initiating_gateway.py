"""The Initiating Gateway: asks this community and others at the same time, and makes one answer of theirs.

ITI TF-1: 18.1; ITI TF-2: 3.18.4.1.3, 3.38.4.1, 3.39.4.1, 3.43.4.1.3.  What each call is on record as is its caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lxml import etree

from xds.actors import communities as calls
from xds.actors.communities import Communities, Community, Question, Tries, Turn, Unavailable
from xds.actors.fetching import Taking, located, speaker_of, why_not
from xds.actors.foreign_answers import Found, query_answer
from xds.archives.interface import NotAnswering
from xds.ebxml import query
from xds.ebxml.query import AdhocQuery
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata.identifiers import PatientId
from xds.queries.catalogue import STORED_QUERIES
from xds.queries.communities import for_community, names_patient, patient_of, target_communities
from xds.wire.xml import Element


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as one community is asked it, and by which of its ids about whom."""

    query: AdhocQuery
    patient_id: PatientId | None = None

    @property
    def body(self) -> bytes:
        """The request as it is sent."""
        return bytes(etree.tostring(query.write_request(self.query)))


@dataclass(frozen=True, slots=True)
class ToAsk:
    """A community that is to be asked; ``patient_id``: about whom, by our own id."""

    community: Community
    sent: AdhocQuery
    patient_id: PatientId | None = None
    targets: tuple[str, ...] = ()

    def asked(self) -> Asked | None:
        """The query in its own words; None where it has no id for the patient.

        Raises:
            Unavailable: whoever knows its id does not answer.
        """
        if self.patient_id is None:
            return Asked(self.sent)
        try:
            theirs = self.community.patients.mapped(self.patient_id)
        except NotAnswering as problem:
            raise Unavailable(f"its id for the patient cannot be found: {problem}") from None
        return None if theirs is None else Asked(for_community(self.sent, theirs, self.targets), theirs)


@dataclass(frozen=True, slots=True)
class Routed:
    """Whom a query goes to: this community, others, and what is wrong with the rest of it."""

    here: bool
    others: tuple[ToAsk, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Documents by where they are, those of others by homeCommunityId; and why the rest cannot be asked for."""

    here: tuple[DocumentRequest, ...]
    others: tuple[tuple[Community, tuple[DocumentRequest, ...]], ...]
    findings: tuple[Finding, ...]


class InitiatingGateway:
    """One affinity domain's.  Safe with threads."""

    def __init__(self, homes: Sequence[str], communities: Communities, taking: Taking, most: int) -> None:
        """``homes`` are this community's; ``most``: objects that are taken of all others to one query."""
        self.homes, self.communities, self.taking, self._most = tuple(homes), communities, taking, most

    @property
    def home(self) -> str:
        return self.homes[0]

    def routed(self, sent: AdhocQuery) -> Routed:
        """Whom a query goes to.

        Raises:
            Refused: it does not say whom, and must; or it is for nobody who is known here.
        """
        about_patient = names_patient(sent) and sent.id in STORED_QUERIES
        if sent.home is not None:
            if sent.home in self.homes:
                return Routed(here=True)
            community = self.communities.of(sent.home)
            if community is None:
                raise Refused([_unknown(sent.home)])
            return self._to_all(sent, (sent.home,)) if about_patient else Routed(False, (ToAsk(community, sent),))
        if about_patient:
            return self._to_all(sent, target_communities(sent))
        if sent.id in STORED_QUERIES:
            rule = "homeCommunityId is required of a query that names no patient (ITI TF-2: 3.18.4.1.2.4)"
            raise Refused([Finding(ErrorCode.MISSING_HOME_COMMUNITY_ID, rule)])
        return Routed(here=True)  # the registry says that it does not know it

    def _to_all(self, sent: AdhocQuery, targets: Sequence[str]) -> Routed:
        """A query about a patient: to all communities that know them, or to those that it names."""
        named = [one for home in targets if (one := self.communities.of(home)) is not None]
        known = {*self.homes, *(home for one in named for home in one.homes)}
        findings = [_unknown(home) for home in targets if home not in known]
        here = not targets or any(home in self.homes for home in targets)
        if not here and not named:
            raise Refused(findings)
        patient_id, asked = patient_of(sent), list[ToAsk]()
        for community in {one.home: one for one in (named if targets else self.communities.all)}.values():
            own = tuple(home for home in targets if home in community.homes)
            to_ask = ToAsk(community, sent, patient_id, own)
            if not community.at_once or to_ask.asked() is not None:
                asked.append(to_ask)
        return Routed(here, tuple(asked), tuple(findings))

    def ask(self, to_ask: ToAsk, action: str, header: Element | None, *, whole: bool) -> Question[Found]:
        """Begin to ask a community; ``whole``: for whole objects, whatever the query wants.

        ``header`` is that of the message that it is asked for.
        """
        community, known = to_ask.community, STORED_QUERIES.get(to_ask.sent.id)
        single_patient = known is not None and known.single_patient
        if whole:
            to_ask = replace(to_ask, sent=replace(to_ask.sent, return_type="LeafClass"))

        def do(tries: Tries, until: float) -> Found:
            with calls.sent_for(header):
                asked = tries.asked = to_ask.asked()
            if asked is None:
                return Found()
            body = asked.body

            def send(turn: Turn) -> Element:
                return self.taking.asked(turn, action, body, community.blocks(turn.client.url, header))

            answer = community.called(community.query, tries, until, send)
            speaker, whom = speaker_of(community, tries), asked.patient_id
            return query_answer(answer, speaker, whom, single_patient=single_patient, most=self._most)

        return calls.ask(community, community.calls, to_ask, community.seconds, do)

    def gathered(self, questions: Sequence[Question[Found]]) -> list[Found]:
        """What each has answered, or why it has not; of all together no more objects than are taken."""
        calls.wait_for(questions)
        left, found = self._most, list[Found]()
        for one in questions:
            answer = _answered(one)
            if len(answer.objects) > left:
                rule = f"the answers have more than {self._most} objects; those of {one.community.name} are left out"
                answer = Found((), (Finding(ErrorCode.TOO_MANY_RESULTS, rule, one.community.home),), answered=False)
            left -= len(answer.objects)
            found.append(answer)
        return found

    def split(self, requests: Sequence[DocumentRequest]) -> Split:
        """Documents by where they are."""
        here, there, findings = list[DocumentRequest](), dict[str, list[DocumentRequest]](), list[Finding]()
        for one in requests:
            home = one.home_community_id or ""
            if home in self.homes:
                here.append(one)
            elif self.communities.of(home) is not None:
                there.setdefault(home, []).append(one)
            elif home:
                findings.append(_unknown(home, located(one)))
            else:
                rule = "HomeCommunityId is required of each document (ITI TF-2: 3.43.4.1.2)"
                findings.append(Finding(ErrorCode.MISSING_HOME_COMMUNITY_ID, rule, one.document_unique_id))
        places = ((self.communities.of(home), tuple(asked)) for home, asked in there.items())
        return Split(tuple(here), tuple((one, asked) for one, asked in places if one is not None), tuple(findings))


def _answered(question: Question[Found]) -> Found:
    try:
        return question.answer
    except Exception as problem:
        return Found((), (question.community.unavailable(why_not(problem)),), answered=False)


def _unknown(home: str, location: str = "") -> Finding:
    rule = f"{home[:72]} is no community that is known here (ITI TF-2: 3.38.4.1.3)"
    return Finding(ErrorCode.UNKNOWN_COMMUNITY, rule, location or home[:72])
