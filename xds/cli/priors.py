"""``xds priors``: the earlier examinations that matter to one that is ordered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xds.cli.common import as_json, counted, print_json
from xds.cli.options import DEFAULT_REGISTRY, audited
from xds.errors import CannotMatch, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xds.cli.client import Desk
    from xds.hl7.orders import Order
    from xds.metadata.identifiers import PatientId
    from xds.rules.relevant_priors import Examination, Prior, Priors, Rules

F = TypeVar("F", bound=Callable[..., Any])

ORDER_BYTES = 1024 * 1024
"""Of a message of HL7 v2."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command's options say is ordered."""

    file: Path | None
    patient: str
    modality: str
    body_part: str
    day: datetime | None
    rules: str
    registry: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An order, what of it is known, and the earlier examinations that matter to it."""

    order: Order
    wanted: Examination
    priors: list[Prior]
    unjudged: int
    missing: list[str]
    """Why there may be more: who has not answered."""


def ordering(command: F) -> F:
    """The options that say what is ordered, and where earlier examinations are looked for."""
    for option in (
        click.option("--registry", metavar="URL", default=DEFAULT_REGISTRY, show_default=True),
        click.option("--rules", metavar="FILE", default="", help="The region's rules; else those of priors.rules."),
        click.option("--on", "day", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]),
                     help="For when, if not as it says."),
        click.option("--body-part", metavar="TERM", default="", help="Of what, such as CHEST; else by its procedure."),
        click.option("--modality", metavar="CODE", default="", help="What is ordered, such as CT; else as it says."),
        click.option("--patient", metavar="CX", default="", help="Or the patient, as the affinity domain knows them."),
        click.option("--order", "file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
                     help="An order or appointment of HL7 v2: ORM, OMI or SIU."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(epilog="Example: xds priors --order order.hl7 --data ./xds-data")
@ordering
@as_json
@audited
def priors(
    file: Path | None,
    patient: str,
    modality: str,
    body_part: str,
    day: datetime | None,
    rules: str,
    registry: str,
    json_: bool,
    config: Path | None,
    data: str | None,
    audit_to: str,
) -> None:
    """Print what was examined before and matters to an order, and what may make it needless.

    Exit code 3: the order names nobody whom the affinity domain could know.
    """
    from xds.cli.client import desk

    asked = Asked(file, patient, modality, body_part, day, rules, registry)
    with desk(config, data, audit_to) as at:
        answers = list(answered(at, asked))
        if json_:
            print_json([_json(at, one) for one in answers])
        for one in answers:
            if not json_:
                _print(at, one)
            for why in one.missing:
                click.echo(why, err=True)
    sys.exit(1 if any(one.missing for one in answers) else 0)


def answered(at: Desk, asked: Asked) -> Iterator[Answer]:
    """The priors of each order that is asked for, and not cancelled.

    Raises:
        CannotMatch: it is of nobody whom the affinity domain could know.
        Unusable: it cannot be read, or does not say what is ordered.
    """
    from xds.hl7.v2 import Authorities
    from xds.rules.relevant_priors import read_file

    if (asked.file is None) == (not asked.patient):
        raise Unusable("say either --order or --patient")
    rules = read_file(asked.rules or at.settings.priors.rules)
    ours = Authorities.of(at.settings.mllp.namespaces, at.settings.domain.assigning_authorities)
    for order in _orders(asked.file, ours) if asked.file else [_by_hand(asked.patient)]:
        if order.cancelled:
            click.echo("an order that is cancelled needs no priors", err=True)
            continue
        kinds = (asked.modality.upper(),) if asked.modality else order.modalities
        wanted = rules.ordered(kinds, asked.body_part, order.procedures, _day(asked.day, order.begins))
        missing = list[str]()
        found = _found(at, asked.registry, order, rules, wanted, missing)
        yield Answer(order, wanted, found.found, found.unjudged, missing)


def _orders(file: Path, ours: Any) -> Sequence[Order]:
    """The orders of a file.

    Raises:
        Unusable: it cannot be read, or holds none.
    """
    from xds.hl7.charset import decoded
    from xds.hl7.feed import NotAFeed
    from xds.hl7.orders import NotAnOrder, read

    try:
        with file.open("rb") as opened:
            written = opened.read(ORDER_BYTES + 1)
    except OSError as problem:
        raise Unusable(f"{file}: {problem.strerror}") from None
    if len(written) > ORDER_BYTES:
        raise Unusable(f"{file}: longer than a message of HL7 v2 is")
    try:
        return read(decoded(written), ours)
    except (NotAFeed, NotAnOrder) as problem:
        raise Unusable(f"{file}: {problem}") from None


def _by_hand(patient: str) -> Order:
    from xds.cli.patient import patient_id
    from xds.hl7.orders import Order

    return Order((patient_id(patient),))


def _day(said: datetime | None, begins: str) -> date:
    """For when it is ordered; today where nobody says."""
    if said is not None:
        return said.date()
    try:
        return date.fromisoformat(f"{begins[:4]}-{begins[4:6]}-{begins[6:8]}")
    except ValueError:
        return date.today()


def _found(
    at: Desk, registry: str, order: Order, rules: Rules, wanted: Examination, missing: list[str]
) -> Priors:  # fmt: skip
    """The priors of an order, by the one of its patient ids that the affinity domain could know.

    Raises:
        CannotMatch: there is no such, or the registry knows nobody of it.
    """
    from xds.actors.document_consumer import Search
    from xds.cli.find import found

    if not wanted.modalities and not wanted.regions:
        raise Unusable("what is ordered is not known: name --modality or --body-part, or its code in the rules")
    entries = found(at, registry, Search(_whose(at, order)), missing)
    return rules.priors(wanted, entries, order.study)


def _whose(at: Desk, order: Order) -> PatientId:
    authorities = at.settings.domain.assigning_authorities
    ours = [one for one in order.patient_ids if one.authority in authorities]
    if ours:
        return ours[0]
    if len(order.patient_ids) == 1:  # the registry says whether it knows the authority
        return order.patient_ids[0]
    raise CannotMatch(f"the order has no patient id of {', '.join(authorities) or 'the affinity domain'}")


def _print(at: Desk, answer: Answer) -> None:
    from xds.metadata.reading import display

    for one in answer.priors:
        begun = one.entry.service_start_time
        when = f"{begun.text[:4]}-{begun.text[4:6]}-{begun.text[6:8]}".rstrip("-") if begun else "no date"
        click.echo(
            f"{when:10}  {'/'.join(sorted(one.made.modalities)) or '-':8}  {_age(one.age):>12}  "
            f"{display(one.entry.title)}  {place(at, one)}"
        )
    click.echo(counted(len(answer.priors), "earlier examination"))
    if answer.unjudged:
        click.echo(
            f"{counted(answer.unjudged, 'more')} of which it is not known whether they matter: xds find", err=True
        )
    for one in (one for one in answer.priors if one.needless):
        click.echo(f"{one.said(place(at, one))}: look at it before this one is made")


def _json(at: Desk, answer: Answer) -> dict[str, Any]:
    from xds.cli.find import row

    wanted = answer.wanted
    return {
        "ordered": {
            "modalities": sorted(wanted.modalities), "regions": sorted(wanted.regions),
            "day": wanted.day.isoformat() if wanted.day else None,
        },
        "priors": [
            {**row(one.entry), "days": one.age, "sameRegion": one.same_region, "needless": one.needless,
             "where": place(at, one)}
            for one in answer.priors
        ],
        "unjudged": answer.unjudged,
        "missing": answer.missing,
    }  # fmt: skip


def _age(days: int | None) -> str:
    return "age unknown" if days is None else counted(days, "day")


def place(at: Desk, one: Prior) -> str:
    from xds.rules.relevant_priors import made_at
    from xds.settings.addresses import names_of_places

    uid, names = one.entry.repository_unique_id or "", names_of_places(at.settings)
    return made_at(one.entry) or names.get(one.entry.home_community_id or "") or names.get(uid, uid)
