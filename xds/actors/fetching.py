"""Documents that are elsewhere, fetched into files: of other communities, and of other repositories of this one.

ITI TF-2: 3.39.4.1, 3.43.4.1.  Each that is asked has its own time; what comes too late, or too much, is not kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lxml import etree

from xds.actors import communities
from xds.actors.communities import Calls, Community, Question, Tries, Turn, Unavailable
from xds.actors.foreign_answers import Answered, Document, NotUnderstood, Speaker, retrieve_answer
from xds.ebxml import xdsb
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest
from xds.errors import Finding
from xds.system.disk import Reserve
from xds.wire.calls import host_of
from xds.wire.client import Answer, Client, Within
from xds.wire.faults import Fault
from xds.wire.memory import Memory, Overfull
from xds.wire.mime import Limits
from xds.wire.passing import Passing, passing
from xds.wire.spool import NotKept, Spool, Spooled
from xds.wire.xml import Element, name
from xds.wire.xop import take_inline

log = logging.getLogger("xds.actors.fetching")

ELEMENTS = 500_000
"""In one answer, and as many attributes: of some 5,000 entries.  Each costs some 200 bytes."""


@dataclass(slots=True)
class Came:
    """Documents that came from one place, in files that are there until ``close``."""

    documents: Sequence[Document]
    findings: tuple[Finding, ...]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Asking:
    """A request for documents or instances, and which it names."""

    action: str
    body: bytes
    requests: tuple[DocumentRequest, ...]

    @classmethod
    def of(cls, action: str, requests: Sequence[DocumentRequest]) -> Asking:
        """For documents."""
        return cls(action, etree.tostring(xdsb.write_retrieve_request(requests)), tuple(requests))

    @classmethod
    def of_images(cls, action: str, request: ImagingRequest) -> Asking:
        """For instances."""
        body = etree.tostring(xdsb.write_imaging_request(request))
        return cls(action, body, tuple(one.document for one in request.instances))


@dataclass(frozen=True, slots=True)
class Taking:
    """What is taken of one answer from elsewhere, and where it is put."""

    folder: Path
    answer_bytes: int
    document_bytes: int
    memory: Memory | None = None
    disk: Reserve | None = None
    sealed: bool = False
    """Its files are encrypted, as those of the store are on whose disk they are."""

    def spool(self) -> Spool:
        """The files of one answer."""
        return Spool(self.folder, disk=self.disk, sealed=self.sealed)

    def asked(self, turn: Turn, action: str, body: bytes, blocks: Sequence[Element]) -> Element:
        """The body of an answer without documents.

        Raises:
            NoReply, Faulted: as ``Client.send`` does.
            Overfull: there is no memory for it.
            NotKept: it has documents, and there is no room for these.
        """
        limits = Limits(self.answer_bytes, self.answer_bytes, 1, self.memory)
        within = Within(self.answer_bytes, ELEMENTS, turn.until, turn.silent_seconds)
        with self.spool() as spool:
            return turn.client.send(
                action, [body], spool, as_mtom=False, limits=limits, header_blocks=blocks, within=within
            ).body  # fmt: skip

    def documents(self, turn: Turn, asking: Asking, spool: Spool, blocks: Sequence[Element]) -> Answer:
        """The answer to a retrieval; documents that stand in the message itself are taken out of it, too.

        Raises:
            NoReply, Faulted, Overfull, NotKept: as above.
            Unavailable: what stands in it is no document.
        """
        limits, within = self._bounds(turn, asking)
        answer = turn.client.send(
            asking.action, [asking.body], spool, as_mtom=True, limits=limits, header_blocks=blocks, within=within
        )  # fmt: skip
        return Answer(answer.body, {**answer.contents, **_inline(answer.body, answer.contents, spool)})

    def passing(self, turn: Turn, asking: Asking, spool: Spool, blocks: Sequence[Element]) -> Passing:
        """The same, of which the documents are still to come.

        Raises:
            As above.
        """
        limits, within = self._bounds(turn, asking)
        answering = turn.client.asked(
            asking.action, [asking.body], as_mtom=True, header_blocks=blocks, within=within
        )  # fmt: skip
        answer = passing(answering, spool, limits, within)
        try:
            return replace(answer, contents={**answer.contents, **_inline(answer.body, answer.contents, spool)})
        except BaseException:
            answer.close()
            raise

    def _bounds(self, turn: Turn, asking: Asking) -> tuple[Limits, Within]:
        limits = Limits(self.answer_bytes, self.document_bytes, len(asking.requests), self.memory)
        return limits, Within(self.document_bytes, ELEMENTS, turn.until, turn.silent_seconds)

    def fetch(
        self, place: Community, action: str, requests: Sequence[DocumentRequest], header: Element | None
    ) -> Question[Came]:
        """Begin to fetch documents; ``header`` is that of the message that they are fetched for."""

        return self._begin(place, place.retrieve, place.retrievals, Asking.of(action, requests), header)

    def images(
        self, place: Community, action: str, request: ImagingRequest, header: Element | None, *, passes: bool
    ) -> Question[Came]:
        """Begin to fetch instances, likewise.

        ``passes``: its bytes are passed on as they come, and are read at once: nobody keeps them meanwhile.
        """
        asking = Asking.of_images(action, request)
        return self._begin(place, place.images, place.image_retrievals, asking, header, passes=passes)

    def _begin(
        self, place: Community, clients: Sequence[Client], calls: Calls, asking: Asking, header: Element | None, *,
        passes: bool = False,
    ) -> Question[Came]:  # fmt: skip
        def do(tries: Tries, until: float) -> Came:
            with ExitStack() as stack:
                spool = stack.enter_context(self.spool())

                def send(turn: Turn) -> Answered:
                    blocks = place.blocks(turn.client.url, header)
                    if not passes:
                        return self.documents(turn, asking, spool, blocks)
                    answer = self.passing(turn, asking, spool, blocks)
                    stack.callback(answer.close)
                    return answer

                answer = place.called(clients, tries, until, send)
                documents, findings = retrieve_answer(answer, speaker_of(place, tries), asking.requests)
                return Came(documents, findings, stack.pop_all().close)

        return communities.ask(place, calls, asking.requests, place.retrieve_seconds, do)


def _inline(body: Element, contents: Collection[Element], spool: Spool) -> dict[Element, Spooled]:
    """The documents that stand in the message itself, taken out of it.

    Raises:
        Unavailable: one is no document.
        NotKept: there is no room for it.
    """
    try:
        return {one: take_inline(one, spool) for one in body.iter(name("xds:Document")) if one not in contents}
    except Fault as fault:
        raise Unavailable(fault.reason) from None


def arrived(questions: Iterable[Question[Came]]) -> list[tuple[Question[Came], Came]]:
    """What each has given, or why it has not."""
    asked = list(questions)
    communities.wait_for(asked)
    return [(one, _arrived(one)) for one in asked]


def _arrived(question: Question[Came]) -> Came:
    try:
        return question.answer
    except Exception as problem:
        communities.give_up(question, lambda came: came.close())
        requests: Sequence[DocumentRequest] = question.asked
        why = why_not(problem)
        silent = tuple(question.community.unavailable(why, located(one)) for one in requests)
        return Came((), silent, lambda: None)


def located(request: DocumentRequest) -> str:
    """Where an error of a document of a community is (ITI TF-2: 3.39.4.1.3)."""
    return f"{request.home_community_id or ''} {request.document_unique_id}".strip()


def speaker_of(community: Community, tries: Tries) -> Speaker:
    """Who has answered: the gateway that was called last."""
    return Speaker(community.homes, f"{community.name} ({host_of(tries.done[-1].url)})")


def why_not(problem: Exception) -> str:
    """Why there is no answer, for people to read; what is a fault of ours is said to be one."""
    if isinstance(problem, Unavailable | NotUnderstood):
        return str(problem)
    if isinstance(problem, Overfull):
        return "there is no memory for its answer now"
    if isinstance(problem, NotKept):
        return "there is no room here for what came"
    log.error("gateway.failed", exc_info=problem)
    return "an internal error"
