"""A patient withholds a study; its doctor does not see it, breaks the glass with a reason, and that is seen at once."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.endpoints.console.test_desk import PASSWORD, Browser, hidden
from tests.endpoints.console.test_region import north
from tests.imaging.images import STUDY
from tests.initiating.test_publisher import ANNA
from tests.server.test_application import Site
from xds.audit.messages.message_xml import read
from xds.endpoints.console.passwords import hashed
from xds.store import accounts, consent_documents
from xds.store.registry import patients
from xds.store.tables import audit_record, override

__all__ = ["north"]

PATIENT = quote(str(ANNA))
REASON = "found unconscious, no next of kin"


@pytest.fixture
def site(north: Site) -> Site:
    """The hospital, with somebody who looks at studies and a privacy officer."""
    with north.application.engine.begin() as connection:
        accounts.add(connection, "vera", "viewer", hashed(PASSWORD))
        accounts.add(connection, "pia", "privacy-officer", hashed(PASSWORD))
    return north


def signed_in(site: Site, name: str) -> Browser:
    browser = Browser(site)
    assert browser.sign_in(name, target="/console")[0] == 200
    return browser


def withhold(browser: Browser, **more: str) -> tuple[int, str]:
    page = browser.got(f"/console/consents?patient={PATIENT}")[1]
    said = {"permit": "0", "studies": "", "documents": "", "organisations": "", "persons": "", "roles": "",
            "from_": "", "until": "", "overridable": "1", "patient": str(ANNA)}  # fmt: skip
    return browser.got("/console/consents", {**hidden(page), **said, **more})[:2]


def studies(browser: Browser) -> int:
    status, page, _ = browser.got(f"/console/patients?patient={PATIENT}")
    assert status == 200
    return page.count('<tr id="study-')


def glass(browser: Browser, reason: str, purpose: str = "BTG") -> tuple[int, str]:
    page = browser.got(f"/console/patients/glass?patient={PATIENT}")[1]
    form = hidden(page) | {"patient": str(ANNA), "reason": reason, "purpose": purpose}
    return browser.got("/console/patients/glass", form)[:2]


def test_what_is_withheld_is_opened_by_a_reason_and_the_privacy_officer_sees_that_at_once(site: Site) -> None:
    vera, pia = signed_in(site, "vera"), signed_in(site, "pia")
    assert studies(vera) == 1
    status, page = withhold(pia, studies=STUDY, organisations="North Hospital")
    assert (status, f"withholds study {STUDY} from organisation North Hospital" in page) == (200, True)
    wait_for(lambda: studies(vera) == 0)  # a first directive is seen within seconds
    assert "Nothing waits" in pia.got("/console/overrides")[1]
    status, page = glass(vera, REASON)
    assert (status, "The glass is broken" in page, page.count('<tr id="study-')) == (200, True, 1)
    listed = unescape(pia.got("/console/overrides")[1])
    assert REASON in listed
    assert "vera" in listed
    with site.application.engine.connect() as connection:
        number = connection.scalar(sa.select(override.c.id))
        found = [read(m) for m in connection.scalars(sa.select(audit_record.c.message).order_by(audit_record.c.id))]
    begun = [one for one in found if any(code.code == "110127" for code in one.event.type_codes)]
    assert begun
    assert REASON in b" ".join(detail.value for one in begun for o in one.objects for detail in o.details).decode()
    # Each look is an ordinary record with the purpose in it.
    looked = [one for one in found if any(code.code == "ITI-18" for code in one.event.type_codes)][-1]
    assert [code.code for code in looked.event.purposes_of_use] == ["BTG"]
    assert pia.got(f"/console/overrides/{number}", hidden(pia.got("/console/overrides")[1]))[0] == 200
    assert "Nothing waits" in pia.got("/console/overrides")[1]
    assert REASON in unescape(pia.got("/console/overrides?all=1")[1])


@pytest.mark.parametrize(("reason", "purpose"), [("", "BTG"), ("short", "BTG"), (REASON, "TREAT"), (REASON, "")])
def test_without_a_reason_or_a_purpose_of_the_policy_the_glass_stays_whole_and_the_attempt_is_on_record(
    site: Site, reason: str, purpose: str
) -> None:
    vera, pia = signed_in(site, "vera"), signed_in(site, "pia")
    withhold(pia)
    assert glass(vera, reason, purpose)[0] == 400
    wait_for(lambda: studies(vera) == 0)  # a first directive is seen within seconds
    with site.application.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(override)) == 0
        found = [read(m) for m in connection.scalars(sa.select(audit_record.c.message))]
    refused = [one for one in found if any(c.code == "110127" for c in one.event.type_codes)]
    assert [int(one.event.outcome) for one in refused] == [4]


def test_a_directive_that_holds_in_an_emergency_too_is_not_opened(site: Site) -> None:
    vera, pia = signed_in(site, "vera"), signed_in(site, "pia")
    withhold(pia, overridable="0")
    assert glass(vera, REASON)[0] == 200
    wait_for(lambda: studies(vera) == 0)  # a first directive is seen within seconds


def test_a_patient_who_withholds_everything_is_answered_like_one_whom_nobody_knows(site: Site) -> None:
    vera, pia = signed_in(site, "vera"), signed_in(site, "pia")

    def page(patient: str) -> str:
        status, text, _ = vera.got(f"/console/patients?patient={quote(patient)}")
        assert status == 200
        return sealed(text).replace(escape(patient), "WHOM")

    nobody = str(replace(ANNA, id="nobody-1"))
    assert page(str(ANNA)) != page(nobody)
    withhold(pia)
    wait_for(lambda: page(str(ANNA)) == page(nobody))  # a first directive is seen within seconds
    assert "nobody of this id whom you may ask about" in page(nobody)
    before = replace(ANNA, id="anna-before")  # who goes on for somebody is told to who may ask about that one only
    with site.application.engine.begin() as connection:
        patients.add(connection, "default", before)
        patients.merge(connection, "default", before, ANNA)
    assert page(str(before)) == page(nobody)


def test_who_may_not_break_the_glass_learns_from_it_of_nobody_either(site: Site) -> None:
    vera = signed_in(site, "vera")

    def tried(patient: str) -> tuple[int, str]:
        opened = vera.got(f"/console/patients/glass?patient={quote(patient)}")[1]
        form = hidden(opened) | {"patient": patient, "reason": REASON, "purpose": "TREAT"}
        status, page = vera.got("/console/patients/glass", form)[:2]
        return status, sealed(page).replace(escape(patient), "WHOM")

    assert tried(str(ANNA)) == tried(str(replace(ANNA, id="nobody-1")))
    assert tried(str(ANNA))[0] == 400


def sealed(page: str) -> str:
    """A page without what is another in each: sealed addresses and tokens."""
    return re.sub(r"[A-Za-z0-9_-]{40,}", "SEALED", page)


def test_a_directive_is_withdrawn_and_one_that_contradicts_another_is_refused(site: Site) -> None:
    vera, pia = signed_in(site, "vera"), signed_in(site, "pia")
    withhold(pia)
    status, page = withhold(pia, permit="1")
    assert (status, "says the opposite" in page) == (400, True)
    page = pia.got(f"/console/consents?patient={PATIENT}")[1]
    (address,) = {part.split('"')[0] for part in page.split('action="')[1:] if part.startswith("/console/consents/")}
    assert pia.got(address, {**hidden(page), "patient": str(ANNA)})[0] == 200
    assert studies(vera) == 1


def test_a_consent_document_that_is_not_acted_upon_stands_there_and_is_tried_again(site: Site) -> None:
    with site.application.engine.begin() as connection:
        consent_documents.add(connection, "default", consent_documents.Waiting("1.2.9.9", "1.2.3.77", 1))
        consent_documents.failed(connection, "default", "1.2.9.9", "the <policy> is unknown", None)
    pia = signed_in(site, "pia")
    page = pia.got("/console/consents")[1]
    assert "the &lt;policy&gt; is unknown" in page
    for document, status in (("1.2.9.9", 200), ("1.2.9.8", 404)):
        assert pia.got("/console/consents/documents/again", {**hidden(page), "document": document})[0] == status
    with site.application.engine.connect() as connection:
        (one,) = consent_documents.all_of(connection, "default")
        assert one.next_try
    assert pia.got("/console/consents/documents/again", {"document": "1.2.9.9"})[0] == 400


@pytest.mark.parametrize("path", ["/console/consents", "/console/overrides"])
def test_only_a_privacy_officer_sees_what_patients_want_and_who_has_broken_the_glass(site: Site, path: str) -> None:
    assert signed_in(site, "vera").got(path)[0] == 403
    assert signed_in(site, "pia").got(path)[0] == 200


def test_a_form_of_elsewhere_changes_nothing(site: Site, tmp_path: Path) -> None:
    pia = signed_in(site, "pia")
    for path, form in (
        ("/console/consents", {"patient": str(ANNA), "permit": "0"}), ("/console/overrides/1", {}),
        ("/console/patients/glass", {"patient": str(ANNA), "reason": REASON, "purpose": "BTG"}),
    ):  # fmt: skip
        assert pia.got(path, form)[0] in (400, 403)
    assert withhold(pia)[0] == 200
