"""Who a patient is: words that are found however they are written, and parts that stay in bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.metadata.demographics import (
    TEXT_LENGTH,
    WORD_LENGTH,
    Address,
    Demographics,
    PersonName,
    birth_date,
    cut,
    folded,
    sex,
)

ANNA = Demographics(
    (PersonName("Müller-Øst", "Anna Zoë", "Dr.", "jr."), PersonName("山田", "花子")), "19561127", "F", "Łukasz",
    Address("Am Dom 1", "Köln", "NW", "50667", "DEU"), ("+49 221 1",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Müller", ["muller", "mueller"]),
        ("MÜLLER-OST", ["muller", "mueller", "ost"]),
        ("Mu\u0308ller", ["muller", "mueller"]),  # the sign as a letter of its own
        ("Straße", ["strasse"]),
        ("Ørsted", ["orsted", "oersted"]),
        ("Łukasz d'Étretat", ["lukasz", "d", "etretat"]),
        ("İstanbul", ["istanbul"]),
        ("山田 花子", ["山田", "花子"]),
        ("O'Neill_2", ["o", "neill", "2"]),
        (" , ", []),
    ],
)
def test_a_name_is_found_without_case_and_signs(text: str, words: list[str]) -> None:
    assert list(folded(text)) == words


@given(st.text())
def test_what_is_folded_is_folded_once_for_all_and_short(text: str) -> None:
    for word in folded(text):
        assert 0 < len(word) <= WORD_LENGTH
        assert word in list(folded(word))


@given(st.text(max_size=1000))
def test_a_part_is_on_one_line_and_no_longer_than_it_may_be(text: str) -> None:
    assert cut(text).isprintable()
    assert len(cut(text)) <= TEXT_LENGTH
    assert cut(cut(text)) == cut(text)


def test_all_names_have_their_words() -> None:
    assert ANNA.words() >= {"muller", "mueller", "ost", "oest", "anna", "zoe", "山田", "花子"}


def test_what_is_kept_comes_back() -> None:
    assert Demographics.of_json(ANNA.as_json()) == ANNA
    assert Demographics.of_json(Demographics().as_json()) == Demographics()


def test_a_name_is_shown_family_first() -> None:
    assert [str(one) for one in ANNA.names] == ["Müller-Øst, Dr. Anna Zoë jr.", "山田, 花子"]
    assert str(PersonName(given="Anna")) == "Anna"


@pytest.mark.parametrize(
    ("text", "date"),
    [("19561127", "19561127"), ("195611271530+0100", "19561127"), ("1956", "1956"), ("195611", "195611"),
     ("", ""), ("56", ""), ("19561327", ""), ("19561132", ""), ("unknown", "")],
)  # fmt: skip
def test_a_birth_date_is_one_or_none(text: str, date: str) -> None:
    assert birth_date(text) == date


def test_a_sex_is_a_code_of_the_table_or_none() -> None:
    assert [sex(one) for one in ("f", "M", "UN", "U", "x", "")] == ["F", "M", "O", "U", "", ""]
