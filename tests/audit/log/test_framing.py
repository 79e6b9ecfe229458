"""Framed files: what goes in comes out, and what is not what was written is not read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.logs import files, frames
from tests.extent import examples
from xds.audit.log import framing
from xds.audit.log.framing import BadFrame, FramedFiles

WORD = "WORD-1"


def some(folder: Path, count: int, roll_bytes: int = 100) -> FramedFiles:
    """Entries of 10 bytes, one append each."""
    framed = FramedFiles(folder, WORD, roll_bytes)
    for number in range(count):
        framed.append(number, [(b"said", b"entry %04d" % number)])
    return framed


def numbers(framed: FramedFiles, begin: int = 0) -> list[int]:
    return [number for number, _, _ in framed.read(begin)]


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=4), max_size=6), st.integers(1, 600))
def test_any_bytes_come_back_as_they_were(batches: list[list[bytes]], roll_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        framed = FramedFiles(Path(folder), WORD, roll_bytes)
        written: list[bytes] = []
        for batch in batches:
            framed.append(len(written), [(b"%d" % len(data), data) for data in batch])
            written += batch
        expected = [(n, b"%d" % len(data), data) for n, data in enumerate(written)]
        assert list(FramedFiles(Path(folder), WORD).read()) == expected
        for begin in range(len(written) + 1):
            assert list(framed.read(begin)) == expected[begin:]


def test_bytes_that_look_like_a_header_do_not_end_an_entry(tmp_path: Path) -> None:
    framed = FramedFiles(tmp_path, WORD)
    framed.append(0, [(b"a", b"\nWORD-1 1 a 3\nxyz\n"), (b"b", b"\n\n")])
    assert [data for _, _, data in framed.read()] == [b"\nWORD-1 1 a 3\nxyz\n", b"\n\n"]


def test_a_full_file_is_followed_by_one_named_by_its_first_entry(tmp_path: Path) -> None:
    framed = some(tmp_path, 12)
    named = [int(path.stem) for path in files(tmp_path)]
    assert named[0] == 0
    assert len(named) > 2
    assert all(path.name == f"{first:020d}.log" for first, path in framed.files())
    assert [frames(path)[0].number for path in files(tmp_path)] == named
    assert all(path.stat().st_size >= 100 for path in files(tmp_path)[:-1])
    assert numbers(framed) == list(range(12))


def test_other_files_in_the_folder_are_not_read(tmp_path: Path) -> None:
    framed = some(tmp_path, 2)
    for name in ("notes.log", "lock", "\u00b2.log", "-1.log"):
        (tmp_path / name).write_bytes(b"not ours")
    assert numbers(framed) == [0, 1]


def test_reading_and_truncating_where_nothing_is_makes_no_folder(tmp_path: Path) -> None:
    framed = FramedFiles(tmp_path / "none", WORD)
    assert numbers(framed) == []
    framed.truncate(0)
    framed.mend()
    assert not (tmp_path / "none").exists()


def test_an_entry_that_could_not_be_read_back_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "ENTRY_BYTES", 100)
    framed = some(tmp_path, 1)
    framed.append(1, [(b"said", b"x" * 100)])
    with pytest.raises(ValueError, match="100 bytes"):
        framed.append(2, [(b"said", b"small"), (b"said", b"x" * 101)])
    assert numbers(framed) == [0, 1]


HEADERS = {
    "another word": (b"OTHER-1 1 said 10", "header line is malformed"),
    "a missing field": (b"WORD-1 1 10", "header line is malformed"),
    "one field more": (b"WORD-1 1 said more 10", "header line is malformed"),
    "no end within 1024 bytes": (b"WORD-1 1 " + b"x" * 1024 + b" 10", "header line is malformed"),
    "a carriage return": (b"WORD-1 1 said 10\r", "length is malformed"),
    "a number with a leading zero": (b"WORD-1 01 said 10", "number is not the next"),
    "a number that is skipped": (b"WORD-1 2 said 10", "number is not the next"),
    "a negative number": (b"WORD-1 -1 said 10", "number is not the next"),
    "no number": (b"WORD-1 x said 10", "number is not the next"),
    "a length with a leading zero": (b"WORD-1 1 said 010", "length is malformed"),
    "a negative length": (b"WORD-1 1 said -1", "length is malformed"),
    "no length": (b"WORD-1 1 said ", "length is malformed"),
    "a length over the limit": (b"WORD-1 1 said 67108865", "length is malformed"),
    "a length of a hundred digits": (b"WORD-1 1 said " + b"9" * 100, "length is malformed"),
    "a length past the end of the file": (b"WORD-1 1 said 67108864", "cut off or longer"),
    "a length one too short": (b"WORD-1 1 said 9", "cut off or longer"),
    "a length one too long": (b"WORD-1 1 said 11", "cut off or longer"),
}


@pytest.mark.parametrize(("header", "reason"), HEADERS.values(), ids=HEADERS)
def test_a_header_line_that_we_do_not_write_is_not_read(tmp_path: Path, header: bytes, reason: str) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"WORD-1 1 said 10", header))
    with pytest.raises(BadFrame, match=reason) as bad:
        numbers(framed)
    assert bad.value.entry == 1


@pytest.mark.parametrize("cut", range(1, 28))
def test_an_entry_that_is_cut_off_is_not_read_and_the_ones_before_it_are(tmp_path: Path, cut: int) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    found = []
    with pytest.raises(BadFrame) as bad:
        found.extend(number for number, _, _ in framed.read())
    assert (bad.value.entry, found) == (2, [0, 1])


def test_a_missing_first_file_is_found(tmp_path: Path) -> None:
    framed = some(tmp_path, 12)
    files(tmp_path)[0].unlink()
    with pytest.raises(BadFrame, match="first file is missing") as bad:
        numbers(framed)
    assert bad.value.entry == 0


def test_a_missing_file_between_two_is_found(tmp_path: Path) -> None:
    framed = some(tmp_path, 12)
    first, second, third = files(tmp_path)[:3]
    second.unlink()
    with pytest.raises(BadFrame, match=f"{first.name} ends where the next file does not begin") as bad:
        numbers(framed)
    assert bad.value.entry == int(second.stem) < int(third.stem)


def test_two_files_that_overlap_are_found(tmp_path: Path) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    (tmp_path / f"{2:020d}.log").write_bytes(path.read_bytes())
    with pytest.raises(BadFrame, match="next file does not begin"):
        numbers(framed)


@pytest.mark.parametrize("size", range(13))
def test_truncating_leaves_exactly_the_entries_before(tmp_path: Path, size: int) -> None:
    framed = some(tmp_path, 12)
    framed.truncate(size)
    assert numbers(framed) == list(range(size))
    framed.append(size, [(b"said", b"again")])
    assert numbers(framed) == list(range(size + 1))


@pytest.mark.parametrize("rubbish", [b"WORD-1 3 said 99\nhalf", b"\0" * 4096, b"WORD-1 3 said 2\nok\nWORD-1 4 "])
def test_whatever_follows_is_truncated_too(tmp_path: Path, rubbish: bytes) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + rubbish)
    framed.truncate(3)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damaged", [3, 11])
def test_an_entry_that_is_to_stay_and_is_not_whole_is_not_cut_off_with_the_rest(tmp_path: Path, damaged: int) -> None:
    framed = some(tmp_path, 12, 10_000)
    (path,) = files(tmp_path)
    spoilt = path.read_bytes().replace(b"WORD-1 %d " % damaged, b"WORD+1 %d " % damaged)
    path.write_bytes(spoilt)
    with pytest.raises(BadFrame) as bad:
        framed.truncate(12)
    assert bad.value.entry == damaged
    assert path.read_bytes() == spoilt


@pytest.mark.parametrize("missing", ["the last", "all"])
def test_truncating_to_more_than_there_is_is_refused(tmp_path: Path, missing: str) -> None:
    framed = some(tmp_path, 12)
    for path in files(tmp_path)[-1 if missing == "the last" else 0 :]:
        path.unlink()
    with pytest.raises(BadFrame, match="missing"):
        framed.truncate(12)


@pytest.mark.parametrize("cut", range(1, 28))
def test_mending_cuts_the_last_entry_when_it_is_half_written(tmp_path: Path, cut: int) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    framed.mend()
    assert numbers(framed) == [0, 1]


def test_mending_leaves_a_damaged_entry_that_others_follow(tmp_path: Path) -> None:
    framed = some(tmp_path, 3, 10_000)
    (path,) = files(tmp_path)
    spoilt = path.read_bytes().replace(b"WORD-1 1 ", b"WORD+1 1 ")
    path.write_bytes(spoilt)
    with pytest.raises(BadFrame) as bad:
        framed.mend()
    assert bad.value.entry == 1
    assert path.read_bytes() == spoilt


def test_mending_what_is_whole_changes_nothing(tmp_path: Path) -> None:
    framed = some(tmp_path, 12)
    framed.mend()
    assert numbers(framed) == list(range(12))
