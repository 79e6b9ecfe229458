"""Identifiers: what is one, and what comes back of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.metadata.identifiers import Oid, PatientId


@given(st.text(min_size=1, max_size=80))
def test_any_id_that_is_text_comes_back_from_its_cx(text: str) -> None:
    try:
        patient_id = PatientId.of(text, Oid("1.2.3"))
    except ValueError:
        return
    assert PatientId.parse(str(patient_id)) == patient_id


@pytest.mark.parametrize("id_", ["a\\", "a\\Z1\\", "a\\X41\\", "a\\T", "a\\.br\\", "a\x01", "\u2028", " ", "x" * 257])
def test_an_id_with_another_escape_or_no_text_is_nobodys(id_: str) -> None:
    with pytest.raises(ValueError, match=r"not an id|an escape"):
        PatientId.parse(f"{id_}^^^&1.2.3&ISO")
