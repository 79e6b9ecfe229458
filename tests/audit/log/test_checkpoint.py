"""Checkpoints: what is signed is what is read, and nothing but our key makes one that is believed."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import etree

from tests.audit.logs import LOG_ID, NOW, a_key, files, other_key, our_key
from xds.audit.log import checkpoint as signing
from xds.audit.log import statement
from xds.audit.log.checkpoint import NAMESPACE, BadCheckpoint, Checkpoint, CheckpointLog
from xds.audit.log.framing import BadFrame

DS = "{http://www.w3.org/2000/09/xmldsig#}"
NS = f"{{{NAMESPACE}}}"
ONE = Checkpoint(LOG_ID, 42, bytes(range(32)), NOW + timedelta(microseconds=7), bytes(reversed(range(32))))


def signed() -> bytes:
    return signing.sign(ONE, our_key())


def believed(data: bytes) -> Checkpoint:
    return signing.verify(data, [our_key().certificate])


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    assert signing.read(signed()) == believed(signed()) == ONE


def test_the_signature_is_ecdsa_with_sha256_and_names_the_certificate_only() -> None:
    root = etree.fromstring(signed())
    (method,) = root.iter(f"{DS}SignatureMethod")
    assert method.get("Algorithm") == "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
    assert root.findtext(f".//{DS}KeyName") == signing.fingerprint(our_key().certificate)
    assert root.find(f".//{DS}X509Certificate") is None


def test_any_of_several_certificates_may_have_signed() -> None:
    certificates = [other_key().certificate, our_key().certificate]
    assert signing.verify(signed(), certificates) == ONE
    assert signing.verify(signing.sign(ONE, other_key()), certificates) == ONE


@pytest.mark.parametrize("certificates", [[], [other_key().certificate]])
def test_another_key_is_not_believed(certificates: list) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadCheckpoint, match="not trusted"):
        signing.verify(signed(), certificates)


def test_another_key_is_not_believed_under_our_name() -> None:
    ours, theirs = (signing.fingerprint(key.certificate).encode() for key in (our_key(), other_key()))
    with pytest.raises(BadCheckpoint, match="does not hold"):
        believed(signing.sign(ONE, other_key()).replace(theirs, ours))


def test_a_certificate_is_judged_at_the_checkpoints_time_and_not_now() -> None:
    expired = a_key(NOW - timedelta(days=400), 399)
    long_ago = replace(ONE, time=NOW - timedelta(days=100))
    assert signing.verify(signing.sign(long_ago, expired), [expired.certificate]) == long_ago


@pytest.mark.parametrize("days", [-401, -0.5])
def test_a_checkpoint_outside_its_certificates_time_is_not_believed(days: float) -> None:
    key = a_key(NOW - timedelta(days=400), 399)
    bad = signing.sign(replace(ONE, time=NOW + timedelta(days=days)), key)
    with pytest.raises(BadCheckpoint, match="outside the time"):
        signing.verify(bad, [key.certificate])


FIELDS = {
    "LogId": "2.25.2",
    "Size": "41",
    "Root": "00" * 32,
    "Time": "2026-03-01T08:00:01.000000+00:00",
    "Previous": "00" * 32,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_is_not_believed(field: str) -> None:
    root = etree.fromstring(signed())
    element = root.find(f"{NS}{field}")
    assert element is not None
    element.text = FIELDS[field]
    changed = etree.tostring(root)
    assert signing.read(changed) != ONE
    with pytest.raises(BadCheckpoint, match="does not hold"):
        believed(changed)


UNREADABLE = {
    "no XML": lambda _: b"nothing",
    "another root": lambda root: etree.tostring(root).replace(b"Checkpoint", b"Chequepoint"),
    "another namespace": lambda root: etree.tostring(root).replace(NAMESPACE.encode(), b"urn:other"),
    "a field less": lambda root: without(root, "Size"),
    "a field twice": lambda root: with_more(root, copy.deepcopy(root[1])),
    "a field of ours that is not known": lambda root: with_more(root, etree.Element(f"{NS}Other")),
    "a Checkpoint in it": lambda root: with_more(root, copy.deepcopy(root)),
    "fields in another order": lambda root: moved(root),
    "a size that is no number": lambda root: with_text(root, "Size", "many"),
    "a negative size": lambda root: with_text(root, "Size", "-1"),
    "a root that is too short": lambda root: with_text(root, "Root", "00" * 31),
    "a root that is not hexadecimal": lambda root: with_text(root, "Root", "x" * 64),
    "a previous that is too long": lambda root: with_text(root, "Previous", "00" * 33),
    "no time": lambda root: with_text(root, "Time", "soon"),
    "a time without a zone": lambda root: with_text(root, "Time", "2026-03-01T08:00:00"),
    "an empty field": lambda root: with_text(root, "Time", ""),
}


def without(root: etree._Element, field: str) -> bytes:
    child = root.find(f"{NS}{field}")
    assert child is not None
    root.remove(child)
    return etree.tostring(root)


def with_more(root: etree._Element, child: etree._Element) -> bytes:
    root.insert(0, child)
    return etree.tostring(root)


def moved(root: etree._Element) -> bytes:
    root.insert(0, root[1])
    return etree.tostring(root)


def with_text(root: etree._Element, field: str, text: str) -> bytes:
    child = root.find(f"{NS}{field}")
    assert child is not None
    child.text = text
    return etree.tostring(root)


@pytest.mark.parametrize("spoil", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_checkpoint_is_neither_read_nor_believed(spoil) -> None:  # type: ignore[no-untyped-def]
    data = spoil(etree.fromstring(signed()))
    for reader in (signing.read, believed):
        with pytest.raises(BadCheckpoint, match="not a checkpoint"):
            reader(data)


# Signature wrapping: the signature holds over something, and something else is read.


def forged() -> etree._Element:
    """What an attacker wants to be believed, not signed."""
    root = etree.fromstring(signing.sign(replace(ONE, size=7), our_key()))
    signature = root.find(f"{DS}Signature")
    assert signature is not None
    root.remove(signature)
    return root


def signature_of(root: etree._Element) -> etree._Element:
    found = root.find(f"{DS}Signature")
    assert found is not None
    return found


def moved_signature() -> bytes:
    root = forged()
    root.append(signature_of(etree.fromstring(signed())))
    return etree.tostring(root)


def original_inside_the_signature() -> bytes:
    root, original = forged(), etree.fromstring(signed())
    signature = signature_of(original)
    holder = etree.SubElement(signature, f"{DS}Object")
    root.append(signature)
    holder.append(original)
    return etree.tostring(root)


def reference_to_the_original_by_id() -> bytes:
    root, original = forged(), etree.fromstring(signed())
    signature = signature_of(original)
    original.set("Id", "original")
    (reference,) = signature.iter(f"{DS}Reference")
    reference.set("URI", "#original")
    root.append(signature)
    etree.SubElement(signature, f"{DS}Object").append(original)
    return etree.tostring(root)


def forged_inside_the_signature() -> bytes:
    root = etree.fromstring(signed())
    etree.SubElement(signature_of(root), f"{DS}Object").append(forged())
    return etree.tostring(root)


def two_signatures() -> bytes:
    root = forged()
    for _ in range(2):
        root.append(signature_of(etree.fromstring(signed())))
    return etree.tostring(root)


def signature_in_a_field() -> bytes:
    root = etree.fromstring(signed())
    root[0].append(signature_of(root))
    return etree.tostring(root)


@pytest.mark.parametrize(
    "wrapped",
    [moved_signature, original_inside_the_signature, reference_to_the_original_by_id, two_signatures,
     signature_in_a_field],
)  # fmt: skip
def test_a_signature_moved_to_something_else_is_not_believed(wrapped) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadCheckpoint):
        believed(wrapped())


def test_what_lies_inside_a_signature_is_never_what_is_read() -> None:
    data = forged_inside_the_signature()
    assert signing.read(data) == ONE
    assert believed(data) == ONE


def test_comments_that_the_signature_does_not_cover_do_not_change_what_is_read() -> None:
    data = signed().replace(b"<Size>42<", b"<Size>4<!-- -->2<").replace(b"<LogId>2.25.1", b"<LogId>2.25<!-- -->.1")
    assert b"<!--" in data
    assert signing.read(data) == believed(data) == ONE


def test_text_that_is_signed_and_read_are_the_same_value() -> None:
    """``read`` and ``verify`` may never tell two stories about one checkpoint."""
    data = signed().replace(b"<Size>42<", b"<Size>4<?pi?>2<")
    with pytest.raises(BadCheckpoint, match="does not hold"):
        believed(data)


def test_a_document_type_is_refused() -> None:
    with pytest.raises(BadCheckpoint, match="not a checkpoint"):
        believed(b"<!DOCTYPE x>" + signed())


def test_a_signature_that_is_no_signature_is_not_believed() -> None:
    name = signing.fingerprint(our_key().certificate)
    root = forged()
    signature = etree.SubElement(root, f"{DS}Signature")
    etree.SubElement(etree.SubElement(signature, f"{DS}KeyInfo"), f"{DS}KeyName").text = name
    with pytest.raises(BadCheckpoint, match="does not hold"):
        believed(etree.tostring(root))


def test_a_checkpoint_without_a_signature_is_not_believed() -> None:
    with pytest.raises(BadCheckpoint, match="not trusted"):
        believed(etree.tostring(forged()))


@pytest.mark.parametrize("part", range(4))
def test_whatever_byte_is_changed_nothing_else_is_believed_and_nothing_breaks(part: int) -> None:
    data = signed()
    for at in range(part * 3, len(data), 12):
        for flipped in (0x01, 0x80):
            changed = bytearray(data)
            changed[at] ^= flipped
            try:
                assert believed(bytes(changed)) == ONE
            except BadCheckpoint:
                continue


class Signed:
    """What signxml says was signed."""

    def __init__(self, data: bytes | None) -> None:
        self.signed_xml = None if data is None else etree.fromstring(data)


OTHER = signing.sign(replace(ONE, size=41), our_key())
VERDICTS = {
    "two things": ([Signed(OTHER), Signed(OTHER)], "more than one thing"),
    "nothing": (Signed(None), "more than one thing"),
    "another checkpoint": (Signed(OTHER), "another checkpoint"),
    "something else": (Signed(b"<a/>"), "no checkpoint"),
}


@pytest.mark.parametrize(("verdict", "reason"), VERDICTS.values(), ids=VERDICTS)
def test_a_signature_that_holds_over_something_else_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, verdict: object, reason: str
) -> None:
    """Should a way be found to make signxml verify one thing while we read another."""
    data = signed()
    monkeypatch.setattr(statement.signxml.XMLVerifier, "verify", lambda *_, **__: verdict)
    with pytest.raises(BadCheckpoint, match=reason):
        believed(data)


# The files.


def test_checkpoints_come_back_in_order_and_the_last_is_the_newest(tmp_path: Path) -> None:
    log = CheckpointLog(tmp_path, 3000)
    assert log.last() is None
    written = [signing.sign(replace(ONE, size=n), our_key()) for n in range(7)]
    for number, data in enumerate(written):
        log.append(number, replace(ONE, size=number), data)
        assert log.last() == (number, data)
    assert len(files(tmp_path)) > 1
    assert [data for _, data in log.all()] == written


@pytest.mark.parametrize("cut", [1, 50, 1000, "all"])
def test_a_half_written_checkpoint_is_cut_and_the_one_before_is_the_last(tmp_path: Path, cut: int | str) -> None:
    log = CheckpointLog(tmp_path, 1)  # a file each
    for number in range(3):
        log.append(number, ONE, b"checkpoint %d %b" % (number, b"x" * 1500))
    path = files(tmp_path)[-1]
    whole = path.read_bytes()
    path.write_bytes(b"" if cut == "all" else whole[: -int(cut)])
    assert log.last() == (1, b"checkpoint 1 " + b"x" * 1500)
    log.append(2, ONE, b"again")
    assert [data[:12] for _, data in log.all()] == [b"checkpoint 0", b"checkpoint 1", b"again"]


def test_the_only_checkpoint_half_written_is_none(tmp_path: Path) -> None:
    log = CheckpointLog(tmp_path)
    log.append(0, ONE, b"one")
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    assert log.last() is None


def test_a_damaged_checkpoint_before_the_last_is_not_cut(tmp_path: Path) -> None:
    log = CheckpointLog(tmp_path)
    for number in range(3):
        log.append(number, ONE, b"checkpoint %d" % number)
    (path,) = files(tmp_path)
    spoilt = path.read_bytes().replace(b"CHECKPOINT-1 1", b"CHECKPOINT-2 1")
    path.write_bytes(spoilt)
    with pytest.raises(BadFrame):
        log.last()
    assert path.read_bytes() == spoilt
