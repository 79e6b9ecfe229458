"""What a source's patients and codes are here; what is not said is not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import ANNA, BERT, a_folder, a_submission_set, an_association, an_entry
from xds.ebxml.rim import Slot
from xds.errors import Unusable
from xds.merging.mapping import MERGED_FROM, Mapped, patient_table, patients_of, read_codes
from xds.metadata.datatypes import Code
from xds.metadata.vocabulary import AssociationType
from xds.settings.merging import Merge

CODES = '["1.3.6.1.4.1.19376.1.2.6.1"]\nIMAGES = ["IMG", "1.2.3.77", "Pictures"]\n'


def mapped(folder: Path, codes: str = "", **changes: object) -> Mapped:
    if codes:
        (folder / "codes.toml").write_text(codes)
        changes["codes"] = str(folder / "codes.toml")
    merge = Merge(**changes)  # type: ignore[arg-type]
    return Mapped("south", merge, patient_table("south", merge))


def test_a_patient_is_who_the_table_says_or_whose_authority_is_the_same(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(f"d-1^^^&1.9&ISO,{BERT}\n")
    of = mapped(tmp_path, patients=str(table), authorities=(ANNA.authority,))
    found = [of.patient(one) for one in (ANNA, type(ANNA).parse("d-1^^^&1.9&ISO"), type(ANNA).parse("d-2^^^&1.9&ISO"))]
    assert found == [ANNA, BERT, None]


def test_codes_that_are_named_are_written_as_they_are_here_and_others_stay(tmp_path: Path) -> None:
    entry = an_entry()
    here = mapped(tmp_path, CODES).mapped(entry, BERT)
    assert here.class_code == Code("IMG", "1.2.3.77", "Pictures")
    assert (here.type_code, here.event_code_list) == (entry.type_code, entry.event_code_list)


@pytest.mark.parametrize("item", [an_entry(), a_submission_set(), a_folder()])
def test_an_object_keeps_its_ids_and_says_where_it_is_from(tmp_path: Path, item: object) -> None:
    here = mapped(tmp_path).mapped(item, BERT)  # type: ignore[type-var]
    assert (here.entry_uuid, here.unique_id) == (item.entry_uuid, item.unique_id)  # type: ignore[attr-defined]
    assert here.patient_id == BERT  # type: ignore[attr-defined]
    assert here.extra_slots == (Slot(MERGED_FROM, ("south",)),)  # type: ignore[attr-defined]
    assert mapped(tmp_path).mapped(here, BERT) == here


def test_an_association_stays_as_it_is_but_for_the_community_that_it_was_of(tmp_path: Path) -> None:
    one = an_association(AssociationType.RPLC, "a", "b", home_community_id="urn:oid:1.2")
    here = mapped(tmp_path).mapped(one, BERT)
    assert (here.source, here.target, here.home_community_id, here.extra_slots) == ("a", "b", None, ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scheme = 1\n", "scheme is no table of codes"),
        ('["1.2"]\nA = ["B", "1.3"]\n', "A of 1.2 needs a code, its scheme and its name"),
        ("[", "codes.toml"),
    ],
)
def test_a_file_of_codes_that_says_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "codes.toml").write_text(text)
    with pytest.raises(Unusable, match=says):
        read_codes(str(tmp_path / "codes.toml"), "merges.south.codes")


def test_a_list_of_patients_may_have_comments_and_a_table_be_one(tmp_path: Path) -> None:
    (tmp_path / "all").write_text(f"# all of them\n{ANNA}\n\n{BERT},{ANNA}\n{ANNA}\n")
    assert patients_of(tmp_path / "all") == [ANNA, BERT]
    (tmp_path / "all").write_text(f"{ANNA}\nanna\n")
    with pytest.raises(Unusable, match="line 2: not of the form"):
        patients_of(tmp_path / "all")
