"""What is sent against a study is set apart: found by nobody, decided by a person, bounded, never half done."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa

from tests.builders import AUTHORITY
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.endpoints.dicomweb.test_store import KIND, as_bytes, body, posted
from tests.hostile.server import Served
from tests.hostile.test_anothers_study import recorded
from tests.imaging.images import SERIES, STUDY, a_rejection_note, an_instance, put
from tests.server.test_application import Site, serving
from tests.store.databases import at_once
from xds.archives.senders import Sender
from xds.audit.messages.message_xml import read
from xds.audit.messages.parties import Party
from xds.demo.site import free_port
from xds.endpoints.apart import Apart, CannotBeDone, Decided, NoSuchCase
from xds.store import apart as store
from xds.store.tables import audit_record

WHO = Party("olga", "127.0.0.1", requestor=True)
REASON = "the modality had the wrong patient; sent again since"


@pytest.fixture
def settings() -> str:
    """More lines of the imaging source's settings."""
    return ""


@pytest.fixture
def site(database_url: str, tmp_path: Path, settings: str) -> Iterator[Site]:
    """With one instance of Anna's study, and nothing against it."""
    (tmp_path / "images").mkdir()
    text = f'[imaging_source]\nfolder = "{tmp_path}/images"\nstow_rs = true\n{settings}\n'
    with serving(database_url, tmp_path, text) as site:
        assert posted(site, body(as_bytes(an_instance(1))))[0] == 200
        yield site


def apart_of(site: Site) -> Apart:
    return site.application.domains["default"].apart


def sent(site: Site, *datasets: Any) -> int:
    return posted(site, body(*map(as_bytes, datasets)))[0]


def of_another(number: int = 2, **changes: Any) -> Any:
    return an_instance(
        number, **{"PatientID": "P2", "PatientName": "Other^Otto", "PatientBirthDate": "20000101", **changes}
    )


def files(site: Site) -> list[Path]:
    folder = Path(site.application.settings.imaging_source.folder) / ".apart"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def listed(site: Site, path: str = "/instances") -> bytes:
    with urlopen(f"{site.url}/dicomweb/studies/{STUDY}{path}") as reply:  # noqa: S310
        return bytes(reply.read())


def undecided(site: Site) -> tuple[int, int]:
    with site.application.engine.connect() as connection:
        return store.undecided(connection)


def not_its_own(site: Site) -> None:
    """Have the study be another sender's from now on."""
    apart_of(site)._intake._archive.stored_by.note(STUDY, Sender("key of hospital B"))


# Kept.


def test_what_would_mix_two_patients_is_set_apart_and_the_study_stays_as_it_is(site: Site) -> None:
    before = listed(site), listed(site, "/metadata")
    status, answer = posted(site, body(*(as_bytes(of_another(n)) for n in (2, 3))))
    assert status == 409
    assert [one["00081197"]["Value"] for one in answer["00081198"]["Value"]] == [[0xA900]] * 2
    assert (listed(site), listed(site, "/metadata")) == before
    assert undecided(site) == (1, 2)  # one case, since they are decided upon together
    (case,) = apart_of(site).cases(WHO, most=10)
    first = case.first
    assert (first.protocol, first.study_held, first.state) == ("STOW-RS", STUDY, "undecided")
    assert first.why == "of another patient than the study shows"
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(site)] == [0o600] * 2
    assert stat.S_IMODE(files(site)[0].parent.stat().st_mode) == 0o700


def test_what_is_set_apart_is_none_of_the_archives_files_and_none_of_its_problems(site: Site) -> None:
    sent(site, of_another())
    archive = apart_of(site)._intake._archive
    found = list(archive.fingerprints())  # what the publisher looks at
    refreshed = archive.refresh()
    assert (refreshed.added, refreshed.problems, list(archive.fingerprints())) == (0, 0, found)
    assert listed(site).count(b'"00080018"') == 1


def test_the_alert_says_that_it_is_set_apart_and_is_in_the_log_once_a_study(site: Site) -> None:
    sent(site, *(of_another(n) for n in (2, 3)))
    assert [event for event, _, _ in recorded(site)].count("110113") == 1
    with site.application.engine.connect() as connection:
        (text,) = connection.scalars(sa.select(audit_record.c.message).where(audit_record.c.event == "110113"))
    (details,) = [o.details for o in read(text).objects if o.details]
    assert details[0].value == b"set apart: of another patient than the study shows"


@pytest.mark.parametrize("kind", ["an instance", "a rejection note", "a replacement"])
def test_what_another_sender_sends_against_a_study_is_set_apart_and_can_be_taken_in(site: Site, kind: str) -> None:
    not_its_own(site)
    new = {
        "an instance": an_instance(2), "a rejection note": a_rejection_note(f"{SERIES}.1"),
        "a replacement": an_instance(1, StudyID="other"),
    }[kind]  # fmt: skip
    before = listed(site)
    assert sent(site, new) == 409
    assert (undecided(site), listed(site)) == ((1, 1), before)
    (case,) = apart_of(site).cases(WHO, most=10)
    if kind == "a replacement":  # what is there is never written over
        with pytest.raises(CannotBeDone, match="another instance of that SOP Instance UID"):
            apart_of(site).take(case.first.case_id, WHO, REASON)
        assert (undecided(site), listed(site)) == ((1, 1), before)
        return
    assert apart_of(site).take(case.first.case_id, WHO, REASON) == 1
    assert listed(site).count(b'"00080018"') == (2 if kind == "an instance" else 0)
    assert (undecided(site), files(site)) == ((0, 0), [])


def test_the_same_again_is_one_instance_and_a_decision_stands(site: Site) -> None:
    for _ in range(3):
        assert sent(site, of_another()) == 409
    assert (undecided(site), len(files(site))) == ((1, 1), 1)
    (case,) = apart_of(site).cases(WHO, most=10)
    assert apart_of(site).discard(case.first.case_id, WHO, REASON) == 1
    assert (undecided(site), files(site)) == ((0, 0), [])
    assert sent(site, of_another()) == 409
    assert (undecided(site), files(site)) == ((0, 0), [])


# Decided.


def test_what_shows_another_patient_is_never_taken_in(site: Site) -> None:
    sent(site, of_another())
    (case,) = apart_of(site).cases(WHO, most=10)
    with pytest.raises(CannotBeDone, match="another patient"):
        apart_of(site).take(case.first.case_id, WHO, REASON)
    assert (undecided(site), listed(site).count(b'"00080018"')) == ((1, 1), 1)


def test_what_shows_the_patient_of_a_study_that_was_corrected_meanwhile_is_taken_in(site: Site) -> None:
    sent(site, of_another())
    root = Path(site.application.settings.imaging_source.folder)
    (held,) = root.rglob("*.dcm")
    of_another(1).save_as(held, enforce_file_format=True)
    apart_of(site)._intake._archive.refresh()
    (case,) = apart_of(site).cases(WHO, most=10)
    assert apart_of(site).take(case.first.case_id, WHO, REASON) == 1
    assert listed(site).count(b'"00080018"') == 2


@pytest.mark.parametrize("reason", ["", "  ", "\n\t"])
def test_a_decision_needs_a_reason(site: Site, reason: str) -> None:
    sent(site, of_another())
    (case,) = apart_of(site).cases(WHO, most=10)
    with pytest.raises(CannotBeDone, match="reason"):
        apart_of(site).discard(case.first.case_id, WHO, reason)
    assert undecided(site) == (1, 1)


def test_a_decision_is_made_once_and_of_no_case_that_is_not_there(site: Site) -> None:
    sent(site, of_another())
    apart = apart_of(site)
    (case,) = apart.cases(WHO, most=10)
    apart.discard(case.first.case_id, WHO, REASON)
    for decide in (apart.discard, apart.take):
        with pytest.raises(Decided):
            decide(case.first.case_id, WHO, REASON)
        for number in (0, -1, 4711, 2**70):
            with pytest.raises(NoSuchCase):
                decide(number, WHO, REASON)


def test_what_came_after_somebody_looked_is_a_case_of_its_own(site: Site) -> None:
    sent(site, of_another(2))
    apart = apart_of(site)
    (seen,) = apart.cases(WHO, most=10)
    sent(site, of_another(3))
    assert apart.discard(seen.first.case_id, WHO, REASON, seen.last) == 1
    (left,) = apart.cases(WHO, most=10, state="undecided")
    assert (left.count, left.first.sop_instance_uid) == (1, f"{SERIES}.3")


def test_looks_and_decisions_are_on_record_with_who_whom_and_why(site: Site) -> None:
    sent(site, of_another())
    apart = apart_of(site)
    (case,) = apart.cases(WHO, most=10)
    apart.discard(case.first.case_id, WHO, REASON)
    found = recorded(site)
    assert {("110103", 0, "P2"), ("110103", 0, "4711")} <= set(found)
    with site.application.engine.connect() as connection:
        looks = sa.select(audit_record.c.message).where(audit_record.c.event == "110103").order_by(audit_record.c.id)
        texts = connection.scalars(looks).all()
    assert [str(read(text).event.action.value) for text in texts] == ["R", "R", "D"]
    assert b"olga" in texts[-1]
    details = [detail.value.decode() for o in read(texts[-1]).objects for detail in o.details]
    assert REASON in details


def test_taking_in_a_rejection_note_is_recorded_as_a_deletion(site: Site) -> None:
    not_its_own(site)
    sent(site, a_rejection_note(f"{SERIES}.1"))
    (case,) = apart_of(site).cases(WHO, most=10)
    apart_of(site).take(case.first.case_id, WHO, REASON)
    assert [outcome for event, outcome, _ in recorded(site) if event == "110105"].count(0) == 1


# By command.


def commands(site: Site) -> Path:
    """A settings file, as commands at this site read it."""
    settings = site.application.settings
    config = settings.data.parent / "commands.toml"
    server = f'[server]\ndata = "{settings.data}"\ndatabase = "{settings.database_url}"\n'
    config.write_text(f'{server}[imaging_source]\nfolder = "{settings.imaging_source.folder}"\n')
    return config


def test_the_commands_list_show_and_decide(site: Site) -> None:
    sent(site, of_another())
    config = commands(site)
    (row,) = xds("apart", "list", "--json", "--config", config).json
    assert (row["patient"], row["patients_held"]) == ("P2, Other^Otto, 20000101", ["4711, Müller^Anna, 19561127"])
    shown = xds("apart", "show", row["case"], "--config", config)
    assert "cannot be taken in: of another patient" in shown.out
    assert xds("apart", "take", row["case"], "--reason", "x", "--config", config).code == 1
    assert xds("apart", "discard", row["case"], "--config", config).code == 2
    done = xds("apart", "discard", row["case"], "--reason", REASON, "--config", config)
    assert (done.code, done.out) == (0, "1 instance thrown away\n")
    again = xds("apart", "discard", row["case"], "--reason", REASON, "--config", config)
    assert (again.code, "is decided" in again.err) == (1, True)
    (row,) = xds("apart", "list", "--state", "discarded", "--json", "--config", config).json
    assert (row["decided_by"], row["reason"]) == ("xds apart", REASON)


# Bounded.


@pytest.mark.parametrize(
    "settings", ["apart_instances = 2", "apart_peer_instances = 2", "apart_bytes = 2000", "apart_peer_bytes = 2000"]
)
def test_what_is_over_a_bound_is_refused_as_before(site: Site) -> None:
    assert sent(site, *(of_another(n) for n in range(2, 9))) == 409
    assert 1 <= len(files(site)) <= 2
    assert undecided(site) == (1, len(files(site)))


@pytest.mark.parametrize("settings", ["apart_instances = 3"])
def test_a_bound_holds_however_many_come_at_once(site: Site) -> None:
    assert at_once([partial(sent, site, of_another(number)) for number in range(2, 14)]) == [409] * 12
    assert (undecided(site), len(files(site))) == ((1, 3), 3)


def test_of_two_who_decide_at_once_one_is_told_that_it_is_decided(site: Site) -> None:
    not_its_own(site)
    sent(site, an_instance(2))
    decisions = [apart_of(site).take, apart_of(site).discard] * 3
    found = at_once([partial(decide, 1, WHO, REASON) for decide in decisions])
    assert [one for one in found if not isinstance(one, Exception)] == [1]
    assert {type(one) for one in found if isinstance(one, Exception)} == {Decided}
    assert (undecided(site), files(site)) == ((0, 0), [])


@pytest.mark.parametrize("settings", ["apart_instances = 0", "apart_peer_bytes = 0"])
def test_nothing_is_set_apart_where_the_settings_say_so(site: Site) -> None:
    assert sent(site, of_another()) == 409
    assert (undecided(site), files(site)) == ((0, 0), [])
    assert ("110113", 4, "P2") in recorded(site)


def test_a_disk_that_takes_nothing_refuses_it_and_the_alert_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    assert sent(site, of_another()) == 409
    assert (undecided(site), files(site)) == ((0, 0), [])
    assert ("110113", 4, "P2") in recorded(site)


@pytest.mark.parametrize("name", ["Ä" * 10_000, "a\x00b", "\udcff", "</td><script>", "x" * 60_000])
def test_whatever_a_header_says_of_the_patient_it_is_set_apart_and_shown(site: Site, name: str) -> None:
    other = of_another()
    other.PatientName = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert sent(site, other) == 409
    (case,) = apart_of(site).cases(WHO, most=10)
    assert len(case.first.facts) < 10_000


def test_what_a_sender_says_of_itself_does_not_steer_a_terminal(site: Site) -> None:
    assert sent(site, of_another(PatientName="\x1b[2JOtto", StudyDescription="\x1b]0;x\x07\u202eCT")) == 409
    for command in (("list",), ("show", 1)):
        said = xds("apart", *command, "--config", commands(site))
        assert (said.code, "Otto" in said.out or command == ("list",)) == (0, True)
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out)


def test_another_patients_file_that_is_put_into_the_folder_by_hand_is_left_out_with_an_alert(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    imaging = {"folder": str(tmp_path / "images"), "refresh_seconds": 0.2}
    put(tmp_path / "images", "1.dcm", an_instance(1))
    served = Served(tmp_path / "serve", {"imaging_source": imaging}).start()

    def instances() -> int:
        with urlopen(f"{served.url}/dicomweb/studies/{STUDY}/instances") as reply:  # noqa: S310
            return int(reply.read().count(b'"00080018"'))

    def alerts() -> int:
        rows = xds("audit", "list", "--json", "--config", served.config).json
        return len([row for row in rows if row["event"] == "Security Alert"])

    wait_for(lambda: instances() == 1)
    before = alerts()
    put(tmp_path / "images", "2.dcm", of_another())
    wait_for(lambda: alerts() == before + 1)
    assert instances() == 1
    assert served.stop() == 0


def test_a_published_study_stays_published_whatever_is_sent_against_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    port = free_port()
    imaging = {
        "folder": str(tmp_path / "images"), "stow_rs": True, "refresh_seconds": 0.2, "publish_quiet_seconds": 0.2,
        "publish_to": f"http://127.0.0.1:{port}/repository", "publish_registry": f"http://127.0.0.1:{port}/registry",
        "issuer": AUTHORITY,
    }  # fmt: skip
    served = Served(tmp_path / "serve", {"imaging_source": imaging}, port=port).start()

    def publication() -> dict[str, str]:
        found = xds("publications", "list", "--json", "--config", served.config).json
        return dict(found[0]) if found else {}

    assert stored(served, an_instance(1)) == 200
    wait_for(lambda: publication().get("state") == "published", 60)
    before = publication()
    assert stored(served, of_another()) == 409
    assert stored(served, an_instance(3, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1")) == 200
    # When what came afterwards is published, what came before has been looked at.
    wait_for(lambda: len(published(served)) == 2, 60)
    found = {row["study"]: row for row in xds("publications", "list", "--json", "--config", served.config).json}
    assert found[STUDY] == before
    (case,) = xds("apart", "list", "--json", "--config", served.config).json
    assert case["study_held"] == STUDY
    assert served.stop() == 0


def published(served: Served) -> list[str]:
    rows = xds("publications", "list", "--state", "published", "--json", "--config", served.config).json
    return [row["study"] for row in rows]


def stored(served: Served, *datasets: Any) -> int:
    """The status of a STOW-RS to a server of its own."""
    request = Request(f"{served.url}/dicomweb/studies", body(*map(as_bytes, datasets)), {"Content-Type": KIND})  # noqa: S310
    try:
        with urlopen(request, timeout=20) as reply:  # noqa: S310
            return int(reply.status)
    except HTTPError as problem:
        return problem.code
