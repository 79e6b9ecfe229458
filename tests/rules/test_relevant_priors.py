"""Which earlier examinations matter: one good order, one good examination before it, and one part of them changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import DCM, LOINC, an_entry, text
from xds.endpoints.console.priors import BODY_PARTS, MODALITIES
from xds.errors import Unusable
from xds.imaging import anatomy
from xds.imaging.entry import SCHEMES
from xds.metadata.datatypes import Author, Code, Dtm, ReferenceId, Xon
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.vocabulary import REFERENCE_STUDY
from xds.rules.relevant_priors import Prior, Rules, examination, read, read_file

TODAY = date(2026, 12, 1)
CHEST = Code("816094009", SCHEMES["SCT"], "Thorax")
HEAD = Code(anatomy.HEAD_AND_NECK.value, SCHEMES["SCT"], "Head and Neck")


def made(modality: str = "CT", *parts: Code, days: int = 9, **changes: object) -> DocumentEntry:
    """A manifest of so many days ago."""
    begun = Dtm((TODAY - timedelta(days)).strftime("%Y%m%d0830"))
    codes = (Code(modality, DCM, modality), *(parts or (CHEST,)))
    return an_entry(**{"event_code_list": codes, "service_start_time": begun, **changes})


def judged(entry: DocumentEntry, modality: str = "CT", part: str = "CHEST", rules: Rules | None = None) -> list[Prior]:
    rules = rules or Rules()
    return rules.priors(rules.ordered([modality], part, (), TODAY), [entry]).found


def test_the_same_examination_a_few_days_ago_may_make_it_needless_and_says_so_in_a_sentence() -> None:
    (one,) = judged(made())
    assert (one.age, one.same_region, one.needless) == (9, True, True)
    assert one.said("North") == "A CT of the same part was made 9 days earlier at General Hospital"
    (other,) = judged(made("MR", author=(), days=3000))
    assert other.said("North") == "An MR of the same part was made 8 years earlier at North"


@pytest.mark.parametrize(
    ("entry", "matters", "needless"),
    [
        (made(days=0), True, True),
        (made(days=30), True, True),
        (made(days=31), True, False),
        (made(days=3653), True, False),
        (made(days=3654), False, False),
        (made(days=-1), True, True),  # made since, and not for this order
        (made("MR"), True, False),
        (made("CT", HEAD), True, False),  # of the same kind, by which one sees how it was done
        (made("CT", HEAD, days=1828), False, False),
        (made("MR", HEAD), False, False),
        (made("CT", Code("38266002", SCHEMES["SCT"], "Entire body")), True, False),  # the same region, no chest CT
        (made("CT", Code("67734004", SCHEMES["SCT"], "Upper trunk")), True, False),
        (made("MR", Code("80891009", SCHEMES["SCT"], "Heart")), True, False),  # which is in the chest
        (made("CT", Code("1", LOINC, "of another scheme")), True, False),  # its region is not known
        (made("MR", Code("1", LOINC, "of another scheme")), False, False),
        (made(service_start_time=None), True, False),  # of no day: nobody says how old it is
        (made(service_start_time=Dtm("202611")), True, False),  # nor to the day
        (made("MR", service_start_time=Dtm("2016")), True, False),  # at the end of it at the earliest
        (made(format_code=Code("urn:ihe:iti:xds-sd:pdf:2008", "1.3.6.1.4.1.19376.1.2.3", "PDF")), False, False),
    ],
)
def test_what_matters_does_so_by_its_kind_its_region_and_its_age(
    entry: DocumentEntry, matters: bool, needless: bool
) -> None:
    assert [one.needless for one in judged(entry)] == ([needless] if matters else [])


@pytest.mark.parametrize(
    ("ordered", "before", "needless"), [("DX", "CR", True), ("CR", "DX", True), ("CT", "CR", False)]
)
def test_a_radiograph_is_one_whatever_took_it(ordered: str, before: str, needless: bool) -> None:
    assert [one.needless for one in judged(made(before, days=7), ordered)] == [needless]


@pytest.mark.parametrize(
    ("modality", "ordered", "before"),
    [("DX", "KNEE", "FOOT"), ("MR", "CSPINE", "LSPINE"), ("US", "LIVER", "UTERUS"), ("CT", "NECK", "EYE")],
)
def test_of_another_part_of_the_same_region_it_makes_nothing_needless(modality: str, ordered: str, before: str) -> None:
    part = anatomy.body_part(before)
    assert part is not None
    (one,) = judged(made(modality, Code(part.value, SCHEMES["SCT"], before), days=3), modality, ordered)
    assert (one.needless, one.same_region) == (False, True)


@pytest.mark.parametrize("part", ["HAND", "KNEE", "BREAST"])
def test_of_what_has_two_sides_nobody_knows_which_it_was(part: str) -> None:
    code = anatomy.body_part(part)
    assert code is not None
    assert [one.needless for one in judged(made("DX", Code(code.value, SCHEMES["SCT"], part)), "DX", part)] == [False]


def test_the_ct_of_a_pet_is_no_ct_of_the_chest() -> None:
    entry = made()
    entry = replace(entry, event_code_list=(Code("PT", DCM, "PT"), *entry.event_code_list))
    assert [one.needless for one in judged(entry)] == [False]


def test_how_many_could_not_be_judged_is_told() -> None:
    rules, unknown = Rules(), made("MR", Code("1", LOINC, "of another scheme"))
    found = rules.priors(rules.ordered(["CT"], "CHEST", (), TODAY), [unknown, made(), made("MR", HEAD)])
    assert (len(found.found), found.unjudged) == (1, 1)


def test_an_order_whose_region_nobody_says_has_priors_by_its_kind_alone() -> None:
    assert [one.needless for one in judged(made(), part="")] == [False]
    assert judged(made("MR"), part="") == []


def test_the_study_that_the_order_is_for_is_no_prior_of_it() -> None:
    rules, entry = Rules(), made()
    entry = replace(entry, reference_id_list=(ReferenceId.of("1.2.3", REFERENCE_STUDY),))
    ordered = rules.ordered(["CT"], "CHEST", (), TODAY)
    assert rules.priors(ordered, [entry], "1.2.3").found == []
    assert len(rules.priors(ordered, [entry], "1.2").found) == 1


def test_the_newest_comes_first_and_what_has_no_day_last() -> None:
    entries = [made(days=40), made(service_start_time=None), made(days=2)]
    found = Rules().priors(Rules().ordered(["CT"], "CHEST", (), TODAY), entries)
    assert [one.age for one in found.found] == [2, 40, None]


def test_where_it_was_made_is_told_by_its_own_name() -> None:
    (one,) = judged(made(author=(Author(None, (Xon("St. Mary\\T\\s^^^^^&1.2.3&ISO^^^^7"),)),)))
    assert one.said("North").endswith("at St. Mary&s")
    (one,) = judged(made(author=(Author(None, (Xon("Haus A\\B"),)),)))
    assert one.said("North").endswith("at Haus A\\B")  # what is no escape is as it is written


FILE = """
[[relevant]]
of = ["CT", "MR"]
are = ["MR"]
region = "any"
days = 100
[[needless]]
are = "same"
days = 3
[procedures."24627-2"]
modality = "CT"
body_part = "chest"
"""


def test_a_regions_own_rules_take_the_place_of_ours() -> None:
    rules = read(FILE)
    assert [one.needless for one in judged(made(days=3), rules=rules)] == [True]
    assert judged(made(days=4), rules=rules) == []
    assert len(judged(made("MR", HEAD, days=100), rules=rules)) == 1
    assert judged(made("MR", HEAD, days=101), rules=rules) == []
    assert judged(made("MR", HEAD), "US", rules=rules) == []


def test_what_a_code_is_of_is_known_by_the_rules_where_the_order_does_not_say() -> None:
    rules = read(FILE)
    by_code = rules.ordered([], "", ("unknown", "24627-2"), TODAY)
    assert by_code == rules.ordered(["CT"], "CHEST", (), TODAY)
    assert rules.ordered(["MR"], "", ("24627-2",), TODAY).modalities == {"MR"}
    assert rules.ordered([], "HEAD", ("24627-2",), TODAY).regions == {anatomy.HEAD_AND_NECK.value}


def test_a_file_that_names_one_kind_of_rule_leaves_the_others_as_they_are() -> None:
    assert read("[[needless]]\ndays = 1").relevant == Rules().relevant
    assert read("needless = []").needless == ()
    assert read_file("") == Rules()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("[[relevant]", "priors: "),
        ("[[relevent]]\ndays = 1", "relevent: only relevant, needless and procedures"),
        ("[relevant]\ndays = 1", r"each rule begins with \[\[relevant\]\]"),
        ("relevant = 1", r"each rule begins with \[\[relevant\]\]"),
        ('[[relevant]]\nof = ["CT"]', "relevant 1: days"),
        ("[[relevant]]\ndays = -1", "relevant 1: days"),
        ("[[relevant]]\ndays = true", "relevant 1: days"),
        ('[[relevant]]\ndays = 1\n[[relevant]]\ndays = 1\nregion = "near"', "relevant 2: region"),
        ('[[needless]]\ndays = 1\nof = ["ct"]', "needless 1: of: modalities as DICOM has them"),
        ('[[needless]]\ndays = 1\nof = "CT"', "needless 1: of"),
        ("[[needless]]\ndays = 1\nare = [1]", "needless 1: are"),
        ("[[needless]]\ndays = 1\nyears = 2", "years: only days, of, are and region"),
        ("procedures = 1", "procedures is a table"),
        ('[procedures]\n"1" = "CT"', "the procedure 1: modality and body_part"),
        ('[procedures."1"]\nbody_part = "CHESST"', "the procedure 1: CHESST is no body part"),
        ('[procedures."1"]\nbody_part = 1', "the procedure 1: body_part"),
        ('[procedures."1"]\nmodality = "ct"', "the procedure 1: modality"),
    ],
)
def test_what_is_no_rule_is_named(file: str, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        read(file)


def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: object) -> None:
    with pytest.raises(Unusable, match=r"priors\.rules: .* cannot be read"):
        read_file(f"{tmp_path}/none.toml")


def test_a_body_part_that_is_no_defined_term_is_refused_and_all_that_are_offered_are_some() -> None:
    with pytest.raises(Unusable, match=r"CHESST is no body part of PS3\.16"):
        Rules().ordered(["CT"], "CHESST", (), TODAY)
    with pytest.raises(Unusable, match="SR is no modality of DICOM that makes images"):
        Rules().ordered(["SR"], "CHEST", (), TODAY)
    for part in BODY_PARTS:
        assert Rules().ordered(MODALITIES, part, (), TODAY).regions, part


@given(st.text(max_size=16), st.sampled_from(["", DCM, SCHEMES["SCT"], "SCT", "x"]))
def test_whatever_an_entry_is_coded_by_it_is_read(code: str, scheme: str) -> None:
    found = examination(an_entry(event_code_list=(Code(code or "x", scheme or "x", ""),), title=text(code or "x")))
    assert found.modalities <= {code or "x"}
