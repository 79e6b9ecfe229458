"""The walker over bytes of strangers: what it reads, and how it refuses.  PS3.5: 7.1, 7.5, 6.2.2."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.imaging.elements import CutOff, Elements, Malformed, demand_whole, first, integer

UNDEFINED = 0xFFFFFFFF
TEXT, SEQUENCE = 0x00081030, 0x0040A730


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value


def bare(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(value: bytes, length: int | None = None) -> bytes:
    return bare(0xFFFEE000, value, length)


ITEM_END, SEQUENCE_END = bare(0xFFFEE00D, b""), bare(0xFFFEE0DD, b"")
INNER = short(TEXT, b"LO", b"deep")


@pytest.mark.parametrize(
    "data",
    [
        long(SEQUENCE, b"SQ", item(INNER) + item(INNER)),
        long(SEQUENCE, b"SQ", item(INNER + ITEM_END, UNDEFINED) * 2),
        long(SEQUENCE, b"SQ", item(INNER) * 2 + SEQUENCE_END, UNDEFINED),
        long(SEQUENCE, b"SQ", item(INNER + ITEM_END, UNDEFINED) * 2 + SEQUENCE_END, UNDEFINED),
        long(SEQUENCE, b"UN", item(bare(TEXT, b"deep")) * 2 + SEQUENCE_END, UNDEFINED),
        long(SEQUENCE, b"UN", item(bare(TEXT, b"deep") + ITEM_END, UNDEFINED) * 2 + SEQUENCE_END, UNDEFINED),
    ],
    ids=["defined", "items undefined", "sequence undefined", "both undefined", "unknown", "unknown, both undefined"],
)
def test_a_sequence_is_read_however_its_lengths_are_written(data: bytes) -> None:
    root = Elements(data + short(0x0040DB00, b"CS", b"2010"))
    assert [first(one, TEXT) for one in root.items(SEQUENCE)] == ["deep", "deep"]
    assert first(root, 0x0040DB00) == "2010"


def test_an_item_inherits_the_character_set_and_may_have_its_own() -> None:
    own = short(0x00080005, b"CS", b"ISO_IR 144") + short(TEXT, b"LO", "Люк ".encode("iso8859-5"))
    inherited = short(TEXT, b"LO", "Jérôme".encode("latin-1"))
    data = short(0x00080005, b"CS", b"ISO_IR 100") + long(SEQUENCE, b"SQ", item(inherited) + item(own))
    assert [first(one, TEXT) for one in Elements(data).items(SEQUENCE)] == ["Jérôme", "Люк"]


def test_values_are_split_and_trimmed() -> None:
    assert Elements(short(TEXT, b"LO", b" a\\b \\\\c ")).values(TEXT) == ("a", "b", "", "c")
    assert Elements(short(TEXT, b"LO", b"")).values(TEXT) == ()
    assert Elements(b"").values(TEXT) == ()


@pytest.mark.parametrize(("value", "expected"), [(b"12 ", 12), (b"+7", 7), (b"-1", -1), (b"1.5 ", None), (b"", None)])
def test_an_integer_string_is_a_number_or_none(value: bytes, expected: int | None) -> None:
    assert integer(Elements(short(0x00200013, b"IS", value)), 0x00200013) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08\0\x30\x10LO", "cut off"),
        (b"\x08\0\x30\x10SQ\0\0", "cut off"),
        (short(TEXT, b"LO", b"text")[:-1], "runs past the end"),
        (short(TEXT, b"\0\0", b"text"), "no value representation"),
        (item(INNER), "an item outside"),
        (long(TEXT, b"UT", b"", UNDEFINED), "undefined length of no sequence"),
        (long(SEQUENCE, b"SQ", item(INNER), UNDEFINED), "without its end"),
        (long(SEQUENCE, b"SQ", INNER + SEQUENCE_END, UNDEFINED), "no item"),
        (long(SEQUENCE, b"SQ", item(INNER, UNDEFINED), UNDEFINED), "without its end"),
        (long(SEQUENCE, b"SQ", item(item(b""), UNDEFINED) + SEQUENCE_END, UNDEFINED), "within an item"),
        (long(SEQUENCE, b"SQ", item(b"\x08\0\x30\x10\0\0\0\0", UNDEFINED), UNDEFINED), "no value representation"),
        (long(SEQUENCE, b"SQ", item(b"\x08\0\x30\x10SQ\0\0", UNDEFINED), UNDEFINED), "without its end"),
        (long(SEQUENCE, b"SQ", INNER), "no item"),
        (long(SEQUENCE, b"SQ", item(INNER)[:-1]), "runs past the end"),
        (long(SEQUENCE, b"SQ", item(b"")[:-1]), "cut off"),
    ],
)
def test_what_is_no_dataset_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        list(Elements(data).items(SEQUENCE))


def test_an_item_in_implicit_vr_outside_a_sequence_is_refused() -> None:
    with pytest.raises(Malformed, match="an item outside"):
        Elements(item(b""), explicit=False)


def test_too_many_elements_side_by_side_are_refused() -> None:
    data = b"".join(short(tag, b"LO", b"") for tag in range(0x00110000, 0x00110000 + 10_001))
    with pytest.raises(Malformed, match="side by side"):
        Elements(data)


def test_what_is_nested_too_deeply_is_refused_on_the_way_down() -> None:
    data = INNER
    for _ in range(20):
        data = long(SEQUENCE, b"SQ", item(data))
    with pytest.raises(Malformed, match="nested"):
        _descend(Elements(data))


def _descend(one: Elements) -> None:
    for inner in one.items(SEQUENCE):
        _descend(inner)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, explicit: bool) -> None:
    try:
        _descend(Elements(data, explicit=explicit))
    except Malformed as refused:
        assert str(refused)


def test_a_dataset_that_ends_early_is_cut_off() -> None:
    demand_whole(INNER, 0, explicit=True)
    with pytest.raises(CutOff):
        demand_whole(INNER[:-1], 0, explicit=True)
