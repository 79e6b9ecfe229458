"""The communities beside this one: which of them a message is for, and how they are called without holding one another.

ITI TF-1: 18.3; ITI TF-2: 3.38.4.1.  Each has its own time, and its own number of calls under way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from xds.actors.waiting import Waiting
from xds.archives.patients import Patients
from xds.errors import ErrorCode, Finding
from xds.store.audit.records import now_microseconds
from xds.wire.calls import host_of
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.xml import Element

SAID = 400
"""Characters of why there is no answer, which may be the peer's own words."""

GRACE_SECONDS = 1.0
"""How long after its time a call is waited for that ends by itself, and can say why it has failed."""

LONG_SECONDS, SILENT, REST_SECONDS = 1.0, 3, 10.0
"""A wait for nothing that is long, how many one after the other make a community rest, and for how long it does.

Without that everybody would wait for one that is down at each question.
"""

_T = TypeVar("_T")

_sent_for: ContextVar[Element | None] = ContextVar("sent_for", default=None)


@contextmanager
def sent_for(header: Element | None) -> Iterator[None]:
    """What is asked meanwhile is asked for the message of this header."""
    before = _sent_for.set(header)
    try:
        yield
    finally:
        _sent_for.reset(before)


def header_of_request() -> Element | None:
    """The header of the message for which others are being asked."""
    return _sent_for.get()


class Unavailable(Exception):
    """A community gives no answer; the message says why, for people to read."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A gateway that was called: when, in microseconds since 1970, and what kept it from answering."""

    url: str
    started: int
    silent: str = ""


@dataclass(slots=True)
class Tries:
    """The gateways that were called for one question, in their order; the last may not have answered yet."""

    done: list[Tried] = field(default_factory=list)
    under_way: Tried | None = None
    asked: Any = None  # what they were asked, once that is known

    def all(self) -> Iterator[Tried]:
        """Those that are done with; and the one that is not, as having been silent."""
        yield from tuple(self.done)
        last = self.under_way
        if last is not None:
            yield Tried(last.url, last.started, "no answer in time")


@dataclass(frozen=True, slots=True)
class Turn:
    """A gateway whose turn it is: its answer is taken until then (monotonic), and it is silent for so long at most."""

    client: Client
    until: float
    silent_seconds: float


class Calls:
    """Calls to one community, each in a thread of its own.  Safe with threads."""

    def __init__(self, most: int, waiting: Waiting) -> None:
        """``waiting``: the requests of the process that wait for anybody, beside the calls of this community."""
        self._free, self._waiting = threading.BoundedSemaphore(most), waiting
        self._silent, self._rests_until = 0, 0.0

    def start(self, do: Callable[[], _T]) -> Future[_T]:
        """Begin one for whom this thread works.

        A thread, and not a pool's: whoever is too slow is not waited for when the process ends, either.

        Raises:
            Unavailable: as many as there may be are under way, or it rests.
        """
        request = threading.get_ident()
        if time.monotonic() < self._rests_until or not self._free.acquire(blocking=False):
            raise Unavailable("its last calls were not answered, or as many as it may have are under way")
        if not self._waiting.enter(request):
            self._free.release()
            raise Unavailable("as many requests as may wait for other communities here do")
        future: Future[_T] = Future()

        def run() -> None:
            begun = time.monotonic()
            try:
                result = do()
            except BaseException as problem:
                if isinstance(problem, Unavailable | NoReply):  # and not what we have no room for
                    self._was_silent(time.monotonic() - begun)
                self._left(request)
                future.set_exception(problem)
            else:
                self._silent = 0
                self._left(request)
                future.set_result(result)

        threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
        return future

    def _left(self, request: int) -> None:
        """One has ended; that is so before its answer is there, by which another may begin."""
        self._waiting.leave(request)
        self._free.release()

    def _was_silent(self, seconds: float) -> None:
        """Have a community rest that has let several callers wait for nothing, one after the other."""
        self._silent += seconds >= LONG_SECONDS
        if self._silent >= SILENT:
            self._silent, self._rests_until = 0, time.monotonic() + REST_SECONDS


@dataclass(frozen=True, slots=True)
class Community:
    """Another community.  ``patients`` gives its id for one of ours, ``ours`` the other way round.

    Without ``homes``: another repository of our own.
    """

    name: str
    homes: tuple[str, ...]  # urn:oid:…
    query: Sequence[Client]
    retrieve: Sequence[Client]
    patients: Patients
    ours: Patients
    at_once: bool  # they are found in a table, and nobody is asked
    seconds: float
    retrieve_seconds: float
    calls: Calls
    retrievals: Calls
    blocks: Callable[[str, Element | None], Sequence[Element]] = field(repr=False)
    """The header blocks of a message to a URL, by the header of the message that it is sent for."""
    images: Sequence[Client]
    """Its Responding Imaging Gateways; of a source of our own, that one."""
    image_retrievals: Calls

    @property
    def home(self) -> str:
        return next(iter(self.homes), "")

    def called(self, clients: Sequence[Client], tries: Tries, until: float, send: Callable[[Turn], _T]) -> _T:
        """What the first gateway says that answers.  Each may be silent for its share of the time that is left.

        Raises:
            Unavailable: none does, or the time is over before the next is called: nobody waits for it then.
        """
        for place, client in enumerate(clients):
            left = until - time.monotonic()
            if left <= 0:
                break
            one = tries.under_way = Tried(client.url, now_microseconds())
            try:
                said = send(Turn(client, until, left / (len(clients) - place)))
            except (NoReply, Faulted) as problem:
                why = str(problem).removeprefix(f"{client.url}: ")
                why = why if isinstance(problem, NoReply) else f"a SOAP fault: {why}"
                tries.done.append(Tried(one.url, one.started, why or "no answer"))
                tries.under_way = None
                continue
            tries.done.append(one)
            tries.under_way = None
            return said
        silent = "; ".join(f"{host_of(one.url)}: {one.silent}" for one in tries.done)
        raise Unavailable(silent or "no answer in time")

    def unavailable(self, why: str, location: str = "") -> Finding:
        """What is told of it when it gives no answer (ITI TF-2: 3.38.4.1.3): codeContext says which gateway."""
        said = "".join(one if one.isprintable() else "?" for one in why)[:SAID]
        if not self.homes:
            rule = f"the repository {self.name} gives no answer: {said}"
            return Finding(ErrorCode.REPOSITORY_ERROR, rule, location)
        context = f"{self.home} ({self.name}) gives no answer: {said}"
        return Finding(ErrorCode.UNAVAILABLE_COMMUNITY, context, location or self.home)


@dataclass(slots=True)
class Question(Generic[_T]):
    """A question to a community that is under way, or could not even begin."""

    community: Community
    asked: Any
    tries: Tries
    future: Future[_T] | None
    until: float  # time.monotonic()
    refused: str = ""

    @property
    def answer(self) -> _T:
        """The answer.

        Raises:
            Unavailable: there is none in time.
        """
        if self.future is None:
            raise Unavailable(self.refused)
        if not self.future.done():
            raise Unavailable("no answer in time")
        return self.future.result()


def ask(
    community: Community, calls: Calls, asked: Any, seconds: float, do: Callable[[Tries, float], _T]
) -> Question[_T]:
    """Begin to ask, as one of these calls; ``do`` is given where to note whom it calls, and until when."""
    tries, until = Tries(), time.monotonic() + seconds
    try:
        return Question(community, asked, tries, calls.start(lambda: do(tries, until)), until)
    except Unavailable as refused:
        return Question(community, asked, tries, None, until, str(refused))


def wait_for(questions: Iterable[Question[Any]]) -> None:
    """Until each is answered, or its time is over."""
    waiting = [one for one in questions if one.future is not None]
    for one in sorted(waiting, key=lambda one: one.until):
        assert one.future is not None  # noqa: S101
        wait([one.future], max(0.0, one.until + GRACE_SECONDS - time.monotonic()))


def give_up(question: Question[Any], drop: Callable[[Any], None]) -> None:
    """Have what still comes dropped."""

    def dropped(future: Future[Any]) -> None:
        if future.exception() is None:
            drop(future.result())

    if question.future is not None:
        question.future.add_done_callback(dropped)


class Communities:
    """All of them, by their homeCommunityIds."""

    def __init__(self, communities: Sequence[Community]) -> None:
        self.all = tuple(communities)
        self._by_home: Mapping[str, Community] = {home: one for one in self.all for home in one.homes}

    def of(self, home: str | None) -> Community | None:
        return self._by_home.get(home or "")
