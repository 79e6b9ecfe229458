"""Orders and appointments: one good message of each kind, and one part changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ANNA, AUTHORITY
from xds.hl7.orders import ORDERS, NotAnOrder, Order, read
from xds.hl7.v2 import Authorities
from xds.metadata.identifiers import Oid, PatientId

NONE = Authorities({})


def message(kind: str, *segments: str, pid: str = str(ANNA)) -> str:
    head = f"MSH|^~\\&|RIS|NORTH|XDS|REGION|20261130080000||{kind}|17|P|2.5.1"
    return "\r".join((head, f"PID|||{pid}||Müller^Anna||19560527|F", *segments)) + "\r"


def orm(control: str = "NW", obr: str = "OBR|1|P1|F1|24627-2^CT chest^LN||||||||||||||A-17|RP1|SPS1||||CT") -> str:
    return message("ORM^O01", f"ORC|{control}|P1|F1||||^^^202612010900", obr, "ZDS|1.2.3.4^RIS^Application^DICOM")


def omi(*more: str) -> str:
    return message(
        "OMI^O23^OMI_O23", "ORC|NW|P1|F1", "TQ1|||||||20261201090000+0100", "OBR|1|P1|F1|24627-2^CT chest^LN",
        "IPC|A-17^RIS|RP1|1.2.3.4^RIS|SPS1|CT^^DCM", *more,
    )  # fmt: skip


def siu(event: str = "S12") -> str:
    return message(
        f"SIU^{event}", "SCH|1||||||||||^^^202612010900", "RGS|1", "AIS|1||24627-2^CT chest^LN|202612011000",
    )  # fmt: skip


def test_an_order_as_ihe_has_it_is_read() -> None:
    assert read(orm(), NONE) == (Order((ANNA,), ("CT",), ("24627-2",), "202612010900", "1.2.3.4", "19560527", "F"),)


def test_an_imaging_order_is_read() -> None:
    assert read(omi(), NONE) == (
        Order((ANNA,), ("CT",), ("24627-2",), "20261201090000+0100", "1.2.3.4", "19560527", "F"),
    )


def test_an_appointment_is_read_by_the_service_and_its_own_time() -> None:
    assert read(siu(), NONE) == (Order((ANNA,), (), ("24627-2",), "202612011000", "", "19560527", "F"),)


def test_each_procedure_of_a_message_is_an_order() -> None:
    two = read(
        omi("ORC|NW|P2|F2", "TQ1|||||||20261202", "OBR|2|P2|F2|36643-5^XR^LN", "IPC|A-18|RP2|1.2.3.5|SPS2|DX"), NONE
    )
    assert [(one.study, one.modalities, one.begins[:8]) for one in two] == [
        ("1.2.3.4", ("CT",), "20261201"), ("1.2.3.5", ("DX",), "20261202"),
    ]  # fmt: skip
    both = read(siu().replace("AIS|1", "AIS|2||1^^L\rAIS|1"), NONE)
    assert [one.procedures for one in both] == [("1",), ("24627-2",)]
    assert [one.begins for one in both] == ["202612010900", "202612011000"]  # of which one says none of its own


@pytest.mark.parametrize("control", ["CA", "DC", "OC", "CR", "OD", "DR"])
def test_a_cancelled_order_is_known_as_one(control: str) -> None:
    assert read(orm(control), NONE)[0].cancelled
    assert not read(orm("XO"), NONE)[0].cancelled


@pytest.mark.parametrize(
    ("event", "cancelled"), [("S12", False), ("S13", False), ("S15", True), ("S17", True), ("S22", True), ("S26", True)]
)
def test_a_cancelled_appointment_is_known_as_one(event: str, cancelled: bool) -> None:
    assert read(siu(event), NONE)[0].cancelled is cancelled


@pytest.mark.parametrize(
    ("section", "modality"),
    [("CT", "CT"), ("mr", "MR"), ("NMR", "MR"), ("RUS", "US"), ("NMS", "NM"), ("RAD", ""), ("", ""), ('""', ""),
     ("X" * 17, ""), ("C T", ""), ("CT^CT", "CT"), ("CT~MR", "CT"), ("XR", "DX"), ("MRI", "MR"), ("OUS", "US"),
     ("SR", "")],
)  # fmt: skip
def test_the_modality_is_dicoms_or_none(section: str, modality: str) -> None:
    obr = f"OBR|1|P1|F1|24627-2||||||||||||||A-17|RP1|SPS1||||{section}"
    assert read(orm(obr=obr), NONE)[0].modalities == ((modality,) if modality else ())


def test_the_codes_of_a_procedure_are_all_that_it_is_called_by() -> None:
    obr = "OBR|1|P1|F1|CTCH^CT chest^L^24627-2^^LN" + "|" * 40 + "RPCT^^L"
    assert read(orm(obr=obr), NONE)[0].procedures == ("RPCT", "CTCH", "24627-2")


def test_each_step_of_a_procedure_may_be_of_another_modality() -> None:
    (one,) = read(omi("IPC|A-17^RIS|RP1|1.2.3.4^RIS|SPS2|PT^^DCM"), NONE)
    assert one.modalities == ("CT", "PT")


def test_what_an_order_is_cancelled_by_is_of_all_that_it_has() -> None:
    both = read(orm("CA").replace("ZDS|", "OBR|2|P1|F1|1^^L\rZDS|"), NONE)
    assert [one.cancelled for one in both] == [True, True]
    assert read(siu().replace("AIS|1|", "AIS|1|D"), NONE)[0].cancelled


def test_an_id_without_an_authority_is_of_nobody_whom_others_could_know() -> None:
    """In an order it is the hospital's own, and not the affinity domain's."""
    alone = Authorities({"N": AUTHORITY}, AUTHORITY)
    assert read(siu().replace(str(ANNA), "anna"), alone)[0].patient_ids == ()
    assert read(siu().replace(str(ANNA), "anna^^^N"), alone)[0].patient_ids == (ANNA,)


def test_all_ids_of_the_patient_are_read() -> None:
    pid = f"x^^^&1.9.9&ISO~anna^^^&{AUTHORITY}&ISO"
    assert read(siu().replace(str(ANNA), pid), NONE)[0].patient_ids == (PatientId("x", Oid("1.9.9")), ANNA)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with MSH"),
        (orm().replace("ORM^O01", "ADT^A01"), "none of ORM, OMI and SIU"),
        (orm().replace(f"|||{ANNA}", "|||"), "PID-3 is required"),
        (message("ORM^O01", "ORC|NW"), "neither OBR nor AIS"),
        (siu() + "PID|||bert^^^&1.2.3&ISO\r", "PID comes more than once"),
        (siu() + siu(), "MSH comes more than once"),
        (message("ORM^O01", *("OBR|1" for _ in range(ORDERS + 1))), f"more than {ORDERS} orders"),
        (message("ORM^O01", *("OBR|1" for _ in range(500))), "more than 200 segments"),
    ],
)
def test_what_is_no_order_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(NotAnOrder, match=said) as refused:
        read(text, NONE)
    assert "Müller" not in str(refused.value)
    assert "anna" not in str(refused.value)


@given(st.sampled_from([orm(), omi(), siu()]), st.data())
def test_whatever_is_spoilt_of_it_it_is_read_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    spoilt = text[:at] + data.draw(st.text(max_size=4)) + text[at + data.draw(st.integers(0, 8)) :]
    try:
        read(spoilt, NONE)
    except NotAnOrder as problem:
        assert "Müller" not in str(problem)
