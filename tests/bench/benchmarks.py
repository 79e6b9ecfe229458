"""Every benchmark by its name: each runs alone, and gives the figures of one line of the design's table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.figures import Result
from tests.bench.run import Run


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark: the module and function that measure it, and what that is."""

    module: str
    function: str
    what: str

    def measure(self, bench: Run) -> Iterator[Result]:
        """Import it and run it."""
        function: Callable[[Run], Iterator[Result]] = getattr(
            importlib.import_module(f"tests.bench.{self.module}"), self.function
        )
        yield from function(bench)


ROWS = {
    "command-line": Row("command_line", "run", "help, version and wrong use of the xds command"),
    "iti-42": Row("registering", "run", "ITI-42 over HTTP against the raw driver"),
    "iti-18": Row("querying", "run", "ITI-18 of 100 LeafClass against the SQL alone"),
    "decisions": Row("deciding", "run", "ITI-18 with 200 rules and 20 directives against none of them"),
    "withheld": Row("withholding", "run", "what is withheld against what is not there: time tells nothing"),
    "growth": Row("querying", "growth", "every stored query in a small registry and in a large one"),
    "big-patient": Row("querying", "big_patient", "queries about a patient with very many documents"),
    "iti-41": Row("uploading", "run", "ITI-41 of 1 GiB against read, hash, write and sync"),
    "iti-43": Row("downloading", "document", "ITI-43 of 2 GiB against nginx and SHA-256"),
    "rad-69": Row("downloading", "instances_of_a_study", "RAD-69 of 5,000 instances against nginx and SHA-256"),
    "wado": Row("wado", "run", "WADO-RS of 5,000 instances beside Orthanc's"),
    "manifest": Row("manifests", "run", "a manifest of 10,000 instances, written and read"),
    "audit-cost": Row("auditing", "cost", "what recording and signing cost ITI-42 and ITI-18"),
    "audit-verify": Row("auditing", "verifying", "verifying a log against SHA-256 of the same bytes"),
    "audit-receive": Row("receiving", "run", "audit records received by syslog"),
    "audit-search": Row("audit_searching", "run", "how long the desk searches a large audit log"),
    "overload": Row("overloading", "run", "ten times what a node can do: how quick the rest is, and what is told"),
    "idle": Row("idling", "run", "a node at rest: memory, and how soon it is ready"),
    "merge": Row("merging", "run", "registries merged into one, killed again and again, against only asking them"),
    "load": Row("bulk", "run", "bulk load against PostgreSQL COPY of the same rows"),
}
"""In the order of the design, section 5; what it does not name stands where it belongs."""

GROUPS = {
    "retrieve": ("iti-43", "rad-69"),
    "audit": ("audit-cost", "audit-verify"),
    "bulk": ("load",),
}
"""Names for several."""


def chosen(names: list[str]) -> list[str]:
    """The rows that are named, all when none is, each once.

    Raises:
        KeyError: a name is none.
    """
    found = [one for name in names for one in GROUPS.get(name, (name,))] or list(ROWS)
    return list(dict.fromkeys(one for one in found if ROWS[one]))
