"""The one parser: nothing is fetched, nothing expands, depth and text are bounded where we say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from lxml import etree

from xds.wire import xml
from xds.wire.xml import DEPTH_LIMIT, ELEMENTS, NotXml, name, parse, schema, schema_errors

T = TypeVar("T")

BOMB = "<!DOCTYPE a [<!ENTITY e0 'ha'>" + "".join(
    f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10)
)  # a billion laughs
LONG = "A" * 11_000_000  # over what libxml2 takes without being asked


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>",
        "<!DOCTYPE a [<!ENTITY % e SYSTEM 'http://127.0.0.1:1/x'> %e;]><a/>",
        f"{BOMB}]><a>&e9;</a>",
        f"{BOMB}]><a b='&e9;'/>",
        f"{BOMB}]><a b='&e9;'>{LONG}</a>",
        f"{BOMB}]><a><b c='&e9;'/>{LONG}</a>",
        f"<!DOCTYPE a><a>{LONG}</a>",
        "<a>&undefined;</a>",
        "<a",
        "",
        "no xml",
        "<a/><b/>",
        "<a b='1' b='2'/>",
        "<x:a/>",
        "<a>\0</a>",
    ],
)
def test_what_is_no_plain_document_is_refused_at_once(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(NotXml):
        parse(text.encode())
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("text", ["", LONG])
def test_depth_is_bounded_whether_or_not_a_text_is_long(text: str) -> None:
    def nested(depth: int) -> bytes:
        return f"{'<a>' * depth}{text}{'</a>' * depth}".encode()

    assert parse(nested(DEPTH_LIMIT - 1)).tag == "a"
    for depth in (DEPTH_LIMIT + 1, 2000, 10_000):
        with pytest.raises(NotXml):
            parse(nested(depth))


def test_a_text_may_be_as_long_as_a_root_part() -> None:
    assert parse(b"<a>" + b"A" * (32 * 1024 * 1024 - 7) + b"</a>").text == "A" * (32 * 1024 * 1024 - 7)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_other_encodings_are_read_by_their_declaration(encoding: str) -> None:
    assert parse(f"<?xml version='1.0' encoding='{encoding}'?><a>ä</a>".encode(encoding)).text == "ä"


def test_comments_and_processing_instructions_are_left_out() -> None:
    assert etree.tostring(parse(b"<?p q?><a>x<!-- c -->y<?p q?></a>")) == b"<a>xy</a>"


def test_the_reason_names_the_line_and_nothing_of_the_document() -> None:
    with pytest.raises(NotXml, match=r"^not well-formed XML, line 2$"):
        parse(b"<a>\n<Mueller></a>")


# Schemas, in a process of many threads.


def in_threads(do: Callable[[int], T], count: int = 8) -> list[T]:
    """What each thread gives; all begin together."""
    together = threading.Barrier(count)

    def begin(number: int) -> T:
        together.wait(20)
        return do(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_no_two_schemas_are_compiled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_, under_way, most = etree.XMLSchema, threading.Semaphore(1), list[bool]()

    def watched(document: object) -> object:
        most.append(under_way.acquire(blocking=False))
        time.sleep(0.02)
        under_way.release()
        return compile_(document)

    xml._compiled.cache_clear()
    monkeypatch.setattr(xml.etree, "XMLSchema", watched)
    files = ("lcm.xsd", "query.xsd", "xdsb.xsd", "xdsib.xsd")
    found = in_threads(lambda number: (number % 4, schema(files[number % 4])))
    assert most == [True] * 4
    assert len({id(one) for _, one in found}) == 4


def test_each_thread_is_told_of_its_own_element() -> None:
    def errors(number: int) -> bool:
        tag = f"Unknown{number}"
        for _ in range(200):
            element = etree.Element(name("query:AdhocQueryRequest"))
            etree.SubElement(element, tag)
            found = schema_errors("query.xsd", element)
            if [tag in error.message for error in found] != [True]:
                return False
        return True

    assert in_threads(errors) == [True] * 8


MANY = ELEMENTS + 1


@pytest.mark.parametrize(
    "data",
    [
        b"<x>" + b"<a/>" * MANY + b"</x>",
        b"<x>" + b"<a></a>" * MANY + b"</x>",
        b"<x>" + b'<a b="" c="" d=""/>' * (MANY // 3 + 1) + b"</x>",
        b"<x>" + b'<a xmlns:b="u" xmlns:c="v"/>' * (MANY // 2 + 1) + b"</x>",
        b"<x " + b" ".join(b"a%d='>'" % number for number in range(MANY)) + b"/>",
        b"<x>" + LONG.encode() + b"<a/>" * MANY + b"</x>",
        ("<x>" + "<a/>" * MANY + "</x>").encode("utf-16"),
        b'<?xml version="1.0" encoding="UTF-7"?><x>' + b"+ADw-a/+AD4-" * MANY + b"</x>",
        b"<!-- --><?a b?><x>" + b"<a/>" * MANY,
    ],
    ids=[
        "elements",
        "in pairs",
        "attributes",
        "namespaces",
        "in one tag",
        "after a long text",
        "UTF-16",
        "UTF-7",
        "cut",
    ],
)
def test_too_many_elements_or_attributes_are_not_taken(data: bytes) -> None:
    with pytest.raises(NotXml, match=r"more than \d+|over \d+ bytes"):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"<x>" + b'<a b="c"/>' * (ELEMENTS - 1) + b"</x>",
        b"<x>" + b"&lt;a b='c'/&gt;" * MANY + b"</x>",
        b"<x>" + b"<!-- a='b' -->" * MANY + b"<?a b='c'?>" * MANY + b"</x>",
        b"<x>" + b"<![CDATA[<a b=''/>]]>" * MANY + b"</x>",
        b"<?xml version='1.0' encoding='UTF-7'?><x/>",
    ],
    ids=["just as many", "text", "comments", "CDATA", "UTF-7"],
)
def test_what_only_looks_like_too_many_elements_is_taken(data: bytes) -> None:
    assert parse(data).tag == "x"


def test_an_answer_that_was_asked_for_may_have_more_elements() -> None:
    assert len(parse(b"<x>" + b"<a/>" * MANY + b"</x>", most=None)) == MANY
