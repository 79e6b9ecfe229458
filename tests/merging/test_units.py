"""A patient's objects by the submissions that have brought them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_folder, a_submission, an_association, an_entry
from xds.merging.units import units
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.datatypes import Dtm
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType


def at(second: int, entries: int = 1) -> Submission:
    return a_submission(entries=[an_entry() for _ in range(entries)], submission_time=Dtm(f"202401020304{second:02}"))


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 3)), max_size=6), st.randoms(use_true_random=False))
def test_each_object_is_in_one_submission_whatever_order_they_come_in(
    sizes: list[tuple[int, int]], order: random.Random
) -> None:
    sent = [at(second, entries) for second, entries in sizes]
    objects = [item for one in sent for item in one.objects()]
    order.shuffle(objects)
    parts, without = units(objects)
    assert without == []
    assert {frozenset(item.entry_uuid for item in part.objects) for part in parts} == {
        frozenset(item.entry_uuid for item in one.objects()) for one in sent
    }
    times = [part.objects[0].submission_time.padded for part in parts]  # type: ignore[union-attr]
    assert times == sorted(times)


@pytest.mark.parametrize("second", [2, 30], ids=["by its time", "by a clock that was wrong"])
def test_a_member_by_reference_is_of_the_submission_that_it_came_with(second: int) -> None:
    """Whatever the times say of which was first."""
    held, holding = at(10), at(second)
    reference = an_association(
        AssociationType.HAS_MEMBER, holding.submission_set.entry_uuid, held.document_entries[0].entry_uuid,
        submission_set_status=SubmissionSetStatus.REFERENCE,
    )  # fmt: skip
    parts, _ = units([*holding.objects(), *held.objects(), reference])
    by_set = {part.objects[0].entry_uuid: part.objects for part in parts}
    assert held.document_entries[0] in by_set[held.submission_set.entry_uuid]
    assert reference in by_set[holding.submission_set.entry_uuid]


def test_a_relationship_is_of_the_submission_of_its_source() -> None:
    first, second = at(1), at(2)
    replacing = an_association(
        AssociationType.RPLC, second.document_entries[0].entry_uuid, first.document_entries[0].entry_uuid
    )
    (one, two), _ = units([replacing, *first.objects(), *second.objects()])
    assert replacing not in one.objects
    assert replacing in two.objects


def test_what_no_submission_holds_is_told_apart() -> None:
    lost, folder = an_entry(), a_folder()
    (one,), without = units([*at(1).objects(), lost, folder])
    assert lost not in one.objects
    assert without == [lost, folder]
