"""Every character set of PS3.3: Tables C.12-2 to C.12-5 on every way out: QIDO-RS, metadata, manifest, DocumentEntry.

Each text is written as its table wants it, so that a way which reads it differently shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.imaging.elements import an_image, part10
from tests.imaging.test_entry import entry_of
from xds.endpoints.dicomweb import datasets, search
from xds.imaging import kos
from xds.imaging.group import Study
from xds.imaging.instance import InstanceFacts, read_file
from xds.imaging.study import manifest_of, studies_of

# PS3.3: Table C.12-2: the term, its escape sequence with code extensions (Table C.12-3), the codec of Python, a text.
SINGLE_BYTE = [
    ("100", b"-A", "iso8859_1", "Schädel Müller"),
    ("101", b"-B", "iso8859_2", "Łódź čelist"),
    ("109", b"-C", "iso8859_3", "Ġgantija ħ"),
    ("110", b"-D", "iso8859_4", "Rīga šķūnis"),
    ("144", b"-L", "iso8859_5", "Люкcембург"),
    ("127", b"-G", "iso8859_6", "قباني لنزار"),
    ("126", b"-F", "iso8859_7", "Διονυσιος"),
    ("138", b"-H", "iso8859_8", "שרון דבורה"),
    ("148", b"-M", "iso8859_9", "Çavuşoğlu"),
    ("203", b"-b", "iso8859_15", "Œuvre Š 5 €"),
    ("166", b"-T", "iso8859_11", "นามสกุล"),
    ("13", b")I", "shift_jis", "ﾔﾏﾀﾞﾀﾛｳ"),
]
# PS3.3: Table C.12-4; PS3.5: Annexes H, I, K.
MULTI_BYTE = [
    ("\\ISO 2022 IR 87", b"\x1b$B" + "山田".encode("iso2022_jp")[3:-3] + b"\x1b(B CT", "山田 CT"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", b"\x1b$B" + "太郎".encode("iso2022_jp")[3:-3] + b"\x1b(J\xd4\xcf", "太郎ﾔﾏ"),
    ("\\ISO 2022 IR 159", b"\x1b$(D" + "鷗".encode("iso2022_jp_2")[4:-3] + b"\x1b(B CT", "鷗 CT"),
    ("\\ISO 2022 IR 149", b"\x1b$)C" + "길동 CT".encode("euc_kr"), "길동 CT"),
    ("\\ISO 2022 IR 58", b"\x1b$)A" + "胸部 CT".encode("gb2312"), "胸部 CT"),
    ("\\ISO 2022 IR 58", b"1.\x1b$)A" + "复查".encode("gb2312"), "1.复查"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"Sch\xe4del \x1b-L" + "Люк".encode("iso8859_5"), "Schädel Люк"),
    ("ISO_IR 192", "Schädel 胸部 길동".encode(), "Schädel 胸部 길동"),
    ("GB18030", "王^小东 誠".encode("gb18030"), "王^小东 誠"),
    ("GBK", "胸部".encode("gbk"), "胸部"),
    ("", "Müller undeclared".encode(), "Müller undeclared"),
    ("", "Müller undeclared".encode("latin-1"), "Müller undeclared"),
    ("ISO-IR 100", "Müller".encode("latin-1"), "Müller"),
    ("ISO_IR 192", "Müller".encode("latin-1"), "M\ufffdller"),  # declared wrongly: no way guesses, all say so alike
    ("NONSENSE", "Müller".encode("latin-1"), "Müller"),
]
ALONE = [(f"ISO_IR {number}", text.encode(codec), text) for number, _, codec, text in SINGLE_BYTE]
EXTENDED = [
    (f"\\ISO 2022 IR {number}", b"CT \x1b" + escape + text.encode(codec), f"CT {text}")
    for number, escape, codec, text in SINGLE_BYTE
]
ALL = [*ALONE, *EXTENDED, *MULTI_BYTE]


def the_study(tmp_path: Path, changes: dict[int, Any]) -> tuple[Path, Study]:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(an_image(changes)))
    facts = read_file(path)
    assert isinstance(facts, InstanceFacts)
    (study,) = studies_of([facts]).studies
    return path, study


def listed(study: Study) -> Any:
    (found,), _ = search.matches(search.read("series", (), {}), [study], "https://example.org/dicomweb")
    return found


@pytest.mark.parametrize(
    ("terms", "value", "expected"), ALL, ids=[f"{terms or 'none'}-{n}" for n, (terms, *_) in enumerate(ALL)]
)
def test_a_text_is_the_same_on_every_way_out(tmp_path: Path, terms: str, value: bytes, expected: str) -> None:
    declared: dict[int, Any] = {0x00080005: ("CS", terms)}
    path, study = the_study(tmp_path, {**declared, 0x00081030: ("LO", value), 0x0008103E: ("LO", value)})
    found = datasets.metadata(path, "https://example.org")
    assert found["00081030"]["Value"] == [expected]
    assert found["0008103E"]["Value"] == [expected]
    assert listed(study)["00081030"]["Value"] == [expected]
    assert listed(study)["0008103E"]["Value"] == [expected]
    manifest = manifest_of(study, retrieve_location_uid="1.2.3", retrieve_ae_title="XDS")
    assert kos.read(kos.write(manifest)).study_description == expected
    (title,) = entry_of(study).title
    assert title.value == expected


# PS3.5: Annexes H, I, J, K.
GB = b"\x1b$)A"
NAMES = [
    ("ISO_IR 192", "Sato^Ken=佐藤^健=さとう^けん".encode(), ("Sato^Ken", "佐藤^健", "さとう^けん")),
    ("ISO_IR 192", "=王^小".encode(), ("", "王^小", "")),
    ("ISO_IR 192", "==さとう^けん".encode(), ("", "", "さとう^けん")),
    ("ISO_IR 192", b"Adams^John^^Rev.^B.A.^^", ("Adams^John^^Rev.^B.A.", "", "")),
    ("\\ISO 2022 IR 58", b"Li^XiaoMing=" + GB + "李".encode("gb2312") + b"^" + GB + "小明".encode("gb2312") + b"=",
     ("Li^XiaoMing", "李^小明", "")),
    ("\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C" + "洪".encode("euc_kr") + b"^\x1b$)C" + "吉洞".encode("euc_kr"),
     ("Hong^Gildong", "洪^吉洞", "")),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "value", "groups"), NAMES)
def test_each_group_of_a_name_is_under_its_own_name(
    tmp_path: Path, terms: str, value: bytes, groups: tuple[str, ...]
) -> None:
    changes: dict[int, Any] = {
        0x00080005: ("CS", terms), 0x00100010: ("PN", value), 0x00080090: ("PN", value), 0x00081050: ("PN", value),
    }  # fmt: skip
    path, study = the_study(tmp_path, changes)
    wanted = {name: text for name, text in zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=True) if text}
    found = datasets.metadata(path, "https://example.org")
    for dataset in (listed(study), found):
        for tag in ("00100010", "00080090"):
            (name,) = dataset[tag]["Value"]
            assert {group: text.rstrip("^") for group, text in name.items()} == wanted
    manifest = kos.read(kos.write(manifest_of(study, retrieve_location_uid="1.2.3", retrieve_ae_title="XDS")))
    assert manifest.patient.name == "=".join(groups).rstrip("=")
    assert manifest.referring_physician == manifest.patient.name
    entry = entry_of(study)
    (shown,) = [one for one in entry.source_patient_info if one.startswith("PID-5|")]
    first = next(filter(None, groups)).split("^")
    assert shown.startswith("PID-5|" + "^".join(first[:3]).rstrip("^"))
    assert "=" not in shown


@pytest.mark.parametrize("asked", ["sato^ken", "佐藤^健", "さとう*", "Sato^Ken=佐藤^健=さとう^けん", "*佐*"])
def test_a_name_is_found_by_each_of_its_groups(tmp_path: Path, asked: str) -> None:
    """The choice is the implementation's (PS3.4: C.2.2.2.4)."""
    _, study = the_study(tmp_path, {0x00100010: ("PN", "Sato^Ken=佐藤^健=さとう^けん".encode())})
    wanted = search.read("studies", [("PatientName", asked)], {})
    assert len(search.matches(wanted, [study], "https://example.org")[0]) == 1
