"""The home of an object is set in its fragment, and nothing else of it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.builders import a_folder, a_submission_set, an_association, an_entry
from xds.ebxml import rim_writing
from xds.metadata import to_ebxml
from xds.metadata.homes import at_home, home_of, is_home
from xds.metadata.identifiers import Oid

HOME = home_of(Oid("1.2.3.4.101"))
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40)


@given(TEXT, TEXT, st.one_of(st.none(), TEXT), st.booleans())
def test_the_home_is_that_of_the_community_whatever_the_fragment_says(
    id_: str, status: str, before: str | None, by_lxml: bool
) -> None:
    item = replace(to_ebxml.document_entry(an_entry()), id=id_, status=status, home=before)
    fragment = rim_writing.fragment(item)
    if by_lxml:  # as one that was written anew
        fragment = etree.tostring(etree.fromstring(fragment))
    old, new = etree.fromstring(fragment), etree.fromstring(at_home(fragment, HOME))
    assert new.get("home") == HOME
    old.set("home", HOME)
    assert etree.canonicalize(new) == etree.canonicalize(old)


def test_packages_and_references_have_one_too_and_associations_need_none() -> None:
    for item in (to_ebxml.submission_set(a_submission_set()), to_ebxml.folder(a_folder())):
        assert etree.fromstring(at_home(rim_writing.fragment(item), HOME)).get("home") == HOME
    assert (
        at_home(b'<rim:ObjectRef id="urn:uuid:1"/>', HOME) == f'<rim:ObjectRef home="{HOME}" id="urn:uuid:1"/>'.encode()
    )
    association = rim_writing.fragment(to_ebxml.association(an_association("urn:x", "a", "b")))
    assert at_home(association, HOME) == association


@pytest.mark.parametrize(("text", "fine"), [
    (HOME, True), ("1.2.3", False), ("urn:oid:", False), ("urn:oid:1.02", False), ("urn:uuid:1", False),
    (f"urn:oid:{'1.' * 40}1", False),
])  # fmt: skip
def test_a_home_community_id_is_urn_oid_and_an_oid(text: str, fine: bool) -> None:
    assert is_home(text) == fine
