"""``xds audit``: what an auditor sees, and that looking leaves its own record."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding

from tests.audit.logs import other_key, records
from tests.cli.command import xds
from tests.places import GOLDEN, ROOT
from tests.store.audit.test_records import a_row, keep
from xds import cli
from xds.audit.log.segments import SegmentLog
from xds.audit.log.sequencer import Sequencer, folder
from xds.audit.messages.plain import summary
from xds.cli.common import database, settings
from xds.errors import Unusable
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted
from xds.store.registry import patients
from xds.store.tables import audit_record


class Site:
    """A deployment with three records in its log, and the commands on it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.loaded = settings(None, str(data))
        with database(self.loaded) as engine:
            keep(engine, [golden("iti18_responder"), golden("iti43_responder"), golden("iti42_responder")])
        self.seal()

    def seal(self) -> None:
        with database(self.loaded) as engine:
            sequencer = Sequencer(engine, self.loaded)
            sequencer.step()
            sequencer.close()

    def audit(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.commands, ["audit", *arguments, "--data", str(self.data)])

    def json(self, *arguments: str, code: int = 0) -> object:
        result = self.audit(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def newest(self) -> Recorded:
        with database(self.loaded) as engine, engine.connect() as connection:
            return search.found(connection, Wanted(), 1)[0]

    def change(self, **values: object) -> None:
        """The database's first row."""
        with database(self.loaded) as engine, engine.begin() as connection:
            connection.execute(sa.update(audit_record).where(audit_record.c.id == 1).values(**values))

    def spoil(self) -> None:
        (segment,) = (folder(self.loaded) / "segments").iterdir()
        segment.write_bytes(segment.read_bytes().replace(b"ITI-43", b"ITI-44"))


def golden(name: str) -> Recorded:
    message = (GOLDEN / f"{name}.xml").read_bytes()
    said = summary(message)
    return a_row(0, message=message, transaction=said["transaction"], patient_id=said["patient"])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("XDS_")]:
        monkeypatch.delenv(name)
    return Site(tmp_path / "data")


def test_the_newest_records_are_listed_first(site: Site) -> None:
    rows = site.json("list")
    assert [(row["id"], row["leaf"], row["transaction"]) for row in rows] == [  # type: ignore[attr-defined]
        ("3", "2", "ITI-42"),
        ("2", "1", "ITI-43"),
        ("1", "0", "ITI-18"),
    ]
    lines = site.audit("list").stdout.splitlines()
    assert "110101" not in lines[0]
    assert "Audit Log Used" in lines[0]
    assert lines[1].split() == ["3", "2026-03-01T08:00:00.000+00:00", "ITI-42", "Import", "0", "anna^^^&1.2.3.4.5&ISO"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--most", "1"], ["ITI-42"]),
        (["--transaction", "ITI-18"], ["ITI-18"]),
        (["--patient", "anna^^^&1.2.3.4.5&ISO"], ["ITI-42", "ITI-18"]),
        (["--patient", "anna^^^&1.2.3.4.5&ISO", "--transaction", "ITI-43"], []),
        (["--user", "HTTPS://xds.hospital.example/registry", "--source", "xds.hospital.example"], ["ITI-42", "ITI-18"]),
        (["--failed"], []),
        (["--since", "2100-01-01"], []),
        (["--until", "2100-01-01T00:00"], ["ITI-42", "ITI-43", "ITI-18"]),
    ],
)
def test_a_list_is_narrowed_by_number_transaction_and_patient(
    site: Site, arguments: list[str], found: list[str]
) -> None:
    assert [row["transaction"] for row in site.json("list", *arguments)] == found  # type: ignore[attr-defined]


def test_reports_are_printed_and_the_look_is_on_record_with_whom_it_was_about(site: Site) -> None:
    patient = "anna^^^&1.2.3.4.5&ISO"
    (line, *_) = site.json("report", "patient", patient)  # type: ignore[misc]
    assert (line["what"], line["records"]) == ("192.0.2.7", 2)
    assert site.newest().patient_id == patient
    assert b'UserID="xds audit, ' in site.newest().message
    (line, *_) = site.json("report", "person", "192.0.2.7", "--since", "2026-01-01")  # type: ignore[misc]
    assert line["what"] == patient
    for what in ("failures", "overrides", "unusual"):
        assert site.json("report", what) == []
        assert site.audit("report", what).exit_code == 0
    assert "ITI-18 Registry Stored Query × 1" in site.audit("report", "patient", patient).stdout


@pytest.mark.parametrize(
    ("patient", "why"),
    [
        ("anna", "no patient id"), ("nobody^^^&1.2.3.4.5&ISO", "Unknown authority"), ("a^^^&1.2&DNS", "no patient id"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "command", [("report", "patient"), ("list", "--patient"), ("export", "--to", "x.zip", "--patient")]
)
def test_a_question_about_nobody_is_an_error_and_no_empty_answer(
    site: Site, command: tuple[str, ...], patient: str, why: str
) -> None:
    done = xds("audit", *command, patient, "--data", site.data)
    assert (done.code, why in done.err, done.out) == (3, True, "")


def test_a_report_says_which_ids_it_covers_and_that_there_is_no_record(site: Site) -> None:
    patient, before = "anna^^^&1.2.3.4.5&ISO", "anna-2^^^&1.2.3.4.5&ISO"
    with database(site.loaded) as engine, engine.begin() as connection:
        for one in (patient, before):
            patients.add(connection, DEFAULT_DOMAIN, PatientId.parse(one))
        patients.merge(connection, DEFAULT_DOMAIN, PatientId.parse(before), PatientId.parse(patient))
    done = xds("audit", "report", "patient", before, "--data", site.data)
    assert (done.code, f"covers {before} and {patient}" in done.err, "192.0.2.7" in done.out) == (0, True, True)
    done = xds("audit", "report", "patient", patient, "--since", "2100-01-01", "--data", site.data)
    assert (done.code, f"no records of this: {patient} from 2100-01-01" in done.out) == (0, True)


@pytest.mark.parametrize("arguments", [("patient",), ("person",), ("failures", "anna"), ("nothing",)])
def test_a_report_that_is_asked_for_wrongly_is_wrong_use(site: Site, arguments: tuple[str, ...]) -> None:
    assert site.audit("report", *arguments).exit_code == 2


def test_a_log_is_verified_against_a_witness_and_on_from_what_was_kept(site: Site, tmp_path: Path) -> None:
    kept, witness = tmp_path / "kept.xml", tmp_path / "witness"
    site.json("verify", "--keep", str(kept))
    witness.write_bytes(base64.b64encode(kept.read_bytes()) + b"\n")
    found = site.json("verify", "--witness", str(witness), "--trusted", str(kept))
    assert found == {"holds": True, "records": 3, "checkpoints": 1, "unsealed": 0, "erased": 0}
    for option, reason in (("--witness", "has seen nothing"), ("--trusted", "No such file")):
        assert reason in str(site.audit("verify", option, str(tmp_path / "nothing")).exception)
    site.spoil()
    assert site.json("verify", "--witness", str(witness), code=1)["step"] == 7  # type: ignore[index]


def test_holds_are_made_listed_and_released_on_record(site: Site) -> None:
    assert site.audit("hold", "add", "--patient", "anna^^^&1.2.3.4.5&ISO", "--reason", "case 17").output == "hold 1\n"
    (hold,) = site.json("hold", "list")  # type: ignore[misc]
    assert (hold["patient"], hold["reason"], hold["released"]) == ("anna^^^&1.2.3.4.5&ISO", "case 17", "")
    assert site.newest().event == "110113"
    assert site.newest().patient_id == "anna^^^&1.2.3.4.5&ISO"
    assert site.audit("hold", "release", "1").exit_code == 0
    assert site.audit("hold", "release", "1").exit_code == 1
    assert site.json("hold", "list") == []
    assert site.audit("hold", "list", "--all").output.count("case 17") == 1


def test_what_is_younger_than_the_settings_say_is_not_erased(site: Site) -> None:
    refused = site.audit("erase", "--before", "2026-11-01", "--reason", "over")
    assert "audit.keep_days" in str(refused.exception)
    assert site.audit("erase", "--reason", "over").output == "nothing's time is over\n"
    assert site.json("erase", "--reason", "over", "--dry-run") == []


def test_records_are_exported_for_a_court_and_checked_there(site: Site, tmp_path: Path) -> None:
    bundle = tmp_path / "court.zip"
    said = site.json("export", "--to", str(bundle), "--patient", "anna^^^&1.2.3.4.5&ISO")
    assert (said["records"], said["of"]) == (2, 3)  # type: ignore[index]
    certificate = site.data / "keys/audit-signing.crt"
    script = ROOT / "deploy/verify_audit_log.py"
    done = subprocess.run([sys.executable, script, "bundle", bundle, certificate], capture_output=True, check=False)
    assert done.stdout.startswith(b"holds: 2 records of a log of 3")
    assert site.audit("export", "--to", str(bundle), "--transaction", "ITI-18").stdout.startswith("1 records, sealed")


def test_what_was_changed_is_not_exported(site: Site, tmp_path: Path) -> None:
    site.change(message=golden("iti41_responder").message)
    result = site.audit("export", "--to", str(tmp_path / "court.zip"))
    assert result.exit_code == 1
    assert not (tmp_path / "court.zip").exists()


def test_a_record_that_cannot_be_read_is_listed_as_such(site: Site) -> None:
    site.change(message=b"rubbish")
    assert "unreadable" in site.audit("list").stdout


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"]])
def test_looking_leaves_an_audit_log_used_record(site: Site, arguments: list[str]) -> None:
    assert site.audit(*arguments).exit_code == 0
    record = site.newest()
    assert (record.id, record.event, record.outcome, record.leaf_number) == (4, "110101", 0, None)
    assert summary(record.message)["event"] == "Audit Log Used"
    assert summary(record.message)["source"]


def test_a_record_is_shown_in_words_with_its_xml_and_its_proof(site: Site) -> None:
    out = site.audit("show", "2").stdout
    assert out.startswith("At 2026-03-01 08:00:00 UTC the Document Repository at xds.hospital.example gave documents")
    assert '<ActiveParticipant UserID="192.0.2.7"' in out
    assert "\nproof: holds: record 1 of 3, signed at 2" in out
    found = site.json("show", "2")
    assert found["proof"].startswith("holds: record 1 of 3")  # type: ignore[index]
    assert found["transaction"] == "ITI-43"  # type: ignore[index]


def test_a_record_that_is_not_sealed_yet_says_so(site: Site) -> None:
    site.audit("list")
    assert "proof: not sealed yet" in site.audit("show", "4").stdout
    with database(site.loaded) as engine, engine.begin() as connection:
        store.number(connection, 10)
    assert "proof: not sealed yet" in site.audit("show", "4").stdout
    site.seal()
    assert "proof: holds: record 3 of " in site.audit("show", "4").stdout


@pytest.mark.parametrize("values", [{"message": (GOLDEN / "iti41_responder.xml").read_bytes()}, {"recorded": 1}])
def test_a_row_that_was_changed_shows_that_its_proof_does_not_hold(site: Site, values: dict[str, object]) -> None:
    site.change(**values)
    assert "proof: DOES NOT HOLD: step 2, record 0" in site.audit("show", "1").stdout


def test_a_record_without_the_tree_shows_that_its_proof_does_not_hold(site: Site) -> None:
    shutil.rmtree(folder(site.loaded) / "tree")
    assert "proof: DOES NOT HOLD" in site.audit("show", "1").stdout


def test_a_record_that_is_not_there_is_refused(site: Site) -> None:
    result = site.audit("show", "99")
    assert isinstance(result.exception, Unusable)
    assert str(result.exception) == "there is no record 99"


@pytest.mark.parametrize("options", [[], ["--every-signature"], ["--database"], ["--every-signature", "--database"]])
def test_a_log_that_holds_says_how_much_it_holds(site: Site, options: list[str]) -> None:
    result = site.audit("verify", *options)
    assert result.exit_code == 0
    assert result.stdout.startswith("the log holds: 3 records under 1 checkpoints, the last at 2")
    assert site.json("verify", *options) == {"holds": True, "records": 3, "checkpoints": 1, "unsealed": 0, "erased": 0}


def test_a_tampered_log_ends_with_1_and_names_the_record(site: Site) -> None:
    site.spoil()
    result = site.audit("verify")
    assert result.exit_code == 1
    assert "TAMPERED: step 2, record 1: not what was sealed" in result.stderr
    assert site.json("verify", code=1) == {"holds": False, "step": 2, "record": 1, "reason": "not what was sealed"}


def test_a_tampered_database_is_found_where_that_is_asked_for(site: Site) -> None:
    site.change(message=b"other")
    assert site.audit("verify").exit_code == 0
    assert site.json("verify", "--database", code=1)["record"] == 0  # type: ignore[index]


def test_a_log_is_verified_by_its_files_and_a_certificate_alone(site: Site, tmp_path: Path) -> None:
    shutil.copytree(folder(site.loaded), tmp_path / "evidence")
    certificate = tmp_path / "their.crt"
    shutil.copy(site.data / "keys" / "audit-signing.crt", certificate)
    result = CliRunner().invoke(
        cli.commands,
        ["audit", "verify", "--log", str(tmp_path / "evidence"), "--certificate", str(certificate),
         "--data", str(tmp_path / "elsewhere")],
    )  # fmt: skip
    assert result.exit_code == 0
    assert "3 records" in result.stdout


def test_another_certificate_does_not_vouch_for_it(site: Site, tmp_path: Path) -> None:
    certificate = tmp_path / "other.crt"
    certificate.write_bytes(other_key().certificate.public_bytes(Encoding.PEM))
    result = site.audit("verify", "--certificate", str(certificate))
    assert result.exit_code == 1
    assert "TAMPERED: step 4: checkpoint 0: signed by a key that is not trusted" in result.stderr


def test_records_that_wait_are_told(site: Site) -> None:
    SegmentLog(folder(site.loaded) / "segments").append(records(3, 5))
    assert "; 2 wait for the next" in site.audit("verify").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["verify"], 0, "the log holds"),
        (["verify", "--log", "nowhere"], 1, "xds: nowhere holds no audit log"),
        (["verify", "--certificate", "nowhere.crt"], 1, "xds: nowhere.crt: no certificate"),
        (["show", "99"], 1, "xds: there is no record 99"),
        (["show", "x"], 2, "Invalid value"),
        (["list", "--no-such"], 2, "No such option"),
        (["verify", "--help"], 0, "Example: xds audit verify"),
    ],
)
def test_the_exit_code_is_0_done_1_refused_2_wrong_use(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int,
    says: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["xds", "audit", *arguments, "--data", str(site.data)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr()
    assert (ended.value.code or 0) == code
    assert says in out.out + out.err


def test_a_log_that_was_rolled_back_is_found_where_the_database_is_compared(site: Site) -> None:
    shutil.copytree(folder(site.loaded), site.data / "older")
    with database(site.loaded) as engine:
        keep(engine, [a_row(9)])
    site.seal()
    shutil.rmtree(folder(site.loaded))
    (site.data / "older").rename(folder(site.loaded))
    assert site.audit("verify").exit_code == 0
    assert site.json("verify", "--database", code=1)["record"] == 3  # type: ignore[index]
