"""The Integration Statement claims what is answered, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.audit.messages.test_events import GOLDEN
from tests.cli.command import xds
from xds.server.actors import SERVED
from xds.server.integration_statement import CLAIMS, claims, lines, markdown
from xds.settings.access import Xua
from xds.settings.federation import Community
from xds.settings.imaging import ImagingSource
from xds.settings.merging import Merge
from xds.settings.sections import ACTORS, Audit, Mllp, Server, Settings, Syslog

PIX_CONSUMER = "Patient Identifier Cross-reference Consumer"
EVERYTHING = replace(
    Settings(), server=Server(actors=ACTORS),
    mllp=Mllp(listen="127.0.0.1:2575"), syslog=Syslog(tls="127.0.0.1:6514", udp="127.0.0.1:5514"),
    audit=Audit(readers=("127.0.0.1",), forward_to=("tls://a:6514",)), xua=Xua(trusted="idp.pem"),
)  # fmt: skip


def test_every_transaction_that_is_served_is_listed_with_its_actor() -> None:
    listed = {(line.number, line.actor) for line in lines(EVERYTHING) if line.role == "Responder"}
    assert {
        ("ITI-18", "Document Registry"),
        ("ITI-8", "Document Registry"),
        ("RAD-68", "Document Repository"),
    } <= listed
    assert {number for number, _ in listed} >= {"ITI-41", "ITI-42", "ITI-43", "ITI-44", "ITI-51", "ITI-57", "ITI-61",
                                                "ITI-62", "ITI-92", "RAD-69"}  # fmt: skip
    by_udp_alone = replace(EVERYTHING, syslog=Syslog(udp="127.0.0.1:5514"))
    assert "Audit Record Repository" not in {actor for _, actor, _ in claims(by_udp_alone)}
    numbers = [(line.number, line.actor) for line in lines(EVERYTHING) if line.role == "Responder"]
    assert len(numbers) == len(set(numbers))


def test_the_gateways_are_listed_where_they_are_played_and_asynchronous_answers_are_not_claimed() -> None:
    added = set(lines(EVERYTHING)) - set(lines(replace(EVERYTHING, server=Server())))
    assert {(line.number, line.role, line.actor) for line in added} == {
        ("ITI-18", "Responder", "Initiating Gateway"), ("ITI-43", "Responder", "Initiating Gateway"),
        ("ITI-38", "Responder", "Responding Gateway"), ("ITI-39", "Responder", "Responding Gateway"),
        ("ITI-38", "Initiator", "Initiating Gateway"), ("ITI-39", "Initiator", "Initiating Gateway"),
        ("ITI-55", "Responder", "Responding Gateway"), ("RAD-75", "Responder", "Responding Imaging Gateway"),
        ("RAD-69", "Responder", "Initiating Imaging Gateway"), ("RAD-75", "Initiator", "Initiating Imaging Gateway"),
    }  # fmt: skip
    made = {actor for _, actor, _ in claims(EVERYTHING)}
    assert "Initiating Gateway" in made
    assert not made & {
        "Responding Gateway",
        "Responding Imaging Gateway",
    }  # they must answer asynchronously, too (ITI TF-1: 18.2)


def test_another_community_is_asked_for_patients_where_one_is_set_and_not_because_we_answer_them() -> None:
    asks = replace(EVERYTHING, communities={"south": Community(("1.2.4",), ("https://s/",), discover=("https://s/",))})
    claimed = ("Cross-Community Patient Discovery (XCPD)", "Initiating Gateway")
    (added,) = set(lines(asks)) - set(lines(EVERYTHING))
    assert (added.number, added.role, added.actor) == ("ITI-55", "Initiator", "Initiating Gateway")
    assert [claimed in {(one, actor) for one, actor, _ in claims(of)} for of in (asks, EVERYTHING)] == [True, False]


@pytest.mark.parametrize("kind", [Community, Merge])
def test_a_pix_manager_is_asked_also_for_communities_and_for_what_is_merged(kind: type[Community | Merge]) -> None:
    name = "communities" if kind is Community else "merges"
    asks = replace(EVERYTHING, **{name: {"south": kind(pix="mllp://pix:1", pixm="http://pix/fhir")}})
    added = set(lines(asks)) - set(lines(EVERYTHING))
    assert {(line.number, line.role) for line in added} == {("ITI-9", "Initiator"), ("ITI-83", "Initiator")}


def test_with_everything_served_every_claim_is_made_with_its_options() -> None:
    made = {(profile, actor): options for profile, actor, options in claims(EVERYTHING)}
    known = {line.number for line in lines(EVERYTHING)}
    for claim in CLAIMS:
        if claim.actor == PIX_CONSUMER:
            continue  # one of three
        met = claim.needs <= known and not claim.starts  # whom else we ask, the settings say
        assert ((claim.profile, claim.actor) in made) == met
        assert not met or made[claim.profile, claim.actor] == tuple(option.title for option in claim.options)
    assert {claim.actor for claim in CLAIMS if not claim.needs <= known} == {PIX_CONSUMER}


@pytest.mark.parametrize(
    ("imaging", "profile"),
    [
        (ImagingSource(pix="mllp://pix:1"), "(PIX)"),
        (ImagingSource(pix="http://pix/"), "(PIXV3)"),
        (ImagingSource(pixm="http://pix/fhir"), "Mobile (PIXm)"),
    ],
)
def test_patients_are_cross_referenced_by_the_one_transaction_that_is_set(imaging: ImagingSource, profile: str) -> None:
    made = [
        profile for profile, actor, _ in claims(replace(EVERYTHING, imaging_source=imaging)) if actor == PIX_CONSUMER
    ]
    assert [one.endswith(profile) for one in made] == [True]


def test_images_are_said_to_be_taken_by_stow_rs_where_they_are() -> None:
    storing = replace(EVERYTHING, imaging_source=ImagingSource(stow_rs=True))
    assert "RAD-108" in {line.number for line in lines(storing)} - {line.number for line in lines(EVERYTHING)}


def test_what_publishing_starts_is_said_where_it_withdraws() -> None:
    publishing = replace(EVERYTHING, imaging_source=ImagingSource(publish_registry="http://region/registry"))
    (added,) = set(lines(publishing)) - set(lines(EVERYTHING))
    assert (added.number, added.role) == ("ITI-57", "Initiator")


@pytest.mark.parametrize("pix", ["mllp://pix:1", "http://pix/"])
def test_each_side_of_everything_that_is_played_has_a_golden_audit_message(pix: str) -> None:
    """But of what is no event of its own: ITI-20, and what an event's request carries (ITI-40, ITI-72)."""
    imaging = ImagingSource(stow_rs=True, publish_registry="http://region/registry", pix=pix, pixm="http://pix/fhir")
    played = [
        f"{line.number.replace('-', '').lower()}_{line.role.lower()}"
        for line in lines(replace(EVERYTHING, imaging_source=imaging))
        if line.number not in ("ITI-20", "ITI-40", "ITI-72")
    ]
    golden = [file.stem for file in GOLDEN.glob("*.xml")]
    assert [one for one in played if not any(f"{file}_".startswith(f"{one}_") for file in golden)] == []


def test_every_claims_part_is_one_that_is_served() -> None:
    assert {claim.part for claim in CLAIMS} <= {"", *SERVED}


def test_what_a_deployment_does_not_play_it_does_not_claim() -> None:
    registry = replace(Settings(), server=Server(actors=("registry",)))
    actors = [actor for _, actor, _ in claims(registry)]
    assert "Document Repository" not in actors
    assert "Imaging Document Source" not in actors
    assert "Document Consumer" in actors  # the commands are there all the same
    (options,) = (
        o for profile, actor, o in claims(registry) if (profile[-7:], actor) == ("(XDS.b)", "Document Registry")
    )
    assert "Patient Identity Feed HL7v3" in options
    assert "Patient Identity Feed" not in options  # nothing listens for it


def test_the_statement_is_a_page_to_hand_out(tmp_path: Path) -> None:
    text = markdown(EVERYTHING, "2026-01-02")
    assert "| xds | " in text
    assert "| 2026-01-02 |" in text
    assert "| ITI-18 Registry Stored Query | Responder | Document Registry |" in text
    done = xds("integration-statement", "--data", tmp_path)
    assert (done.code, done.out.startswith("# IHE Integration Statement")) == (0, True)
    printed = xds("integration-statement", "--json", "--data", tmp_path).json
    assert {"profile", "actor", "options"} == printed["claims"][0].keys()
    assert {"number", "title", "role", "actor"} == printed["transactions"][0].keys()
