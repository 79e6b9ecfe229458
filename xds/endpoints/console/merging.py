"""How far the merge of each source is: what it has, how much of it is here, and what a person is to decide.

No patient is named here: ``xds merge report`` does that, for who runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, render_template

from xds.endpoints.console.auditing import minute
from xds.store.engine import reading
from xds.store.merging import Became, Ledger, Looked

WHERE = "/console/merges"

REASONS, MONTHS = 20, 240

_KINDS = {"DE": "Entries", "SS": "Submission sets", "FD": "Folders", "AS": "Associations"}

# What somebody does about a reason, by how it begins.
_TO_DO = (
    ("nobody has said who", "Add the patient to the table of merges.NAME.patients."),
    ("the patient is not known here", "Send them by the Patient Identity Feed, or xds patient add."),
    ("repository.also does not name", "Add it to repository.also, and start the servers anew."),
    ("they were copied as another", "xds merge undo, then copy again."),
    ("what it leads to is not here yet", "Copy again: it may come with another patient."),
    ("a document did not come", "See that the source's repository answers; copy again."),
    (
        "the source does not give its document",
        "Ask the source: its registry has an entry, and its repository no document.",
    ),
    ("the document store here", "See to the document store; copy again."),
    ("it was changed here and", "Decide which of the two is right; undo, or change it at the source."),
    ("DocumentEntry.", "Map the code (merges.NAME.codes), or add it to the domain's code sets."),
    ("SubmissionSet.", "Map the code (merges.NAME.codes), or add it to the domain's code sets."),
    ("Folder.", "Map the code (merges.NAME.codes), or add it to the domain's code sets."),
)
_BY_STATE = {
    Became.INVALID: "The source must mend it; or it stays there.",
    Became.CONFLICT: "A person decides which is right.",
    Became.GONE: "Look whether it was meant to be removed.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why so many objects are not here as they are there, and what to do."""

    state: str
    why: str
    objects: int
    to_do: str


@dataclass(frozen=True, slots=True)
class Source:
    """One source, as the page shows it."""

    name: str
    looked: str
    patients: tuple[tuple[str, int], ...]
    kinds: tuple[tuple[str, int, int, int], ...]  # what they are called, there, here, and bytes there
    months: tuple[tuple[str, int, int], ...]
    reasons: tuple[Reason, ...]

    @property
    def there(self) -> int:
        return sum(there for _, there, _, _ in self.kinds)

    @property
    def here(self) -> int:
        return sum(here for _, _, here, _ in self.kinds)

    @property
    def most(self) -> int:
        return max((there for _, there, _ in self.months), default=1)

    @property
    def waiting(self) -> int:
        """Patients who were not told whole, or of whom nobody says who they are here."""
        return sum(count for state, count in self.patients if state != Looked.EVEN)


def pages(engine: sa.Engine, names: Sequence[str]) -> Blueprint:
    """The page of the sources that the settings name."""
    blueprint = Blueprint("merging", __name__)

    @blueprint.get(WHERE)
    def shown() -> Any:
        with reading(engine) as connection:
            found = [source_of(Ledger(connection, name)) for name in names]
        return render_template("merges.html", sources=found)

    return blueprint


def source_of(ledger: Ledger) -> Source:
    """How far it is with a source."""
    there, here, sizes = dict.fromkeys(_KINDS, 0), dict.fromkeys(_KINDS, 0), dict.fromkeys(_KINDS, 0)
    for one in ledger.totals():
        if one.state not in (Became.GONE, Became.UNDONE):
            there[one.kind] += one.objects
            here[one.kind] += one.objects if one.state == Became.COPIED else 0
            sizes[one.kind] += one.size_bytes
    looked = ledger.last_looked()
    return Source(
        ledger.source, minute(looked) if looked else "", tuple(sorted(ledger.patients_by_state().items())),
        tuple((said, there[kind], here[kind], sizes[kind]) for kind, said in _KINDS.items()),
        tuple(ledger.by_month()[-MONTHS:]),
        tuple(Reason(state, why, count, to_do(state, why)) for state, why, count in ledger.reasons(REASONS)),
    )  # fmt: skip


def to_do(state: str, why: str) -> str:
    """What somebody does about it."""
    said = why.removeprefix("another object of its submission: ")
    return next((text for begin, text in _TO_DO if said.startswith(begin)), _BY_STATE.get(Became(state), "Copy again."))
