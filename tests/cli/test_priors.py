"""``xds priors``: an order is asked for, and what was made before is told with what may make it needless."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.builders import ANNA, AUTHORITY, BERT
from tests.cli.command import Done, xds
from tests.endpoints.console.test_priors import with_priors
from tests.hl7.test_orders import orm, siu
from tests.rules.test_relevant_priors import TODAY
from tests.server.test_application import Site, serving


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A registry in which Anna has a CT of her chest, of nine days before the first of December, and two more."""
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path) as site:
        yield with_priors(site)


def priors(site: Site, tmp_path: Path, *asked: object, rules: str = "") -> Done:
    (tmp_path / "rules.toml").write_text(rules)
    config = tmp_path / "priors.toml"
    config.write_text(
        f'[server]\ndata = "{tmp_path / "scheduler"}"\n[domain]\nassigning_authorities = ["{AUTHORITY}"]\n'
        f'[priors]\nrules = "{tmp_path / "rules.toml"}"\n'
    )
    return xds("priors", "--registry", f"{site.url}/registry", "--config", config, *asked)


@pytest.fixture
def order(tmp_path: Path) -> Path:
    path = tmp_path / "order.hl7"
    path.write_text(orm())
    return path


RULES = '[procedures."24627-2"]\nbody_part = "CHEST"\n'


def test_an_order_is_told_what_matters_to_it_and_what_may_make_it_needless(
    site: Site, tmp_path: Path, order: Path
) -> None:
    done = priors(site, tmp_path, "--order", order, rules=RULES)
    assert (done.code, done.err) == (0, "")
    first, second, count, last = done.out.splitlines()
    assert first.split() == ["2026-11-22", "CT", "9", "days", "CT", "thorax", "General", "Hospital"]
    assert second.split()[:2] == [f"{TODAY - timedelta(400)}", "MR"]
    assert count == "2 earlier examinations"
    assert last.startswith("A CT of the same part was made 9 days earlier at General Hospital")


def test_the_same_is_had_by_hand_and_as_json(site: Site, tmp_path: Path, order: Path) -> None:
    by_hand = ("--patient", ANNA, "--modality", "ct", "--body-part", "chest", "--on", TODAY)
    (one,) = priors(site, tmp_path, *by_hand, "--json").json
    assert one == priors(site, tmp_path, "--order", order, "--json", rules=RULES).json[0]
    assert one["ordered"] == {"modalities": ["CT"], "regions": ["67734004"], "day": "2026-12-01"}
    assert [(each["days"], each["needless"], each["where"]) for each in one["priors"]] == [
        (9, True, "General Hospital"), (400, False, "General Hospital"),
    ]  # fmt: skip


def test_the_query_is_on_record(site: Site, tmp_path: Path, order: Path) -> None:
    priors(site, tmp_path, "--order", order)
    rows = xds("audit", "list", "--json", "--config", tmp_path / "priors.toml").json
    assert [(row["transaction"], row["patient"]) for row in rows if row["transaction"]] == [("ITI-18", str(ANNA))]


def test_an_order_for_nobody_who_is_known_is_exit_code_3(site: Site, tmp_path: Path, order: Path) -> None:
    order.write_text(orm().replace(str(ANNA), "a^^^&1.9.8&ISO~b^^^&1.9.9&ISO"))
    done = priors(site, tmp_path, "--order", order)
    assert (done.code, f"no patient id of {AUTHORITY}" in done.err) == (3, True), done.err
    order.write_text(orm().replace(str(ANNA), "nobody^^^&1.9.8&ISO"))
    assert priors(site, tmp_path, "--order", order).code == 3


def test_what_is_not_said_or_cannot_be_read_is_refused_before_anybody_is_asked(
    site: Site, tmp_path: Path, order: Path
) -> None:
    for asked, said in (
        ((), "say either --order or --patient"),
        (("--order", order, "--patient", ANNA), "say either --order or --patient"),
        (("--order", tmp_path / "none.hl7"), "No such file"),
        (("--patient", ANNA), "what is ordered is not known"),
        (("--patient", ANNA, "--body-part", "CHESST"), "CHESST is no body part"),
        (("--patient", ANNA, "--modality", "XX"), "XX is no modality"),
        (("--order", order, "--rules", tmp_path / "none.toml"), "cannot be read"),
    ):
        done = priors(site, tmp_path, *asked)
        assert (done.code, said in done.err, done.err.count("\n")) == (1, True, 1), done.err
    for text, said in (
        (siu(), "what is ordered is not known"),
        ("MSH", "does not begin with MSH"),
        ("x" * 2**21, "longer"),
    ):
        order.write_text(text)
        done = priors(site, tmp_path, "--order", order)
        assert (done.code, said in done.err) == (1, True), done.err


def test_a_cancelled_order_needs_none(site: Site, tmp_path: Path, order: Path) -> None:
    order.write_text(orm("CA"))
    done = priors(site, tmp_path, "--order", order, "--json")
    assert (done.code, done.json, "cancelled" in done.err) == (0, [], True)


def test_without_a_day_it_is_for_today(site: Site, tmp_path: Path) -> None:
    (one,) = priors(site, tmp_path, "--patient", ANNA, "--modality", "CT", "--json").json
    assert one["ordered"]["day"] == f"{date.today()}"


def test_who_has_nothing_is_told_so(site: Site, tmp_path: Path) -> None:
    done = priors(site, tmp_path, "--patient", BERT, "--modality", "CT")
    assert (done.code, done.out) == (0, "0 earlier examinations\n")
    assert "No documents, or an unknown patient" in done.err
